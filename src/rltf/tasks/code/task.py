"""Code: Python functions and programs, right when they pass every test."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from random import Random
from typing import Any, Literal

from rltf.support.errors import UserError
from rltf.tasks.base import CORRECT_FEEDBACK, INCORRECT_FEEDBACK, Family, FeedbackLevel
from rltf.tasks.code.blocks import defines, extract_code, reads_input
from rltf.tasks.code.sandbox import Sandbox
from rltf.tasks.code.shapes import NO_REFERENCE, Listing, Shape, read_listings
from rltf.tasks.code.supplied import supplied
from rltf.tasks.code.verdict import Verdict, cleaned, judge_function, judge_program
from rltf.tasks.listed import Item, LeftOut, ListedTask
from rltf.types import Problem, Score

NO_CODE = "There is no complete ```python block."
EMPTY_CODE = "The ```python block is empty."
_REMEMBERED = 8192
_LONGEST_ATTEMPT = 100_000
_SHOWN_TEST = 1_000
_TOKEN = re.compile(r"\w+|[^\w\s]")


class CodeTask(ListedTask):
    """Attempts run in a sandbox against tests. The keyword arguments are those of `config.tasks.code.CodeConfig`."""

    name = "code"
    family: Family = "code"

    def __init__(
        self,
        *,
        train: str,
        test: str | None,
        shape: Shape,
        shown_tests: int,
        most_tests: int,
        cpu_seconds: int,
        seconds: float,
        megabytes: int,
        processes: int,
        partial_reward: bool,
        sandbox: Literal["strict", "weak"],
        **listed: Any,
    ) -> None:
        super().__init__(**listed)
        self._train, self._test, self._shape = train, test, shape
        self._shown_tests, self._most_tests = shown_tests, most_tests
        self._processes, self._partial_reward = processes, partial_reward
        self._sandbox = Sandbox(
            cpu_seconds=cpu_seconds, seconds=seconds, megabytes=megabytes, strict=sandbox == "strict"
        )
        self._verdicts: OrderedDict[tuple[str, int, str], Verdict] = OrderedDict()
        self._lock = threading.Lock()
        self._without_tests = 0

    @cached_property
    def protections(self) -> tuple[str, ...]:
        """What keeps attempts from doing harm on this machine. Raises `UserError` where that is not enough."""
        run = self._sandbox.evaluate("", "", ["1"])
        if run.ending != "finished":
            raise UserError(
                f"task.sandbox=strict: attempts cannot be locked in on this machine: {run.reason}; set "
                "task.sandbox=weak where nothing on it can be harmed (docs/code.md says what is missing then)"
            )
        return run.protections

    def score(self, problem: Problem, text: str) -> Score:
        """1 where every test passes."""
        return self.score_many([(problem, text)])[0]

    def score_many(self, attempts: Sequence[tuple[Problem, str]]) -> list[Score]:
        """The scores of attempts, of which equal ones run once and several at the same time."""
        codes = [(problem, program_of(problem, text)) for problem, text in attempts]
        wanted = {_key(problem, code): (problem, code) for problem, code in codes if code and code.strip()}
        with self._lock:
            missing = [pair for key, pair in wanted.items() if key not in self._verdicts]
        if len(missing) > 1:
            with ThreadPoolExecutor(min(self._processes, len(missing))) as threads:
                verdicts = list(threads.map(lambda pair: self._judge(*pair), missing))
        else:
            verdicts = [self._judge(*pair) for pair in missing]
        fresh = {_key(*pair): verdict for pair, verdict in zip(missing, verdicts, strict=True)}
        return [self._score(problem, code, fresh) for problem, code in codes]

    def feedback(self, problem: Problem, text: str, score: Score, level: FeedbackLevel) -> str:
        """The first test that fails, or how many do. Code has no hints: it locates instead."""
        if score.correct:
            return CORRECT_FEEDBACK
        if level == "correctness":
            return INCORRECT_FEEDBACK
        code = program_of(problem, text)
        if code is None or not code.strip():
            return NO_CODE if code is None else EMPTY_CODE
        verdict = self._verdict(problem, code, {})
        if level == "count":
            return verdict.counted
        located = verdict.located(code)
        return verdict.located(None) if self.reveals_answer(problem, located) else located

    def write_answer(self, answer: str) -> str:
        """Code as a model would write it."""
        return f"```python\n{answer}\n```"

    def perturbations(self, problem: Problem, rng: Random) -> Iterator[str]:
        """The problem's own wrong solutions; one that gives nothing, one of another name, one cut in two."""
        listing: Listing = problem.metadata["listing"]
        for wrong in listing.wrong:
            yield self.write_answer(wrong)
        if listing.function:
            yield self.write_answer(
                f"def {listing.function}(*a, **k): return ...\nclass Solution: {listing.function} = {listing.function}"
            )
            yield self.write_answer(re.sub(rf"\b{listing.function}\b", f"{listing.function}_", listing.solution))
        yield self.write_answer(listing.solution[: rng.randrange(5, 9)] + "(")
        yield listing.solution

    def reveals_answer(self, problem: Problem, text: str) -> bool:
        """True where the reference solution, or all that stands in its only function, is in the text in any layout."""
        listing: Listing = problem.metadata["listing"]
        if listing.solution == NO_REFERENCE:
            return False
        words = f" {_words(text)} "
        return any(f" {_words(form)} " in words for form in _forms(listing.solution) if form.strip())

    @property
    def left_out(self) -> LeftOut:
        """Also those whose tests cannot be checked without trust in the attempt."""
        return replace(super().left_out, unusable=self._without_tests)

    def _read(self) -> tuple[Sequence[Item], Sequence[Item] | None]:
        # Before any attempt is scored: a scorer has no way to say that it cannot work.
        _ = self.protections
        train, left_out = read_listings(self._train, self._shape)
        test = None
        if self._test is not None:
            test, more = read_listings(self._test, self._shape)
            left_out += more
        self._without_tests = left_out
        return [self._item(listing) for listing in train], None if test is None else [self._item(i) for i in test]

    def _item(self, listing: Listing) -> Item:
        return Item(
            prompt=pose(listing, self._shown_tests),
            question=listing.text,
            answer=listing.solution,
            metadata={"listing": listing},
        )

    def _judge(self, problem: Problem, code: str) -> Verdict:
        listing: Listing = problem.metadata["listing"]
        cases = listing.cases[: self._most_tests]
        if len(code) > _LONGEST_ATTEMPT:
            return Verdict(tests=len(cases), passed=0, failure="The code is too long.")
        before = supplied(code, whole=listing.supplied, begins=listing.begins, function=listing.function)
        if listing.function:
            return judge_function(self._sandbox, code, listing.setup, cases, before)
        return judge_program(self._sandbox, code, cases, before)

    def _verdict(self, problem: Problem, code: str, fresh: dict[tuple[str, int, str], Verdict]) -> Verdict:
        """A verdict just found, or remembered, or found now: feedback is to speak of the one that gave the score."""
        key = _key(problem, code)
        with self._lock:
            known = fresh.get(key) or self._verdicts.get(key)
        verdict = known or self._judge(problem, code)
        with self._lock:
            self._verdicts[key] = verdict
            self._verdicts.move_to_end(key)
            if len(self._verdicts) > _REMEMBERED:
                self._verdicts.popitem(last=False)
        return verdict

    def _score(self, problem: Problem, code: str | None, fresh: dict[tuple[str, int, str], Verdict]) -> Score:
        if code is None or not code.strip():
            reason = NO_CODE if code is None else EMPTY_CODE
            return Score(reward=0.0, correct=False, well_formed=False, answer=None, explanation=reason)
        verdict = self._verdict(problem, code, fresh)
        share = verdict.passed / verdict.tests if self._partial_reward else 0.0
        return Score(
            reward=1.0 if verdict.correct else share,
            correct=verdict.correct,
            well_formed=True,
            answer=cleaned(code, _LONGEST_ATTEMPT),
            explanation=f"All {verdict.tests} tests pass." if verdict.correct else verdict.located(code),
        )


