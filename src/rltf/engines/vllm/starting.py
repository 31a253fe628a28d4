"""What a server has to be started with, for what the settings ask of it."""

from __future__ import annotations

import json

from rltf.config import SamplerConfig, TorchEngineConfig
from rltf.engines.vllm.client import Client
from rltf.support.errors import UserError

_SLEEP = "--enable-sleep-mode"
_PICKLES = "VLLM_ALLOW_INSECURE_SERIALIZATION"
"""Handles of memory travel pickled, which a server reads only if it is told so."""


def arguments(config: SamplerConfig, engine: TorchEngineConfig, max_tokens: int) -> list[str]:
    """Of a server that fits the learner."""
    found = ["--dtype", engine.dtype, "--max-model-len", str(max_tokens)]
    found += ["--logprobs-mode", "processed_logprobs", "--generation-config", "vllm"]
    if engine.lora is not None:
        found += ["--enable-lora", "--max-lora-rank", str(_rank_there(engine.lora.rank))]
    if config.sleep:
        found.append(_SLEEP)
    if config.transfer != "file":
        found += _transfer(config)
    return found


def environment(config: SamplerConfig) -> dict[str, str]:
    """Variables for such a server, beside those that every one needs."""
    return {_PICKLES: "1"} if config.transfer == "ipc" else {}


def check_started(client: Client, config: SamplerConfig) -> None:
    """Raises `UserError` where a server of the user's was started otherwise. It is asked where that matters."""
    if not config.sleep and config.transfer == "file":
        return
    settings, variables = client.started_with()
    if config.sleep and not (settings.get("model_config") or {}).get("enable_sleep_mode"):
        raise _lacks(client, "sampler.sleep=true", _SLEEP)
    if config.transfer == "file":
        return
    setting = f"sampler.transfer={config.transfer}"
    if (settings.get("weight_transfer_config") or {}).get("backend") != config.transfer:
        option, value = _transfer(config)
        raise _lacks(client, setting, f"{option} '{value}'")
    if config.transfer == "ipc" and not variables.get(_PICKLES):
        raise _lacks(client, setting, f"{_PICKLES}=1")


def _transfer(config: SamplerConfig) -> list[str]:
    return ["--weight-transfer-config", json.dumps({"backend": config.transfer})]


def _lacks(client: Client, setting: str, start: str) -> UserError:
    return UserError(
        f"{setting}: the vLLM server at {client.url} was started without {start}; start it with that, or remove the "
        "setting"
    )


def _rank_there(rank: int) -> int:
    """The least rank that vLLM has room for."""
    return next((fits for fits in (8, 16, 32, 64, 128, 256, 320, 512) if fits >= rank), rank)
