"""Verdicts on answers: at once where the text decides, else by math-verify in guarded processes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TypeAlias

from rltf.support.errors import UserError
from rltf.support.guarded import Failed, GuardedFunction
from rltf.tasks.golds import fault_of_gold
from rltf.tasks.maths.decide import Verdict, decide, has_form
from rltf.tasks.maths.golds import LONGEST_ANSWER, normal_answer

Pair: TypeAlias = tuple[str, str]
"""An answer and the gold one."""

SECONDS = 5.0
"""Time limit of one comparison; an answer that takes longer is wrong."""
MEGABYTES = 2048
"""Memory limit of a process that compares, most of which loading sympy takes."""
_KEPT = 20_000


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
        pairs = [(answer, normal_answer(gold)) for answer, gold in pairs]
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

    def gold_fault(self, gold: str) -> str:
        """Why no answer could be equal to a gold one but by its very text; empty where one could."""
        gold = normal_answer(gold)
        if len(gold) > LONGEST_ANSWER:
            return f"is longer than an answer may be ({len(gold):,} of {LONGEST_ANSWER:,} characters)"
        if fault := fault_of_gold(gold):
            return fault
        if has_form(gold):
            return ""
        # Any text that can be read is compared with x, and found to be another.
        verdict = self([(gold, "x")])[0]
        if isinstance(verdict, Failed):
            return f"cannot be worked out: {verdict.reason}"
        return "cannot be read as mathematics" if verdict == "unreadable" else ""

    def close(self) -> None:
        """Ends the processes."""
        self._compare.close()
