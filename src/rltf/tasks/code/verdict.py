"""Which tests an attempt passes, and what is to be said of the first that it does not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rltf.tasks.code.cases import Case, output_passes, passes
from rltf.tasks.code.sandbox import Raised, Run, Sandbox, Unreadable, Value

Frames: TypeAlias = tuple[tuple[int, str], ...]
_SHORT, _LONG = 120, 500
_UNPRINTABLE = re.compile(
    r"[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u200b-\u200f\u2028-\u202e\u2066-\u2069]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the tests say of an attempt."""

    tests: int
    passed: int
    """Tests that are known to pass. Those after the one that ended the process are not."""
    failure: str = ""
    """Of the first test that fails; empty where all pass."""
    frames: Frames = ()
    """Line and function of the attempt's last places, where it raised an error."""

    @property
    def correct(self) -> bool:
        """Whether all tests pass."""
        return self.tests > 0 and self.passed == self.tests

    @property
    def counted(self) -> str:
        """How many tests fail."""
        failed = self.tests - self.passed
        return f"{failed} of {self.tests} tests {'fails' if failed == 1 else 'fail'}."

    def located(self, code: str | None) -> str:
        """The first failure, with the lines of `code` that led to it."""
        lines = [] if code is None else code.split("\n")
        places = [
            f"\n  line {number}, in {name}: {lines[number - 1].strip()}"
            if 0 < number <= len(lines)
            else f"\n  line {number}"
            for number, name in self.frames
        ]
        return self.failure + cleaned("".join(places), _LONG)


def judge_function(sandbox: Sandbox, code: str, setup: str, cases: Sequence[Case], supplied: str = "") -> Verdict:
    """Evaluates every case after the attempt, in one process. `supplied` runs before the attempt, `setup` after it."""
    run = sandbox.evaluate(code, setup, [case.expression for case in cases], supplied)
    count = len(cases)
    match run.results:
        case [Unreadable() | Raised(at_once=True) as refused]:
            return _refused(refused, count)
    failure, passed = "", 0
    frames: Frames = ()
    for number, (case, result) in enumerate(zip(cases, run.results, strict=False), start=1):
        if isinstance(result, Value) and passes(case, result.encoded):
            passed += 1
        elif not failure:
            failure, frames = _told(number, count, case, result)
    if len(run.results) < count:
        # One that it did not come to, or that ended it.
        number = len(run.results) + 1
        failure = failure or _ended(number, count, short(cases[number - 1].expression), run)
    return Verdict(tests=count, passed=passed, failure=failure, frames=frames)


def judge_program(sandbox: Sandbox, code: str, cases: Sequence[Case], supplied: str = "") -> Verdict:
    """Runs the program on each case's input; a program that came to no end once is not run again."""
    failure, passed, count = "", 0, len(cases)
    frames: Frames = ()
    for number, case in enumerate(cases, start=1):
        run = sandbox.execute(code, case.stdin, supplied)
        asked = f"on the input '{short(case.stdin)}' the program"
        match run.results:
            case [Unreadable() as refused]:
                return _refused(refused, count)
            case [Raised(kind, message, places)]:
                if not failure:
                    failure = f"Test {number} of {count} fails: {asked} raised {_error(kind, message)}"
                    frames = places
                continue
        if run.ending != "finished":
            failure = failure or _ended(number, count, asked, run)
            break
        if output_passes(case, run.output):
            passed += 1
        elif not failure:
            wanted = short(str(case.accepted[0]).strip())
            written = f"wrote '{short(run.output.strip())}'" if run.output.strip() else "wrote nothing"
            failure = f"Test {number} of {count} fails: {asked} {written}, expected '{wanted}'."
    return Verdict(tests=count, passed=passed, failure=failure, frames=frames)


def short(text: str, most: int = _SHORT) -> str:
    """The start and the end of a text, on one line and without control characters."""
    text = cleaned(text, 10 * most).replace("\n", "\\n")
    return text if len(text) <= most else f"{text[: most * 2 // 3]}...{text[-most // 4 :]}"


def cleaned(text: str, most: int) -> str:
    """A text from an attempt that can be shown: no control characters, no halves of characters, not long."""
    return _UNPRINTABLE.sub("?", text[:most])


def _refused(refused: Unreadable | Raised, count: int) -> Verdict:
    if isinstance(refused, Unreadable):
        text = f"The code has a syntax error on line {refused.line}: {short(refused.message)}."
        return Verdict(tests=count, passed=0, failure=text)
    text = f"Running the code, before any test, raised {_error(refused.type, refused.message)}"
    return Verdict(tests=count, passed=0, failure=text, frames=refused.frames)


def _told(number: int, count: int, case: Case, result: object) -> tuple[str, Frames]:
    start = f"Test {number} of {count} fails: {short(case.expression)}"
    if isinstance(result, Value):
        expected = "about " * (case.tolerance is not None) + short(repr(case.accepted[0]))
        return f"{start} gave {short(result.shown)}, expected {expected}.", ()
    assert isinstance(result, Raised)
    return f"{start} raised {_error(result.type, result.message)}", result.frames


def _error(kind: str, message: str) -> str:
    if kind == "MemoryError" and not message:
        return "MemoryError: the memory limit was reached."
    return f"{short(kind)}: {short(message)}." if message else f"{short(kind)}."


def _ended(number: int, count: int, what: str, run: Run) -> str:
    if run.ending == "not started":
        return f"The tests could not be run: {short(run.reason)}."
    return f"Test {number} of {count} fails: {what} did not come to its end: {run.reason}."
