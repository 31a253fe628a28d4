"""What can be said of a wrong answer by its form alone: numbers, words, rows, grids and JSON, against the right answer.

Nothing here names a value of the right answer. Positions, lengths and directions are told, as in every located
feedback; counts up to twenty are written as words, so that a count is never taken for an answer.
"""

from __future__ import annotations

import ast
import json
import math
import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["number", "json", "grid", "row", "word"]

NO_NUMBER = "The answer must hold one number, and nothing beside it."
NO_WHOLE_NUMBER = "The answer must hold one whole number, and nothing beside it."
NO_JSON = "The answer must hold a JSON value, and nothing beside it."
NO_LIST = "The answer must hold a JSON list."
NO_LIST_OF_LISTS = "The answer must hold a JSON list of lists."
NO_OBJECT = "The answer must hold a JSON object."
OTHER_KEYS = "The JSON object has other keys than it should."
TOO_LARGE = "Your number is too large."
TOO_SMALL = "Your number is too small."
NO_WORD = "The answer must hold one word or symbol, without spaces."
NO_ROW = "The answer must stand on one line."
WRONG_WORD = "The answer has the right form, but another word would be right."
WRITTEN_OTHERWISE = (
    "No part of the answer is wrong, but it is not written as asked for. Look at spaces, capitals and punctuation."
)
SENTENCES = (
    NO_NUMBER,
    NO_WHOLE_NUMBER,
    NO_JSON,
    NO_LIST,
    NO_LIST_OF_LISTS,
    NO_OBJECT,
    OTHER_KEYS,
    TOO_LARGE,
    TOO_SMALL,
    NO_WORD,
    NO_ROW,
    WRONG_WORD,
    WRITTEN_OTHERWISE,
)
"""The sentences that say nothing of one right answer that they would not say of many."""

FRAMES = (
    "Row of the answer has rows entries words characters symbols values; it should have. Of entry word character "
    "symbol value, the only differs differ from the right answer; the first of them that stands at."
)
"""The words of the sentences that hold a position or a length."""

