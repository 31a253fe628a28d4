"""What an engine is: a sampler and a learner, joined. Nothing here imports torch.

The two halves hold the same policy. A learner changes it; a sampler takes the new weights and writes with them. In one
process both share one model and nothing is copied; a sampler elsewhere (a server, other GPUs) is sent the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rltf.support.side_by_side import in_calling_thread
from rltf.text.renderer import Renderer
from rltf.types import Answer, Completion, Query, SamplingParams, Tokens, TrainingSample


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A policy as a learner hands it to a sampler."""

    version: int
    """Optimiser steps that it has taken."""
    model: Any
    """The live model of the learner's framework. A sampler in the same process uses it as it is; another one reads
    its tensors, or has the learner write it to a directory."""


class Sampler(Protocol):
    """Writes with the policy that it was given last.

    A sampler that works elsewhere may have `side_by_side = True`: several threads may call `generate` at the same time,
    each of which waits by `support.side_by_side.wait_for`. Then groups need not wait for each other between turns.
    """

    @property
    def exact(self) -> bool:
        """Whether the same seed, weights and prompts give the same completions to the last bit, however batched."""
        ...

    @property
    def version(self) -> int:
        """The version of the weights that it writes with; -1 before it was given any."""
        ...

    def take(self, weights: Weights) -> None:
        """Writes with these weights from now on."""
        ...

    def generate(
        self, prompts: Sequence[Tokens], n: int, sampling: SamplingParams, seeds: Sequence[int]
    ) -> list[list[Completion]]:
        """`n` completions of each prompt, each with its log-probabilities under, and the version of, the policy that
        wrote it.

        One seed per prompt: with the same weights, prompt and seed, its sample k is the same, whatever the other
        prompts are and however they are batched or spread.
        """
        ...

    def close(self) -> None:
        """Gives back what it holds. The sampler is not used afterwards."""
        ...


class Learner(Protocol):
    """Scores with one policy and trains it. It does not know which method runs."""

    @property
    def renderer(self) -> Renderer:
        """Messages to tokens, for this policy's tokenizer."""
        ...

    @property
    def max_tokens(self) -> int:
        """Longest sequence, prompt and completion, that the model takes."""
        ...

    @property
    def version(self) -> int:
        """Optimiser steps taken so far."""
        ...

    @property
    def notes(self) -> list[str]:
        """What a user should know of how this policy is sampled and trained, a line each."""
        ...

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """Log-probabilities of completions, under the policy that each query names, at the temperature that is trained.

        `initial` is the policy before any training; `average` the running average of the weights since it was first
        asked for.
        """
        ...

    def forward_backward(self, samples: Sequence[TrainingSample], normalizer: float) -> Mapping[str, float]:
        """Adds the gradient of the samples' summed loss divided by `normalizer`; returns metrics."""
        ...

    def optim_step(self, learning_rate: float) -> Mapping[str, float]:
        """One optimiser step on the accumulated gradient, which it clears; returns metrics."""
        ...

    def weights(self) -> Weights:
        """The policy as it is now, for a sampler."""
        ...

    def save(self, path: Path) -> None:
        """Writes the state that training goes on from (weights, optimiser, version) into a new directory."""
        ...

    def load(self, path: Path) -> None:
        """Restores what `save` wrote."""
        ...

    def export(self, path: Path) -> None:
        """Writes the policy as an ordinary Hugging Face directory."""
        ...

    def close(self) -> None:
        """Gives back what it holds. The learner is not used afterwards."""
        ...


class Engine(Learner, Protocol):
    """Both halves, as everything else sees them."""

    @property
    def exact(self) -> bool:
        """See `Sampler.exact`."""
        ...

    def generate(
        self, prompts: Sequence[Tokens], n: int, sampling: SamplingParams, seeds: Sequence[int]
    ) -> list[list[Completion]]:
        """See `Sampler.generate`; with the learner's newest weights."""
        ...


@dataclass(slots=True)
class Joined:
    """An engine of a sampler and a learner. Before it samples, the sampler takes the weights if they have changed."""

    learner: Learner
    sampler: Sampler

    @property
    def renderer(self) -> Renderer:
        """See `Learner`."""
        return self.learner.renderer

    @property
    def max_tokens(self) -> int:
        """See `Learner`."""
        return self.learner.max_tokens

    @property
    def version(self) -> int:
        """See `Learner`."""
        return self.learner.version

    @property
    def exact(self) -> bool:
        """See `Sampler`."""
        return self.sampler.exact

    @property
    def side_by_side(self) -> bool:
        """See `Sampler`."""
        return bool(getattr(self.sampler, "side_by_side", False))

    @property
    def notes(self) -> list[str]:
        """See `Learner`."""
        return self.learner.notes

    def generate(
        self, prompts: Sequence[Tokens], n: int, sampling: SamplingParams, seeds: Sequence[int]
    ) -> list[list[Completion]]:
        """See `Engine`."""
        if self.sampler.version != self.learner.version:
            in_calling_thread(lambda: self.sampler.take(self.learner.weights()))
        return self.sampler.generate(prompts, n, sampling, seeds)

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """See `Learner`."""
        return self.learner.answer(queries)

    def forward_backward(self, samples: Sequence[TrainingSample], normalizer: float) -> Mapping[str, float]:
        """See `Learner`."""
        return self.learner.forward_backward(samples, normalizer)

    def optim_step(self, learning_rate: float) -> Mapping[str, float]:
        """See `Learner`."""
        return self.learner.optim_step(learning_rate)

    def weights(self) -> Weights:
        """See `Learner`."""
        return self.learner.weights()

    def save(self, path: Path) -> None:
        """See `Learner`."""
        self.learner.save(path)

    def load(self, path: Path) -> None:
        """See `Learner`. The sampler takes the loaded weights before it writes again."""
        self.learner.load(path)
        self.sampler.take(self.learner.weights())

    def export(self, path: Path) -> None:
        """See `Learner`."""
        self.learner.export(path)

    def close(self) -> None:
        """Closes both halves."""
        try:
            self.sampler.close()
        finally:
            self.learner.close()
