"""The program in an attempt: which of its blocks it is, as models write blocks, thinking and what follows an answer."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rltf.support.texts import THINKING

Fitness: TypeAlias = Callable[[str], int]
"""How well a block's code fits what is asked for; 0: not at all."""

# A tag beside a quotation mark or a backslash is only spoken of, or stands in a text of the code.
_TAG = re.compile(
    r"(?<![\"'\\])(?<!(?<!`)`)"
    rf"(?:(?P<opens><(?:{THINKING})>|\[THINK\])|(?P<closes></(?:{THINKING})>|\[/THINK\]))"
    r"(?![\"'\\]|`(?!`))",
    re.IGNORECASE,
)
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)[^<\n]{0,80}<\|message\|>")
# What chat pages put before a line, behind it and behind the mark of a list; no Python begins or ends with it.
_UNSEEN = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad"
_SPACES = "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f"
_LEAD = re.compile(rf"[ \t>{_UNSEEN}{_SPACES}]*(?:(?:[-*+\u2022]|\d{{1,3}}[.)])[ \t{_UNSEEN}{_SPACES}]+)?")
_PLAIN = dict.fromkeys(map(ord, _UNSEEN)) | dict.fromkeys(map(ord, _SPACES), " ")
# What may stand before a fence: spaces, marks of a quotation, the mark of a list.
_FENCE = re.compile(r"(?P<lead>[ \t>]*(?:(?:[-*+\u2022]|\d{1,3}[.)])[ \t]+)?)(?P<fence>`{3,}|~{3,})\s*(?P<info>.*?)\s*")
_LATE_FENCE = re.compile(r".*?\S\s*(?P<fence>`{3,}|~{3,})\s*(?P<info>[^`~\"']+?)\s*")
_LANGUAGE = re.compile(r"[{.\[\s]*(?:lang(?:uage)?[-=:]\s*)?[\"']?(?:i|c|sage)?py(?:thon|py)?[\d.]*(?![\w+#.-])", re.I)
_FILE = re.compile(r"[\w./\\-]+\.pyw?(?!\w)")
_ATTRIBUTE = re.compile(r"[\w-]+\s*=|\{\s*[#.]?(?:line|number)", re.I)
_MARKDOWN = ("markdown", "md")
_SLACK = 3
"""Spaces that a closing fence may stand further in than its opening one, as in CommonMark."""
_FURTHEST = 100
"""So much space may stand before or behind a tag of thinking that has a line of its own."""
_TRIPLE = ("'''", '"""')
_LEXEME = re.compile(r"#.*|'''|\"\"\"|'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")
_READS = re.compile(r"(?<![\w.])input\b(?!\s*=[^=])|\b(?:__)?stdin(?:__)?\b(?!\s*=[^=])|\bfileinput\b")
_READS_FILE = re.compile(r"\bopen\(\s*0\b|\bos\s*\.\s*read\(\s*0\b|/dev/stdin|/dev/fd/0|/proc/self/fd/0")


@dataclass(frozen=True, slots=True)
class Block:
    """A closed block."""

    language: str
    """`python`, empty where nothing says, else the word that says."""
    code: str


def extract_code(text: str, fitness: Fitness = lambda code: 1) -> str | None:
    """What stands in the block of Python, or of no named language, that fits best, the last of these; None without one.

    Of blocks that do not fit, one that is tagged as Python goes before one that is not tagged at all.
    """
    found = [block for block in blocks(without_thinking(text)) if block.language in ("python", "")]
    if not found:
        return None
    ranks = [(fitness(block.code), block.language == "python") for block in found]
    fits = any(rank for rank, _ in ranks)
    keys = [(rank, False) if fits else (rank, tagged) for rank, tagged in ranks]
    best = max(keys)
    return next(block.code for block, key in zip(reversed(found), reversed(keys), strict=True) if key == best)


def defines(name: str, method: str = "") -> Fitness:
    """How well a block defines a function, or a class with a method. Nothing is parsed, let alone run."""
    bare = re.escape(name)
    whole = re.compile(
        rf"^(?:async[ \t]+)?(?:def|class)[ \t]+{bare}\b"
        # Not `total = total([1, 2])`, which is an example of its use.
        rf"|^{bare}[ \t]*(?::[^=\n]*)?=(?!=)(?![ \t]*{bare}[ \t]*\()"
        rf"|^(?:from[ \t]+[\w.]+[ \t]+)?import\b.*\bas[ \t]+{bare}\b",
        re.MULTILINE,
    )
    imported = re.compile(rf"^from[ \t]+(\w+)[\w.]*[ \t]+import\b.*\b{bare}\b", re.MULTILINE)
    inner = re.compile(rf"^[ \t]+(?:async[ \t]+)?(?:def|class)[ \t]+{bare}\b", re.MULTILINE)

    def fitness(code: str) -> int:
        found = imported.search(code)
        # A module that Python does not bring along is the solution's own file, imported to show its use.
        if whole.search(code) or (found is not None and found[1] in sys.stdlib_module_names):
            return 3 if not method or re.search(rf"\b{re.escape(method)}\b", code) else 2
        return 1 if inner.search(code) else 0

    return fitness


def reads_input(code: str) -> int:
    """Whether a block reads standard input: a program does, an example of its input or output does not."""
    if _READS_FILE.search(code):
        return 1
    plain = "\n".join(_LEXEME.sub(" ", line) for line in code.split("\n"))
    return int(_READS.search(plain) is not None)


