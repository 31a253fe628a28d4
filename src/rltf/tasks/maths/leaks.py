"""Whether a text gives the gold answer away, in any of the forms in which numbers are written."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rltf.tasks.maths.parts import is_integer, tidy
from rltf.tasks.maths.units import number_word
from rltf.tasks.maths.values import is_close, shape_of, value_of

_LONGEST = 20_000
_MOST_TOKENS = 30
_GROUP = r"\{[^{}]{0,60}\}"
_TOKEN = re.compile(
    rf"(?P<factor>\\frac\s?(?:{_GROUP}|\d)\s?(?:{_GROUP}|\d)|\\sqrt\s?(?:\[\d\])?(?:{_GROUP}|\s?\d)|√\d+|\\pi(?![a-z])|π|"
    r"(?<![A-Za-z\\])pi(?![A-Za-z])|(?<![\d,.])\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,])|\d+(?:\.\d+)?|\.\d+)|"
    r"(?P<sign>[-+])|(?P<join>[*/^\u00d7·:]|\\cdot(?![a-z])|\\times(?![a-z]))"
)
# "Step 2" and "case (1)" point at a place in the attempt.
_PLACE = re.compile(
    r"\b(?:steps?|lines?|parts?|cases?|equations?|sentences?|paragraphs?|points?|formulas?)\s?\(?\d{1,2}\)?(?![\w.]*\d)"
    r"|^[ \t]*\(?\d{1,2}[.)]\s",
    re.IGNORECASE | re.MULTILINE,
)
_SMALL = 100
_SAID = re.compile(
    r"(?:=|\\boxed ?\{|\b(?:answer|result|value|solution|sum|total|product)\b:?|"
    r"\b(?:is|be|equals?|gets?|gives?|writes?|are|was|obtain|not|but|exactly|to)\b) ?[:(\\\"'`*{\[]{0,4} ?-?$",
    re.IGNORECASE,
)


def names_answer(gold: str, text: str) -> bool:
    """Whether the answer stands in the text.

    A number is found by its value: for a half also `0.5`, `\\frac12`, `1/2` and `50%`. A whole number below a hundred
    counts only where the text says that something is that number, or is nothing else: "divide by 2" says little.
    Any other answer is found by its text, spaces aside, and a list also by its numbers one after another.
    """
    text = tidy(_PLACE.sub(" ", text[:_LONGEST]))
    value = value_of(gold)
    if value is not None:
        small = is_integer(tidy(gold)) and abs(value) < _SMALL
        return any(
            not small or _is_said(text, start, end)
            for start, end, found in _numbers(text)
            if is_close(found, value)
            or is_close(found * _number_word(text[end : end + 30]), value)
            or _is_close_in_per_cent(found, value, text[end : end + 12], "%" in gold)
        )
    return _names_text(tidy(gold), text) or _names_entries(shape_of(gold).entries, text)


def _is_said(text: str, start: int, end: int) -> bool:
    return (start, end) == (0, len(text)) or _SAID.search(text[max(0, start - 40) : start]) is not None


def _is_close_in_per_cent(found: float, value: float, after: str, wanted: bool) -> bool:
    """Whether of the two values one is a per cent and the other its share."""
    given = after.lstrip().startswith(("%", "\\%", "per cent", "percent"))
    return given != wanted and is_close(found / 100 if given else found * 100, value)


def _number_word(after: str) -> int:
    """What a million behind a number multiplies it by."""
    word = re.match(r"(?:\\text|[\s{])*([a-zA-Z]+)", after)
    return number_word(word[1]) if word else 1


def _numbers(text: str) -> Iterator[tuple[int, int, float]]:
    """Begin, end and value of each number, each product and each sum of numbers."""
    for run in _runs(text):
        minus = {i for i, token in enumerate(run) if token[0] == "-"}
        signs = [i for i, token in enumerate(run) if token.lastgroup == "sign"]
        terms = zip((0, *(i + 1 for i in signs)), (*signs, len(run)), strict=True)
        factors = ((i, i + 1) for i, token in enumerate(run) if token.lastgroup == "factor")
        # What stands after a minus has it.
        pieces = {(0, len(run))} | {(i - (i - 1 in minus), end) for i, end in (*terms, *factors) if i < end}
        for first, last in sorted(pieces):
            start, end = run[first].start(), run[last - 1].end()
            written = re.sub(r"√(\d+)", r"\\sqrt{\1}", text[start:end]).translate({0xD7: "*", 0xB7: "*", 0x3A: "/"})
            value = value_of(written)
            if value is not None:
                yield start, end, value


def _runs(text: str) -> Iterator[list[re.Match[str]]]:
    """Tokens that stand side by side; two numerals, or whatever is no number, part them."""
    run: list[re.Match[str]] = []
    for token in _TOKEN.finditer(text):
        beside = run and not text[run[-1].end() : token.start()].strip() and len(run) < _MOST_TOKENS
        numerals = run and run[-1][0][-1].isdigit() and token[0][0].isdigit()
        if run and (not beside or numerals):
            yield run
            run = []
        run.append(token)
    if run:
        yield run


def _names_text(gold: str, text: str) -> bool:
    wanted = _bare(gold)
    if not wanted:
        return False
    if wanted == _bare(text):
        return True
    if len(wanted) == 1:
        # One letter: a choice, or a variable of which feedback may speak.
        said = rf"\b(?:answer|choice|option|is)\W{{0,9}}{re.escape(wanted)}\b|\\boxed ?\{{{re.escape(wanted)}\}}"
        return re.search(said, text) is not None
    if wanted.isalpha():
        words = re.sub(r"\\text ?\{([^{}]*)\}", r"\1", text)
        return re.search(rf"(?<![^\W\d_]){re.escape(wanted)}(?![^\W\d_])", words, re.IGNORECASE) is not None
    # Letters before it may be words, whose spaces are gone.
    return re.search(rf"(?<![\d.^_]){re.escape(wanted)}(?![\d^_])", _bare(text)) is not None


def _names_entries(entries: tuple[str, ...], text: str) -> bool:
    """Whether the numbers of a list stand in the text in their order with no other between them."""
    values = [value for entry in entries if (value := value_of(entry)) is not None]
    if len(values) < 2 or len(values) < len(entries):
        return False
    found: list[tuple[int, float]] = []
    for start, end, value in sorted(_numbers(text), key=lambda number: (number[0], -number[1])):
        if not found or start >= found[-1][0]:  # of a sum and its parts, the sum
            found.append((end, value))
    runs = [[value for _, value in found[i : i + len(values)]] for i in range(len(found) - len(values) + 1)]
    return any(all(map(is_close, run, values)) for run in runs)


def _bare(text: str) -> str:
    """The text without spaces, braces around one character, and the marks of words."""
    text = re.sub(r"\\(?:text|mathrm|mbox) ?\{([^{}]*)\}", r"\1", text).replace("**", "^").replace("*", "")
    return re.sub(r"\s+|\\cdot|\\times", "", re.sub(r"\{(\w)\}", r"\1", text))
