"""The sampler of the engine `tinker`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rltf.engines.base import Weights
from rltf.engines.tinker.connection import Connection, sdk
from rltf.engines.tinker.requests import Limits
from rltf.support.errors import UserError
from rltf.support.seeds import derive_seed
from rltf.text.renderer import Renderer
from rltf.types import Completion, Finish, SamplingParams, Tokens

_SEEDS = 2**31 - 1
"""Servers take seeds below this."""


class TinkerSampler:
    """See `engines.base.Sampler`. To take weights has the server save them and open a sampler of its own for them."""

    exact = False

    def __init__(self, connection: Connection, renderer: Renderer, limits: Limits, newest: Callable[[], int]) -> None:
        """`newest` is the learner's version."""
        self._connection, self._renderer, self._limits, self._newest = connection, renderer, limits, newest
        self._client: Any = None
        self.version = -1

    def take(self, weights: Weights) -> None:
        """See the protocol. The model is the SDK's training client."""
        self._client = self._connection.call(
            "give its weights to a sampler", weights.model.save_weights_and_get_sampling_client
        )
        self.version = weights.version

    def generate(
        self, prompts: Sequence[Tokens], n: int, sampling: SamplingParams, seeds: Sequence[int]
    ) -> list[list[Completion]]:
        """Samples; see the protocol. All prompts are under way at the same time."""
        # A server with one place for sampler and trainer would train on with the older weights.
        assert self.version == self._newest(), "only the newest weights may be sampled from"
        types = sdk().types
        futures = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            self._limits.check(prompt, sampling.max_tokens)
            parameters = types.SamplingParams(
                max_tokens=sampling.max_tokens,
                temperature=sampling.temperature,
                # Sample k has the seed + k.
                seed=derive_seed(seed, "sample") % (_SEEDS - n),
                stop=list(self._renderer.stop_tokens),
            )
            futures.append(
                self._client.sample(
                    prompt=types.ModelInput.from_ints(list(prompt)), num_samples=n, sampling_params=parameters
                )
            )
        answers = [self._connection.wait("sample", future).sequences for future in futures]
        return [[self._completion(found, sampling) for found in self._all(siblings, n)] for siblings in answers]

    def _all(self, siblings: Sequence[Any], n: int) -> Sequence[Any]:
        if len(siblings) != n:
            raise UserError(f"the server gave {len(siblings)} samples of a prompt where {n} were asked for")
        return siblings

    def _completion(self, found: Any, sampling: SamplingParams) -> Completion:
        tokens, logprobs = tuple(found.tokens), found.logprobs
        if not tokens or len(tokens) > sampling.max_tokens:
            raise UserError(f"the server gave a sample of {len(tokens)} tokens, where up to {sampling.max_tokens} fit")
        self._limits.check(tokens)
        if logprobs is None or len(logprobs) != len(tokens) or not np.isfinite(logprobs).all():
            raise UserError("the server gave a sample without a log-probability for each of its tokens")
        stopped = found.stop_reason == "stop"
        if stopped and tokens[-1] not in self._renderer.stop_tokens:
            raise UserError(
                "the server ended a sample by a token that it keeps to itself, so none could learn to end; "
                "engine.tokenizer may not be that of engine.model"
            )
        return Completion(
            tokens=tokens,
            logprobs=np.array(logprobs, dtype=np.float32),
            finish=Finish.STOP if stopped else Finish.LENGTH,
            version=self.version,
        )

    def close(self) -> None:
        """Lets go of the server's sampler."""
        self._client = None