def without_thinking(text: str) -> str:
    """An attempt without what its author only thought. Thinking that never ends has nothing behind it."""
    channels = list(_CHANNEL.finditer(text))
    if channels:
        text = text[channels[-1].end() :] if channels[-1][1] == "final" else ""
    kept, place, opened = "", 0, None
    for tag in _TAG.finditer(text):
        if tag["opens"]:
            if opened is None and _starts_line(text, tag.start()):
                opened = tag.start()
        elif opened is not None:
            kept, place, opened = kept + text[place:opened], tag.end(), None
        elif _starts_line(text, tag.start()) or _ends_line(text, tag.end()):
            # The prompt held the beginning of the thinking.
            kept, place = "", tag.end()
    return kept + (text[place:] if opened is None else text[place:opened])


def blocks(text: str) -> Iterator[Block]:
    """The closed blocks of a text, in order; of one that holds Markdown, the blocks in it."""
    lines = [_plain(line) for line in text.replace("\r\n", "\n").split("\n")]
    number = 0
    while number < len(lines):
        opening = _Opening.of(lines[number])
        end = None if opening is None else _end(lines, number, opening)
        number += 1
        if opening is None or end is None:
            continue
        inside = [opening.strip(line) for line in lines[number : end.line]]
        code = _dedented([*inside, opening.strip(end.code)] if end.code.strip() else inside)
        language = _language(opening.info)
        if language in _MARKDOWN:
            yield from blocks(code)
        else:
            yield Block(language, code)
        number = end.line + 1


def _plain(line: str) -> str:
    """The line with plain spaces, and nothing that cannot be seen, at both of its ends."""
    lead = _LEAD.match(line)
    end = lead.end() if lead else 0
    return line[:end].translate(_PLAIN) + line[end:].rstrip(_UNSEEN)


@dataclass(frozen=True, slots=True)
class _Opening:
    fence: str
    info: str
    indent: int
    quotes: int

    @staticmethod
    def of(line: str) -> _Opening | None:
        """The fence that a line opens a block with. After other text on its line it must name Python."""
        match = _FENCE.fullmatch(line)
        if match is not None and not ("`" in match["info"] and match["fence"][0] == "`"):
            lead = match["lead"]
            return _Opening(match["fence"], match["info"], len(lead) - lead.count(">"), lead.count(">"))
        match = _LATE_FENCE.fullmatch(line)
        if match is not None and _language(match["info"]) == "python":
            return _Opening(match["fence"], match["info"], 0, 0)
        return None

    def strip(self, line: str) -> str:
        """A line of the block without what stands before all of them."""
        for _ in range(self.quotes):
            line = re.sub(r"^[ \t]*> ?", "", line)
        inner = line.lstrip(" \t")
        return line[min(self.indent, len(line) - len(inner)) :]


@dataclass(frozen=True, slots=True)
class _End:
    line: int
    code: str = ""
    """What stands before the fence on its line."""


def _end(lines: Sequence[str], start: int, opening: _Opening) -> _End | None:
    """Where a block ends; None where it is left open, at the end of the text or before another block.

    A fence in a text between triple quotes is of that text, if the quotes are closed. A fence further in than it may
    be, or with something beside it, ends a block that nothing else does.
    """
    quote, quoted, loose = "", None, None
    for number in range(start + 1, len(lines)):
        line = opening.strip(lines[number])
        before, quote = quote, _open_string(line, quote)
        if opening.fence[0] * 3 not in line:
            continue
        match = _FENCE.fullmatch(line)
        if match is None or match["fence"][0] != opening.fence[0] or match["lead"].strip(" \t"):
            if not before and _Opening.of(line) is not None:
                break
            loose = loose or _loose_end(line, number, opening)
        elif len(match["fence"]) < len(opening.fence):
            continue
        elif len(match["lead"]) > _SLACK:
            loose = loose or (None if match["info"] else _End(number))
        elif match["info"]:
            if not match["info"][0].isalpha() and match["info"][0] not in "{.[":
                loose = loose or _End(number)  # As in ```</answer>
            elif not before:
                break
        elif before:
            quoted = quoted or _End(number)
        else:
            return _End(number)
    return quoted or loose


def _loose_end(line: str, number: int, opening: _Opening) -> _End | None:
    """A fence at the end of a line of code."""
    head = line.rstrip()
    if not head.endswith(opening.fence) or "`" in head.rstrip("`~") or "~" in head.rstrip("`~"):
        return None
    return _End(number, head.rstrip(opening.fence[0]))


def _open_string(line: str, quote: str) -> str:
    """The triple quotes that are open after a line of Python; `quote` are those that were before it."""
    place = 0
    while True:
        if quote:
            end = line.find(quote, place)
            while end > 0 and line[end - 1] == "\\":
                end = line.find(quote, end + 1)
            if end < 0:
                return quote
            place, quote = end + len(quote), ""
        match = _LEXEME.search(line, place)
        if match is None:
            return ""
        place = match.end()
        quote = match[0] if match[0] in _TRIPLE else ""


def _language(info: str) -> str:
    if not info or _ATTRIBUTE.match(info):
        return ""
    if _LANGUAGE.match(info) or _FILE.match(info):
        return "python"
    return re.split(r"[\s{,:]", info.lower(), maxsplit=1)[0] or info.lower()


def _dedented(lines: Sequence[str]) -> str:
    """The code, moved to the left where all of it is further in."""
    code = "\n".join(lines)
    first = next((line for line in lines if line.strip()), "")
    return textwrap.dedent(code) if first[:1] in (" ", "\t") else code


def _starts_line(text: str, place: int) -> bool:
    line = text[max(0, place - _FURTHEST) : place].rpartition("\n")[2]
    return not line.strip() and len(line) < _FURTHEST


def _ends_line(text: str, place: int) -> bool:
    return not text[place : place + _FURTHEST].partition("\n")[0].strip()
