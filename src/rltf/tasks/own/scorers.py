"""What makes an answer right, where all that is known of it is a field of a row."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from random import Random
from typing import Any, Literal, Protocol

import regex

from rltf.tasks.own.leaks import names_answer, names_number
from rltf.tasks.own.near import neighbours
from rltf.tasks.own.numbers import parse_number

_MATCH_SECONDS = 0.25
_LONGEST_ANSWER = 10_000
TOO_LONG = "The answer is too long."


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a scorer makes of an answer."""

    correct: bool
    well_formed: bool = True
    """If not, `fault` is about the answer's form alone."""
    fault: str = ""
    """What is wrong, as far as it can be said without the right answer; it may be shown to the policy."""


RIGHT = Verdict(correct=True)
"""The verdict on a right answer."""


def malformed(fault: str) -> Verdict:
    """The verdict on what is no answer of the kind asked for."""
    return Verdict(correct=False, well_formed=False, fault=fault)


class Scorer(Protocol):
    """Compares an answer with the gold one. Accepts any text and never raises."""

    def check_gold(self, gold: str, example: str) -> str | None:
        """What is wrong with a row's answer; None where it can be scored by."""
        ...

    def verdict(self, answer: str, gold: str) -> Verdict:
        """Whether an answer is right."""
        ...

    def reveals(self, gold: str, example: str, text: str) -> bool:
        """Whether a text gives the answer away."""
        ...

    def perturbations(self, example: str, rng: Random) -> list[str]:
        """Answers near the right one that are wrong."""
        ...


class ExactScorer:
    """The answer's text."""

    def __init__(self, ignore: Literal["spaces_and_case", "spaces", "nothing"]) -> None:
        self._ignore = ignore

    def check_gold(self, gold: str, example: str) -> str | None:
        """Any text will do."""
        return None if self._normal(gold) else "is empty"

    def verdict(self, answer: str, gold: str) -> Verdict:
        """Names the first word that differs by its place."""
        if len(answer) > max(_LONGEST_ANSWER, 2 * len(gold)):
            return malformed(TOO_LONG)
        if self._normal(answer) == self._normal(gold):
            return RIGHT
        return Verdict(correct=False, fault=self._first_difference(answer, gold))

    def reveals(self, gold: str, example: str, text: str) -> bool:
        """Where its words stand in the text."""
        return names_answer(gold, text)

    def perturbations(self, example: str, rng: Random) -> list[str]:
        """Other words."""
        return [near for near in neighbours(example, rng) if self._normal(near) != self._normal(example)]

    def _normal(self, text: str) -> str:
        if self._ignore == "nothing":
            return text
        text = " ".join(text.split())
        return text.casefold() if self._ignore == "spaces_and_case" else text

    def _first_difference(self, answer: str, gold: str) -> str:
        given, wanted = self._normal(answer).split(), self._normal(gold).split()
        for number, (mine, right) in enumerate(zip(given, wanted, strict=False), start=1):
            if mine != right:
                return f"Word {number} of the answer is wrong." if len(wanted) > 1 else "The answer is another one."
        if len(given) < len(wanted):
            return f"The answer is right as far as it goes, and ends too early, after word {len(given)}."
        if len(given) > len(wanted):
            return f"The answer is right up to word {len(wanted)}, and what follows is too much."
        return "The spaces or line breaks of the answer are wrong."


class NumericScorer:
    """The answer's value."""

    def __init__(self, tolerance: float) -> None:
        self._tolerance = Fraction(str(tolerance))

    def check_gold(self, gold: str, example: str) -> str | None:
        """It must be a number."""
        return None if parse_number(gold) is not None else f"{gold[:40]!r} is not a number"

    def verdict(self, answer: str, gold: str) -> Verdict:
        """Says whether a wrong number is too large or too small."""
        value, right = parse_number(answer), _value(gold)
        if value is None:
            return malformed("The answer is not a number.")
        if self._close(value, right):
            return RIGHT
        return Verdict(correct=False, fault=f"The answer is too {'small' if value < right else 'large'}.")

    def reveals(self, gold: str, example: str, text: str) -> bool:
        """Where a number of that value stands in the text, however it is written."""
        return names_number(_value(gold), text)

    def perturbations(self, example: str, rng: Random) -> list[str]:
        """Numbers beyond the tolerance on both sides, the other sign."""
        right = _value(example)
        step = max(Fraction(1), 2 * self._tolerance * abs(right))
        near = [right + step, right - step, right * 10, -right]
        # A fraction says every value exactly.
        return [str(value) for value in near if not self._close(value, right)]

    def _close(self, value: Fraction, right: Fraction) -> bool:
        return abs(value - right) <= self._tolerance * abs(right)


class RegexScorer:
    """The answer's pattern, which must match the whole of an answer."""

    def check_gold(self, gold: str, example: str) -> str | None:
        """It must be a pattern, and match the example of a right answer, where there is one."""
        try:
            _pattern(gold)
        except regex.error as error:
            return f"{gold[:40]!r} is not a regular expression: {error}"
        if example != gold and not self.verdict(example, gold).correct:
            return f"{gold[:40]!r} does not match the example {example[:40]!r}"
        return None

    def verdict(self, answer: str, gold: str) -> Verdict:
        """Names the first character that no match could have."""
        if len(answer) > _LONGEST_ANSWER:
            return malformed(TOO_LONG)
        try:
            if _matches(gold, answer, partial=False):
                return RIGHT
            if answer == gold:  # What a policy that never sees the pattern does not write, but `rltf validate` does.
                return Verdict(correct=False, fault="This pattern does not match itself; set task.example_field.")
            return Verdict(correct=False, fault=_first_misfit(gold, answer))
        except TimeoutError:
            fault = f"The answer could not be compared within {_MATCH_SECONDS:g} seconds and counts as wrong."
            return Verdict(correct=False, fault=fault)

    def reveals(self, gold: str, example: str, text: str) -> bool:
        """Where the pattern or the example stands in the text."""
        return names_answer(example, text) or gold in text

    def perturbations(self, example: str, rng: Random) -> list[str]:
        """None: nobody knows what else a pattern matches."""
        return []


def _value(gold: str) -> Fraction:
    value = parse_number(gold)
    assert value is not None, "checked when the row was read"
    return value


@lru_cache(maxsize=4096)
def _pattern(text: str) -> Any:
    return regex.compile(text)


def _matches(pattern: str, text: str, *, partial: bool) -> bool:
    return _pattern(pattern).fullmatch(text, partial=partial, timeout=_MATCH_SECONDS) is not None


def _first_misfit(pattern: str, answer: str) -> str:
    """If a beginning of the answer can begin no match, neither can a longer one: so the place is found by halving."""
    low, high = 0, len(answer)
    if _matches(pattern, answer, partial=True):
        return "The answer fits as far as it goes, and ends too early."
    while high - low > 1:
        middle = (low + high) // 2
        if _matches(pattern, answer[:middle], partial=True):
            low = middle
        else:
            high = middle
    return f"The answer does not fit from character {high} on."
