"""A task of your own. Change question, answer and check; then `rltf validate NAME.toml`, and `rltf train NAME.toml`.

docs/tasks.md explains it, rltf.tasks.SimpleTask says what else can be changed.
"""

from __future__ import annotations

import re
from random import Random

from rltf.tasks import SimpleTask
from rltf.types import Problem


class OwnTask(SimpleTask):
    """Sums of two numbers."""

    highest = 999  # A setting: [task.settings] of the recipe sets it anew.

    def generate(self, rng: Random) -> tuple[str, str]:
        """A question and its answer. Draw from `rng` alone, so that a seed always gives the same problems."""
        first, second = rng.randint(0, self.highest), rng.randint(0, self.highest)
        return f"What is {first} + {second}?", str(first + second)

    def check(self, answer: str, problem: Problem) -> str | None:
        """None where the answer is right, else what is wrong with it, one fault per line: this is the feedback.

        It must not name the right answer. `answer` is whatever the model wrote between <answer> and </answer>.
        """
        if not re.fullmatch(r"[0-9]{1,9}", answer):
            return "The answer is not a number."
        if int(answer) == int(problem.answer):
            return None
        return "The answer is too small." if int(answer) < int(problem.answer) else "The answer is too large."
