"""Several sources as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

from rltf.feedback.base import FeedbackSource
from rltf.support.seeds import derive_seed
from rltf.types import Feedback, FeedbackFailure, FeedbackRequest


class FirstOfSource:
    """Asks its sources in turn, each about what those before it failed on."""

    def __init__(self, sources: Sequence[FeedbackSource]) -> None:
        self._sources = sources

    def feedback(self, requests: Sequence[FeedbackRequest], seed: int) -> list[Feedback | FeedbackFailure]:
        """The first answer that is no failure, with the failure that it stands for; a failure where all fail."""
        answers = self._sources[0].feedback(requests, seed)
        for source in self._sources[1:]:
            failed = [i for i, answer in enumerate(answers) if isinstance(answer, FeedbackFailure)]
            if not failed:
                break
            for i, answer in zip(failed, source.feedback([requests[i] for i in failed], seed), strict=True):
                failure = answers[i]
                if isinstance(answer, Feedback) and isinstance(failure, FeedbackFailure):
                    answers[i] = replace(answer, stands_for=failure)
        return answers


class MixedSource:
    """Asks one of its sources about each attempt, drawn by chance."""

    def __init__(self, sources: Sequence[FeedbackSource], shares: Sequence[float]) -> None:
        """`shares` says how often each is asked, relative to the others."""
        self._sources, self._shares = sources, shares

    def feedback(self, requests: Sequence[FeedbackRequest], seed: int) -> list[Feedback | FeedbackFailure]:
        """Each source gets its requests in one call."""
        drawn = [self._drawn(request, seed) for request in requests]
        return _each_by_its_own(dict(enumerate(self._sources)), drawn, requests, seed)

    def _drawn(self, request: FeedbackRequest, seed: int) -> int:
        """By problem and sibling, so that no other request decides who is asked."""
        problem = request.problem
        place = (problem.task, problem.split, problem.index, request.sibling, request.repeat)
        (source,) = Random(derive_seed(seed, "mixed source", *place)).choices(range(len(self._sources)), self._shares)
        return source


class ByTaskSource:
    """Asks the source of each problem's task: in a mixture, one may have an LLM judge and another its rules."""

    def __init__(self, sources: Mapping[str, FeedbackSource], others: FeedbackSource) -> None:
        """By the label of the task; `others` is asked about the rest."""
        self._sources, self._others = sources, others

    def feedback(self, requests: Sequence[FeedbackRequest], seed: int) -> list[Feedback | FeedbackFailure]:
        """Each source gets its requests in one call."""
        # One source may stand for several tasks: it is asked once, about all of them.
        mine = [self._sources.get(request.problem.task, self._others) for request in requests]
        return _each_by_its_own(
            {id(source): source for source in mine}, [id(source) for source in mine], requests, seed
        )


def _each_by_its_own(
    sources: Mapping[int, FeedbackSource], chosen: Sequence[int], requests: Sequence[FeedbackRequest], seed: int
) -> list[Feedback | FeedbackFailure]:
    """The answers to requests by the sources chosen for them, in order."""
    answers: dict[int, Feedback | FeedbackFailure] = {}
    for key, source in sources.items():
        mine = [i for i, chosen_key in enumerate(chosen) if chosen_key == key]
        if mine:
            answers |= zip(mine, source.feedback([requests[i] for i in mine], seed), strict=True)
    return [answers[i] for i in range(len(requests))]
