"""Units of measurement in their spellings: symbols with their prefixes, names, and words of other languages.

`measures.jsonl` lists them: a meaning, its symbols (capitals count), its names (they do not), and whether prefixes such
as kilo go with it. A word that people use for several things, such as a pound of weight and of money, has several
meanings; two units are the same where they share one.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TypeAlias

Meanings: TypeAlias = frozenset[str]
Measure: TypeAlias = tuple[tuple[Meanings, int], ...]
"""Units with their powers: `m/s^2` is m to the 1 and s to the -2."""

_FILE = Path(__file__).with_name("measures.jsonl")
_SYMBOL_PREFIXES = {
    **{"T": "T", "G": "G", "M": "M", "k": "k", "K": "k", "h": "h", "d": "d", "c": "c", "m": "m", "n": "n", "p": "p"},
    **{"\u00b5": "u", "\u03bc": "u", "u": "u"},
}
_NAME_PREFIXES = {
    **{"tera": "T", "giga": "G", "mega": "M", "kilo": "k", "hecto": "h", "deci": "d", "centi": "c", "milli": "m"},
    **{"micro": "u", "nano": "n", "pico": "p"},
}
_POWERS_BEFORE = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "кв": 2, "куб": 3}
_POWERS_BEHIND = {"squared": 2, "cubed": 3}
_TOKEN = re.compile(
    r"(?P<power>(?:\^|\*\*)\s*\{?\s*(?P<digits>[-+]?\d)\s*\}?|(?<=[A-Za-z])(?P<behind>-?\d)(?![\d.]))|(?P<over>/|\bper\b)|"
    r"(?P<money>[A-Z]{0,2}\$|[\u00a2-\u00a5\u20a0-\u20bf\u0e3f])|(?P<degrees>\u00b0\s?[CF](?![a-z])|[\u2103\u2109\u00b0])|"
    r"(?P<word>[^\W\d_]+(?:[-.][^\W\d_]+)*)"
)
_COMMON = frozenset(
    {"a", "as", "at", "is", "to", "so", "no", "do", "us", "it", "an", "on", "or", "of", "if", "he", "we"}
)


@dataclass(frozen=True, slots=True)
class _Lexicon:
    phrases: re.Pattern[str]
    symbols: dict[str, Meanings]
    names: dict[str, Meanings]
    compounds: dict[str, Measure]


@cache
def _lexicon() -> _Lexicon:
    symbols: dict[str, set[str]] = {}
    names: dict[str, set[str]] = {}
    compounds: dict[str, Measure] = {}
    prefixed: dict[str, str] = {}
    rows = [json.loads(line) for line in _FILE.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        unit = row["unit"]
        for symbol in row.get("symbols", ()):
            symbols.setdefault(symbol, set()).add(unit)
        for name in row.get("names", ()):
            names.setdefault(name.casefold(), set()).add(unit)
        if "means" in row:
            compounds[unit] = tuple((frozenset({part}), power) for part, power in row["means"])
    for row in filter(lambda row: row.get("prefixed"), rows):
        for symbol in row.get("symbols", ()):
            for prefix, meaning in _SYMBOL_PREFIXES.items():
                # A unit that is listed itself, such as min or ft, is not taken apart.
                prefixed.setdefault(prefix + symbol, meaning + row["unit"])
        for name in filter(str.isascii, row.get("names", ())):
            for prefix, meaning in _NAME_PREFIXES.items():
                names.setdefault(prefix + name.casefold(), set()).add(meaning + row["unit"])
    for symbol, unit in prefixed.items():
        if symbol not in _COMMON:
            symbols.setdefault(symbol, {unit})
    phrases = sorted((name for name in names if " " in name), key=len, reverse=True)
    return _Lexicon(
        re.compile("|".join(rf"\b{name}s?\b" for name in phrases), re.IGNORECASE),
        {word: frozenset(units) for word, units in symbols.items()},
        {word.replace(" ", ""): frozenset(units) for word, units in names.items()},
        compounds,
    )


@lru_cache(maxsize=4096)
def measure_of(words: str) -> Measure:
    """The unit that the words behind a number say; empty where they say none.

    A symbol counts only where nothing but symbols stands before it (`5 N`, not `5 in class A`), a name anywhere.
    """
    found: list[tuple[Meanings, int]] = []
    sign, power_before, first = 1, 1, True
    for kind, text in _tokens(words):
        match kind:
            case "word" if text in ("cdot", "times"):
                continue
            case "over":
                sign = -1
            case "power":
                if found and found[-1][1] in (1, -1):
                    found[-1] = (found[-1][0], found[-1][1] * int(text))
            case "before":
                power_before = int(text)
            case _:
                measure = _unit(text, first or kind != "word")
                found += [(unit, power * sign * power_before) for unit, power in measure]
                first = first and bool(measure)
                if measure:
                    power_before = 1
    return tuple(found)


def is_unit(words: str) -> bool:
    """Whether the text is nothing but a unit: `cm`, `km/h`, `square meters`."""
    kinds = _tokens(words)
    named = [text for kind, text in kinds if kind not in ("over", "power", "before")]
    return bool(named) and all(_unit(text, True) for text in named)


def is_same_measure(mine: Measure, theirs: Measure) -> bool:
    """Whether two units are the same, in any order of their parts."""
    left = list(theirs)
    for unit, power in mine:
        same = next((i for i, (other, raised) in enumerate(left) if raised == power and unit & other), None)
        if same is None:
            return False
        del left[same]
    return not left


def _tokens(words: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    words = _lexicon().phrases.sub(lambda match: match[0].replace(" ", ""), words)
    for match in _TOKEN.finditer(words):
        kind = match.lastgroup or ""
        text = match[0]
        if match["power"]:
            kind, text = "power", match["digits"] or match["behind"]
        elif text.casefold() in _POWERS_BEFORE:
            kind, text = "before", str(_POWERS_BEFORE[text.casefold()])
        elif text.casefold() in _POWERS_BEHIND:
            kind, text = "power", str(_POWERS_BEHIND[text.casefold()])
        found.append((kind, text))
    return found


def _unit(word: str, may_be_symbol: bool) -> Measure:
    lexicon = _lexicon()
    word = "".join(word.split())
    folded = word.casefold().replace(".", "")
    units = lexicon.symbols.get(word) if may_be_symbol else None
    for name in (folded, folded.removesuffix("s"), folded.removesuffix("es")):
        units = units or lexicon.names.get(name)
    if units is None:
        return ()
    (unit,) = units if len(units) == 1 else ("",)
    return lexicon.compounds.get(unit) or ((units, 1),)
