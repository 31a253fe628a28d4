"""An answer in one spelling, and its parts: the text itself, and the unit and the words around it."""

from __future__ import annotations

import re
from functools import lru_cache

from rltf.tasks.maths.measures import is_unit
from rltf.tasks.maths.money import priced
from rltf.tasks.maths.notation import plain
from rltf.tasks.maths.spelling import WORDS, respell
from rltf.tasks.maths.units import BEFORE

LONGEST = 200
"""Characters of a text that is looked at in detail."""
_KEPT_TEXT = 1000
WORDS_MARKED = re.compile(WORDS)
_WORDS_BEFORE = re.compile(rf"(?:{WORDS}:?\s*)+")
_RAISED = r"(?:\s*\^\s*(?:\{\s*-?\d\s*\}|\d))?"
_UNIT_IN_WORDS = re.compile(rf"(?:(?:/|\\cdot|\\times)\s*)?{WORDS}{_RAISED}$")
_UNIT_IN_FRACTION = re.compile(rf"\\frac\s*\{{\s*{WORDS}({_RAISED})\s*\}}\s*\{{\s*{WORDS}({_RAISED})\s*\}}$")
_PLAIN_FRACTION = re.compile(
    r"(?<=[\d)}] )\\frac\s*\{\s*([A-Za-z]+(?:\^\d)?)\s*\}\s*\{\s*([A-Za-z]+(?:\^\{?\d\}?)?)\s*\}$"
)
_UNIT = re.compile(
    r"(?<=[\d})])\s*(?:\\?%|\^\s*\{?\s*\\(?:circ|degree)\s*\}?|\\degree|°|"
    r"(?<=\s)(?!pi\b|or\b|and\b)[A-Za-z]{2,}(?:\s[A-Za-z]+)*(?:\^\{?\d\}?)?)$"
)
# What may be a unit though it is not marked as words: 5 m, 5 km/h, 5cm.
_TAIL = re.compile(
    r"(?<=[\d})\s])[A-Za-z\u03bc\u00b5]+(?:(?:\s?(?:/|\\cdot\s)\s?|\s)[A-Za-z]+|\s?\^\s?(?:\{\s?-?\d\s?\}|\d))*$"
)
# Without a space only what is hardly a product of variables.
_GLUED = re.compile(r"[mckdn]m|[mk]g|[mcd][lL]|[kM]W|k(?:N|J|Pa|V|Wh)|[kMG]?Hz|hrs?|min|ft|lbs?|oz|mph|km/h|m/s")
_CELSIUS = re.compile(
    r"(?:\^\s*\{?\s*\\circ\s*\}?|\\degree|(?<!\{)(?<!\{ )°)\s*"
    r"(?:\\(?:text|mathrm)\s*\{\s*([CF])\s*\}|\{?([CF])\}?(?![A-Za-z\d]))"
)
_MICRO = re.compile(r"\\mu\s*\\(text|mathrm)\s*\{\s*")
_OHM = re.compile(
    r"(?<=[\d\s}])(?:\\(?:text|mathrm)\s*\{\s*([kMm])\s*\}\s*|([kMm])\s*)?(?:\\Omega(?![a-zA-Z])|[\u03a9\u2126])$"
)
_PRIMES = re.compile(r"(?<=\d)\s*(?:\^\s*\{?\s*)?(\\prime\s*\\prime|''|\"|\\prime(?![a-zA-Z])|')\s*\}?$")
_APPROXIMATE = re.compile(r"\\(?:approx|simeq|doteq)(?![a-zA-Z])")
_CONGRUENT_BY = re.compile(r"\\equiv\s*_\s*(?:\{([^{}]*)\}|(\w))(.+)$")
_CONGRUENT = re.compile(r"\\equiv(?![a-zA-Z])")
LETTER = re.compile(r"(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z])")
"""A letter by itself: a variable."""
_INTEGER = re.compile(r"[-+]?\d+")


def tidy(text: str) -> str:
    """The text without what changes only how it is set, its numbers, signs and units in one spelling."""
    return _tidy_and_keep(text) if len(text) <= _KEPT_TEXT else _tidy(text)