_NUMBER = re.compile(r"[+-]?(?:\d[\d,]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?")
_CHOICES = frozenset(
    [
        "yes",
        "no",
        "true",
        "false",
        "valid",
        "invalid",
        "on",
        "off",
        "pass",
        "none",
        "infeasible",
        "possible",
        "impossible",
    ]
)
_WORDS = [
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
]
_LONGEST_NUMBER = 300
# Emphasis, code, formulas and quotation marks.
_MARKS = (
    ("```", "```"), ("**", "**"), ("__", "__"), ("*", "*"), ("`", "`"), ("$$", "$$"), ("$", "$"), ("\\(", "\\)"),
    ("\\[", "\\]"), ('"', '"'), ("'", "'"), ("\u201c", "\u201d"), ("\u2018", "\u2019"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a right answer, by which an attempt is read."""

    kind: Kind
    noun: str = "entry"
    """What the parts of a row are called."""
    separator: str | None = None
    """What stands between the parts of a row; None for space of any width."""


def form_of(answer: str) -> Form:
    """The form of a right answer."""
    text = answer.strip()
    if read_number(text) is not None:
        return Form("number")
    if text[:1] in ("[", "{") and read_json(text) is not None:
        return Form("json")
    if len(_lines(text)) > 1:
        return Form("grid")
    if "," in text and all(len(part.split()) == 1 for part in text.split(",")):
        return Form("row", _noun(text), ",")
    if len(text.split()) > 1:
        return Form("row", _noun(text))
    return Form("word")


def unmarked(answer: str, gold: str) -> str:
    """An answer without the marks that stand around all of it, in pairs, and not around the right one."""
    while True:
        for first, last in _MARKS:
            inner = answer.removeprefix(first).removesuffix(last).strip()
            whole = answer.startswith(first) and answer.endswith(last) and len(answer) >= len(first + last)
            if whole and inner and not gold.startswith(first) and first not in inner and last not in inner:
                answer = inner
                break
        else:
            return answer


def read_number(text: str) -> float | None:
    """The number that a text is; None for anything else."""
    text = text.strip()
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        return None
    number = float(text.replace(",", ""))
    return number if math.isfinite(number) else None


def read_json(text: str) -> Any:
    """The list, object or other value that a text is in JSON or in Python's notation; None for anything else."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        value = ast.literal_eval(text.strip())
        json.dumps(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return list(value) if isinstance(value, tuple) else value


def departs(answer: str, right: str) -> str:
    """How an attempt's form departs from the right answer's, sizes aside; nothing where it does not."""
    form = form_of(right)
    match form.kind:
        case "number":
            if read_number(answer) is None:
                return NO_WHOLE_NUMBER if re.fullmatch(r"[+-]?\d+", right.strip()) else NO_NUMBER
        case "json":
            found, wanted = read_json(answer), read_json(right)
            if found is None:
                return NO_JSON
            if isinstance(wanted, dict) and not isinstance(found, dict):
                return NO_OBJECT
            if isinstance(wanted, list) and not isinstance(found, list):
                return NO_LIST
            if _rows_of(wanted) is not None and _rows_of(found) is None:
                return NO_LIST_OF_LISTS
        case "row":
            if len(_lines(answer)) > 1:
                return NO_ROW
        case "word":
            if len(answer.split()) > 1:
                return NO_WORD
        case "grid":
            pass
    return ""


def differs(answer: str, right: str, question: str) -> str:
    """Where an attempt of the right form is wrong, in one or two sentences."""
    form = form_of(right)
    match form.kind:
        case "number":
            return _compare_numbers(answer, right)
        case "word":
            return _compare_words(answer.strip(), right.strip(), question)
        case "json":
            return _compare_json(read_json(answer), read_json(right))
        case "row":
            return _compare_rows([_parts(answer, form)], [_parts(right, form)], form.noun)
        case "grid":
            rows, wanted = [line.split() for line in _lines(answer)], [line.split() for line in _lines(right)]
            if all(len(row) == 1 for row in wanted):  # A picture without spaces.
                return _compare_rows([list("".join(row)) for row in rows], [list(row[0]) for row in wanted], "symbol")
            return _compare_rows(rows, wanted)


def number_word(count: int) -> str:
    """A count as people write it: words up to twenty."""
    return _WORDS[count] if count < len(_WORDS) else str(count)


def counted(count: int, noun: str) -> str:
    """`three entries`."""
    return f"{number_word(count)} {noun if count == 1 else _plural(noun)}"


def same_part(left: str, right: str) -> bool:
    """Whether two parts of an answer are the same, case aside, and numbers by value."""
    if left.strip().casefold() == right.strip().casefold():
        return True
    numbers = read_number(left), read_number(right)
    return None not in numbers and numbers[0] == numbers[1]


def _compare_numbers(answer: str, right: str) -> str:
    found, wanted = read_number(answer), read_number(right)
    assert found is not None
    assert wanted is not None
    if found == wanted:
        return WRITTEN_OTHERWISE
    return TOO_LARGE if found > wanted else TOO_SMALL


def _compare_words(answer: str, right: str, question: str) -> str:
    # Where the word is one of a few, its length and letters would tell which.
    if len(right) == 1 or right.casefold() in _CHOICES or _stands_in(right, question):
        return WRITTEN_OTHERWISE if same_part(answer, right) else WRONG_WORD
    return _compare_rows([list(answer)], [list(right)], "character")


def _stands_in(word: str, question: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word.casefold())}(?!\w)", question.casefold()) is not None


def _compare_json(found: Any, wanted: Any) -> str:
    if isinstance(wanted, dict):
        if set(found) != set(wanted):
            return OTHER_KEYS
        parts = [[json.dumps(value[key], sort_keys=True) for key in wanted] for value in (found, wanted)]
        return _compare_rows(parts[:1], parts[1:], "value")
    rows, right = _rows_of(found), _rows_of(wanted)
    if right is None or rows is None:
        return _compare_rows([_texts(found)], [_texts(wanted)])
    return _compare_rows(rows, right)


def _compare_rows(rows: list[list[str]], right: list[list[str]], noun: str = "entry") -> str:
    """The first of: another number of rows, of parts in a row, or how many parts are wrong and where the first is."""
    single = len(right) == 1
    if len(rows) != len(right):
        return f"The answer has {counted(len(rows), 'row')}; it should have {number_word(len(right))}."
    for number, (row, wanted) in enumerate(zip(rows, right, strict=True), start=1):
        if len(row) != len(wanted):
            where = "The answer" if single else f"Row {number} of the answer"
            return f"{where} has {counted(len(row), noun)}; it should have {number_word(len(wanted))}." + (
                _first_difference(row, wanted, noun) if single else ""
            )
    wrong = [
        (r, c)
        for r, (row, wanted) in enumerate(zip(rows, right, strict=True), start=1)
        for c, (part, gold) in enumerate(zip(row, wanted, strict=True), start=1)
        if not same_part(part, gold)
    ]
    if not wrong:
        return WRITTEN_OTHERWISE
    total = sum(map(len, right))
    if total == 1:
        return f"The only {noun} differs from the right answer."
    place = f"{noun} {wrong[0][1]}" if single else f"row {wrong[0][0]}, {noun} {wrong[0][1]}"
    which = "it" if len(wrong) == 1 else "the first of them"
    verb = "differs" if len(wrong) == 1 else "differ"
    return (
        f"Of {counted(total, noun)}, {number_word(len(wrong))} {verb} from the right answer; {which} stands at {place}."
    )


def _first_difference(row: list[str], wanted: list[str], noun: str) -> str:
    for number, (part, gold) in enumerate(zip(row, wanted, strict=False), start=1):
        if not same_part(part, gold):
            return f" The first that differs from the right answer stands at {noun} {number}."
    return ""


def _rows_of(value: Any) -> list[list[str]] | None:
    """A list of lists as rows; None for anything else."""
    if not isinstance(value, list) or not value or not all(isinstance(row, list) for row in value):
        return None
    return [_texts(row) for row in value]


def _texts(values: list[Any]) -> list[str]:
    return [value if isinstance(value, str) else json.dumps(value, sort_keys=True) for value in values]


def _parts(text: str, form: Form) -> list[str]:
    return [part.strip() for part in text.split(form.separator)]


def _lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip()]


def _noun(text: str) -> str:
    parts = text.replace(",", " ").split()
    return "word" if all(re.search(r"[^\W\d]", part) for part in parts) else "entry"


def _plural(noun: str) -> str:
    return noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
