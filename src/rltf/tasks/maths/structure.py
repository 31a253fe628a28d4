"""What an answer is made of: a list, a point, a set, an interval, values of named unknowns, a number in a base, ...

Two answers of known structure are compared entry by entry, each entry by a function that the caller gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

from rltf.tasks.maths.parts import tidy, without_brackets, without_marks
from rltf.tasks.maths.spelling import WORDS
from rltf.tasks.maths.unknowns import bare, one_solution, values_of_unknowns
from rltf.tasks.maths.values import NAMED, letters_of, split

Same: TypeAlias = Callable[[str, str], bool]
"""Whether two entries are equal."""

_APPLIED = re.compile(r"([a-zA-Z])\(([a-zA-Z])\)")
_MEMBER = re.compile(r"[a-zA-Z]\s*\\in(?![a-zA-Z])\s*(?=[\[(\\])")
_POINTS = re.compile(r"(\([a-zA-Z](?:\s*,\s*[a-zA-Z])+\))\s*\\in(?![a-zA-Z])\s*\\lbrace\s*(.+?)\s*\\rbrace")
_SYSTEM = re.compile(r"(\(.+\))\s*=\s*(\(.+\))")
_FOR_ALL = re.compile(
    r",?\s*(?:\\text\s*\{\s*,?\s*for (?:all|every|any|each)(?: real)?(?: numbers?)?\s*\}|\bfor (?:all|every|any) |"
    r"\\forall(?![a-zA-Z]))\s*\$?\s*[a-z]?\s*(?:\\in\s*\\mathbb\s*\{?[A-Z]\}?(?:\^\+)?)?\s*(?:\\text\s*\{[^{}]*\})?\s*$"
)
_INTEGERS = re.compile(
    r"\s*[,;]?\s*(?:\\text\s*\{\s*,?\s*(?:where|for|with)?\s*\})?\s*\(?\s*([a-zA-Z])\s*\\in\s*(?:\\mathbb\s*\{?Z\}?|"
    r"\\mathbf\s*\{?Z\}?|Z)\s*\)?$"
)
_BUILDER = re.compile(
    r"\\lbrace\s*[a-z]\s*(?:\\in\s*\\mathbb\s*\{?R\}?)?\s*(?:\\mid(?![a-zA-Z])|\||:)\s*([^|:]*[<>=\\][^|:]*)\\rbrace"
)
_MODULUS = re.compile(
    r"\s*[,(]?\s*\(?\s*(?:\\pmod|\\bmod|\\mod|\\text\s*\{\s*\(?mod\s*\}|\\mathrm\s*\{\s*mod\s*\}|\bmod)\s*\{?\s*([^{}()]+?)\s*\}?\s*\)?$"
)
_EQUIVALENT = re.compile(r"([a-zA-Z]\w*)\s*(?:\\equiv(?![a-zA-Z])|=)\s*(.+)")
_TURNED = re.compile(r"(-?\d+)\s*(?:\\equiv(?![a-zA-Z])|=)\s*([a-zA-Z])")
_DIVIDES = re.compile(
    r"(?P<divisor>\d+|[a-z])\s*(?:\\mid(?![a-zA-Z])|\||\\vert(?![a-zA-Z])|\bdivides\b)\s*(?P<letter>[a-zA-Z\d][^|=<>,;]*)"
)
_DIVISIBLE = re.compile(r"(?P<letter>[a-zA-Z])\s+is\s+(?:divisible\s+by|an?\s+multiple\s+of)\s+(?P<divisor>\d+)")
_SMALL = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_BASES = {word: str(base) for base, word in enumerate(_SMALL, start=2)} | {"sixteen": "16", "hex": "16"}
_MARKS = re.compile(r"\\(?:text|mathrm|textbf|mathbf)(?![a-zA-Z])|[{}$]")
_BASED = re.compile(
    r"([-+]?)\s*\(?\s*([\dA-Fa-f]+(?:\.[\dA-Fa-f]+)?)\s*\)?\s*"
    r"(?:_\s*\(?\s*(?:base\s*)?([A-Za-z]+|\d{1,2})\s*\)?|\(?\s*(?:in\s+)?base[\s-]*([A-Za-z]+|\d{1,2})\s*\)?)"
)
_PREFIXED = re.compile(r"([-+]?)0([box])([\dA-Fa-f]+)")
_PREFIXES = {"b": "2", "o": "8", "x": "16"}
_COLUMN = re.compile(r"\(?\s*\\begin\{([pb]?matrix)\}(.*)\\end\{\1\}\s*\)?", re.DOTALL)
_OR = r"and|or|und|oder|et|ou|y|o|или|и|和|或|또는"
_AND_IN_WORDS = re.compile(rf"\\(?:text|mathrm|textbf|mbox|textit)\s*\{{([^{{}}]*?)(?<!\w)(?:{_OR})(?!\w)([^{{}}]*)\}}")
_AND = re.compile(r"(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])")
_LOGICAL = re.compile(r"\\(?:lor|vee|land|wedge)(?![a-zA-Z])")
_SIGNS = re.compile(r"\\(pm|mp)(?![a-zA-Z])")
_CHOICE = re.compile(r"\(\s*([A-J])\s*\)\s*|([A-J])\s*[).:](?:\s+|$)|([A-J])$")
_OTHER_CHOICE = re.compile(r"\(\s*[A-J]\s*\)|(?<![A-Za-z])[A-J]\s*[).:](?:\s|$)")
_CHOICES = re.compile(r"[A-H]{2,8}")


@dataclass(frozen=True, slots=True)
class Listing:
    """Entries, with their names and the brackets around them."""

    entries: tuple[str, ...]
    names: tuple[str, ...] = ()
    """Of values of unknowns, as many as entries."""
    ends: str = ""
    """`()` of a point, `{}` of a set, `[)` of an interval; `|` and `-` of a column and a row; `=` of unknowns that
    are no solutions; empty without any."""

    @property
    def is_ordered(self) -> bool:
        """Whether the place of an entry has a meaning."""
        return self.ends not in ("", "{}")

    @property
    def is_of_one_letter(self) -> bool:
        """Whether the names are numbered: `x_1`, `x_2`, the roots of an equation in any order."""
        letters = {name.partition("_")[0] for name in self.names}
        return len(letters) == 1 and all("_" in name for name in self.names)


@dataclass(frozen=True, slots=True)
class Based:
    """A number in a base that stands as a subscript."""

    digits: str
    base: str


@dataclass(frozen=True, slots=True)
class Congruence:
    """`x = 3 (mod 7)`, with or without a letter."""

    letter: str
    residue: str
    modulus: str
    divides: bool = False
    """Whether it is written as `7 | x`: a residue alone does not say that. Of `7 | x + 1` the residue is `x + 1`."""


@lru_cache(maxsize=4096)
def based(answer: str) -> Based | None:
    """A number with its base; None for any other answer."""
    text = _MARKS.sub("", tidy(answer)).strip()
    if prefixed := _PREFIXED.fullmatch(text):
        return Based(prefixed[1].strip("+") + (prefixed[3].upper().lstrip("0") or "0"), _PREFIXES[prefixed[2]])
    match = _BASED.fullmatch(text)
    if match is None:
        return None
    sign, digits, *said = match.groups()
    base = next(filter(None, said)).casefold()
    base = _BASES.get(base, base)
    # A letter with a subscript is a name.
    if not base.isdecimal() or not 2 <= int(base) <= 36 or (digits.isalpha() and (len(digits) == 1 or base != "16")):
        return None
    return Based(sign.strip("+") + (digits.upper().lstrip("0") or "0"), str(int(base)))


@lru_cache(maxsize=4096)
def congruence(answer: str) -> Congruence | None:
    """A congruence; None for any other answer."""
    text = tidy(answer)
    if divided := _DIVIDES.fullmatch(without_marks(text).strip()) or _DIVISIBLE.fullmatch(without_marks(text).strip()):
        what = divided["letter"].strip()
        is_letter = len(what) == 1 and what.isalpha()
        letter, residue = (what, "0") if is_letter else ("", what)
        return Congruence(letter, residue, divided["divisor"], divides=True)
    match = _MODULUS.search(text) if "mod" in text else None
    if match is None:
        return None
    left = text[: match.start()].strip()
    equal = _EQUIVALENT.fullmatch(left)
    letter, residue = (equal[1], equal[2]) if equal else ("", left)
    if turned := _TURNED.fullmatch(left):
        letter, residue = turned[2], turned[1]
    return Congruence(letter, without_brackets(residue.strip()), match[1].strip())


@lru_cache(maxsize=4096)
def listing(answer: str) -> Listing | None:
    """The entries of an answer of several, or of a set; None for one of a single value and for what is no list."""
    text = without_condition(tidy(answer))
    if text.startswith("(\\begin") or text.startswith("\\begin"):
        return _column(text)
    if system := _SYSTEM.fullmatch(text):
        names, values = _bracketed(system[1]), _bracketed(system[2])
        if names and values and len(names.entries) == len(values.entries):
            return replace(values, names=tuple(map(bare, names.entries)))
    if points := _POINTS.fullmatch(text):
        return Listing(tuple(f"{points[1]}={point}" for point in split(points[2])), ends="{}")
    named = NAMED.fullmatch(text)
    body = named[2].strip() if named else text
    body = _MEMBER.sub("", body, count=1) if _MEMBER.match(body) else body
    if body.startswith("\\lbrace") and body.endswith("\\rbrace"):
        inner = body.removeprefix("\\lbrace").removesuffix("\\rbrace").strip()
        if re.search(r"\\mid|\||:|\\ldots|\\rbrace|\\lbrace", inner):
            return None
        return Listing(_expanded(split(inner)), ends="{}")
    if "\\cup" in body or "\\cap" in body or re.search(r"\\(?:le|ge|lt|gt|leq|geq|ne)(?![a-zA-Z])|[<>]", body):
        return None
    if found := _bracketed(body):
        if found.ends == "()" and (solution := one_solution(found.entries)) is not None:
            return Listing(*solution)  # (x = 1, y = 2)
        return Listing(_expanded((body,))) if found.ends == "()" and _SIGNS.search(body) else found
    return _bare_list(text)


def _bare_list(text: str) -> Listing | None:
    parts = _expanded(split(_with_commas(text)))
    if len(parts) < 2 or not all(parts):
        return None
    if (values := values_of_unknowns(parts, text)) is not None:
        return Listing(*values)
    is_plain = not any("=" in part for part in parts) or not any(map(NAMED.fullmatch, parts))
    return Listing(parts) if is_plain else None


def same_listings(given: Listing, wanted: Listing, same: Same) -> bool:
    """Whether two lists have the same entries: in order where one of them is a point, else in any.

    Values of named unknowns are compared by name; with a list without names, in the order in which they stand.
    """
    if given.ends != wanted.ends and (given.is_ordered or wanted.is_ordered) and not _may_be_same_kind(given, wanted):
        return False
    if given.names and wanted.names:
        mine, theirs = (dict(zip(side.names, side.entries, strict=True)) for side in (given, wanted))
        return mine.keys() == theirs.keys() and all(same(mine[name], theirs[name]) for name in mine)
    ordered = given.is_ordered or wanted.is_ordered
    if given.names or wanted.names:
        named, other = (given, wanted) if given.names else (wanted, given)
        ordered = ordered or not named.is_of_one_letter or other.is_ordered
    if given.ends == wanted.ends == "{}":
        return all(any(same(a, b) for b in wanted.entries) for a in given.entries) and all(
            any(same(a, b) for a in given.entries) for b in wanted.entries
        )
    if len(given.entries) != len(wanted.entries):
        return False
    if ordered:
        return all(map(same, given.entries, wanted.entries))
    return _same_in_any_order(given.entries, wanted.entries, same)


def _may_be_same_kind(given: Listing, wanted: Listing) -> bool:
    kinds = {given.ends, wanted.ends}
    if "{}" in kinds:
        return False
    if "" in kinds:  # (1, 2) and 1, 2
        return kinds <= {"", "()", "|", "-"}
    # A vector in a column, in a row or as a point; (1, 2, 3) and [1, 2, 3], which are no intervals.
    several = len(given.entries) > 2 and len(wanted.entries) > 2
    return kinds in ({"()", "|"}, {"()", "-"}) or (several and kinds <= {"()", "[]", "|"} and kinds != {"[]", "|"})


def _same_in_any_order(mine: Sequence[str], theirs: Sequence[str], same: Same) -> bool:
    left = list(theirs)
    for entry in mine:
        found = next((i for i, other in enumerate(left) if same(entry, other)), None)
        if found is None:
            return False
        del left[found]
    return not left


def without_condition(text: str) -> str:
    """The condition alone of a set, no `for all x`, and k for the name of any integer: `k \\in \\mathbb{Z}`."""
    text = _FOR_ALL.sub("", text)
    if builder := _BUILDER.fullmatch(text):
        text = builder[1].strip()
    match = _INTEGERS.search(text)
    letter = match[1] if match else None
    if match:
        text = text[: match.start()]
    elif "\\pi" in text:
        letters = set(letters_of(text.partition("=")[2] or text))
        letter = letters.pop() if len(letters) == 1 and letters <= set("klmn") else None
    return re.sub(rf"(?<![a-zA-Z\\]){letter}(?![a-zA-Z_])", "k", text) if letter else text


def named_value(answer: str) -> tuple[str, str]:
    """Name and value of `x = 5` and `f(n) = n + 1`; an empty name without one."""
    text = without_condition(tidy(answer))
    if member := _MEMBER.match(text):
        return "", text[member.end() :]
    match = NAMED.fullmatch(text)
    if match is None:
        return "", text
    return bare(match[1]), match[2].strip()


def in_one_variable(name: str, value: str, other: str) -> tuple[str, str]:
    """`f(n) = n + 1` in the variable of another function's name: `f(x) = x + 1`."""
    mine, theirs = _APPLIED.fullmatch(name), _APPLIED.fullmatch(other)
    if mine is None or theirs is None or mine[2] == theirs[2] or theirs[2] in letters_of(value):
        return name, value
    letter = re.compile(rf"(?<![a-zA-Z\\]){mine[2]}(?![a-zA-Z])")
    return f"{mine[1]}({theirs[2]})", letter.sub(theirs[2], value)


