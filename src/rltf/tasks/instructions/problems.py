"""Draws problems: a question, the constraints on its answer, and an answer that meets them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from rltf.tasks.instructions.kinds import KINDS, Kind
from rltf.tasks.instructions.kinds.words import UseWords
from rltf.tasks.instructions.plan import Form, Plan
from rltf.tasks.instructions.text import fold
from rltf.tasks.instructions.witness import build

_HOW_OFTEN: dict[Form, int] = {
    "prose": 60, "bullets": 8, "numbered": 6, "commas": 4, "verse": 6, "json": 6, "table": 3, "name": 6, "foreign": 1,
}  # fmt: skip
"""How often an answer has each layout, relative to the others, where there are kinds for it."""
_PATIENCE = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A problem without a place in a split."""

    question: str
    said: tuple[Kind, ...]
    """The constraints that the question tells."""
    answer: str
    """One that meets them, and those that it does not tell."""


def drawable(difficulty: int) -> list[str]:
    """The kinds that problems of this difficulty are drawn from."""
    names = [name for name, kind in KINDS.items() if kind.difficulty <= difficulty]
    return sorted(name for name in names if KINDS[name].draw(Random(0), difficulty) is not None)


@cache
def _subjects() -> dict[str, Any]:
    lines = (Path(__file__).parent / "subjects.jsonl").read_text(encoding="utf-8").splitlines()
    found: dict[str, Any] = {}
    for row in map(json.loads, lines):
        if "form" in row:
            found[row["form"]] = row["openings"]
        else:
            found |= row
    return found


def draw(
    rng: Random, kinds: Sequence[str], numbers: tuple[int, int], difficulty: int, style: Sequence[Kind] = ()
) -> Draft | None:
    """A problem with constraints of these kinds; None where the draw came to nothing.

    `numbers` are the fewest and most constraints that the question tells. With a style, every question is a customer's
    and has the answer use the word for what it is about.
    """
    number = rng.randint(*numbers)
    if style:
        situation, product = rng.choice(_subjects()["situations"]), rng.choice(_subjects()["products"])
        opening = rng.choice(_subjects()["replies"]).replace("{situation}", situation.replace("{product}", product))
        said = _add(rng, [UseWords(words=(product,))], kinds, number, "prose", difficulty, taken=style)
        if said is not None and _more_than_a_sentence(said):
            return None
    else:
        form = _form(rng, kinds)
        said = _add(rng, [], kinds, number, form, difficulty)
        opening = "" if said is None or form == "name" else _opening(rng, form, said)
    if said is None or not any(kind.anchored for kind in said):
        return None
    answer = build([*said, *style], rng)
    if answer is None:
        return None
    return Draft(question=_asked(rng, opening, said), said=tuple(said), answer=answer)


_OPENED_AS: dict[Form, str] = {
    "bullets": "bullets", "numbered": "bullets", "commas": "bullets", "verse": "verse", "json": "json", "table": "json",
}  # fmt: skip


def _opening(rng: Random, form: Form, said: Sequence[Kind]) -> str:
    """What is asked for apart from the constraints; one sentence where they leave it at that."""
    asked = _OPENED_AS.get(form, "prose" if _more_than_a_sentence(said) else "sentence")
    return str(rng.choice(_subjects()[asked])).replace("{topic}", rng.choice(_subjects()["topics"]))


def _more_than_a_sentence(said: Sequence[Kind]) -> bool:
    """Whether no single sentence meets them, or none of a usual length."""
    plan = Plan()
    for kind in said:
        kind.plan(plan)
    return plan.units.least > 1 or plan.paragraphs.least > 1 or plan.words.least > _OF_A_SENTENCE


_OF_A_SENTENCE = 20
"""Words that one sentence may be asked to have."""


def _form(rng: Random, kinds: Sequence[str]) -> Form:
    """A layout for which there is an anchored kind, and one that asks for the layout unless it is prose."""
    possible = [form for form in _HOW_OFTEN if _is_possible(form, kinds)]
    return rng.choices(possible, [_HOW_OFTEN[form] for form in possible])[0] if possible else "prose"


