"""Attempts at problems in Python, outputs of programs, answers with marks around them, and files of the user's own.

A case has `right`, and one of
- `attempt` at the `problem` of that name below, or at the one in `row`, of the columns of `shape`;
- `output`, where `expected` is, of a problem with the text `says`;
- `answer` with `{}` in place of the gold answer of the data set `gym`;
- `file`, which `rltf validate` either finds sound or refuses in one line that holds `said`.
"""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from rltf.config import CodeConfig, GymConfig
from rltf.runs.build import build_task
from rltf.support.errors import UserError
from rltf.support.user_code import time_limit
from rltf.tasks import CodeTask, Task, load_task
from rltf.tasks.code.outputs import same_output, stated_slack
from rltf.tasks.code.shapes import Listing, read_listings
from rltf.tasks.validate import validate
from rltf.types import Problem


def _functional(text: str, starter: str, name: str, *tests: tuple[str, str]) -> dict[str, Any]:
    return {
        "question_content": text,
        "starter_code": starter,
        "public_test_cases": json.dumps([{"input": i, "output": o, "testtype": "functional"} for i, o in tests]),
        "metadata": json.dumps({"func_name": name}),
    }


def _program(text: str, *tests: tuple[str, str]) -> dict[str, Any]:
    cases = [{"input": i, "output": o, "testtype": "stdin"} for i, o in tests]
    return {"question_content": text, "starter_code": "", "public_test_cases": json.dumps(cases), "metadata": "{}"}


PROBLEMS: dict[str, dict[str, Any]] = {
    "spread": _functional(
        "The largest number of a list less the smallest; 0 for an empty list.",
        "class Solution:\n    def spread(self, levels: List[int]) -> int:\n        ",
        "spread",
        ("[4, 9, 2]", "7"),
        ("[]", "0"),
    ),
    "tally": _functional(
        "How often the most frequent letter stands in a word.",
        "class Solution:\n    def tally(self, word: Optional[str]) -> int:\n        ",
        "tally",
        ('"kayak"', "2"),
        ('"bookkeeper"', "3"),
    ),
    "trim": _functional(
        "A word without its first and last letter.", "def trim(word: str) -> str:\n    ", "trim", ('"stone"', '"ton"')
    ),
    "dearest": _program(
        "The first line says how many prices follow on the second. Write the highest.",
        ("3\n40 75 12\n", "75\n"),
        ("1\n8\n", "8\n"),
    ),
    "echo": _program("Write each line of the input backwards.", ("abc\nde\n", "cba\ned\n"), ("x\n", "x\n")),
}


def hold(case: dict[str, Any]) -> tuple[bool, str]:
    if "output" in case:
        found = same_output(case["expected"], case["output"], stated_slack(case.get("says", "")))
        return found == case["right"], f"{found}"
    if "gym" in case:
        task = _gym(case["gym"])
        problem = task.problem("train", 0)
        score = task.score(problem, case["answer"].replace("{}", problem.answer))
        return score.correct == case["right"], score.explanation
    return _of_file(case) if "file" in case else _of_attempt(case)


def _of_attempt(case: dict[str, Any]) -> tuple[bool, str]:
    listing = _listing(json.dumps(case.get("row") or PROBLEMS[case["problem"]]), case.get("shape", "livecodebench"))
    problem = Problem(
        task="code", split="test", index=0, prompt="?", answer=listing.solution, metadata={"listing": listing}
    )
    task = _code()
    task._verdicts.clear()  # of another problem with this index
    score = task.score(problem, case["attempt"])
    return score.correct == case["right"], score.explanation


def _of_file(case: dict[str, Any]) -> tuple[bool, str]:
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "mine.py")
        file.write_text(case["file"], encoding="utf-8")
        try:
            with time_limit(1.0):
                task = load_task(str(file), {"train_size": 4, "validation_size": 2, "test_size": 2})
                faults = [fault for check in validate(task, 4) for fault in check.failures]
        except UserError as error:
            said = str(error)
            return not case["right"] and case["said"] in said and "\n" not in said, said
    return case["right"] and not faults, "; ".join(faults[:2]) or "sound"


@cache
def _code() -> CodeTask:
    # The limit on the clock is for machines that are busy.
    return CodeTask(**CodeConfig(name="code", cpu_seconds=5, seconds=120.0).model_dump(exclude={"name"}))


@cache
def _gym(name: str) -> Task:
    return build_task(GymConfig(name=f"reasoning_gym:{name}"))


@cache
def _listing(row: str, shape: Any) -> Listing:
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "rows.jsonl")
        file.write_text(row + "\n", encoding="utf-8")
        return read_listings(str(file), shape)[0][0]
