"""What a kind of constraint is: how it is asked for, checked, said to be broken, met, and broken on purpose."""

from __future__ import annotations

from abc import ABC, abstractmethod
from random import Random
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from rltf.tasks.instructions.plan import Form, Plan, Relation

PROSE: frozenset[Form] = frozenset({"prose"})
UNITS: frozenset[Form] = frozenset({"prose", "bullets", "numbered", "verse"})
"""Forms that are made of units of several words."""
TEXTS: frozenset[Form] = UNITS | {"json", "table"}


class Kind(BaseModel, ABC):
    """One constraint. Its fields are its arguments; a wrong argument raises pydantic's `ValidationError`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]
    """What it is called in settings, data and figures."""
    anchored: ClassVar[bool] = False
    """Whether an answer hardly ever meets it that was not written for it. What is not anchored, such as "no comma", is
    met by most texts, and by none at all."""
    difficulty: ClassVar[int] = 1
    """From 1, which a small model may meet, to 3."""
    forms: ClassVar[frozenset[Form]] = PROSE
    """The layouts that it can be asked of."""
    lays_out: ClassVar[Form | None] = None
    """The layout that it asks for itself."""
    group: ClassVar[str] = ""
    """Of two with the same group no answer is asked at once: they contradict each other, or one is idle beside the
    other. Empty: the name."""

    @abstractmethod
    def phrases(self) -> tuple[str, ...]:
        """What an answer must do, in several wordings that follow "Your answer must"."""

    @abstractmethod
    def fault(self, text: str) -> str:
        """What is wrong with an attempt in this respect, as a sentence for its writer; empty where nothing is.

        It never says what a right answer would be, beyond what is asked for."""

    @abstractmethod
    def plan(self, plan: Plan) -> None:
        """Adds to a plan what is asked for."""

    @abstractmethod
    def spoil(self, text: str) -> str:
        """A text that meets it, changed so that it does not."""

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> Kind | None:
        """One with arguments drawn for a problem; None for kinds that stand in files alone."""
        return None

    @property
    def said_words(self) -> tuple[str, ...]:
        """The words that it speaks of, which no other constraint of a problem is to speak of."""
        return ()


def relation_of(rng: Random) -> Relation:
    """A relation, drawn."""
    return rng.choice(("exactly", "at least", "at most"))


def holds(relation: Relation, count: int, number: int) -> bool:
    """Whether a count is `exactly`, `at least` or `at most` a number."""
    if relation == "exactly":
        return count == number
    return count >= number if relation == "at least" else count <= number
