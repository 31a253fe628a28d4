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

from rltf.tasks.maths.parts import (
    LETTER,
    LONGEST,
    WORDS_MARKED,
    is_bracketed,
    parted,
    tidy,
    without_brackets,
    without_marks,
)
from rltf.tasks.maths.units import number_word

Kind: TypeAlias = Literal["number", "interval", "list", "set", "equation", "expression", "words"]
Numeral: TypeAlias = Literal["whole", "fraction", "mixed", "decimal", "power"]

_DEEPEST = 20
NUMERAL = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+)"
_TOKEN = re.compile(
    rf"\s*(?:(?P<number>{NUMERAL})|(?P<operator>[-+*/^(){{}}\[\]])|"
    r"(?P<command>\\(?:[dt]?frac|sqrt|pi|cdot|times|div)(?![a-zA-Z]))|(?P<pi>π|pi(?![a-zA-Z])))"
)
_NAME = (
    r"(?:[a-zA-Z]|\\(?:vec|overrightarrow|mathbf|mathrm|text|angle|hat|bar)\s*\{?[^{}=]*\}?|\\[a-zA-Z]+)"
    r"(?:'|_\s*(?:\{[^{}]*\}|\w)|\^\s*(?:\\ast|\\prime|\{\s*-1\s*\}|\{\s*\\prime\s*\})|\s*\([^()=<>]{1,20}\))*"
)
# A segment, an angle, an area, a size, a quotient, a function of one letter.
_NAME_OF_FIGURE = (
    r"[A-Z]{2,3}|\\angle\s*[A-Z]{1,3}|\[[A-Z]{3,5}\]|\|[^|=]{1,20}\||\\frac\s*\{\s*[a-zA-Z]+\s*\}\s*\{\s*[a-zA-Z]+\s*\}|"
    r"[a-zA-Z]\s*/\s*[a-zA-Z]|[a-zA-Z](?:\s*:\s*[a-zA-Z])+|"
    r"\\(?:sin|cos|tan|cot|sec|csc|det|arg|dim|deg|ln|log)\s*\(?\s*(?:\\[a-z]+|[a-zA-Z]{1,3})\s*\)?"
)
NAMED = re.compile(rf"({_NAME}|{_NAME_OF_FIGURE})\s*=\s*([^=<>]+)")
"""A name and a value: `x = 5`, `f(2) = 5`, `\\text{Area} = 5`. No equation such as `x + y = 5`."""
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
_GROUPS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_PLAIN = re.compile(rf"[-+]?\s*{NUMERAL}")


@dataclass(frozen=True, slots=True)
class Shape:
    """What an answer looks like."""

    kind: Kind
    entries: tuple[str, ...] = ()
    """Of an interval its two ends, of a list or a set its members."""
    ends: str = ""
    """The two brackets of an interval or a list."""


@lru_cache(maxsize=4096)
def shape_of(answer: str) -> Shape:
    """The shape of an answer in LaTeX or plain text."""
    text = tidy(answer)[:LONGEST]
    words = without_marks(text)
    if re.search(r"(?<![<>!\\])=|\\(?:leq?|geq?|lt|gt)(?![a-zA-Z])|[<>≤≥]", text):
        return Shape("equation")
    if text.startswith("\\lbrace") and text.endswith("\\rbrace"):
        return Shape("set", split(text.removeprefix("\\lbrace").removesuffix("\\rbrace")))
    if "\\cup" in text or "\\infty" in text:
        parts = [part.strip() for part in text.split("\\cup")]
        if len(parts) == 1 and len(entries := split(text[1:-1])) == 2:
            return Shape("interval", entries, text[0] + text[-1])
        return Shape("interval")
    if is_bracketed(text) and len(entries := split(text[1:-1])) > 1:
        is_interval = len(entries) == 2 and text[0] + text[-1] != "()"
        return Shape("interval" if is_interval else "list", entries, text[0] + text[-1])
    if value_of(text) is not None:
        return Shape("number")
    if len(entries := split(re.sub(r"\b(?:and|or)\b", ",", words))) > 1:
        return Shape("list", entries)
    if re.search(r"[a-zA-Z]{3,}", WORDS_MARKED.sub("", text).replace("\\", " \\")) and "\\" not in text:
        return Shape("words")
    if WORDS_MARKED.sub("", text).strip() == "":
        return Shape("words")
    return Shape("expression")


def letters_of(answer: str) -> frozenset[str]:
    """The variables of an expression."""
    return frozenset(LETTER.findall(WORDS_MARKED.sub("", tidy(answer)[:LONGEST])))


@lru_cache(maxsize=4096)
def value_of(answer: str) -> float | None:
    """The value of a number in LaTeX or plain text, a per cent sign and units aside; None for anything else."""
    text, unit = parted(answer)
    if not text or len(text) > LONGEST:
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
    if len(text) > LONGEST:
        return "", ""
    if named := NAMED.fullmatch(text):
        text = named[2].strip()
    text = without_brackets(text)
    text, unit = parted(text)
    return without_brackets(text), unit


def is_point_for_set(given: Shape, wanted: Shape) -> bool:
    """Whether of two answers one is a set in braces of several members, and the other is in parentheses."""
    kinds = {given.kind, wanted.kind}
    both = len(given.entries) > 1 and len(wanted.entries) > 1
    return kinds == {"list", "set"} and both and "()" in (given.ends, wanted.ends)


def is_close(value: float, other: float, share: float = 1e-9) -> bool:
    """Whether two values differ by no more than a share of the larger."""
    return math.isclose(value, other, rel_tol=share, abs_tol=1e-12)


def split(text: str) -> tuple[str, ...]:
    """The parts between commas outside all brackets; the comma of `1,000` stays where others have a space behind."""
    parts, depth, start = [], 0, 0
    if _PLAIN.fullmatch(text.strip()):
        return (text.strip(),)
    within = {match.start() for match in _GROUPS.finditer(text)} if re.search(r",\s|;", text) else set()
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character in ",;" and depth == 0 and position not in within:
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
