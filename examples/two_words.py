"""A task of words: one sentence with two given words. A small pretrained model does it now and then, and learns it.

rltf validate examples/two_words.py
rltf train task.path=examples/two_words.py engine.model=smollm2
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

from rltf.tasks import SimpleTask
from rltf.types import Problem

TOPICS = [
    "a market",
    "the sea",
    "a school",
    "winter",
    "a journey",
    "a kitchen",
    "the night",
    "a garden",
    "music",
    "work",
]
WORDS = re.findall(
    r"\w+",
    """
    apple bridge candle doctor engine feather garden hammer island jacket kettle ladder mirror needle orange pencil
    quiet river silver table umbrella village window yellow basket castle dragon forest guitar honey iron jungle
    lemon market night ocean piano queen rabbit shadow tiger uncle valley winter cloud button
    """,
)


class TwoWords(SimpleTask):
    """Question: a topic and two words. Answer: one sentence that has both."""

    answer_in = "whole"
    instruction = ""

    def generate(self, rng: Random) -> tuple[str, str, dict[str, str]]:
        """A topic and two words, and a sentence that would do."""
        first, second = rng.sample(WORDS, 2)
        topic = rng.choice(TOPICS)
        question = f'Write one sentence about {topic} that uses the words "{first}" and "{second}".'
        return question, f"Of {topic} I remember the {first} and the {second}.", {"first": first, "second": second}

    def check(self, answer: str, problem: Problem) -> str | None:
        """Names each word that is missing, and says where there is more than one sentence."""
        said = re.findall(r"[a-z]+", answer.lower())
        faults = [
            f'The word "{word}" is missing.'
            for word in (problem.metadata["first"], problem.metadata["second"])
            if word not in said
        ]
        if len(re.findall(r"[.!?](?:\s|$)", answer)) > 1:
            faults.append("There is more than one sentence.")
        if len(said) < 4:
            faults.append("That is no sentence.")
        return "\n".join(faults) or None

    def perturbations(self, problem: Problem, rng: Random) -> Iterator[str]:
        """Many sentences are right; without one of the words none is."""
        for word in (problem.metadata["first"], problem.metadata["second"]):
            yield problem.answer.replace(word, "thing")
        yield f"{problem.answer} {problem.answer}"
