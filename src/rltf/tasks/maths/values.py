"""Reads LaTeX as far as verdicts that the text decides, remarks and the search for leaks need it: shapes and values.

Whether an answer is right is decided in `verdicts` and `grade`; the first goes by the shapes, numerals and units read
here. The values are in floating point, for remarks and leaks alone (`quantities` has exact ones for verdicts), and
nothing is evaluated but sums, products, powers and roots of short texts.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from rltf.tasks.maths.notation import plain
from rltf.tasks.maths.units import number_word

Kind: TypeAlias = Literal["number", "interval", "list", "set", "equation", "expression", "words"]
Numeral: TypeAlias = Literal["whole", "fraction", "mixed", "decimal", "power"]

_LONGEST = 200
_DEEPEST = 20
_WRAPPING = re.compile(r"\\(?:left|right|big|Big|bigl|bigr|displaystyle|!|,|;|:|quad)(?![a-zA-Z])|\\ |~|\$")
_WORDS = re.compile(r"\\(?:text|mathrm|textbf|mathbf|mbox|textit)\s*\{([^{}]*)\}")
_WORDS_BEFORE = re.compile(rf"(?:{_WORDS.pattern}\s*)+")
_UNIT_IN_WORDS = re.compile(_WORDS.pattern + r"(?:\^\{?\d\}?)?$")
_UNIT = re.compile(
    r"(?<=[\d})])\s*(?:\\?%|\^\{?\\circ\}?|°|(?<=\s)(?!pi\b|or\b|and\b)[A-Za-z]{2,}(?:\s[A-Za-z]+)*(?:\^\{?\d\}?)?)$"
)
NUMERAL = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+)"
_TOKEN = re.compile(
    rf"\s*(?:(?P<number>{NUMERAL})|(?P<operator>[-+*/^(){{}}\[\]])|"
    r"(?P<command>\\(?:[dt]?frac|sqrt|pi|cdot|times|div)(?![a-zA-Z]))|(?P<pi>π|pi(?![a-zA-Z])))"
)
_LETTER = re.compile(r"(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z])")
_INNER = rf"\s*[-+]?\s*{NUMERAL}\s*"
_FRACTION = rf"(?:\\frac\s*(?:\{{{_INNER}\}}|\d)\s*(?:\{{{_INNER}\}}|\d)|{NUMERAL}\s*[/:]\s*{NUMERAL})"
_POWER = r"(?:\\times|\\cdot|\*|\u00d7)\s*10\s*\^\s*(?:\{\s*-?\d{1,3}\s*\}|\d)"
_NUMERALS: dict[Numeral, re.Pattern[str]] = {
    "whole": re.compile(r"[-+]?\s*(?:\d{1,3}(?:,\d{3})+|\d+)"),
    "fraction": re.compile(rf"[-+]?\s*{_FRACTION}"),
    "mixed": re.compile(rf"[-+]?\s*\d+(?:\s+|(?=\\)){_FRACTION}"),
    "decimal": re.compile(rf"[-+]?\s*{NUMERAL}"),
    "power": re.compile(rf"[-+]?\s*{NUMERAL}\s*{_POWER}"),
}
_PLAIN = re.compile(rf"[-+]?\s*{NUMERAL}")
_INTEGER = re.compile(r"[-+]?\d+")


@dataclass(frozen=True, slots=True)
class Shape:
    """What an answer looks like."""

    kind: Kind
    entries: tuple[str, ...] = ()
    """Of an interval its two ends, of a list or a set its members."""
    ends: str = ""
    """The two brackets of an interval or a list."""


def tidy(text: str) -> str:
    """The text without what changes only how it is set: dollars, spaces of LaTeX, `\\left`, a full stop at its end."""
    text = text.replace("\u2212", "-").replace("{,}", ",").replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    text = text.replace("\\$", "").replace("\\{", "\\lbrace ").replace("\\}", "\\rbrace ")
    return plain(" ".join(_WRAPPING.sub(" ", text).split()).removesuffix("."))


def without_marks(text: str) -> str:
    """The text with the words of `\\text{...}` and the like as plain words."""
    return _WORDS.sub(r" \1 ", text)


def is_integer(text: str) -> bool:
    """Whether the text is nothing but the digits of a whole number."""
    return _INTEGER.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def shape_of(answer: str) -> Shape:
    """The shape of an answer in LaTeX or plain text."""
    text = tidy(answer)[:_LONGEST]
    words = without_marks(text)
    if re.search(r"(?<![<>!\\])=|\\(?:leq?|geq?|lt|gt)(?![a-zA-Z])|[<>≤≥]", text):
        return Shape("equation")
    if text.startswith("\\lbrace") and text.endswith("\\rbrace"):
        return Shape("set", _split(text.removeprefix("\\lbrace").removesuffix("\\rbrace")))
    if "\\cup" in text or "\\infty" in text:
        parts = [part.strip() for part in text.split("\\cup")]
        if len(parts) == 1 and len(entries := _split(text[1:-1])) == 2:
            return Shape("interval", entries, text[0] + text[-1])
        return Shape("interval")
    if _is_bracketed(text) and len(entries := _split(text[1:-1])) > 1:
        is_interval = len(entries) == 2 and text[0] + text[-1] != "()"
        return Shape("interval" if is_interval else "list", entries, text[0] + text[-1])
    if value_of(text) is not None:
        return Shape("number")
    if len(entries := _split(re.sub(r"\b(?:and|or)\b", ",", words))) > 1:
        return Shape("list", entries)
    if re.search(r"[a-zA-Z]{3,}", _WORDS.sub("", text).replace("\\", " \\")) and "\\" not in text:
        return Shape("words")
    if _WORDS.sub("", text).strip() == "":
        return Shape("words")
    return Shape("expression")


def letters_of(answer: str) -> frozenset[str]:
    """The variables of an expression."""
    return frozenset(_LETTER.findall(_WORDS.sub("", tidy(answer)[:_LONGEST])))


@lru_cache(maxsize=4096)
def value_of(answer: str) -> float | None:
    """The value of a number in LaTeX or plain text, a per cent sign and units aside; None for anything else."""
    text, unit = parted(answer)
    if not text or len(text) > _LONGEST:
        return None
    try:
        value = _Reader(text).whole() * number_word(unit)
    except (ValueError, ArithmeticError):
        return None
    return value if math.isfinite(value) else None


def numeral_of(answer: str) -> Numeral | None:
    """How the text writes a single number down; None for what is to be worked out, such as `3 + 4` and `2^3`.

    `x =` before it and a unit after it do not count.
    """
    text, _ = numeral_and_unit(answer)
    for form, pattern in _NUMERALS.items():
        if pattern.fullmatch(text):
            return form
    return None


@lru_cache(maxsize=4096)
def numeral_and_unit(answer: str) -> tuple[str, str]:
    """An answer without `x =` before it and brackets around it, and its unit; empty where it is too long."""
    text = tidy(answer)
    if len(text) > _LONGEST:
        return "", ""
    text = _without_brackets(re.sub(r"^(?:[a-zA-Z]|\\[a-zA-Z])[^=<>]*=", "", text).strip())
    text, unit = parted(text)
    return _without_brackets(text), unit


def parted(answer: str) -> tuple[str, str]:
    """An answer without the words around it, and the words: `5` and `cm ^2`."""
    text = tidy(answer)
    if len(text) > _LONGEST:
        return text, ""
    if words := _WORDS.fullmatch(text):
        text = words[1].strip()
    units: list[str] = []
    while unit := _UNIT_IN_WORDS.search(text) or _UNIT.search(text):
        if not text[: unit.start()].strip():
            break
        units.insert(0, unit[0])
        text = text[: unit.start()].strip()
    if before := _WORDS_BEFORE.match(text):
        units.insert(0, before[0])
        text = text[before.end() :] or text
    return text, without_marks(" ".join(units)).strip()


def is_point_for_set(given: Shape, wanted: Shape) -> bool:
    """Whether of two answers one is a set in braces of several members, and the other is in parentheses."""
    kinds = {given.kind, wanted.kind}
    both = len(given.entries) > 1 and len(wanted.entries) > 1
    return kinds == {"list", "set"} and both and "()" in (given.ends, wanted.ends)


def is_close(value: float, other: float, share: float = 1e-9) -> bool:
    """Whether two values differ by no more than a share of the larger."""
    return math.isclose(value, other, rel_tol=share, abs_tol=1e-12)


def _without_brackets(text: str) -> str:
    while text[:1] + text[-1:] in ("()", "{}") and _is_bracketed(text):
        text = text[1:-1].strip()
    return text


def _is_bracketed(text: str) -> bool:
    """Whether one pair of brackets holds the whole text; `(0, 1]` counts."""
    if len(text) < 2 or text[0] not in "([{" or text[-1] not in ")]}":
        return False
    depth = 0
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return position == len(text) - 1
    return False


def _split(text: str) -> tuple[str, ...]:
    """The parts between commas that stand in no bracket; the comma of `1,000` stays."""
    parts, depth, start = [], 0, 0
    if _PLAIN.fullmatch(text.strip()):
        return (text.strip(),)
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character in ",;" and depth == 0:
            parts.append(text[start:position].strip())
            start = position + 1
    return (*parts, text[start:].strip())


class _Reader:
    """A number by recursive descent; raises ValueError or ArithmeticError for what is none."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise ValueError(text)
            self._tokens.append(match[0].strip())
            position = match.end()
        self._depth = 0

    def whole(self) -> float:
        value = self._sum()
        if self._tokens:
            raise ValueError(self._tokens[0])
        return value

    def _next(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def _take(self, *wanted: str) -> str:
        if not self._tokens or (wanted and self._tokens[0] not in wanted):
            raise ValueError(self._next())
        return self._tokens.pop(0)

    def _sum(self) -> float:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("too deep")
        sign = self._take() if self._next() in ("-", "+") else "+"
        value = self._product() if sign == "+" else -self._product()
        while self._next() in ("+", "-"):
            value = value + self._product() if self._take() == "+" else value - self._product()
        self._depth -= 1
        return value

    def _product(self) -> float:
        value = self._power()
        may_be_mixed = value.is_integer()
        while self._next() not in ("", "+", "-", ")", "}", "]"):
            token = self._next()
            if token in ("/", "\\div"):
                self._take()
                value /= self._power()
            elif token in ("*", "\\cdot", "\\times"):
                self._take()
                value *= self._power()
            elif token == "\\frac" and may_be_mixed:
                value += self._power()
            elif token[0].isdigit() or token[0] == ".":
                raise ValueError("two numbers side by side")
            else:
                value *= self._power()
            may_be_mixed = False
        return value

    def _power(self) -> float:
        base = self._atom()
        if self._next() != "^":
            return base
        self._take()
        sign = -1.0 if self._next() == "-" and self._take() else 1.0
        exponent = sign * self._atom()
        result = base**exponent
        if isinstance(result, complex):
            raise ValueError("no real number")
        return float(result)

    def _atom(self) -> float:
        token = self._take()
        if token[0].isdigit() or token[0] == ".":
            return float(token.replace(",", ""))
        if token in ("\\pi", "π", "pi"):
            return math.pi
        if token in ("(", "{", "["):
            value = self._sum()
            self._take({"(": ")", "{": "}", "[": "]"}[token])
            return value
        if token == "\\frac":
            return self._argument() / self._argument()
        if token == "\\sqrt":
            degree = 2.0
            if self._next() == "[":
                self._take()
                degree = self._sum()
                self._take("]")
            return float(math.pow(self._argument(), 1 / degree))
        raise ValueError(token)

    def _argument(self) -> float:
        """What a command of LaTeX takes: a group in braces, or one digit of what follows."""
        if self._next() == "{":
            return self._atom()
        token = self._take()
        if token[0].isdigit() and token.isdigit():
            if token[1:]:
                self._tokens.insert(0, token[1:])
            return float(token[0])
        if token in ("\\pi", "π"):
            return math.pi
        raise ValueError(token)
