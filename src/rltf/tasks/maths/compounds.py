"""Measures of several units, compared by what they come to: `2 hours 30 minutes`, `5 ft 3 in`, `30° 15'`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from rltf.tasks.maths.measures import Meanings, measure_of
from rltf.tasks.maths.parts import LONGEST, tidy, without_brackets, without_marks
from rltf.tasks.maths.quantities import Quantity, is_same, quantity_of
from rltf.tasks.maths.values import NAMED, NUMERAL

_FAMILIES: tuple[Mapping[str, int], ...] = (
    {"week": 604_800, "day": 86_400, "h": 3_600, "min": 60, "s": 1},
    {"year": 12, "month": 1},
    {"km": 1_000_000, "m": 1_000, "dm": 100, "cm": 10, "mm": 1},
    {"mi": 63_360, "yd": 36, "ft": 12, "in": 1},
    {"t": 10**9, "kg": 10**6, "g": 1_000, "mg": 1},
    {"stone": 224, "lb": 16, "oz": 1},
    {"L": 1_000, "dL": 100, "cL": 10, "mL": 1},
    {"gal": 768, "qt": 192, "pt": 96, "cup": 48, "tbsp": 3, "tsp": 1},
    {"°": 3_600, "arcmin": 60, "arcsec": 1},
    {"usd": 100, "cent": 1},
    {"eur": 100, "cent": 1},
    {"gbp": 100, "penny": 1},
)
"""Units that people put together, with what each comes to in the last."""
_OF_DEGREES = {"min": "arcmin", "s": "arcsec"}
_DEGREES = re.compile(r"\^\s*\{?\s*\\(?:circ|degree)(?![a-zA-Z])\s*\}?|\\degree(?![a-zA-Z])|\u00b0")
_SECONDS = re.compile(r"\^?\s*\{?\s*\\prime\s*\\prime(?![a-zA-Z])\s*\}?|''|[\"\u2033\u201d]")
_MINUTES = re.compile(r"\^?\s*\{?\s*\\prime(?![a-zA-Z])\s*\}?|[']")
_JOINED = re.compile(r"\s*(?:[,;]\s*(?:and\s)?|(?<![^\W\d_])(?:and|und|et|y|e|и|和|又)(?![^\W\d_]))\s*(?=\d)")
_WHOLE = r"\d+(?:,\d{3})*"
_LAST = rf"(?:\d+\s*\\frac\s*\{{?\d+\}}?\s*\{{?\d+\}}?|\\frac\s*\{{?\d+\}}?\s*\{{?\d+\}}?|{NUMERAL})"
_WORD = r"[^\W\d_]+\.?"
_COMPOUND = re.compile(rf"([-+]?)\s*((?:{_WHOLE}\s*{_WORD}\s*)+)({_LAST})\s*({_WORD})\s*")
_PART = re.compile(rf"({_WHOLE})\s*({_WORD})")


@dataclass(frozen=True, slots=True)
class Compound:
    """A measure of several units."""

    readings: tuple[tuple[int, Fraction], ...]
    """What it comes to in the smallest unit of a family, by the number of the family; several where a word, or a sign
    such as ', means several units."""
    is_listed: bool
    """Whether commas stand between its parts, which may be entries of a list."""


@lru_cache(maxsize=4096)
def compound_of(answer: str) -> Compound | None:
    """A measure of several units, the largest first and no part as large as the unit before it; else None."""
    text = tidy(answer)
    if len(text) > LONGEST or not any(character.isdigit() for character in text):
        return None
    if named := NAMED.fullmatch(text):
        text = named[2]
    # The sign that ends an angle or a length is a word by now.
    plain = without_marks(_MINUTES.sub(" prime ", _SECONDS.sub(" doubleprime ", _DEGREES.sub(" ° ", text))))
    plain = without_brackets(" ".join(plain.replace("°", "degree").replace("\\", " \\").split()))
    joined = _JOINED.sub(" ", plain)
    match = _COMPOUND.fullmatch(joined)
    if match is None:
        return None
    parts = [(part[1], part[2]) for part in _PART.finditer(match[2])] + [(match[3], match[4])]
    sign = -1 if match[1] == "-" else 1
    readings = tuple(
        (number, sign * value)
        for number, family in enumerate(_FAMILIES)
        if (value := _in_smallest(parts, family)) is not None
    )
    return Compound(readings, "," in plain or ";" in plain) if readings else None


def same_compounds(answer: str, gold: str) -> bool | None:
    """Whether a measure of several units is the gold one, or one of a single unit that comes to as much.

    None where neither is of several units. Where one is, the other must name its unit.
    """
    given, wanted = compound_of(answer), compound_of(gold)
    if given is None and wanted is None:
        return None
    if given is not None and wanted is not None:
        return bool(set(given.readings) & set(wanted.readings))
    known, other = (given, gold) if given is not None else (wanted, answer)
    assert known is not None
    single = quantity_of(other)
    if single is None:
        return None if known.is_listed else False
    measure = measure_of(single.unit)
    if single.in_per_cent or len(measure) != 1 or measure[0][1] != 1:
        return False
    return any(
        is_same(single, Quantity(value / size, "fraction", None, single.unit))
        for number, value in known.readings
        if (size := _size(measure[0][0], _FAMILIES[number]))
    )


def _in_smallest(parts: list[tuple[str, str]], family: Mapping[str, int]) -> Fraction | None:
    """What the parts come to; None where one of them is of another family, or not in its place."""
    total, before = Fraction(0), None
    for number, word in parts:
        size = _size(_meanings(word, family, first=before is None), family)
        value = quantity_of(number)
        if size is None or value is None:
            return None
        if before is not None and (size >= before or value.value * size >= before):
            return None
        total, before = total + value.value * size, size
    return total


def _size(meanings: Meanings, family: Mapping[str, int]) -> int | None:
    sizes = {family[unit] for unit in meanings if unit in family}
    return sizes.pop() if len(sizes) == 1 else None


def _meanings(word: str, family: Mapping[str, int], *, first: bool) -> Meanings:
    """What a word behind a number of a compound means: `m` beside hours is minutes, and minutes behind degrees are."""
    if word == "m" and "min" in family:
        return frozenset({"min"})
    measure = measure_of(word)
    meanings = measure[0][0] if len(measure) == 1 and measure[0][1] == 1 else frozenset[str]()
    if "°" in family and not first:
        meanings = frozenset(_OF_DEGREES.get(meaning, meaning) for meaning in meanings)
    return meanings