def _is_possible(form: Form, kinds: Sequence[str]) -> bool:
    fitting = [KINDS[name] for name in kinds if form in KINDS[name].forms]
    asked = form == "prose" or any(kind.lays_out == form for kind in fitting)
    return asked and any(kind.anchored for kind in fitting)


def fewest_beside(name: str, kinds: Sequence[str], difficulty: int, style: Sequence[Kind] = ()) -> int | None:
    """The fewest constraints of a question that asks for a kind, itself among them; None where none of these kinds
    gives the layout that it is asked of, or a style leaves no place for it.
    """
    kind = KINDS[name]
    if style:  # Each question asks for a word first, and for one sentence.
        if name == UseWords.name:
            return 1
        drawn = [kind.draw(Random(seed), difficulty) for seed in range(_PATIENCE)] if "prose" in kind.forms else []
        fits = any(one and _apart(one, style) and not _more_than_a_sentence([one]) for one in drawn)
        return 2 if fits else None
    numbers = []
    for form in kind.forms:
        if _is_possible(form, kinds):
            layouts = [KINDS[other] for other in kinds if KINDS[other].lays_out == form]
            beside = [] if form == "prose" or kind.lays_out == form else layouts
            anchored = kind.anchored or any(other.anchored for other in beside)
            numbers.append(1 + bool(beside) + (not anchored))
    return min(numbers, default=None)


def _add(
    rng: Random,
    said: list[Kind],
    kinds: Sequence[str],
    number: int,
    form: Form,
    difficulty: int,
    taken: Sequence[Kind] = (),
) -> list[Kind] | None:
    """So many constraints in all that do not stand in each other's way by name; None where they cannot be had."""
    fitting = [name for name in kinds if form in KINDS[name].forms]
    if form != "prose":
        asking = [name for name in fitting if KINDS[name].lays_out == form]
        first = KINDS[rng.choice(asking)].draw(rng, difficulty) if asking else None
        if first is None:
            return None
        said = [*said, first]
    for _ in range(_PATIENCE):
        if len(said) >= number:
            break
        if not fitting:
            return None
        # The last place is for an anchored one, if none is there yet.
        anchor = len(said) == number - 1 and not any(kind.anchored for kind in said)
        names = [name for name in fitting if KINDS[name].anchored] if anchor else fitting
        if not names:
            return None
        new = KINDS[rng.choice(names)].draw(rng, difficulty)
        if new is not None and _apart(new, [*said, *taken]):
            said = [*said, new]
    return said if len(said) == number else None


def _apart(new: Kind, others: Sequence[Kind]) -> bool:
    """Whether it is of another group than all others, and speaks of other words."""
    groups = {kind.group or kind.name for kind in others} | {kind.name for kind in others}
    spoken = {fold(word) for kind in others for word in kind.said_words}
    return not {new.name, new.group or new.name} & groups and not {fold(word) for word in new.said_words} & spoken


def _asked(rng: Random, opening: str, said: Sequence[Kind]) -> str:
    """The question with its constraints, in one of several wordings."""
    phrases = [rng.choice(kind.phrases()) for kind in rng.sample(said, len(said))]
    subject = rng.choice(("Your answer", "The answer", "What you write"))
    if len(phrases) == 1:
        told = f"{subject} {rng.choice(('must', 'has to'))} {phrases[0]}."
    else:
        told = rng.choice((_one_after_another, _as_list, _in_a_row))(subject, phrases)
    return f"{opening}{rng.choice((' ', chr(10)))}{told}" if opening else told


def _one_after_another(subject: str, phrases: Sequence[str]) -> str:
    return " ".join([f"{subject} must {phrases[0]}.", *(f"It must {phrase}." for phrase in phrases[1:])])


def _as_list(subject: str, phrases: Sequence[str]) -> str:
    return "\n".join([f"{subject} must", *(f"- {phrase}" for phrase in phrases)])


def _in_a_row(subject: str, phrases: Sequence[str]) -> str:
    return f"{subject} has to {'; it has to '.join(phrases)}."
