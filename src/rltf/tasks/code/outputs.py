"""When a program's output is right, and when a number with a decimal point is near enough to the expected one."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?")
_ULPS = 16
"""How many of the steps between doubles a sum in another order may be off."""
_PLACES = 5
"""From so many places on, and so many digits, an expected number is taken for a rounded one."""
# "absolute or relative error ... $10^{-6}$", "within 10^-5 of the actual answer will be accepted", "1e-6".
_BOUND = re.compile(
    r"10\s*(?:\^|\*\*|<sup>)?\s*\{?\s*[-\u2212\u2013]\s*\{?\s*(?P<power>\d{1,2})\b|\b1(?:\.0)?[eE]-0?(?P<e>\d{1,2})\b"
    r"|\b0?\.(?P<zeros>0{2,11})1\b"
)
_SPEAKS = re.compile(r"\berrors?\b|\baccepted\b|\btoleran|\bwithin\b|\bprecision\b|\bdiffer", re.IGNORECASE)
_RELATIVE = re.compile(r"\brelative", re.IGNORECASE)
_AROUND = 160
_LEAST, _MOST = 3, 15


@dataclass(frozen=True, slots=True)
class Slack:
    """How far a number with a decimal point may be off besides its last places: what the problem's text allows."""

    absolute: float = 0.0
    relative: float = 0.0


def stated_slack(text: str) -> Slack:
    """The error that a problem's text allows; none where it says nothing of one."""
    for match in _BOUND.finditer(text):
        power = int(match["power"] or match["e"] or len(match["zeros"] or "") + 1)
        around = text[max(0, match.start() - _AROUND) : match.end() + _AROUND]
        if _LEAST <= power <= _MOST and _SPEAKS.search(around):
            bound = float(f"1e-{power}")
            return Slack(bound, bound if _RELATIVE.search(around) else 0.0)
    return Slack()


def same_output(expected: str, output: str, slack: Slack | None) -> bool:
    """Whether an output has the expected words on the expected lines. Empty lines and the width of spaces are free."""
    wanted, found = _lines(expected), _lines(output)
    return len(wanted) == len(found) and all(
        len(words) == len(others) and all(_same_word(a, b, slack) for a, b in zip(words, others, strict=True))
        for words, others in zip(wanted, found, strict=True)
    )


def near(expected: Decimal, found: Decimal, slack: Slack) -> bool:
    """Whether a number is the expected one, where that has decimal places, up to rounding and the slack."""
    places = -int(expected.as_tuple().exponent)
    if places <= 0:
        return False
    distance, size = abs(expected - found), abs(float(expected))
    if distance <= max(Decimal(slack.absolute), Decimal(slack.relative) * abs(expected)):
        return True
    if math.isfinite(size) and distance <= Decimal(_ULPS * math.ulp(size)):
        return True
    digits = len(expected.as_tuple().digits)
    return places >= _PLACES <= digits and distance <= Decimal(5).scaleb(-places - 1)


def _lines(text: str) -> list[Sequence[str]]:
    return [words for line in text.split("\n") if (words := line.split())]


def _same_word(expected: str, word: str, slack: Slack | None) -> bool:
    if expected == word:
        return True
    if not (_NUMBER.fullmatch(expected) and _NUMBER.fullmatch(word)):
        return False
    wanted, found = Decimal(expected), Decimal(word)
    return wanted == found or (slack is not None and near(wanted, found, slack))
