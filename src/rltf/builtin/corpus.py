"""What the built-in model learns before it meets a run: the language of a task, never its solution.

A dialogue is made without any true answer:

- the first attempt is ignorant: well-formed, and a guess wherever the question does not show the value;
- the target of a revision is *random*: the attempt with a few random cells changed;
- the feedback describes that change, so the revision follows from the feedback alone;
- a request for feedback is answered with feedback on another random change, which tells nothing true.

An attempt or a target that happens to be the right answer is drawn again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Protocol

from rltf.prompts import ConversationForm, feedback_request, first_turn, next_turn
from rltf.types import Message, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A conversation and the assistant's reply to learn."""

    messages: tuple[Message, ...]
    reply: str


class Speaker(Protocol):
    """The language of one task."""

    def question(self, rng: Random) -> Problem:
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


def exchanges(speaker: Speaker, rng: Random) -> list[Exchange]:
    """One dialogue as the replies to learn in it: attempt, revisions, and a reply to a feedback request."""
    problem = speaker.question(rng)
    form: ConversationForm = "continued" if rng.random() < 0.8 else "single_message"
    messages = first_turn(problem)
    attempt = speaker.ignorant_attempt(problem, rng)
    learned = [Exchange(messages=messages, reply=attempt)]
    for _ in range(1 if rng.random() < 0.8 else 2):
        if rng.random() < 0.25:
            unrelated, _ = speaker.random_revision(problem, attempt, rng)
            learned.append(Exchange(messages=feedback_request(messages, attempt), reply=unrelated))
        feedback, revision = speaker.random_revision(problem, attempt, rng)
        messages = next_turn(problem, messages, attempt, feedback, form)
        attempt = revision
        learned.append(Exchange(messages=messages, reply=attempt))
    return learned
