"""The engine `tinker`: both halves at one server."""

from __future__ import annotations

from rltf.config import PromptsConfig, TinkerEngineConfig, TrainerConfig
from rltf.engines.base import Joined
from rltf.engines.tinker.learner import TinkerLearner
from rltf.engines.tinker.sampler import TinkerSampler


def tinker_engine(
    config: TinkerEngineConfig, optimizer: TrainerConfig, prompts: PromptsConfig | None = None, seed: int = 0
) -> Joined:
    """A session at the server with new adapters; `seed` is the run's."""
    learner = TinkerLearner(config, optimizer, prompts or PromptsConfig(), seed)
    sampler = TinkerSampler(learner.connection, learner.renderer, learner.limits, lambda: learner.version)
    return Joined(learner, sampler)
