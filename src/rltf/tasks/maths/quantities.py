"""Plain numbers with what stands behind them, compared exactly."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from rltf.tasks.maths.rounding import is_rounded
from rltf.tasks.maths.units import alike, is_per_cent, names_unit, number_word
from rltf.tasks.maths.values import NUMERAL, Numeral, numeral_and_unit, numeral_of

_NUMBER = re.compile(rf"[-+]?\s*{NUMERAL}")
_CLOCK = re.compile(r"\d{1,2}:\d{2}")
_SHORT_FRACTION = re.compile(r"\\frac\s*(\d|\{[^{}]*\})\s*(\d|\{[^{}]*\})")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number and its unit."""

    value: Fraction
    """Number words multiplied, per cent not divided."""
    form: Numeral
    places: int | None
    """Decimal places of a number that may be rounded there; None of an exact one."""
    unit: str
    """As it is written, per cent and number words with it; empty without one."""

    @property
    def in_per_cent(self) -> bool:
        """Whether the number is per cent."""
        return is_per_cent(self.unit)


@lru_cache(maxsize=4096)
def quantity_of(answer: str) -> Quantity | None:
    """What an answer says that is a plain number; None for any other."""
    form = numeral_of(answer)
    if form is None:
        return None
    numeral, unit = numeral_and_unit(answer)
    try:
        value = _value(numeral, form)
    except ZeroDivisionError:
        return None
    factor = number_word(unit)
    return Quantity(value * factor, form, _places(numeral, form, factor), unit)


def clock_time(answer: str) -> tuple[str, str] | None:
    """Of `10:30 a.m.` the figures and which half of the day, empty where it is not said; None for any other answer."""
    figures, unit = numeral_and_unit(answer)
    if not _CLOCK.fullmatch(figures):
        return None
    halves = re.findall(r"\b[ap]m\b", unit.lower().replace(".", ""))
    return figures, halves[0] if halves else ""


def is_same(given: Quantity, wanted: Quantity) -> bool:
    """Whether an answer is the gold one. A unit that either of them leaves out is not compared."""
    if not units_agree(given.unit, wanted.unit):
        return False
    if given.in_per_cent == wanted.in_per_cent:
        return _is_close(given, wanted)
    share = replace(given if given.in_per_cent else wanted, unit="")
    share = replace(share, value=share.value / 100, places=None if share.places is None else share.places + 2)
    if given.in_per_cent:
        return _is_close(share, wanted)
    # Where the question asks for per cent, the sign may be left out.
    return _is_close(given, wanted) or _is_close(given, share)


def units_agree(given: str, wanted: str) -> bool:
    """Whether an answer's unit is the gold one, where both have one."""
    if is_per_cent(wanted) and not is_per_cent(given):
        return not names_unit(given)
    return not names_unit(given) or not names_unit(wanted) or alike(given, wanted)


def _is_close(given: Quantity, wanted: Quantity) -> bool:
    """All digits must agree, but for those that a decimal may have lost: never those of a whole number."""
    whole = any(side.form == "whole" and side.places is None and not side.in_per_cent for side in (given, wanted))
    if whole or {given.places, wanted.places} == {None}:
        return given.value == wanted.value
    return is_rounded(given.value, wanted.value, given.places, wanted.places)


def _places(numeral: str, form: Numeral, factor: int) -> int | None:
    if form not in ("decimal", "power"):
        return None
    first, *others = _NUMBER.findall(numeral)
    places = len(first.partition(".")[2])
    if form == "power":
        return places - int(_number(others[1]))
    return places - (len(str(factor)) - 1)


def _value(numeral: str, form: Numeral) -> Fraction:
    """The value of a numeral of this form."""
    text = _SHORT_FRACTION.sub(r" \1/\2 ", numeral).replace("{", " ").replace("}", " ").strip()
    sign = -1 if text.startswith("-") else 1
    # The numbers keep signs of their own: -\frac{-1}{2} has two.
    first, *others = (_number(match[0]) for match in _NUMBER.finditer(re.sub(r"^[-+]\s*", "", text)))
    match form:
        case "whole" | "decimal":
            return sign * first
        case "power":  # the ten, and the exponent
            return sign * first * others[0] ** int(others[1])
        case "fraction":
            return sign * first / others[0]
        case "mixed":
            return sign * (first + others[0] / others[1])


def _number(text: str) -> Fraction:
    return Fraction(text.replace(",", "").replace(" ", ""))
