"""Sources that say too little or too much: what located feedback is to be compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from rltf.feedback.base import FeedbackSource
from rltf.support.seeds import derive_seed
from rltf.types import Feedback, FeedbackFailure, FeedbackRequest

ANSWER = "The right answer is:\n"


class ConstantSource:
    """Says the same of every attempt."""

    def __init__(self, text: str) -> None:
        self._text = text

    def feedback(self, requests: Sequence[FeedbackRequest], seed: int) -> list[Feedback | FeedbackFailure]:
        """The constant text, once per request."""
        return [Feedback(text=self._text, source="constant") for _ in requests]


class AnswerSource:
    """Tells the gold answer: what imitation of solutions gives, without any criticism."""

    def feedback(self, requests: Sequence[FeedbackRequest], seed: int) -> list[Feedback | FeedbackFailure]:
        """The gold answer of each request's problem."""
        return [Feedback(text=ANSWER + request.problem.answer, source="answer") for request in requests]


class ShuffledSource:
    """Gives each attempt the feedback that another source wrote about some attempt of the same batch."""

    def __init__(self, inner: FeedbackSource) -> None:
        self._inner = inner

    def feedback(self, requests: Sequence[FeedbackRequest], seed: int) -> list[Feedback | FeedbackFailure]:
        """The inner source's feedback in a random order."""
        written = self._inner.feedback(requests, seed)
        Random(derive_seed(seed, "shuffled source")).shuffle(written)
        return [_renamed(feedback, "shuffled") for feedback in written]


class OtherProblemSource:
    """Gives each attempt the feedback that another source wrote about an attempt at another problem."""

    def __init__(self, inner: FeedbackSource) -> None:
        self._inner = inner

    def feedback(self, requests: Sequence[FeedbackRequest], seed: int) -> list[Feedback | FeedbackFailure]:
        """Feedback from a random request of another problem; a failure where the batch has no other problem."""
        written = self._inner.feedback(requests, seed)
        rng = Random(derive_seed(seed, "other problem"))
        taken: list[Feedback | FeedbackFailure] = []
        for request in requests:
            mine = (request.problem.task, request.problem.index)
            others = [i for i, other in enumerate(requests) if (other.problem.task, other.problem.index) != mine]
            if others:
                taken.append(_renamed(written[rng.choice(others)], "other_problem"))
            else:
                taken.append(
                    FeedbackFailure(
                        cause="no_other_problem", reason="no other problem in the batch", source="other_problem"
                    )
                )
        return taken


def _renamed(answer: Feedback | FeedbackFailure, prefix: str) -> Feedback | FeedbackFailure:
    return replace(answer, source=f"{prefix}:{answer.source}")