def choice(answer: str) -> str | None:
    """The label of a choice with or without what it says: `(C) 15`, `C. 15`, `\\textbf{(C)}\\ 15`; None without one."""
    text = tidy(answer)
    match = re.match(rf"{WORDS}", text)
    text = f"{match[1]} {text[match.end() :]}".strip() if match else text
    label = _CHOICE.match(text)
    if label is None or _OTHER_CHOICE.search(text, label.end()):
        return None
    return str(next(filter(None, label.groups())))


def choices(answer: str) -> tuple[str, ...] | None:
    """Several choices as letters: `AC` and `A, C`; None for any other answer."""
    text = without_brackets(tidy(answer))
    if match := re.fullmatch(WORDS, text):
        text = match[1].strip()
    letters = (
        tuple(text) if _CHOICES.fullmatch(text) else tuple(part.strip("() ") for part in split(_with_commas(text)))
    )
    several = len(letters) > 1 and all(re.fullmatch("[A-H]", letter) for letter in letters)
    return tuple(sorted(letters)) if several and list(letters) == sorted(set(letters)) else None


def _column(text: str) -> Listing | None:
    match = _COLUMN.fullmatch(text)
    if match is None:
        return None
    body = re.sub(r"\\\\\s*$", "", match[2].strip())
    rows = re.split(r"\\\\", body)
    if len(rows) > 1 and "&" not in body:
        return Listing(tuple(row.strip() for row in rows), ends="|")
    if len(rows) == 1 and "&" in body:
        return Listing(tuple(entry.strip() for entry in body.split("&")), ends="-")
    return None


