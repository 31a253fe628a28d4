"""Whether two answers are equal in value, by math-verify.

For the processes of `support.guarded` alone, which load this module before the first call: `compare` takes any time and
memory that the texts ask for.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from latex2sympy2_extended.logic import And
from latex2sympy2_extended.sets import FiniteSet
from math_verify import LatexExtractionConfig, parse, verify
from sympy import Eq, Interval, Tuple, Union
from sympy.core.relational import Relational

from rltf.tasks.maths.notation import plain
from rltf.tasks.maths.values import shape_of
from rltf.tasks.maths.verdicts import Verdict

_WHOLE_TEXT = LatexExtractionConfig(boxed_match_priority=0)
_OR = re.compile(r"(?<![a-zA-Z])or(?![a-zA-Z])")
_SMALL = re.compile(r"(?<!\d)0?\.(0{3,20})[1-9]")
# It warns that its own time limits are off. They are signals; `rltf.support.guarded` has limits of its own.
logging.disable(logging.CRITICAL)


def compare(answer: str, gold: str) -> Verdict:
    """Whether an answer has the value of the gold one; `unreadable` where it is no mathematics but the gold one is."""
    given, wanted = _read(answer), _read(gold)
    if not given and wanted:
        return "unreadable"
    # Six places, and four digits of a small decimal.
    places = max([6, *(len(zeros) + 4 for zeros in _SMALL.findall(f"{answer} {gold}"))])
    equal = _is_equal(given, wanted, places)
    if equal and (_repeats(answer, given) or _repeats(gold, wanted)):
        equal = _are_same_entries(_entries(answer, given), _entries(gold, wanted), places)
    return "equal" if equal else "different"


def _read(text: str) -> list[Any]:
    found: list[Any] = parse(
        f"\\boxed{{{plain(text)}}}",
        extraction_config=[_WHOLE_TEXT],
        fallback_mode="no_fallback",
        extraction_mode="first_match",
        parsing_timeout=None,
    )
    return [_either(read) for read in found] if _OR.search(text) else found


def _either(read: Any) -> Any:
    """Conditions with `or` between them, which are read as a list, as the set of the numbers that meet one of them."""
    conditions = read._unsorted_args if isinstance(read, FiniteSet) else ()
    if not all(isinstance(condition, Relational | And) for condition in conditions):
        return read
    letters = {letter for condition in conditions for letter in condition.free_symbols}
    if len(letters) != 1 or all(isinstance(condition, Eq) for condition in conditions):
        return read
    return Union(*(condition.as_set() for condition in conditions))


def _is_equal(given: Any, wanted: Any, places: int) -> bool:
    return bool(verify(wanted, given, float_rounding=places, allow_set_relation_comp=True, timeout_seconds=None))


def _repeats(text: str, found: list[Any]) -> bool:
    """Whether a list has an entry twice, which in a set in braces counts once."""
    is_list = len(found) == 1 and isinstance(found[0], FiniteSet) and shape_of(text).kind != "set"
    return is_list and len(found[0]._unsorted_args) > len(found[0].args)


def _entries(text: str, found: list[Any]) -> list[Any]:
    match found:
        case [FiniteSet() as read] if _repeats(text, found):
            return list(read._unsorted_args)
        case [FiniteSet() | Tuple() as read]:
            return list(read.args)
        case [Interval() as read]:  # a point, to math-verify
            return [read.start, read.end]
    return found


def _are_same_entries(given: list[Any], wanted: list[Any], places: int) -> bool:
    """Whether each entry of one list stands as often in the other, in any order."""
    left = list(wanted)
    for entry in given:
        same = next((i for i, other in enumerate(left) if _is_equal(entry, other, places)), None)
        if same is None:
            return False
        del left[same]
    return not left
