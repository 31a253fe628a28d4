"""What the built-in model learns before it meets a run: the language of a task, never its solution.

A dialogue is made without any true answer:

- the first attempt is ignorant: well-formed, and a guess wherever the question does not show the value;
- the target of a revision is *random*: the attempt with a few random cells changed;
- the feedback describes that change, so the revision follows from the feedback alone;
- a request for feedback is answered with feedback on another random change, which tells nothing true.

An attempt or a target that happens to be the right answer is drawn again: no correct answer is ever shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal, Protocol

from rltf.config import PromptsConfig
from rltf.text.prompts import ConversationForm, Prompts
from rltf.types import Message, Problem

REVISIONS = 3
"""Independent revisions of one attempt; they share its prefix, which makes them cheap."""
REQUEST_SHARE = 0.25
THIRD_TURN_SHARE = 0.1
SINGLE_MESSAGE_SHARE = 0.1
PROMPTS = Prompts(PromptsConfig())
"""The default settings': what the model is schooled in is what a run says unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A conversation and the assistant's reply to learn."""

    task: str
    kind: Literal["attempt", "revision", "request"]
    messages: tuple[Message, ...]
    reply: str


class Speaker(Protocol):
    """The language of one task."""

    def question(self, rng: Random, difficulty: float) -> Problem:
        """A question; its answer is there only to be avoided."""
        ...

    def ignorant_attempt(self, problem: Problem, rng: Random) -> str:
        """A well-formed attempt that knows nothing of the solution, never the right one."""
        ...

    def random_revision(self, problem: Problem, attempt: str, rng: Random) -> tuple[str, str]:
        """Feedback that describes a random change, and the attempt so changed, never the right one."""
        ...

    def vocabulary(self) -> Iterator[str]:
        """Texts that hold every stretch of the task's language, for the tokenizer."""
        ...


def exchanges(speaker: Speaker, rng: Random, difficulty: float) -> list[Exchange]:
    """One dialogue as the replies to learn in it: an attempt, revisions of it, a reply to a feedback request.

    `difficulty` in [0, 1] rises over the schooling: it begins with small questions, on which copying an attempt is
    soon found out, and leaves later turns, other forms and feedback requests for the end.
    """
    problem = speaker.question(rng, difficulty)
    question = PROMPTS.first_turn(problem)
    attempt = speaker.ignorant_attempt(problem, rng)
    learned = [Exchange(task=problem.task, kind="attempt", messages=question, reply=attempt)]
    if rng.random() < REQUEST_SHARE * (difficulty == 1.0):
        unrelated, _ = speaker.random_revision(problem, attempt, rng)
        learned.append(
            Exchange(
                task=problem.task, kind="request", messages=PROMPTS.feedback_request(question, attempt), reply=unrelated
            )
        )
    for _ in range(REVISIONS):
        form: ConversationForm = "single_message" if rng.random() < SINGLE_MESSAGE_SHARE * difficulty else "continued"
        feedback, revision = speaker.random_revision(problem, attempt, rng)
        messages = PROMPTS.next_turn(problem, question, attempt, feedback, form)
        learned.append(Exchange(task=problem.task, kind="revision", messages=messages, reply=revision))
        if rng.random() < THIRD_TURN_SHARE * difficulty:
            feedback, third = speaker.random_revision(problem, revision, rng)
            messages = PROMPTS.next_turn(problem, messages, revision, feedback, form)
            learned.append(Exchange(task=problem.task, kind="revision", messages=messages, reply=third))
    return learned
