"""What a GGUF file says of its model, and the configuration of transformers that says the same.

transformers reads the weights of such files, but of what they state about the model it leaves out the scaling of
rotary positions, most sliding windows, softcaps and head widths, in silence: the numbers would be wrong. Here every
statement about the model is taken over, compared, or the file is refused. The meaning of the keys is llama.cpp's,
whose converter writes these files.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import LlamaConfig

from rltf.engines.torch.gguf_rope import UnknownScaling, llama3_scaling
from rltf.support.errors import UserError

CHECKED = ("gemma2", "gemma3", "lfm2", "llama", "phi3", "qwen2", "qwen2moe", "qwen3", "qwen35", "qwen3moe")
"""The architectures whose conversion the tests compare with the original model, beyond its window and context."""

_INSTEAD = "use the model's Hugging Face directory"
_ATTRIBUTES = {
    "context_length": "max_position_embeddings",
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
}
"""Statements that are one number of the configuration."""
_NEEDED = (
    "context_length",
    "block_count",
    "embedding_length",
    "attention.head_count",
    "attention.layer_norm_rms_epsilon",
)
_HEAD = {"attention.key_length", "attention.value_length"}
_ROPE = {
    "rope.dimension_count",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.attn_factor",
    "rope.scaling.original_context_length",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
}
_WINDOW = {"attention.sliding_window", "attention.sliding_window_pattern"}
_WITHOUT_EFFECT = {"vocab_size", "rope.scaling.finetuned", "tensor_data_layout"}
"""The number of tokens is that of the embedding's rows."""
_KNOWN = set(_ATTRIBUTES) | _HEAD | _ROPE | _WINDOW | _WITHOUT_EFFECT

_SHAPE = frozenset(
    {
        "context_length",
        "block_count",
        "embedding_length",
        "feed_forward_length",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.layer_norm_rms_epsilon",
        "rope.freq_base",
        "vocab_size",
    }
)
_WHOLE = {
    "lfm2": _SHAPE | {"shortconv.l_cache"},
    "qwen35": _SHAPE
    | {
        "attention.key_length",
        "attention.value_length",
        "full_attention_interval",
        "nextn_predict_layers",
        "rope.dimension_count",
        "rope.dimension_sections",
        "ssm.conv_kernel",
        "ssm.group_count",
        "ssm.inner_size",
        "ssm.state_size",
        "ssm.time_step_rank",
    },
}
"""The keys of architectures for which transformers makes the configuration of all that these keys state."""

_ENDS = ("eos", "eot", "eom")
"""Special tokens that end an answer: of a text, of a turn, of a message."""
_FULL_EVERY = {"gemma2": 2, "gemma3": 6}
"""Of how many layers one attends to everything, in models that alternate; a file may state another pattern."""
_SCALED_BY_WIDTH = {("gemma2", 46), ("gemma3", 62)}
"""Architecture and number of layers of the 27B models, whose attention scores are divided by the root of
hidden size over heads and not of the head's width. No file states it; llama.cpp goes by the number of layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A GGUF file without its weights.

    `stated` holds the keys of the architecture, without its name in front; `tokens` the ids of special tokens by what
    they are for, such as `eos`; `rope_tensors` the factors on rotary frequencies by tensor name; `vocabulary` is the
    number of rows of the embedding.
    """

    architecture: str
    stated: dict[str, Any]
    tokens: dict[str, int]
    rope_tensors: dict[str, np.ndarray[Any, Any]]
    vocabulary: int | None


def read_header(file: Path) -> Header:
    """Reads what a file says of its model.

    Raises:
        UserError: an architecture that is not known to be converted right, or layers that differ in size.
    """
    from gguf import GGUFReader

    reader = GGUFReader(str(file))
    if "general.architecture" not in reader.fields:
        raise UserError("it does not state general.architecture")
    architecture = str(reader.fields["general.architecture"].contents())
    if architecture not in CHECKED:
        raise UserError(
            f"its architecture {architecture} is not supported: of GGUF files, {', '.join(CHECKED)} are known "
            f"to be read right; {_INSTEAD}"
        )
    prefix = f"{architecture}."
    stated = {
        key.removeprefix(prefix): field.contents() for key, field in reader.fields.items() if key.startswith(prefix)
    }
    for key in () if architecture in _WHOLE else _ATTRIBUTES:
        if isinstance(value := stated.get(key), list):
            raise UserError(f"it states {architecture}.{key} = {value!s:.60}, a number for each layer; {_INSTEAD}")
    embedding = [tensor for tensor in reader.tensors if tensor.name == "token_embd.weight"]
    return Header(
        architecture=architecture,
        stated=stated,
        tokens={
            name: int(reader.fields[key].contents())
            for name in ("bos", "padding", *_ENDS)
            if (key := f"tokenizer.ggml.{name}_token_id") in reader.fields
        },
        rope_tensors={
            tensor.name: np.array(tensor.data, dtype=np.float64).ravel()
            for tensor in reader.tensors
            if tensor.name.startswith("rope_f")
        },
        vocabulary=int(embedding[0].shape[-1]) if embedding else None,
    )


