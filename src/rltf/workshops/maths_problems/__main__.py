"""Writes `problems.jsonl` anew: every question once, every answer computed and checked by the task's own grader."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from sympy import latex

from rltf.support.seeds import derive_seed
from rltf.tasks import maths
from rltf.tasks.listed import Item, split_items
from rltf.tasks.maths.grade import compare
from rltf.workshops.maths_problems import numbers_and_algebra, shapes_and_counting
from rltf.workshops.maths_problems.by_hand import PROBLEMS
from rltf.workshops.maths_problems.templates import TEMPLATES, make

FILE = Path(maths.__file__).with_name("problems.jsonl")
PER_TEMPLATE = 6
SHARED_WORDS = 13
"""As in the task's default settings."""
LISTED = (numbers_and_algebra, shapes_and_counting)
"""The modules that list their templates when they are imported."""


def problems() -> list[dict[str, str]]:
    """All rows, in the order of the file; each third of a template and each fourth by hand is for the test."""
    rows = []
    for template in TEMPLATES:
        draw = Random(derive_seed(0, "maths", template.__name__))
        for number, (question, answer) in enumerate(make(template, PER_TEMPLATE, draw)):
            rows.append(_row(question, answer, number % 3 == 2))
    for number, (question, answer, value) in enumerate(PROBLEMS):
        if compare(latex(value), answer) != "equal":
            raise ValueError(f"{question}: {answer} is not {value}")
        rows.append(_row(question, answer, number % 4 == 3))
    if len({row["question"] for row in rows}) < len(rows):
        raise ValueError("a question stands twice")
    _check_halves(rows)
    return rows


def _check_halves(rows: list[dict[str, str]]) -> None:
    """Where training and test problems of a template read too much alike, the task would leave the former out."""
    halves: dict[str, list[Item]] = {"train": [], "test": []}
    for row in rows:
        halves[row["split"]].append(Item(prompt="", question=row["question"], answer=row["answer"]))
    sizes = {"train": None, "validation": None, "test": None}
    _, left_out = split_items(halves["train"], halves["test"], sizes, 0, SHARED_WORDS)
    if left_out.repeated or left_out.contaminated:
        raise ValueError(f"training and test problems are too much alike: {left_out}")


def _row(question: str, answer: str, test: bool) -> dict[str, str]:
    return {"question": question, "answer": answer, "split": "test" if test else "train"}


if __name__ == "__main__":
    FILE.write_text("".join(json.dumps(row) + "\n" for row in problems()), encoding="utf-8")
