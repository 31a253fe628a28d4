"""The sampler: a server that is sent the learner's weights, and is compared with the learner after each change."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from rltf.config import SamplerConfig, TorchEngineConfig
from rltf.engines.base import Learner, Weights
from rltf.engines.torch.process import without_progress_bars
from rltf.engines.torch.room import give_back
from rltf.engines.vllm.client import Client
from rltf.engines.vllm.server import Server
from rltf.engines.vllm.starting import arguments, check_started, environment
from rltf.engines.vllm.transfer import open_transfer
from rltf.support.errors import UserError
from rltf.support.seeds import derive_seed
from rltf.types import Completion, Message, Query, SamplingParams, Tokens

_PROBES, _PROBE_TOKENS = 4, 16
"""So many completions, of so many tokens at most, are compared after each change of the weights."""
_TOLERANCE = {"float32": 0.01, "bfloat16": 0.15, "auto": 0.15}
"""By number format, in nats per token. `auto` may be either."""


class VllmSampler:
    """See `engines.base.Sampler`. It is made before the learner has trained: its base is the learner's then."""

    exact = False
    """How a batch is made up decides how sums are rounded, and what else the server does decides the batch."""
    side_by_side = True

    def __init__(self, config: SamplerConfig, engine: TorchEngineConfig, learner: Learner, temperature: float) -> None:
        """Connects, and starts the server before where the settings say so. `temperature`: of the trained policy."""
        self.version = -1
        self._learner, self._temperature = learner, temperature
        self._tolerance = _TOLERANCE[engine.dtype] if config.tolerance is None else config.tolerance
        self._adapts = engine.lora is not None
        # An earlier run may have left a server of the user's asleep.
        self._asleep = config.sleep and config.url is not None
        self._stop_tokens = learner.renderer.stop_tokens
        self._files = _new_directory(config)
        self._server: Server | None = None
        self._adapter: str | None = None
        atexit.register(self.close)
        try:
            if config.url is None:
                base = self._files / "base"
                learner.export(base)
                assert config.python is not None
                with_all = [*arguments(config, engine, learner.max_tokens), *config.arguments]
                self._server = Server(Path(config.python), base, with_all, Path(config.log), environment(config))
            url = config.url if self._server is None else self._server.url
            assert url is not None
            state = None if self._server is None else self._server.ending
            self._client = Client(url, config.timeout, config.concurrency, state)
            if self._server is not None:
                self._server.wait_until(self._client.is_ready, config.start_timeout)
            self._model, self.max_tokens = self._client.base()
            if self._server is None:
                check_started(self._client, config)
            self._transfer = open_transfer(config, self._client)
        except BaseException:
            self.close()
            raise

    def take(self, weights: Weights) -> None:
        """Has the server read the weights, and compares it with the learner."""
        self._wake_up()
        if self._transfer is None:
            self._send_files(weights)
        else:
            self._transfer.send(weights.model)
            self._client.forget()
        self._compare(weights.version)
        self.version = weights.version

    def _send_files(self, weights: Weights) -> None:
        place = self._files / f"weights-{weights.version}"
        with without_progress_bars():
            weights.model.save_pretrained(place)
        try:
            if self._adapts:
                self._replace_adapter(f"{self._files.name}-{weights.version}", place)
            else:
                self._client.reload(str(place))
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _replace_adapter(self, name: str, place: Path) -> None:
        """Under a new name each time: what a server keeps of prompts it has read, it keeps by that name."""
        if self._adapter is not None:
            self._client.unload_adapter(self._adapter)
            self._adapter = None
        self._client.load_adapter(name, str(place))
        self._adapter = self._model = name

    def _compare(self, version: int) -> None:
        """Raises `UserError` where the server writes with other weights than the learner's."""
        prompt = self._learner.renderer.prompt((Message(role="user", content="Once upon a time"),))
        sampling = SamplingParams(max_tokens=_PROBE_TOKENS, temperature=self._temperature)
        seeds = [derive_seed(0, "probe", version)]
        (samples,) = self._client.complete(self._model, [prompt], _PROBES, sampling, seeds, self._stop_tokens)
        queries = [Query(prompt_tokens=prompt, completion_tokens=sample.tokens) for sample in samples]
        answers = self._learner.answer(queries)
        gaps = [np.abs(s.logprobs - answer.logprobs_T) for s, answer in zip(samples, answers, strict=True)]
        gap = float(np.concatenate(gaps).mean())
        if not gap <= self._tolerance:
            raise UserError(
                f"the vLLM server's log-probabilities differ from the learner's by {gap:.3g} nats per token after it "
                f"was given the weights of step {version} (sampler.tolerance={self._tolerance:g}): it samples with "
                "other weights, in another number format, or without --logprobs-mode processed_logprobs"
            )

    def generate(
        self, prompts: Sequence[Tokens], n: int, sampling: SamplingParams, seeds: Sequence[int]
    ) -> list[list[Completion]]:
        """Samples; see the protocol."""
        self._wake_up()
        found = self._client.complete(self._model, prompts, n, sampling, seeds, self._stop_tokens)
        return [[replace(completion, version=self.version) for completion in siblings] for siblings in found]

    def sleep(self) -> None:
        """Has the server give its GPU memory back until it is next asked for something."""
        if not self._asleep:
            self._asleep = True  # It may fall asleep where its answer does not come, and is woken at the end.
            self._client.sleep()

    def _wake_up(self) -> None:
        if self._asleep:
            # What the learner's passes had, and what the allocator keeps of it.
            give_back(torch.device("cuda"))
            self._client.wake_up()
            self._asleep = False

    def close(self) -> None:
        """Stops a server that was started here, and removes what was written for it."""
        atexit.unregister(self.close)
        client: Client | None = getattr(self, "_client", None)
        if client is not None:
            if self._server is None:
                with suppress(UserError):  # A server of the user's is left as it was found, if it still answers.
                    self._wake_up()
                    if self._adapter is not None:
                        client.unload_adapter(self._adapter)
            client.close()
        if self._server is not None:
            self._server.stop()
        self._server = self._adapter = None
        shutil.rmtree(self._files, ignore_errors=True)


def _new_directory(config: SamplerConfig) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="rltf-", dir=config.directory))
    except OSError as error:
        raise UserError(f"sampler.directory={config.directory}: cannot be written to ({error.strerror})") from error
