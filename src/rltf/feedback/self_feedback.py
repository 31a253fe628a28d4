"""Feedback that the policy writes about its own attempts."""

from __future__ import annotations

from collections.abc import Sequence

from rltf.feedback.base import FeedbackSource
from rltf.support.seeds import derive_seed
from rltf.text.prompts import Prompts
from rltf.text.renderer import Renderer
from rltf.text.thinking import split_thinking
from rltf.types import Feedback, FeedbackFailure, FeedbackRequest, Generate, SamplingParams

SOURCE = "self"


class SelfSource:
    """Asks the policy what is wrong with its attempt, in the form that feedback modelling trains."""

    def __init__(
        self, generate: Generate, renderer: Renderer, prompts: Prompts, sampling: SamplingParams, context: int
    ) -> None:
        """`context` is the longest sequence that the model takes."""
        self._generate, self._renderer, self._prompts = generate, renderer, prompts
        self._sampling, self._context = sampling, context

    def feedback(self, requests: Sequence[FeedbackRequest], seed: int) -> list[Feedback | FeedbackFailure]:
        """One sample per request. It sees neither the score nor the gold answer."""
        prompts = [self._renderer.prompt(self._prompts.feedback_request(r.messages, r.attempt)) for r in requests]
        fits = [len(prompt) + self._sampling.max_tokens <= self._context for prompt in prompts]
        asked = [prompt for prompt, fit in zip(prompts, fits, strict=True) if fit]
        seeds = [_seed(request, seed) for request, fit in zip(requests, fits, strict=True) if fit]
        written = iter(self._generate(asked, 1, self._sampling, seeds) if asked else [])
        answers: list[Feedback | FeedbackFailure] = []
        for prompt, fit in zip(prompts, fits, strict=True):
            if not fit:
                answers.append(
                    FeedbackFailure(cause="context", reason="the request exceeds the model's context", source=SOURCE)
                )
                continue
            (completion,) = next(written)
            # What it thought before it wrote is no feedback.
            _, text = split_thinking(self._renderer.text(completion.tokens))
            if text.strip():
                answers.append(Feedback(text=text, source=SOURCE, prompt_tokens=prompt, completion=completion))
            else:
                answers.append(FeedbackFailure(cause="empty", reason="the policy wrote nothing", source=SOURCE))
        return answers


def _seed(request: FeedbackRequest, seed: int) -> int:
    """By problem and sibling, so that no other request decides what it draws."""
    problem = request.problem
    return derive_seed(seed, problem.task, problem.split, problem.index, request.sibling, request.repeat)


class SharedSource:
    """One source for the first siblings of a group, another for the rest (self-critique RL)."""

    def __init__(self, first: FeedbackSource, rest: FeedbackSource, first_siblings: int) -> None:
        self._first, self._rest, self._first_siblings = first, rest, first_siblings

    def feedback(self, requests: Sequence[FeedbackRequest], seed: int) -> list[Feedback | FeedbackFailure]:
        """Each request is answered by its sibling's source."""
        mine = [request.sibling < self._first_siblings for request in requests]
        # The rest may ask the policy too, as part of a mix: with the same seed it would sample with the same numbers.
        asked = ((True, self._first, seed), (False, self._rest, derive_seed(seed, "the other siblings")))
        parts = {
            chosen: iter(source.feedback([r for r, m in zip(requests, mine, strict=True) if m is chosen], own_seed))
            for chosen, source, own_seed in asked
        }
        return [next(parts[chosen]) for chosen in mine]
