"""The grader of competition maths for rows of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from rltf.support.guarded import Failed
from rltf.tasks.base import INCORRECT_FEEDBACK
from rltf.tasks.maths.decide import Verdict as Comparison
from rltf.tasks.maths.golds import LONGEST_ANSWER, normal_answer
from rltf.tasks.maths.leaks import names_answer
from rltf.tasks.maths.remarks import locate
from rltf.tasks.maths.verdicts import Verdicts, check_installed
from rltf.tasks.own.near import neighbours
from rltf.tasks.own.scorers import RIGHT, TOO_LONG, Verdict, malformed

UNREADABLE = "The answer cannot be read as mathematics."
UNCHECKED = "The answer takes too long to check; write it more simply."


class MathsScorer:
    """The answer's mathematical value, LaTeX or plain."""

    def __init__(self) -> None:
        """Raises `UserError` where math-verify is missing."""
        check_installed("task.scorer=maths")
        self._verdicts = Verdicts()

    def check_gold(self, gold: str, example: str) -> str | None:
        """Any text will do: an answer may be in words."""
        return None if normal_answer(gold) else "is empty"

    def verdict(self, answer: str, gold: str) -> Verdict:
        """Says what kind of answer is asked for and in which direction a number is off."""
        return self.verdicts([(answer, gold)])[0]

    def verdicts(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """The verdict on each answer and its gold one; several are compared at a time."""
        normal = [(answer, normal_answer(gold)) for answer, gold in pairs]
        found = iter(self._verdicts([pair for pair in normal if len(pair[0]) <= LONGEST_ANSWER]))
        return [
            malformed(TOO_LONG) if len(answer) > LONGEST_ANSWER else _verdict(answer, gold, next(found))
            for answer, gold in normal
        ]

    def reveals(self, gold: str, example: str, text: str) -> bool:
        """Where the answer stands in the text, a number in any form."""
        return names_answer(normal_answer(gold), text)

    def gold_fault(self, gold: str) -> str:
        """Why no answer could be equal to a gold one but by its very text; empty where one could."""
        return self._verdicts.gold_fault(gold)

    def perturbations(self, example: str, rng: Random) -> list[str]:
        """Other numbers and words."""
        near = neighbours(example, rng)
        return [text for text in near if not self.verdict(text, example).correct]


def _verdict(answer: str, gold: str, found: Comparison | Failed) -> Verdict:
    if isinstance(found, Failed):
        return malformed(UNCHECKED)
    if found == "unreadable":
        return malformed(UNREADABLE)
    if found == "equal":
        return RIGHT
    remark = locate("", answer, gold)
    # An answer in words may stand in a remark by chance.
    return Verdict(correct=False, fault=INCORRECT_FEEDBACK if names_answer(gold, remark) else remark)
