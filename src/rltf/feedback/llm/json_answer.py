"""Finds the JSON object in a judge's text, and mends what models get wrong in writing one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=lambda pairs: _object(pairs))
_MOST_OBJECTS = 200
_FENCE = re.compile(r"```[ \t]*\w*[ \t]*\n(.*?)```", re.DOTALL)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)(?=([A-Za-z]*))", re.DOTALL)
_ESCAPED_COMMAND = re.compile(r"(?<!\\)\\\\[A-Za-z]{2}")
# Commands of LaTeX that, behind a single backslash, begin as JSON writes a line break or a tab.
_COMMANDS = re.compile(
    "nabla|natural|ncong|ne|nearrow|neg|neq|newcommand|newline|newpage|nexists|ngeq|ngeqq|"
    "ngeqslant|ngtr|ni|nLeftarrow|nleftarrow|nLeftrightarrow|nleftrightarrow|nleq|nleqq|"
    "nleqslant|nless|nmid|nobreak|nocite|noindent|nolimits|nonumber|norm|normalfont|normalsize|"
    "not|notag|notin|nparallel|nprec|npreceq|nRightarrow|nrightarrow|nshortmid|nsim|nsubset|"
    "nsubseteq|nsucc|nsucceq|nsupset|nsupseteq|ntriangleleft|ntrianglelefteq|ntriangleright|nu|"
    "null|number|numberline|nVDash|nVdash|nvDash|nvdash|nwarrow|tag|tan|tanh|tau|tbinom|"
    "tens|tensor|text|textbf|textcolor|textit|textmd|textnormal|textrm|textsc|textsf|textsl|"
    "textstyle|textsubscript|textsuperscript|texttt|textup|tfrac|therefore|theta|thickapprox|"
    "thicksim|thinspace|tilde|times|tiny|title|to|top|toprule|tr|trace|triangle|triangledown|"
    "triangleleft|trianglelefteq|triangleq|triangleright|trianglerighteq|twoheadleftarrow|"
    "twoheadrightarrow"
)
_AMBIGUOUS = re.compile("ne|neg|ni|nu|tag|tan|tau|tens|to|top|tr|trace")
"""What a line or a cell could begin with as well, once the sign for the break is taken off: "e", "an", "o"."""
_SIGNS = ("ne", "ni", "nu")
"""What a single letter at the start of a line looks like."""
_BEFORE_A_SIGN = tuple("$({[=+-*/^_<>|&~")
_STRING_START = 2000
"""How far back the start of the formula is looked for in which a sign may stand."""
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"' + r"|'((?:[^'\\]|\\.)*)'" + r"|,(?=\s*[}\]])", re.DOTALL)


# One field of text, before scores if there are any.
_QUOTED = re.compile(
    r'(?P<before>\{\s*"\w+"\s*:\s*")(?P<text>.*)'
    r'(?P<behind>"\s*(?:,\s*"scores?"\s*:\s*(?:\[[^\[\]"]*\]|[\d.]+)\s*)?\})',
    re.DOTALL,
)
_OTHER_FIELD = re.compile(r'"\s*,\s*"[^"]*"\s*:|"\s*\}|\{\s*"')
"""What the end of a field, or of an object, looks like."""


class Found(NamedTuple):
    """An object in a text, and where it stands."""

    start: int
    end: int
    value: dict[str, Any]


def mended(text: str) -> str:
    r"""The text with each backslash that is meant as one written as JSON writes it: LaTeX as models write it in JSON.

    `\frac` holds what JSON takes for a form feed, `\theta` for a tab, `\nabla` for a line break; `\cdot` is no JSON.
    Behind a form feed, a backspace or a carriage return no letter ever stands; behind a line break or a tab it makes a
    difference whether all letters together are a command.
    """
    escapes = _ESCAPED_COMMAND.search(text) is not None
    in_double_quotes = '"feedback"' in text.lower()

    def mend(match: re.Match[str]) -> str:
        sign, letters = match[1], match[2]
        if sign in ('"', "\\", "/") or len(sign) > 1:
            return match[0]
        if sign == "'":
            return sign if in_double_quotes else match[0]
        if sign in "nt":
            command = sign + letters
            # One who writes \\frac means a line break by \n, unless what would stand behind it is no word.
            known = bool(_COMMANDS.fullmatch(command)) and not (escapes and _AMBIGUOUS.fullmatch(command))
            if known and command in _SIGNS:
                known = _in_a_formula(text, match.start(), spaced=command != "ni")
            return "\\" + match[0] if known else match[0]
        if sign in "fr" and not letters:
            return match[0]
        return "\\" + match[0]

    return _ESCAPE.sub(mend, text)


def _in_a_formula(text: str, place: int, *, spaced: bool) -> bool:
    """Whether a sign of mathematics may stand at a place; `spaced`: behind a space it may."""
    before = text[max(0, place - _STRING_START) : place]
    before = before[before.rfind('"') + 1 :]
    opened = before.count("$") % 2 == 1 or before.rfind("\\(") > before.rfind("\\)")
    return opened or before.endswith((*_BEFORE_A_SIGN, " ") if spaced else _BEFORE_A_SIGN)


def whole(text: str, *, complete: bool = True) -> object:
    """What the text as a whole is, if it is JSON, or nearly; raises `ValueError` where it is neither.

    Not `complete`: it was cut, and what does not end as it should is none.
    """
    value = _decoded(text.strip(), complete)
    # Written as JSON twice, or as a list of one.
    if isinstance(value, str):
        value = _DECODER.decode(mended(value.strip()))
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _decoded(text: str, complete: bool) -> object:
    for written in (text, _tidied(text)):
        with suppress(ValueError):
            return _DECODER.decode(written)
    return _DECODER.decode(_with_escaped_quotes(text) if complete else text)


def _with_escaped_quotes(text: str) -> str:
    """An object of one text with the quotation marks in that escaped: `{"feedback": "It says "no"."}`."""
    quoted = _QUOTED.fullmatch(text)
    if quoted is None or _OTHER_FIELD.search(quoted["text"]):
        return text
    inner = re.sub(r'(?<!\\)"', '\\"', quoted["text"])
    return f"{quoted['before']}{inner}{quoted['behind']}"


def objects(text: str) -> list[Found]:
    """The outermost objects in a text, in a fence or between words."""
    found = list(_plain_objects(text))
    if found:
        return found
    for fence in _FENCE.finditer(text):
        try:
            value = whole(fence[1])
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found.append(Found(fence.start(), fence.end(), value))
    return found


def _plain_objects(text: str) -> Iterator[Found]:
    start = text.find("{")
    for _ in range(_MOST_OBJECTS):
        if start < 0:
            return
        end = start + 1
        try:
            value, end = _DECODER.raw_decode(text, start)
            yield Found(start, end, value)
        except (ValueError, RecursionError):
            pass
        start = text.find("{", end)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object by its names in small letters; one with two values for a name says nothing."""
    value: dict[str, Any] = {}
    for name, item in pairs:
        known = name.strip().lower()
        if known in value and value[known] != item:
            raise ValueError(f"{name} stands twice")
        value[known] = item
    return value


def _tidied(text: str) -> str:
    """Strings in single quotes in double ones, and no comma before a closing bracket."""

    def tidy(match: re.Match[str]) -> str:
        if match[0] == ",":
            return ""
        if match[1] is None:
            return match[0]
        return '"' + match[1].replace("\\'", "'").replace('"', '\\"') + '"'

    return _STRING.sub(tidy, text)