def _bracketed(text: str) -> Listing | None:
    text = re.sub(r"^\\langle(?![a-zA-Z])(.*)\\rangle$", r"(\1)", text)
    text = re.sub(r"^\\lbrack(?![a-zA-Z])", "[", text)
    if len(text) < 2 or text[0] not in "([" or text[-1] not in ")]" or not _one_pair(text):
        return None
    entries = split(text[1:-1])
    return Listing(entries, ends=text[0] + text[-1]) if len(entries) > 1 and all(entries) else None


def _one_pair(text: str) -> bool:
    depth = 0
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return place == len(text) - 1
    return False


def _with_commas(text: str) -> str:
    """The text with a comma for each `and` and `or`, also among other words."""
    text = _AND_IN_WORDS.sub(lambda match: f"{_words(match[1])} , {_words(match[2])}", text)
    text = _AND.sub(" , ", text)
    if "=" in text:
        text = _LOGICAL.sub(" , ", text)
    return re.sub(r"[,;](?:\s*[,;])+", ", ", text).strip().strip(",;").strip()


def _words(text: str) -> str:
    text = text.strip().strip(",;")
    return f"\\text{{ {text}}}" if text else ""


def _expanded(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Each entry with a sign of both kinds as two."""
    found: list[str] = []
    for part in parts:
        if _SIGNS.search(part) and len(found) < 50:
            for first, second in ("+-", "-+"):
                signs = {"pm": first, "mp": second}
                found.append(re.sub(r"^\+\s*|(?<==)\s*\+", "", _SIGNS.sub(lambda m, s=signs: s[m[1]], part)).strip())  # type: ignore[misc]
        else:
            found.append(part)
    return tuple(found)