def completed(config: Any, header: Header) -> Any:
    """The configuration that transformers made of a file, with all that the file states.

    Raises:
        UserError: the file states what is not known, or what this configuration cannot say.
    """
    for key, value in header.stated.items():
        if key not in _WHOLE.get(header.architecture, _KNOWN):
            raise _refusal(header, key, value, "whose effect on the model is not known here")
    for key in _NEEDED:
        if key not in header.stated:
            raise UserError(f"it does not state {header.architecture}.{key}; {_INSTEAD}")
    if header.architecture in _WHOLE:
        attributes = {**_special_tokens(header), "vocab_size": header.vocabulary}
        return type(config).from_dict({**config.to_dict(), **attributes})
    if header.architecture == "llama" and config.model_type != "llama":
        # Called "mistral", it is taken for a Mistral, which has a window by default. Without one, that is a Llama.
        same = {name: value for name, value in config.to_dict().items() if name != "model_type"}
        config = LlamaConfig.from_dict(same)
    attributes = _plain(config, header)
    head = _head_width(config, header, attributes)
    attributes |= head | _windows(config, header)
    if hasattr(config, "query_pre_attn_scalar"):
        layers, width = header.stated["block_count"], head["head_dim"]
        by_width = (header.architecture, layers) in _SCALED_BY_WIDTH
        attributes["query_pre_attn_scalar"] = (
            attributes["hidden_size"] // attributes["num_attention_heads"] if by_width else width
        )
    rope, besides = _rope(header, _width(attributes))
    attributes |= besides
    if header.architecture == "gemma3":  # Only the layers that attend to everything have scaled positions.
        local = {"rope_type": "default", "rope_theta": float(header.stated.get("rope.freq_base_swa", 10_000.0))}
        rope = {"full_attention": rope, "sliding_attention": local}
    elif "rope.freq_base_swa" in header.stated:
        raise _refusal(header, "rope.freq_base_swa", header.stated["rope.freq_base_swa"], "which this model has not")
    attributes["rope_parameters"] = rope
    attributes |= _special_tokens(header)
    # Some attributes go by another name in the dictionary.
    named = {config.attribute_map.get(name, name): value for name, value in attributes.items()}
    return type(config).from_dict({**config.to_dict(), **named})


def beside_the_model(name: str, header: Header, config: Any) -> bool:
    """Whether a tensor of the file is no weight of the model: factors that became part of the configuration, or a block
    that guesses further tokens and stands behind the model's own."""
    block = re.match(r"blk\.(\d+)\.", name)
    guesses = block is not None and "nextn_predict_layers" in header.stated
    return name in header.rope_tensors or (guesses and int(block[1]) >= config.num_hidden_layers)  # type: ignore[index]


def _plain(config: Any, header: Header) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for key, name in _ATTRIBUTES.items():
        if key not in header.stated:
            continue
        value = header.stated[key]
        if not hasattr(config, name):
            raise _refusal(header, key, value, f"for which a {config.model_type} model has no place")
        attributes[name] = value
    attributes.setdefault("num_key_value_heads", attributes["num_attention_heads"])
    if header.vocabulary is not None:
        attributes["vocab_size"] = header.vocabulary
    return attributes


def _special_tokens(header: Header) -> dict[str, Any]:
    """The ids that the file states. Those that a class has by default are another model's: its end would be a word."""
    ends = list(dict.fromkeys(header.tokens[name] for name in _ENDS if name in header.tokens))
    return {
        "bos_token_id": header.tokens.get("bos"),
        "eos_token_id": ends[0] if len(ends) == 1 else ends or None,
        "pad_token_id": header.tokens.get("padding"),
    }


