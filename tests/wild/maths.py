"""Pairs of a gold answer and an answer, graded by the maths task.

A case has `gold`, `right`, and either `answer`, which is boxed, or `attempt`, the whole of an attempt's text.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from rltf.config import MathsConfig
from rltf.tasks import Maths
from rltf.tasks.maths.boxed import box
from rltf.tasks.maths.golds import normal_answer
from rltf.types import Problem


@cache
def _task() -> Maths:
    task = Maths(**MathsConfig(name="maths").model_dump(exclude={"name"}))
    task._verdicts._compare._seconds = 30.0  # for machines that are busy
    return task


def hold(case: dict[str, Any]) -> tuple[bool, str]:
    problem = Problem(task="maths", split="test", index=0, prompt="What?", answer=normal_answer(case["gold"]))
    score = _task().score(problem, case["attempt"] if "attempt" in case else box(case["answer"]))
    return score.correct == case["right"], f"correct={score.correct}: {score.explanation}"
