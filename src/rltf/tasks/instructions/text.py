"""How a text is cut into words, sentences, paragraphs and items, for all kinds of constraint alike.

A word is a run of letters and digits; an apostrophe or a hyphen within it does not end it, so "don't" and "well-lit"
are one word each. Where a certain word is looked for, case does not count and the parts of a compound do: "well-lit"
holds "lit", "lanterns" does not hold "lantern".
"""

from __future__ import annotations

import re
import unicodedata

import regex

# Letters of some scripts, such as Hindi's, carry marks that are no letters themselves.
_PIECE = r"[\p{L}\p{N}][\p{L}\p{N}\p{M}]*"
_WORD = regex.compile(rf"{_PIECE}(?:['\u2019-]{_PIECE})*")
_MARK = r"[.!?\u2026\u3002\uff01\uff1f\u0964]"
# A row of marks is looked at from its first one on alone, so that a long one takes no long time.
_END = re.compile(rf"(?<!{_MARK}){_MARK}+[\"'\u201d\u2019)\]*_]*(?=\s|$)|[\u3002\uff01\uff1f]")
_SHORT = re.compile(
    r"(?:^|[\s(\"'])(?:mr|mrs|ms|dr|prof|st|jr|sr|vs|etc|no|fig|[a-z]|[a-z]\.[a-z]|p\.p\.s|p\.s)$", re.I
)
_BLANK = re.compile(r"\n[ \t]*\n\s*")
_BULLET = re.compile(r"[ \t]*[-*+\u2022\u2013][ \t]+(?=\S)")
_NUMBER = re.compile(r"[ \t]*(\d{1,3})[.)][ \t]+(?=\S)")
_NEAR = 12
"""Characters around a mark that say whether it ends a sentence; more than any abbreviation has."""
QUOTES = "\"'\u201c\u201d\u2018\u2019\u00ab\u00bb"


def words(text: str) -> list[str]:
    """The words, as they are written."""
    return [str(word) for word in _WORD.findall(unicodedata.normalize("NFC", text))]


def same(one: str, other: str) -> bool:
    """Whether two words are the same but for case."""
    return fold(one) == fold(other)


def fold(text: str) -> str:
    """A text in the form in which words are compared."""
    return unicodedata.normalize("NFC", text).casefold().replace("\u2019", "'")


def occurrences(text: str, phrase: str) -> int:
    """How often a word, or some words in a row, stand in a text."""
    pieces = [re.escape(piece) for piece in fold(phrase).split()]
    if not pieces:
        return 0
    before = r"(?<![^\W_])" if phrase.strip()[0].isalnum() else ""
    behind = r"(?![^\W_])" if phrase.strip()[-1].isalnum() else ""
    return len(re.findall(before + r"\s+".join(pieces) + behind, fold(text)))


def sentences(text: str) -> list[str]:
    """The sentences: what ends with a full stop, question or exclamation mark, or with its paragraph.

    The full stop of an initial, of "Dr." or "e.g." and of a decimal ends none; nor do dots before a small letter.
    """
    found: list[str] = []
    for paragraph in paragraphs(text):
        start = 0
        for end in _END.finditer(paragraph):
            piece = paragraph[start : end.end()]
            if end.end() < len(paragraph) and _goes_on(end.group(), piece, paragraph[end.end() : end.end() + _NEAR]):
                continue
            if words(piece):
                found.append(piece.strip())
            start = end.end()
        if words(paragraph[start:]):
            found.append(paragraph[start:].strip())
    return found


def _goes_on(mark: str, before: str, behind: str) -> bool:
    """Whether a mark ends no sentence: behind "Dr", or, before a small letter, three dots or the end of a quotation."""
    if mark.startswith(".") and not mark.startswith(".."):
        return _SHORT.search(before[: -len(mark)][-_NEAR:]) is not None
    trails = mark.startswith(("..", "\u2026")) or mark[-1] in QUOTES
    return trails and behind.lstrip()[:1].islower()


def paragraphs(text: str) -> list[str]:
    """What blank lines part."""
    return [piece.strip() for piece in _BLANK.split(text.strip()) if piece.strip()]


def lines(text: str) -> list[str]:
    """The lines that are not blank."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def bullets(text: str) -> list[str]:
    """What stands behind each line's bullet; lines without one are left out. A line of stars is no bullet."""
    return [line[match.end() :].strip() for line in text.splitlines() if (match := _BULLET.match(line))]


def numbered(text: str) -> list[tuple[int, str]]:
    """Number and text of each line that begins with a number and a full stop or bracket."""
    return [(int(m[1]), line[m.end() :].strip()) for line in text.splitlines() if (m := _NUMBER.match(line))]


def counted(number: int, thing: str) -> str:
    """`1 word`, `3 words`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}{'es' if thing.endswith('x') else 's'}"


def quoted(items: tuple[str, ...] | list[str], joint: str = "and") -> str:
    """`"a", "b" and "c"`."""
    marked = [f'"{item}"' for item in items]
    return marked[0] if len(marked) == 1 else f"{', '.join(marked[:-1])} {joint} {marked[-1]}"


def other_than(phrase: str) -> str:
    """A word that a phrase does not begin or end with, for texts that are to break a constraint."""
    return "Truly" if "indeed" in fold(phrase) else "Indeed"


def without(text: str, phrase: str, instead: str = "") -> str:
    """A text with another word, or `instead`, wherever a word or phrase stood."""
    pieces = r"\s+".join(re.escape(piece) for piece in phrase.split())
    other = instead or ("matter" if "thing" in fold(phrase) else "thing")
    return re.sub(rf"(?<![^\W_]){pieces}(?![^\W_])", lambda _: other, text, flags=re.IGNORECASE)
