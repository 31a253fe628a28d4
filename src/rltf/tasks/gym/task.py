"""Any dataset of reasoning-gym as a task: its generator, its scorer, and feedback by the form of its answers.

Nothing of reasoning-gym runs in this process: `worker` draws and scores in guarded ones, since generators may
follow the hash seed, scorers may evaluate what they are given, and either may take forever.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from random import Random
from typing import Any

from rltf.support.errors import UserError
from rltf.support.guarded import Failed, GuardedFunction
from rltf.tasks.base import CORRECT_FEEDBACK, INCORRECT_FEEDBACK, TRUNCATED_FEEDBACK, FeedbackLevel
from rltf.tasks.gym import forms, leaks, refusals
from rltf.tasks.gym.near import near_answers, wrong_in_any_notation
from rltf.tasks.puzzle import EMPTY_ANSWER, NO_ANSWER, Puzzle, last_answer, malformed
from rltf.types import Problem, Score, Split

ANSWER_FORMAT = "Write the answer, and nothing else, between <answer> and </answer>."
TOO_LONG = "The answer is too long."
NOT_SOLVED = "The answer does not solve the problem."
FLOOR = 0.1
"""Scores up to this are no reward: scorers pay 0.01, 0.02, 0.05 or 0.1 for any text, or for the form alone."""
SEVERAL = {
    "boxnet": "plans",
    "complex_arithmetic": "notations of a complex number",
    "countdown": "expressions",
    "cryptarithm": "assignments",
    "decimal_arithmetic": "numbers within its tolerance",
    "fraction_simplification": "notations of a fraction",
    "graph_color": "colourings",
    "group_anagrams": "orders of groups and words",
    "intermediate_integration": "antiderivatives",
    "jugs": "sequences of moves",
    "kakurasu": "grids",
    "knight_swap": "sequences of moves",
    "n_queens": "boards",
    "palindrome_generation": "palindromes",
    "palindrome_partitioning": "orders of partitions",
    "polynomial_equations": "orders of solutions",
    "polynomial_multiplication": "orders of terms",
    "pool_matrix": "numbers within 1 %",
    "power_function": "numbers that agree in the three digits asked for",
    "prime_factorization": "orders of factors",
    "propositional_logic": "conclusions",
    "puzzle24": "expressions",
    "quantum_lock": "sequences of buttons",
    "rubiks_cube": "sequences of moves",
    "rush_hour": "sequences of moves",
    "shortest_path": "paths",
    "simple_integration": "antiderivatives",
    "sokoban": "sequences of moves",
    "tower_of_hanoi": "sequences of moves",
    "word_ladder": "ladders",
}
"""Datasets that accept several answers to a problem, and of what: an attempt is not held against the stated one."""

_SENTENCES = (
    *forms.SENTENCES,
    NO_ANSWER,
    EMPTY_ANSWER,
    TOO_LONG,
    NOT_SOLVED,
    INCORRECT_FEEDBACK,
    CORRECT_FEEDBACK,
    TRUNCATED_FEEDBACK,
)
_VOCABULARY = " ".join((*_SENTENCES, forms.FRAMES, "Your answer earns of the credit, tenth tenths."))
_CALL = "rltf.tasks.gym.worker:call"
_SCORE_SECONDS, _DRAW_SECONDS, _MEGABYTES = 60.0, 120.0, 4096
_LONGEST = 20_000
_KEPT = 10_000
_REJECTED_IN_A_ROW = 100
_TAG = re.compile(r"</?answer>", re.IGNORECASE)
_TENTHS = forms.number_word


class ReasoningGym(Puzzle):
    """One dataset with its settings; `config.GymConfig` says what each means."""

    def __init__(self, *, dataset: str, options: Mapping[str, Any], **sizes: int) -> None:
        """Raises `UserError` where reasoning-gym has no such dataset or the dataset no such option."""
        super().__init__(**sizes)
        self.name = f"reasoning_gym:{dataset}"
        self._dataset, self._options = dataset, dict(options)
        self._scores: dict[tuple[int, int, str], float | Failed] = {}
        self._rejected = 0
        wrong = _check(dataset, json.dumps(self._options, sort_keys=True))
        if wrong:
            raise UserError(wrong)

    def score(self, problem: Problem, text: str) -> Score:
        """The dataset's verdict."""
        return self.score_many([(problem, text)])[0]

    def score_many(self, attempts: Sequence[tuple[Problem, str]]) -> list[Score]:
        """The dataset's verdict on each attempt; distinct answers are scored once, several at a time."""
        answers = [_extract(text, problem.answer) for problem, text in attempts]
        refused = [
            refusals.before_scoring(answer, problem.answer)
            for (problem, _), (answer, _) in zip(attempts, answers, strict=True)
        ]
        if len(self._scores) > _KEPT:
            self._scores.clear()
        asked = {
            _key(problem, answer): (problem, answer)
            for (problem, _), (answer, reason), why in zip(attempts, answers, refused, strict=True)
            if not reason and not why and _key(problem, answer) not in self._scores
        }
        verdicts = _scorers().map([self._call(problem, answer) for problem, answer in asked.values()])
        self._scores.update(zip(asked, map(_verdict, verdicts), strict=True))
        return [
            malformed(reason, answer or None)
            if reason
            else self._judged(Failed(why) if why else self._scores[_key(problem, answer)], problem, answer)
            for (problem, _), (answer, reason), why in zip(attempts, answers, refused, strict=True)
        ]

    def _call(self, problem: Problem, answer: str) -> tuple[Any, ...]:
        place = problem.metadata
        return "score", self._dataset, self._options, place["seed"], place["position"], place["digest"], answer

    def _judged(self, verdict: float | Failed, problem: Problem, answer: str) -> Score:
        """The score that a verdict makes, unless it is one for an answer that is not to be paid."""
        if isinstance(verdict, Failed):
            reward, explanation = 0.0, verdict.reason
        elif verdict == 1.0:
            explanation = refusals.of_full_reward(answer, problem.answer, self._dataset in SEVERAL)
            reward, explanation = (0.0, explanation) if explanation else (1.0, "The answer is right.")
        elif verdict <= FLOOR:
            reward, explanation = 0.0, f"The dataset's scorer gives the answer {verdict:g}."
        elif _is_quoted(verdict, problem.answer, answer):
            # Or else an answer that lists all that is possible would be paid.
            reward, explanation = 0.0, refusals.OTHER_TEXT
        else:
            reward, explanation = verdict, f"The dataset's scorer gives the answer {verdict:g}."
        return Score(reward=reward, correct=reward == 1.0, well_formed=True, answer=answer, explanation=explanation)

    def _criticise(self, problem: Problem, text: str, level: FeedbackLevel) -> str:
        """`count` tells partial credit in tenths; `located` where form, length or value departs."""
        answer, reason = _extract(text, problem.answer)
        if reason:
            return reason
        score = self.score(problem, text)
        several = self._dataset in SEVERAL
        # How near a lone number is, with its direction, would be the number.
        told = "" if forms.form_of(problem.answer).kind == "number" else _credit(score.reward)
        if level == "count":
            return told or INCORRECT_FEEDBACK
        departs = forms.departs(answer, problem.answer)
        if several:
            form = departs if departs in (forms.NO_JSON, forms.NO_OBJECT, forms.NO_LIST) else ""
            return " ".join(filter(None, (form or NOT_SOLVED, told)))
        return departs or forms.differs(answer, problem.answer, problem.prompt)

    def perturbations(self, problem: Problem, rng: Random) -> Iterator[str]:
        """Changes of the gold answer. Where a dataset accepts several answers, those that it accepts are left out,
        unless it accepts all of them: then nothing shows that it tells right from wrong. What is wrong in any
        notation is never left out."""
        texts = [self.write_answer(answer) for answer in near_answers(problem.answer, rng)]
        if self._dataset in SEVERAL:
            scores = self.score_many([(problem, text) for text in texts])
            refused = [text for text, score in zip(texts, scores, strict=True) if not score.correct]
            texts = refused or texts
        yield from texts
        yield from map(self.write_answer, wrong_in_any_notation(problem.answer, rng))

    def reveals_answer(self, problem: Problem, text: str) -> bool:
        """True where the gold answer stands in the text; `leaks` says what that means for short ones."""
        return leaks.stands_in(problem.answer, text, _SENTENCES, _VOCABULARY)

    def _draw(self, split: Split, index: int, seed: int, position: int) -> Problem | None:
        drawn = _drawer()("draw", self._dataset, self._options, seed, position)
        if isinstance(drawn, Failed):
            # Whether it is slow depends on the machine, and problems must not.
            raise UserError(f"{self.name}: drawing a problem failed: {drawn.reason}; ease task.options")
        if "rejected" in drawn:
            self._rejected += 1
            if self._rejected >= _REJECTED_IN_A_ROW:
                raise UserError(f"{self.name}: gives no sound problems: {drawn['rejected']}")
            return None
        self._rejected = 0
        return Problem(
            task=self.name,
            split=split,
            index=index,
            prompt=f"{drawn['question'].strip()}\n\n{ANSWER_FORMAT}",
            answer=drawn["answer"].strip(),
            metadata={"seed": seed, "position": position, "digest": drawn["digest"]},
        )


