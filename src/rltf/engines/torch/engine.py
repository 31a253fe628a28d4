"""The engine `torch`: one process samples, scores and trains with PyTorch and transformers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rltf.config import PromptsConfig, TorchEngineConfig, TrainerConfig
from rltf.engines.base import Joined, Weights
from rltf.engines.torch import sampler as decoding
from rltf.engines.torch.fixed import CannotRecord
from rltf.engines.torch.heap import compact_heap
from rltf.engines.torch.learner import TorchLearner
from rltf.engines.torch.room import give_back, is_out_of_memory
from rltf.engines.torch.spread import Alone
from rltf.support.errors import UserError
from rltf.types import Completion, SamplingParams, Tokens


class TorchSampler:
    """See `engines.base.Sampler`. It writes with the learner's own model: to take weights costs nothing."""

    def __init__(self, config: TorchEngineConfig, learner: TorchLearner) -> None:
        self._renderer, self._token_budget = learner.renderer, learner.reading_budget
        self._batching, self._decode_batch, self._spread = learner.batching, config.decode_batch, learner.spread
        self.fixed_columns = learner.fixed_columns
        """As in `sampler.generate`; 0 decodes everything the plain way."""
        self.take(learner.weights())

    @property
    def exact(self) -> bool:
        """On a CPU; kernels of other devices may add in any order."""
        return bool(self._model.device.type == "cpu")

    def take(self, weights: Weights) -> None:
        """See the protocol."""
        self._model: Any = weights.model
        self.version = weights.version

    def generate(
        self, prompts: Sequence[Tokens], n: int, sampling: SamplingParams, seeds: Sequence[int]
    ) -> list[list[Completion]]:
        """Samples; see the protocol."""
        with compact_heap(self._model), self._spread.gathered():
            if not prompts:
                return []
            while (completions := self._fitting(prompts, n, sampling, seeds)) is None:
                self._decode_batch = max(1, self._decode_batch // 2)
                self._token_budget = max(1, self._token_budget // 2)
                give_back(self._model.device)
        return [[replace(completion, version=self.version) for completion in siblings] for siblings in completions]

    def _fitting(
        self, prompts: Sequence[Tokens], n: int, sampling: SamplingParams, seeds: Sequence[int]
    ) -> list[list[Completion]] | None:
        """The completions; None where memory ran out with several sequences at once."""
        try:
            return decoding.generate(
                self._model,
                self._model.device,
                prompts,
                n,
                sampling,
                seeds,
                stop_tokens=self._renderer.stop_tokens,
                batching=self._batching,
                token_budget=self._token_budget,
                decode_batch=self._decode_batch,
                fixed_columns=self.fixed_columns,
            )
        except CannotRecord as error:
            # The check at load passed, so this comes with a shape that it did not try.
            warnings.warn(f"from now on decoded without CUDA graphs: {error}", stacklevel=1)
            self.fixed_columns = 0
            return self._fitting(prompts, n, sampling, seeds)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if self._decode_batch == 1:
                raise UserError(
                    "the device has not enough memory to sample one sequence: lower rollout.max_new_tokens, or take a "
                    "smaller model or engine.dtype=bfloat16"
                ) from error
            if not self._spread.retries:
                raise UserError(
                    f"the device has not enough memory to sample {self._decode_batch} sequences at once: set "
                    f"engine.decode_batch={self._decode_batch // 2}"
                ) from error
        return None

    def close(self) -> None:
        """Lets go of the model."""
        self._model = None


def torch_engine(
    config: TorchEngineConfig,
    optimizer: TrainerConfig,
    temperature: float,
    prompts: PromptsConfig | None = None,
    seed: int = 0,
    spread: Alone | None = None,
) -> Joined:
    """Both halves around one model; see `TorchLearner`."""
    learner = TorchLearner(config, optimizer, temperature, prompts, seed, spread)
    return Joined(learner, TorchSampler(config, learner))