@lru_cache(maxsize=8192)
def _tidy_and_keep(text: str) -> str:
    return _tidy(text)


def _tidy(text: str) -> str:
    if _INTEGER.fullmatch(text):  # most answers
        return text
    text = respell(text)
    if "\\" in text or "$" in text or not text.isascii() or any(map(str.isupper, text)) or "s" in text:
        text = _OHM.sub(r"\\text{ \1\2Ω}", _MICRO.sub("\\\\\\1{\u03bc", _CELSIUS.sub(r"\\text{ °\1\2}", priced(text))))
    text = text
    text = text.replace("\\$", "").replace("$", " ").replace("\\{", "\\lbrace ").replace("\\}", "\\rbrace ")
    text = " ".join(text.split())
    text = plain(without_brackets(text[:-1] if text[-1:] in (".", ",", ";") else text, "{}"))
    text = _PRIMES.sub(lambda match: f"\\text{{ {_prime(match[1])}}}", text)
    text = _APPROXIMATE.sub("=", _CONGRUENT_BY.sub(_with_modulus, text))
    return text if "mod" in text else _CONGRUENT.sub("=", text)


def _with_modulus(match: re.Match[str]) -> str:
    """`n \\equiv_5 2` with its modulus behind it."""
    return f"\\equiv {match[3].strip()} \\pmod{{{(match[1] or match[2]).strip()}}}"


def _prime(mark: str) -> str:
    """The sign of feet and minutes, or of inches and seconds."""
    return "doubleprime" if mark in ("''", '"') or mark.count("prime") == 2 else "prime"


def without_marks(text: str) -> str:
    """The text with the words of `\\text{...}` and the like as plain words."""
    return WORDS_MARKED.sub(r" \1 ", text)


def is_integer(text: str) -> bool:
    """Whether the text is nothing but the digits of a whole number."""
    return _INTEGER.fullmatch(text) is not None


def parted(answer: str) -> tuple[str, str]:
    """An answer without the words around it, and the words: `5` and `cm ^2`."""
    text = tidy(answer)
    if len(text) > LONGEST:
        return text, ""
    if words := WORDS_MARKED.fullmatch(text):
        text = words[1].strip()
    units: list[str] = []
    while (found := _unit_behind(text)) is not None:
        start, unit = found
        if not text[:start].strip():
            break
        units.insert(0, unit)
        text = text[:start].strip()
    behind = without_marks(" ".join(units)).strip()
    if before := _WORDS_BEFORE.match(text):
        if text[before.end() :].strip():
            behind += BEFORE + without_marks(before[0]).strip()
        text = text[before.end() :] or text
    return text, behind


def _unit_behind(text: str) -> tuple[int, str] | None:
    """Where the last unit or words of an answer begin, and what they are."""
    if (plain := _PLAIN_FRACTION.search(text)) and is_unit(plain[1]) and is_unit(plain[2]):
        return plain.start(), f"{plain[1]} / {plain[2]}"
    if fraction := _UNIT_IN_FRACTION.search(text):
        return fraction.start(), f"{fraction[1]}{fraction[2]} / {fraction[3]}{fraction[4]}"
    if unit := _UNIT_IN_WORDS.search(text) or _UNIT.search(text):
        return unit.start(), unit[0]
    tail = _TAIL.search(text)
    if tail is None or LETTER.search(WORDS_MARKED.sub("", text[: tail.start()])):
        return None
    glued = not text[: tail.start()].endswith(" ")
    if _GLUED.fullmatch(tail[0]) or (not glued and is_unit(tail[0])):
        return tail.start(), tail[0]
    return None


def without_brackets(text: str, kinds: str = "(){}") -> str:
    """The text without the brackets that hold the whole of it."""
    while text[:1] and text[:1] in kinds and text[:1] + text[-1:] in ("()", "{}") and is_bracketed(text):
        text = text[1:-1].strip()
    return text


def is_bracketed(text: str) -> bool:
    """Whether one pair of brackets holds the whole text; `(0, 1]` counts."""
    if len(text) < 2 or text[0] not in "([{" or text[-1] not in ")]}":
        return False
    depth = 0
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return position == len(text) - 1
    return False