def _extract(text: str, gold: str) -> tuple[str, str]:
    """The answer in an attempt, without space and marks around it, and what keeps it from being one."""
    block = last_answer(_TAG.sub(lambda tag: tag[0].lower(), text))
    if block is None:
        return "", NO_ANSWER
    answer = forms.unmarked(block.strip(), gold)
    if not answer:
        return "", EMPTY_ANSWER
    return (answer, "") if len(answer) <= _LONGEST else (answer[:_LONGEST], TOO_LONG)


def _key(problem: Problem, answer: str) -> tuple[int, int, str]:
    return problem.metadata["seed"], problem.metadata["position"], answer


def _verdict(result: Any) -> float | Failed:
    """The dataset's score, if it is one."""
    if isinstance(result, Failed):
        return Failed(f"Scoring it failed: {result.reason}.")
    if isinstance(result, dict):
        return Failed(f"Scoring it failed: {result['failed']}.")
    score = float(result)
    if not math.isfinite(score) or score > 1 + 1e-9:
        # Not cut to 1: a formula that runs over has left the answers that it was made for.
        return Failed(f"The dataset's scorer gives it {score:g}, which is no score between 0 and 1.")
    return max(0.0, min(1.0, score))


def _is_quoted(score: float, gold: str, answer: str) -> bool:
    """Whether a score is what most scorers pay where the gold answer is part of the text: its share of the length."""
    return gold in answer and math.isclose(score, len(gold) / len(answer), rel_tol=1e-6)


def _credit(reward: float) -> str:
    tenths = min(9, round(reward * 10))
    return (
        f"Your answer earns {_TENTHS(tenths)} {'tenth' if tenths == 1 else 'tenths'} of the credit." if tenths else ""
    )


@cache
def _drawer() -> GuardedFunction:
    """The process that draws. It never sees an attempt."""
    return GuardedFunction(_CALL, seconds=_DRAW_SECONDS, megabytes=_MEGABYTES, workers=1)


@cache
def _scorers() -> GuardedFunction:
    return GuardedFunction(_CALL, seconds=_SCORE_SECONDS, megabytes=_MEGABYTES, workers=2)


@cache
def _check(dataset: str, options: str) -> str:
    wrong = _drawer()("check", dataset, json.loads(options))
    return f"{dataset}: its settings cannot be checked: {wrong.reason}" if isinstance(wrong, Failed) else str(wrong)
