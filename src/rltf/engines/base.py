"""What an engine is. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from rltf.text.renderer import Renderer
from rltf.types import Completion, FloatArray, SamplingParams, Tokens, TrainingSample


class Engine(Protocol):
    """Holds one policy: samples from it, scores with it, trains it. It does not know which method runs."""

    @property
    def renderer(self) -> Renderer:
        """Messages to tokens, for this policy's tokenizer."""
        ...

    @property
    def max_tokens(self) -> int:
        """Longest sequence, prompt and completion, that the model takes."""
        ...

    @property
    def policy_version(self) -> int:
        """Optimiser steps taken so far."""
        ...

    def generate(
        self, prompts: Sequence[Tokens], n: int, sampling: SamplingParams, seed: int
    ) -> list[list[Completion]]:
        """`n` completions of each prompt, with their log-probabilities under the sampling policy.

        The same seed, weights and prompts give the same completions, however they are batched.
        """
        ...

    def score(self, sequences: Sequence[tuple[Tokens, Tokens]], *, initial_policy: bool = False) -> list[FloatArray]:
        """Log-probability of each completion token of (prompt, completion), shape `[T]` each, in nats.

        With `initial_policy`, under the weights as they were before any training.
        """
        ...

    def forward_backward(self, samples: Sequence[TrainingSample], normalizer: float) -> Mapping[str, float]:
        """Adds the gradient of the samples' summed loss divided by `normalizer`; returns metrics."""
        ...

    def optim_step(self, learning_rate: float) -> Mapping[str, float]:
        """One optimiser step on the accumulated gradient, which it clears; returns metrics."""
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