def program_of(problem: Problem, text: str) -> str | None:
    """The code of an attempt that is tested: the last block that does what the problem asks for; None without one."""
    listing: Listing = problem.metadata["listing"]
    if not listing.function:
        return extract_code(text, reads_input)
    if "class Solution" in listing.begins:
        return extract_code(text, defines("Solution", listing.function))
    return extract_code(text, defines(listing.function))


def pose(listing: Listing, shown_tests: int) -> str:
    """The full prompt of a problem."""
    if not listing.function:
        shown = [
            f"Input:\n{_trimmed(case.stdin)}\nOutput:\n{_trimmed(str(case.accepted[0]))}"
            for case in listing.cases[:shown_tests]
        ]
        task = "Write a Python program that reads standard input and writes to standard output."
        wanted = "the whole program"
    else:
        shown = [
            _trimmed(f"{case.expression} gives {case.accepted[0]!r}").strip() for case in listing.cases[:shown_tests]
        ]
        task = f"Write the Python function {listing.function}."
        wanted = "the whole function"
    begins = f"\n\nIt begins so:\n{listing.begins}" if listing.begins else ""
    examples = "\n\nFor example:\n" + "\n".join(shown) if shown else ""
    return f"{task}\n\n{listing.text.strip()}{begins}{examples}\n\nGive {wanted} in one ```python block."


def _trimmed(text: str) -> str:
    return text if len(text) <= _SHOWN_TEST else text[:_SHOWN_TEST] + "..."


def _key(problem: Problem, code: str) -> tuple[str, int, str]:
    return problem.split, problem.index, code


def _words(text: str) -> str:
    """A text without comments and layout."""
    return " ".join(_TOKEN.findall(re.sub(r"#[^\n]*", "", text)))


def _forms(solution: str) -> tuple[str, ...]:
    """A solution, and the inside of its function where it has one alone."""
    head, _, body = solution.partition(":\n")
    return (solution, body) if solution.count("def ") == 1 and head.startswith("def ") else (solution,)