def _width(attributes: dict[str, Any]) -> int:
    """The width of an attention head."""
    return int(attributes.get("head_dim", attributes["hidden_size"] // attributes["num_attention_heads"]))


def _head_width(config: Any, header: Header, attributes: dict[str, Any]) -> dict[str, Any]:
    by_default = _width(attributes)
    # In files of Llama that do not state the width, it is that of the rotated part, which is the whole head.
    rotated = header.stated.get("rope.dimension_count", by_default) if header.architecture == "llama" else by_default
    width = int(header.stated.get("attention.key_length", rotated))
    if (value := int(header.stated.get("attention.value_length", width))) != width:
        raise _refusal(header, "attention.value_length", value, f"but keys are {width} wide")
    if hasattr(config, "head_dim"):
        return {"head_dim": width}
    if width != by_default:
        raise _refusal(header, "attention.key_length", width, f"for which a {config.model_type} model has no place")
    return {}


def _windows(config: Any, header: Header) -> dict[str, Any]:
    """The sliding window and the layers that have it; a file without one has none, whatever the class's default is."""
    window = int(header.stated.get("attention.sliding_window", 0)) or None
    pattern = header.stated.get("attention.sliding_window_pattern")
    if every := _FULL_EVERY.get(header.architecture):
        layers = int(header.stated["block_count"])
        if not isinstance(pattern, list):
            every = every if pattern is None else int(pattern)
            pattern = [every == 0 or (layer + 1) % every != 0 for layer in range(layers)]
        sliding = [bool(slides) and window is not None for slides in pattern]
        kinds = ["sliding_attention" if slides else "full_attention" for slides in sliding]
        return {"layer_types": kinds, **({"sliding_window": window} if window else {})}
    if pattern is not None:
        raise _refusal(header, "attention.sliding_window_pattern", pattern, "which this model has not")
    if config.model_type == "phi3":  # in all layers
        return {"sliding_window": window}
    if window is not None:
        raise _refusal(header, "attention.sliding_window", window, "without saying in which layers")
    return {}


def _rope(header: Header, width: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters of rotary positions, and what else of the configuration goes with them."""
    stated = header.stated
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": float(stated.get("rope.freq_base", 10_000.0))}
    rotated = int(stated.get("rope.dimension_count", width))
    besides: dict[str, Any] = {}
    if header.architecture == "phi3":
        rope["partial_rotary_factor"] = rotated / width
        besides["original_max_position_embeddings"] = stated.get(
            "rope.scaling.original_context_length", stated["context_length"]
        )
    elif rotated != width:
        raise _refusal(header, "rope.dimension_count", rotated, f"but heads are {width} wide")
    tensors = set(header.rope_tensors)
    if tensors == {"rope_factors_long.weight", "rope_factors_short.weight"} and header.architecture == "phi3":
        rope |= {
            "rope_type": "longrope",
            "long_factor": header.rope_tensors["rope_factors_long.weight"].tolist(),
            "short_factor": header.rope_tensors["rope_factors_short.weight"].tolist(),
            "attention_factor": float(stated.get("rope.scaling.attn_factor", 1.0)),
        }
        return rope, besides
    for key in ("rope.scaling.attn_factor", "rope.scaling.yarn_ext_factor"):
        if not math.isclose(stated.get(key, 1.0), 1.0):
            raise _refusal(header, key, stated[key], "not known here")
    scaling = _stated_scaling(header)
    if tensors == {"rope_freqs.weight"} and not scaling:
        try:
            scaling = llama3_scaling(header.rope_tensors["rope_freqs.weight"], rope["rope_theta"], rotated)
        except UnknownScaling as error:
            raise UserError(f"its tensor rope_freqs.weight {error}; {_INSTEAD}") from error
    elif tensors:
        raise UserError(f"its tensor {min(tensors)} scales rotary positions in a way not known here; {_INSTEAD}")
    return rope | scaling, besides


def _stated_scaling(header: Header) -> dict[str, Any]:
    """The scaling of rotary positions that is in the keys: linear or YaRN; empty where there is none."""
    stated = header.stated
    factor = float(stated.get("rope.scaling.factor", stated.get("rope.scale_linear", 0.0))) or 1.0
    kind = stated.get("rope.scaling.type", "linear")
    if kind == "none" or (kind == "linear" and math.isclose(factor, 1.0)):
        return {}
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    if kind == "yarn":
        found = {
            "rope_type": "yarn",
            "factor": factor,
            "original_max_position_embeddings": int(
                stated.get("rope.scaling.original_context_length", stated["context_length"])
            ),
        }
        for name in ("beta_fast", "beta_slow"):
            if (value := stated.get(f"rope.scaling.yarn_{name}")) is not None:
                found[name] = float(value)
        return found
    raise _refusal(header, "rope.scaling.type", kind, "not known here")


def _refusal(header: Header, key: str, value: Any, reason: str) -> UserError:
    shown = str(value)
    shown = shown if len(shown) <= 60 else shown[:60] + "..."
    return UserError(f"it states {header.architecture}.{key} = {shown}, {reason}; {_INSTEAD}")
