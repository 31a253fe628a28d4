"""How much memory a run needs, from a model's config alone: no weights are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from rltf.config import RunConfig
from rltf.engines.torch.model import first_line, number_format, pick_device, source_of
from rltf.support.errors import UserError

GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes on the device that computes, part by part."""

    parameters: int
    trained: int
    """Parameters that are trained: all, or the adapters."""
    weights: int
    gradients: int
    optimizer: int
    """AdamW's two moments."""
    sampling: int
    """Key-value cache of the sequences that are sampled at once, at their longest."""
    training: int
    """Activations and logits of one micro-batch. The roughest of these figures."""
    reference: int
    """A second copy of the weights, for a KL penalty without adapters."""

    @property
    def peak(self) -> int:
        """Of sampling and training, which alternate, the larger."""
        held = self.weights + self.optimizer + self.reference
        return held + max(self.sampling, self.gradients + self.training)


def memory(config: RunConfig, prompt_tokens: int) -> Memory:
    """What a run needs at most; raises `UserError` where the model's config cannot be read.

    Activations are counted per token and layer as what a gated feed-forward transformer keeps for its backward pass:
    about 12 vectors of the hidden size and 4 of the intermediate one. Fused kernels keep no attention scores.
    """
    engine = config.engine
    try:
        described = AutoConfig.from_pretrained(source_of(engine.model), trust_remote_code=engine.trust_remote_code)
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(described, trust_remote_code=engine.trust_remote_code)
    except UserError:
        raise
    except Exception as error:  # as in loading: every library has its own
        reason = first_line(error)
        raise UserError(f"engine.model={engine.model}: its config cannot be read: {reason}") from error
    text = described.get_text_config()
    width = number_format(engine, pick_device(engine.device)).itemsize
    parameters = sum(p.numel() for p in model.parameters())
    trained = parameters
    if engine.lora is not None:
        trained = sum(
            engine.lora.rank * (module.in_features + module.out_features)
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and _is_target(name, engine.lora.target_modules)
        )
    # Adapters are kept in float32 by peft, whatever the model is.
    trained_width = 4 if engine.lora is not None else width
    cache_per_token = width * sum(map(_keys_and_values, _layers(text)))
    longest = prompt_tokens * 2 * config.horizon + config.horizon * config.rollout.max_new_tokens
    longest = min(longest, int(getattr(text, "max_position_embeddings", longest)))
    budget = engine.micro_batch_tokens or (2048 if pick_device(engine.device).type == "cpu" else 16384)
    tokens = max(budget, longest)
    intermediate = getattr(text, "intermediate_size", None) or 4 * text.hidden_size
    per_layer = width * (12 * text.hidden_size + 4 * intermediate)
    kept = width * text.hidden_size if engine.gradient_checkpointing else per_layer
    # Logits in the model's format, in float32, their gradient, and one intermediate of the softmax.
    logits = text.vocab_size * (width + 12)
    return Memory(
        parameters=parameters,
        trained=trained,
        weights=parameters * width + (trained * trained_width if engine.lora is not None else 0),
        gradients=trained * trained_width,
        optimizer=2 * trained * trained_width,
        sampling=engine.decode_batch * longest * cache_per_token,
        training=tokens * (text.num_hidden_layers * kept + logits),
        reference=parameters * width if config.objective.kl_coefficient and engine.lora is None else 0,
    )


def _layers(text: Any) -> list[Any]:
    """The config of each layer, which may differ from the others'."""
    own = getattr(text, "per_layer_config", None)
    return [text] * text.num_hidden_layers if own is None else list(own)


def _keys_and_values(layer: Any) -> int:
    """Numbers that a layer remembers of a token. A layer with states alone has no heads, and remembers none."""
    query_heads = getattr(layer, "num_attention_heads", 0)
    heads = getattr(layer, "num_key_value_heads", None) or query_heads
    head = getattr(layer, "head_dim", None) or layer.hidden_size // max(query_heads, 1)
    return 2 * int(heads) * int(head)


def _is_target(name: str, targets: str | list[str]) -> bool:
    """Whether an adapter goes onto a linear layer; `all-linear` leaves the output layer out."""
    last = name.rpartition(".")[2]
    return last != "lm_head" if targets == "all-linear" else last in targets
