"""Whether two answers are equal in value: read by math-verify, compared by `structure`, `trees` and `exact`.

For the processes of `support.guarded` alone, which load this module before the first call: `compare` takes any time and
memory that the texts ask for.
"""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from typing import Any

from math_verify import LatexExtractionConfig, parse

from rltf.tasks.maths.decide import Verdict, decide
from rltf.tasks.maths.parts import parted
from rltf.tasks.maths.structure import named_value
from rltf.tasks.maths.trees import either, is_same

_LATEX = LatexExtractionConfig(boxed_match_priority=0)
# Without its units, which are single letters too: `2t` is no 2.
_WHOLE_TEXT = LatexExtractionConfig(
    boxed_match_priority=0,
    normalization_config=type(_LATEX.normalization_config)(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="all", equations=False
    ),
)
_IN_A_BASE = re.compile(r"(?<![\w.])(\d+)_(?:\{\s*(\d{1,2})\s*\}|(\d))")
_OR = re.compile(r"(?<![a-zA-Z])or(?![a-zA-Z])")
# It warns that its own time limits are off. They are signals; `rltf.support.guarded` has limits of its own.
logging.disable(logging.CRITICAL)


def compare(answer: str, gold: str) -> Verdict:
    """Whether an answer has the value of the gold one; `unreadable` where it is no mathematics but the gold one is."""
    verdict = decide(answer, gold, _is_equal)
    assert verdict is not None, "the last word is this module's"
    if verdict == "different" and not _read(answer) and _read(gold):
        return "unreadable"
    return verdict


def _is_equal(answer: str, gold: str) -> bool:
    """Whether two answers are equal that are no lists of known structure."""
    given, wanted = _read(answer), _read(gold)
    return any(is_same(mine, right, f"{answer}\0{gold}") for mine in given for right in wanted)


@lru_cache(maxsize=256)
def _read(text: str) -> list[Any]:
    name, value = named_value(text)
    value = parted(value)[0]
    text = f"{name} = {value}" if name else value
    # math-verify leaves the base out.
    text = _IN_A_BASE.sub(_value, text)
    text = text.replace("\\lbrace", "\\{").replace("\\rbrace", "\\}")
    found: list[Any] = parse(
        f"\\boxed{{{text}}}",
        extraction_config=[_WHOLE_TEXT],
        fallback_mode="no_fallback",
        extraction_mode="first_match",
        parsing_timeout=None,
    )
    return [either(read) for read in found] if _OR.search(text) else found


def _value(match: re.Match[str]) -> str:
    """The value of a number within a formula whose base stands as its subscript."""
    base = int(match[2] or match[3])
    if not 2 <= base <= 36 or any(int(digit) >= base for digit in match[1]):
        return match[0]
    return f"({int(match[1], base)})"
