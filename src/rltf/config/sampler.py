"""Settings of a sampler apart from the learner."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from rltf.config.section import FROM_LIST, Positive, Rate, Section, check_address

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SamplerConfig(Section):
    """A vLLM server that samples, in an environment of its own (`engine.sampler=vllm`)."""

    url: str | None = None
    """Address of a running server, such as `http://127.0.0.1:8000`. See docs/scale.md for how to start it."""
    python: str | None = None
    """In place of `url`: the Python interpreter of an environment with vLLM, in which a run starts the server and stops
    it at its end."""
    arguments: Annotated[tuple[str, ...], FROM_LIST] = ()
    """Further arguments for a server that a run starts, such as `["--gpu-memory-utilization", "0.4"]`."""
    log: str = "vllm.log"
    """The file to which a server writes that a run starts; it is added to."""
    directory: str | None = None
    """Where weights are written for the server, which has to see the same path. Unset: a temporary directory."""
    transfer: Literal["file", "ipc", "nccl"] = "file"
    """How all weights get to the server: by files; by CUDA IPC, where both are on one GPU; or by NCCL, from GPU to GPU.
    Adapters travel by files."""
    sleep: bool = False
    """For a server and a learner on one GPU: the server lays its weights aside and gives its memory back while the
    learner computes. A server of your own is started with `--enable-sleep-mode`."""
    concurrency: Positive = 64
    """Prompts under way at the same time."""
    timeout: Seconds = 600.0
    """Seconds to wait for an answer of the server; after that the run stops, to be resumed."""
    start_timeout: Seconds = 600.0
    """Seconds to wait until a server is ready."""
    tolerance: Rate | None = None
    """After each change of the weights some tokens are sampled and scored by the learner. Where the two differ by
    more, in nats per token in the mean, the run stops: the sampler has other weights. Unset: 0.01 with
    `engine.dtype=float32`, 0.15 with bfloat16, whose rounding alone comes to some 0.05."""

    @field_validator("url")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        return None if url is None else check_address(url, None).removesuffix("/v1")

    @model_validator(mode="after")
    def _one_server(self) -> SamplerConfig:
        if self.url is not None and self.python is not None:
            raise ValueError("url names a server that runs, and python starts one; remove one of the two")
        if self.python is None:
            for name in ("arguments", "log", "start_timeout"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} is for a server that a run starts; set sampler.python, or remove it")
        return self
