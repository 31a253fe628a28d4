"""The words behind a number: units, number words such as million, per cent."""

from __future__ import annotations

import re
from functools import lru_cache

from rltf.tasks.maths.measures import Measure, is_same_measure, measure_of

_NUMBER_WORDS = {
    "dozen": 12,
    "hundred": 100,
    "thousand": 1_000,
    "million": 1_000_000,
    "billion": 1_000_000_000,
    "trillion": 1_000_000_000_000,
    **{"тысяча": 1_000, "тысячи": 1_000, "тысяч": 1_000, "тыс": 1_000, "млн": 1_000_000, "миллион": 1_000_000},
    **{"миллиона": 1_000_000, "миллионов": 1_000_000, "млрд": 10**9, "миллиард": 10**9, "миллиардов": 10**9},
}
# Written together with the unit behind it: 68万人. Not the 千 of 千米, a kilometre.
_EASTERN = re.compile(r"(百万|千万|[百千万萬亿億만억])(?![米克瓦升分])")
_EASTERN_VALUES = {
    "百": 100,
    "千": 1_000,
    "百万": 10**6,
    "千万": 10**7,
    **dict.fromkeys("万萬만", 10**4),
} | dict.fromkeys("亿億억", 10**8)
_PER_CENT = re.compile(
    r"\\?%|\bper\s?cent(?:age)?(?:\s+points?)?\b|\bpercentage\s+points?\b|\bpct\b|\bпроцент\w*|퍼센트|パーセント|百分点",
    re.IGNORECASE,
)
BEFORE = "\n"
"""Parts the words behind a number from those before it."""
_WORD = re.compile(r"[^\W\d_]+|\d|[/\u00b0]")
_SAME = {"a": "", "an": "", "the": "", "of": "", "in": ""}


def number_word(unit: str) -> int:
    """What the number words of a unit multiply a number by; 1 without one."""
    factor = 1
    for word in _words(unit):
        factor *= _number_value(word)
    for match in _EASTERN.finditer("" if unit.isascii() else unit):
        factor *= _EASTERN_VALUES[match[1]]
    return factor


def is_per_cent(unit: str) -> bool:
    """Whether the words say per cent."""
    return _PER_CENT.search(unit) is not None


def names_unit(unit: str) -> bool:
    """Whether the words hold any besides per cent and number words."""
    return bool(_measure(unit) or _unit_words(unit))


def alike(unit: str, other: str) -> bool:
    """Whether two units are the same, where both name measures: `meters` is `m`, and `m` is not `cm`.

    Other words tell nothing: they may stand in any sentence around a number.
    """
    mine, theirs = _measure(unit), _measure(other)
    return not mine or not theirs or is_same_measure(mine, theirs)


def same_words(words: str, others: str) -> bool:
    """Whether the words beside one answer say all that those beside another do, or the other way about."""
    if _measure(words) and _measure(others):
        return alike(words, others)
    mine, theirs = set(_unit_words(words)), set(_unit_words(others))
    return mine <= theirs or theirs <= mine


@lru_cache(maxsize=4096)
def _measure(unit: str) -> Measure:
    behind, _, before = _PER_CENT.sub(" ", unit).partition(BEFORE)
    return measure_of(behind) or measure_of(before)


@lru_cache(maxsize=4096)
def _unit_words(unit: str) -> tuple[str, ...]:
    return tuple(word for word in _words(_PER_CENT.sub(" ", unit)) if _number_value(word) == 1)


def _number_value(word: str) -> int:
    return _NUMBER_WORDS.get(word) or _NUMBER_WORDS.get(word.removesuffix("s"), 1)


def _words(unit: str) -> list[str]:
    """The words in small letters, without articles."""
    return [word for word in _WORD.findall(unit.casefold().replace(".", "")) if word not in _SAME]
