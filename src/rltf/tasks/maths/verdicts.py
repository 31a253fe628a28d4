"""Verdicts on answers: at once where the text decides, else by math-verify in guarded processes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Literal, TypeAlias

from rltf.support.errors import UserError
from rltf.support.guarded import Failed, GuardedFunction
from rltf.tasks.maths.quantities import clock_time, is_same, quantity_of, units_agree
from rltf.tasks.maths.units import number_word, same_words
from rltf.tasks.maths.values import is_integer, is_point_for_set, numeral_of, parted, shape_of, tidy, without_marks

Verdict: TypeAlias = Literal["equal", "different", "unreadable", "not worked out"]
Pair: TypeAlias = tuple[str, str]
"""An answer and the gold one."""

SECONDS = 5.0
"""Time limit of one comparison; an answer that takes longer is wrong."""
MEGABYTES = 2048
"""Memory limit of a process that compares, most of which loading sympy takes."""
_KEPT = 20_000
_DEEPEST = 30
"""Brackets in one another that an answer may have; the parser takes seconds for a hundred."""


def check_installed(setting: str = "task.name=maths") -> None:
    """Refuses to go on without math-verify, which a setting asks for."""
    if find_spec("math_verify") is None:
        raise UserError(f"{setting} needs math-verify: pip install -c constraints.txt '.[maths]'")


class Verdicts:
    """Compares answers, each distinct pair once; remembers the newest verdicts and failures."""

    def __init__(self, workers: int = 2, seconds: float = SECONDS) -> None:
        """`workers` processes compare at the same time, `seconds` at most; none starts before it is needed."""
        self._compare = GuardedFunction(
            "rltf.tasks.maths.grade:compare", seconds=seconds, megabytes=MEGABYTES, workers=workers
        )
        self._known: OrderedDict[Pair, Verdict | Failed] = OrderedDict()

    def __call__(self, pairs: Sequence[Pair]) -> list[Verdict | Failed]:
        """The verdict on each pair, in order; `Failed` where comparing took too long or ended its process."""
        found: dict[Pair, Verdict | Failed] = {}
        asked: list[Pair] = []
        for pair in dict.fromkeys(pairs):
            verdict = self._known.get(pair) or decide(*pair)
            if verdict is None:
                asked.append(pair)
            else:
                found[pair] = verdict
        for pair, verdict in zip(asked, self._compare.map(asked), strict=True):
            # Also that it took too long: the next time would cost as much, and might contradict a score that is given.
            found[pair] = self._known[pair] = verdict
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return [found[pair] for pair in pairs]

    def close(self) -> None:
        """Ends the processes."""
        self._compare.close()


def decide(answer: str, gold: str) -> Verdict | None:
    """The verdict where the text alone decides: the same text, two plain numbers, a sum where a number is wanted."""
    given, wanted = _normal(answer), _normal(gold)
    if given == wanted:
        return "equal"
    if is_integer(given) and is_integer(wanted) and max(len(given), len(wanted)) < 1000:
        return "equal" if int(given) == int(wanted) else "different"
    if _depth(answer) > _DEEPEST:
        return "unreadable"
    asked, form = numeral_of(gold), numeral_of(answer)
    # math-verify would accept "17 * 24" for 408 and "6/2" for 3: the question's own words would be an answer.
    if asked is not None and form is None:
        match shape_of(answer).kind:
            case "number" | "equation" | "expression":
                return "not worked out"
            case "interval":  # [5, 5] is 5 to it.
                return "different"
    time = clock_time(gold)
    if time is not None and time[1]:
        told = clock_time(answer)
        return "equal" if told in (time, (time[0], "")) else "different"
    given_number, wanted_number = quantity_of(answer), quantity_of(gold)
    if given_number is not None and wanted_number is not None:
        if asked == "whole" and form == "fraction" and not wanted_number.in_per_cent:
            return "not worked out"
        return "equal" if is_same(given_number, wanted_number) else "different"
    return "different" if _is_another_kind(answer, gold) else None


def _is_another_kind(answer: str, gold: str) -> bool:
    """Whether math-verify, to which units are nothing and a set is a point, would be too lenient."""
    given, wanted = parted(answer)[1], parted(gold)[1]
    # Beside an expression words may say what it is: n even, n odd.
    if not units_agree(given, wanted) or number_word(given) != number_word(wanted) or not same_words(given, wanted):
        return True
    return is_point_for_set(shape_of(answer), shape_of(gold))


def _normal(text: str) -> str:
    """The text without spaces that part nothing, its words plain."""
    words = without_marks(tidy(text)).split()
    normal = ""
    for word in words:
        parts = normal[-1:].isalnum() and word[:1].isalnum()
        normal += f" {word}" if parts else word
    return normal


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest
