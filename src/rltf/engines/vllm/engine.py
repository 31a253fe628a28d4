"""Both halves: a learner in this process, a server that samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from rltf.config import PromptsConfig, SamplerConfig, TorchEngineConfig, TrainerConfig
from rltf.engines.base import Joined
from rltf.engines.torch.learner import TorchLearner
from rltf.engines.torch.several import SeveralEngine
from rltf.engines.vllm.client import Client
from rltf.engines.vllm.sampler import VllmSampler
from rltf.engines.vllm.server import check_python
from rltf.engines.vllm.starting import check_started
from rltf.engines.vllm.transfer import check_device
from rltf.support.addresses import SECONDS, check_listens
from rltf.support.errors import UserError
from rltf.types import Answer, Query, TrainingSample

_SECONDS_TO_TELL = 60.0
"""A server that is asked for its settings first looks what its machine has."""


def vllm_engine(
    sampler: SamplerConfig,
    config: TorchEngineConfig,
    optimizer: TrainerConfig,
    temperature: float,
    prompts: PromptsConfig | None = None,
    seed: int = 0,
) -> Joined:
    """See `engines.torch.engine.torch_engine`."""
    check_client()
    return with_server(TorchLearner(config, optimizer, temperature, prompts, seed), sampler, config, temperature)


def check_client() -> None:
    """Raises `UserError` where there is nothing to speak with a server with."""
    try:
        import httpx2  # noqa: F401
    except ImportError as error:
        raise UserError("engine.sampler=vllm needs httpx2; install rltf with its `vllm` extra") from error


def check_server(config: SamplerConfig, engine: TorchEngineConfig) -> None:
    """Finds without weights what would keep a server from sampling; one that runs is asked."""
    check_client()
    check_device(config, engine)
    if config.url is None:
        assert config.python is not None
        check_python(Path(config.python))
        return
    check_listens(config.url, "sampler.url")
    with closing(Client(config.url, SECONDS, 1)) as client:
        client.base()
    with closing(Client(config.url, _SECONDS_TO_TELL, 1)) as client:
        check_started(client, config)


def with_server(
    learner: TorchLearner | SeveralEngine, sampler: SamplerConfig, config: TorchEngineConfig, temperature: float
) -> Joined:
    """A learner, in one process or in several, whose sampler is a server."""
    try:
        check_device(sampler, config)
        server = VllmSampler(sampler, config, learner, temperature)
    except BaseException:
        learner.close()
        raise
    learner.max_tokens = min(learner.max_tokens, server.max_tokens)
    learner.notes.append("a vLLM server samples: the same seed does not give the same run to the last bit")
    return TakingTurns(learner, server) if sampler.sleep else Joined(learner, server)


class TakingTurns(Joined):
    """A learner and a server on one GPU. The server sleeps while the learner computes, until it is asked to write."""

    sampler: VllmSampler

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """See `Learner`."""
        self.sampler.sleep()
        return self.learner.answer(queries)

    def forward_backward(self, samples: Sequence[TrainingSample], normalizer: float) -> Mapping[str, float]:
        """See `Learner`."""
        self.sampler.sleep()
        return self.learner.forward_backward(samples, normalizer)
