"""House styles: constraints that no question tells and every answer has to meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from rltf.support.errors import UserError
from rltf.support.seeds import derive_seed
from rltf.tasks.instructions.kinds import Kind, make
from rltf.tasks.instructions.kinds.places import BeginWith, EndWith
from rltf.tasks.instructions.kinds.words import AvoidWords, UseWords
from rltf.tasks.instructions.witness import build

_WORDS = (
    "please", "team", "welcome", "gladly", "promise", "together", "workshop", "warmly", "care", "honest", "neighbour",
    "craft", "always", "delighted",
)  # fmt: skip
_BEGINNINGS = ("Good day", "Dear friend", "Hello there", "Greetings", "Well met", "Dear customer")
_ENDS = ("Warm regards", "Until soon", "Yours in the shop", "Take good care", "See you again", "With kind wishes")
_NEVER = ("sorry", "unfortunately", "but", "problem", "policy", "however", "cannot")


def drawn_style(number: int, seed: int) -> tuple[Kind, ...]:
    """A style of so many rules, 4 at most: words that belong in each answer, how it begins and ends, what it never
    says."""
    rng = Random(derive_seed(seed, "house style"))
    rules: list[Kind] = [
        UseWords(words=tuple(rng.sample(_WORDS, 2))),
        BeginWith(phrase=rng.choice(_BEGINNINGS)),
        EndWith(phrase=rng.choice(_ENDS)),
        AvoidWords(words=tuple(rng.sample(_NEVER, 2))),
    ]
    return tuple(rules[:number])


def given_style(tables: Sequence[Mapping[str, Any]]) -> tuple[Kind, ...]:
    """The style that `task.style` describes. Raises `UserError` where it is none that answers can meet."""
    rules: list[Kind] = []
    for i, table in enumerate(tables):
        try:
            rules.append(make(table))
        except ValueError as error:
            raise UserError(f"task.style.{i}: {error}") from error
    if rules and build(rules, Random(0)) is None:
        raise UserError("task.style: no answer was found that meets all its rules at once; remove one of them")
    return tuple(rules)


def lesson(rule: Kind) -> str:
    """A rule of a style as a sentence that holds for every later question too."""
    return f"Every answer must {rule.phrases()[0]}."
