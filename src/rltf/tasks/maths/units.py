"""The words behind a number: units, number words such as million, per cent."""

from __future__ import annotations

import re
from functools import lru_cache

_NUMBER_WORDS = {
    "dozen": 12,
    "hundred": 100,
    "thousand": 1_000,
    "million": 1_000_000,
    "billion": 1_000_000_000,
    "trillion": 1_000_000_000_000,
}
_PER_CENT = re.compile(r"\\?%|\bper\s?cent\b|\bpct\b", re.IGNORECASE)
# The first spelling stands for all of them.
_SPELLINGS = """
    meter m metre; centimeter cm centimetre; millimeter mm millimetre; kilometer km kilometre;
    inch in inches; foot ft feet; yard yd; mile mi; liter l litre; milliliter ml millilitre; gallon gal;
    gram g gm; kilogram kg; milligram mg; pound lb lbs; ounce oz; degree deg \u00b0 circ; radian rad;
    second s sec; minute min; hour h hr; day; week; month; year yr; am; pm; dollar usd; cent; euro; unit; per /
"""
_MEASURES = {word: words[0] for words in map(str.split, _SPELLINGS.split(";")) for word in words}
_SPEEDS = {"mph": "mile per hour", "kmh": "kilometer per hour", "kph": "kilometer per hour"}
_POWERS = {"square": "2", "sq": "2", "cubic": "3", "cu": "3"}
_POWERS_BEHIND = {"squared": "2", "cubed": "3"}
_POWER_BEFORE = re.compile(rf"\b({'|'.join(_POWERS)})\s+([a-z]+)")
_WORD = re.compile(r"[^\W\d_]+|\d|[/\u00b0]")


def number_word(unit: str) -> int:
    """What the number words of a unit multiply a number by; 1 without one."""
    factor = 1
    for word in _words(unit):
        factor *= _NUMBER_WORDS.get(word, 1)
    return factor


def is_per_cent(unit: str) -> bool:
    """Whether the words say per cent."""
    return _PER_CENT.search(unit) is not None


def names_unit(unit: str) -> bool:
    """Whether the words hold any besides per cent and number words."""
    return bool(_unit_words(unit))


def alike(unit: str, other: str) -> bool:
    """Whether two units are the same, where both name measures: `meters` is `m`, and `m` is not `cm`.

    Other words tell nothing: they may stand in any sentence around a number.
    """
    mine, theirs = _measures(_unit_words(unit)), _measures(_unit_words(other))
    return not mine or not theirs or mine == theirs


def same_words(words: str, others: str) -> bool:
    """Whether the words beside one answer say all that those beside another do, or the other way about."""
    mine, theirs = set(_unit_words(words)), set(_unit_words(others))
    return mine <= theirs or theirs <= mine


@lru_cache(maxsize=4096)
def _unit_words(unit: str) -> tuple[str, ...]:
    return tuple(word for word in _words(_PER_CENT.sub(" ", unit)) if word not in _NUMBER_WORDS)


def _measures(words: tuple[str, ...]) -> list[str]:
    return [word for word in words if word in _MEASURES or word.isdigit()]


def _words(unit: str) -> list[str]:
    """The words in one spelling, a power behind its unit."""
    text = unit.lower().replace(".", "").replace("\u00b2", "2").replace("\u00b3", "3")
    text = re.sub(r"\b(mph|kmh|kph)\b", lambda match: _SPEEDS[match[0]], text)
    text = re.sub(r"\bin\s+(?=[a-z])", "", text)  # "ways in total"
    text = _POWER_BEFORE.sub(lambda match: f"{match[2]} {_POWERS[match[1]]}", text)
    return [_POWERS_BEHIND.get(word) or _spelling(word) for word in _WORD.findall(text)]


def _spelling(word: str) -> str:
    return _MEASURES.get(word) or _MEASURES.get(word.removesuffix("s"), word)
