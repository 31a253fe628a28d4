"""Tiny GGUF files of several architectures, stating what llama.cpp's converter states, with a ChatML tokenizer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import (
    Gemma2Config,
    Gemma3TextConfig,
    Lfm2Config,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
    Qwen2MoeConfig,
    Qwen3_5TextConfig,
    Qwen3Config,
    Qwen3MoeConfig,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

ORIGINAL_CONTEXT = 32
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": ORIGINAL_CONTEXT,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": ORIGINAL_CONTEXT}
LONGROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0, 1.5, 2.0],
    "long_factor": [2.0, 5.0, 9.0],
}
QWEN35 = {
    "head_dim": 32,
    "num_hidden_layers": 4,
    "full_attention_interval": 2,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 16,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 1_000.0,
        "mrope_section": [2, 1, 1],
        "mrope_interleaved": True,
        "partial_rotary_factor": 0.25,
    },
}
_ARCHITECTURES = {
    "llama": "llama",
    "mistral": "llama",
    "phi3": "phi3",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma2": "gemma2",
    "gemma3_text": "gemma3",
    "qwen2_moe": "qwen2moe",
    "qwen3_moe": "qwen3moe",
    "lfm2": "lfm2",
    "qwen3_5_text": "qwen35",
}
Tensors = dict[str, np.ndarray[Any, Any]]


def tiny(config_class: Any, vocabulary: int, **settings: Any) -> Any:
    """A model with random weights, large enough that positions matter; 2 layers, 64 wide, untied if not told."""
    torch.manual_seed(0)
    config = config_class(
        **{
            "vocab_size": vocabulary,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 256,
            "tie_word_embeddings": False,
            "pad_token_id": None,
            **settings,
        }
    )
    model: Any = MODEL_FOR_CAUSAL_LM_MAPPING[config_class](config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2)
    return model


def tiny_qwen2(vocabulary: int) -> Any:
    """Random weights, untied, 2 layers."""
    return tiny(Qwen2Config, vocabulary)


def kinds() -> dict[str, tuple[Any, dict[str, Any]]]:
    """A configuration class and its settings, by a name for what is tried."""
    gemma2 = {"sliding_window": 8, "head_dim": 16, "query_pre_attn_scalar": 16, "tie_word_embeddings": True}
    gemma3 = {**gemma2, "num_hidden_layers": 7}
    moe = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48}
    linear = {"rope_type": "linear", "factor": 8.0}
    local = {"rope_type": "default", "rope_theta": 10_000.0}
    return {
        "llama": (LlamaConfig, {}),
        "llama, tied": (LlamaConfig, {"tie_word_embeddings": True}),
        "llama, scaled as Llama 3": (LlamaConfig, {"rope_parameters": {**LLAMA3, "rope_theta": 500_000.0}}),
        "llama, wide heads, scaled as Llama 3": (
            LlamaConfig,
            {"head_dim": 32, "rope_parameters": {**LLAMA3, "high_freq_factor": 6.0, "rope_theta": 10_000.0}},
        ),
        "llama, linear": (LlamaConfig, {"rope_parameters": {**linear, "rope_theta": 10_000.0}}),
        "llama, yarn": (LlamaConfig, {"rope_parameters": {**YARN, "rope_theta": 10_000.0}}),
        "mistral": (MistralConfig, {"sliding_window": None}),
        "phi3, window and part of the heads rotated": (
            Phi3Config,
            {"sliding_window": 8, "rope_parameters": {"rope_theta": 10_000.0, "partial_rotary_factor": 0.75}},
        ),
        "phi3, longrope": (
            Phi3Config,
            {
                "original_max_position_embeddings": ORIGINAL_CONTEXT,
                "rope_parameters": {**LONGROPE, "rope_theta": 10_000.0, "partial_rotary_factor": 0.375},
            },
        ),
        "qwen2": (Qwen2Config, {"rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0}}),
        "qwen2, yarn": (Qwen2Config, {"rope_parameters": {**YARN, "rope_theta": 1_000_000.0}}),
        "qwen3, narrow heads": (Qwen3Config, {"head_dim": 8}),
        "qwen3, yarn": (
            Qwen3Config,
            {"head_dim": 32, "rope_parameters": {**YARN, "beta_fast": 16.0, "rope_theta": 1_000_000.0}},
        ),
        "gemma2, window": (Gemma2Config, gemma2),
        "gemma2, other caps": (
            Gemma2Config,
            {**gemma2, "final_logit_softcapping": 3.0, "attn_logit_softcapping": 2.0},
        ),
        "gemma3, window": (Gemma3TextConfig, gemma3),
        "gemma3, linear in the layers without a window": (
            Gemma3TextConfig,
            {
                **gemma3,
                "rope_parameters": {
                    "full_attention": {**linear, "rope_theta": 1_000_000.0},
                    "sliding_attention": local,
                },
            },
        ),
        "qwen2 of experts": (Qwen2MoeConfig, {**moe, "shared_expert_intermediate_size": 80}),
        "lfm2": (
            Lfm2Config,
            {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False, "conv_L_cache": 3},
        ),
        "qwen3.5": (Qwen3_5TextConfig, QWEN35),
        "qwen3 of experts": (Qwen3MoeConfig, {**moe, "head_dim": 16, "norm_topk_prob": True}),
    }


def write_gguf(
    path: Path,
    model: Any,
    tokenizer: Any,
    *,
    architecture: str | None = None,
    quantization: gguf.GGMLQuantizationType | None = None,
    extra: Tensors | None = None,
    leave_out: str | None = None,
    statements: Mapping[str, Any] | None = None,
    tokens: Mapping[str, int] | None = None,
) -> None:
    """Writes a model; matrices quantised if asked. `extra` tensors go beside its own, one may be left out;
    `statements` replace or add keys of the architecture, `tokens` are special ones beside the tokenizer's."""
    kind = _ARCHITECTURES[model.config.model_type]
    architecture = architecture or kind
    writer = gguf.GGUFWriter(str(path), architecture)
    if model.config.model_type == "mistral":
        writer.add_name("mistral")
    for key, value in {**_statements(model.config, kind), **(statements or {})}.items():
        _state(writer, f"{architecture}.{key}", value)
    _add_tokenizer(writer, tokenizer)
    for name, token in (tokens or {}).items():
        writer.add_uint32(f"tokenizer.ggml.{name}_token_id", token)
    for name, values in {**_tensors(model, kind), **(extra or {})}.items():
        if name == leave_out:
            continue
        if quantization is not None and values.ndim == 2 and values.shape[1] % 32 == 0:
            writer.add_tensor(name, gguf.quants.quantize(values, quantization), raw_dtype=quantization)
        else:
            writer.add_tensor(name, np.ascontiguousarray(values, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _state(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_uint32(key, value)


def _statements(config: Any, kind: str) -> dict[str, Any]:
    rope = config.rope_parameters
    rope = rope.get("full_attention", rope)
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    stated: dict[str, Any] = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": float(config.norm_eps if kind == "lfm2" else config.rms_norm_eps),
    }
    if kind != "gemma2":
        stated["rope.freq_base"] = float(rope["rope_theta"])
    if kind not in ("phi3", "qwen2", "qwen2moe"):
        stated |= {"attention.key_length": width, "attention.value_length": width}
    if kind == "lfm2":
        heads = [config.num_key_value_heads * (layer == "full_attention") for layer in config.layer_types]
        stated |= {"attention.head_count_kv": heads, "shortconv.l_cache": config.conv_L_cache}
        del stated["attention.key_length"], stated["attention.value_length"]
    if kind == "qwen35":
        stated |= {
            "full_attention_interval": 2,
            "rope.dimension_count": int(width * rope["partial_rotary_factor"]),
            "rope.dimension_sections": [*rope["mrope_section"], 0],
            "ssm.conv_kernel": config.linear_conv_kernel_dim,
            "ssm.state_size": config.linear_key_head_dim,
            "ssm.group_count": config.linear_num_key_heads,
            "ssm.time_step_rank": config.linear_num_value_heads,
            "ssm.inner_size": config.linear_num_value_heads * config.linear_value_head_dim,
        }
    if kind == "llama":
        stated |= {"rope.dimension_count": width, "vocab_size": config.vocab_size}
    if rope["rope_type"] in ("linear", "yarn"):
        stated |= {"rope.scaling.type": rope["rope_type"], "rope.scaling.factor": rope["factor"]}
    if rope["rope_type"] == "yarn":
        stated["rope.scaling.original_context_length"] = rope["original_max_position_embeddings"]
        if "beta_fast" in rope:
            stated["rope.scaling.yarn_beta_fast"] = rope["beta_fast"]
    if kind in ("gemma2", "gemma3"):
        stated["attention.sliding_window"] = config.sliding_window
    if kind == "gemma2":
        stated["attn_logit_softcapping"] = config.attn_logit_softcapping
        stated["final_logit_softcapping"] = config.final_logit_softcapping
    if kind == "phi3":
        stated["rope.dimension_count"] = int(width * rope["partial_rotary_factor"])
        stated["rope.scaling.original_context_length"] = config.original_max_position_embeddings
        stated["attention.sliding_window"] = config.sliding_window or 0
        if rope["rope_type"] == "longrope":
            growth = config.max_position_embeddings / config.original_max_position_embeddings
            share = np.log(growth) / np.log(config.original_max_position_embeddings)
            stated["rope.scaling.attn_factor"] = float(np.sqrt(1 + share))
    if kind.endswith("moe"):
        stated |= {
            "expert_count": config.num_experts,
            "expert_used_count": config.num_experts_per_tok,
            "expert_feed_forward_length": config.moe_intermediate_size,
        }
    if kind == "qwen2moe":
        stated["expert_shared_feed_forward_length"] = config.shared_expert_intermediate_size
    return stated


def _tensors(model: Any, kind: str) -> Tensors:
    config = model.config
    names = gguf.get_tensor_name_map(_architecture_of(kind), config.num_hidden_layers)
    found: Tensors = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        for own, values in _parts(name, tensor.numpy()):
            if kind == "llama" and (match := re.search(r"\.([qk])_proj\.weight$", own)):
                values = _interleaved(
                    values, config.num_attention_heads if match[1] == "q" else config.num_key_value_heads
                )
            plus_one = own.endswith("norm.weight") and not own.endswith("linear_attn.norm.weight")
            if kind in ("gemma2", "gemma3", "qwen35") and plus_one:
                values = values + 1
            if "linear_attn." in own:
                values = _linear_attention(own, values, config)
            if ".conv.conv." in own:
                values = values.squeeze(1)
            own = own.replace(".dt_bias", ".dt_proj.bias")
            found[names.get_name(own, try_suffixes=(".weight", ".bias"))] = values
    rope = config.rope_parameters
    if rope.get("rope_type") == "llama3":
        width = config.head_dim or config.hidden_size // config.num_attention_heads
        plain = 1.0 / (rope["rope_theta"] ** (torch.arange(0, width, 2).float() / width))
        found["rope_freqs.weight"] = (plain / model.model.rotary_emb.inv_freq).numpy()
    if rope.get("rope_type") == "longrope":
        found["rope_factors_long.weight"] = np.array(rope["long_factor"])
        found["rope_factors_short.weight"] = np.array(rope["short_factor"])
    return found


def _architecture_of(kind: str) -> gguf.MODEL_ARCH:
    (found,) = (key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == kind)
    return found


def _parts(name: str, values: np.ndarray[Any, Any]) -> list[tuple[str, np.ndarray[Any, Any]]]:
    """The tensors of the file that one of transformers' is."""
    if name.endswith("experts.gate_up_proj"):
        gate, up = np.split(values, 2, axis=1)
        base = name.removesuffix("gate_up_proj")
        return [(f"{base}gate_proj.weight", gate), (f"{base}up_proj.weight", up)]
    if name.endswith("experts.down_proj"):
        return [(f"{name}.weight", values)]
    if name.endswith("shared_expert_gate.weight"):
        return [(name, values.squeeze(0))]
    return [(name, values)]


def _interleaved(values: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Rows in the order of llama.cpp, where the two numbers that are rotated together stand side by side."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    found: np.ndarray[Any, Any] = halves.swapaxes(1, 2).reshape(values.shape)
    return found


def _linear_attention(name: str, values: np.ndarray[Any, Any], config: Any) -> np.ndarray[Any, Any]:
    """Qwen 3.5's linear attention with its value heads one of each key head after the other, as llama.cpp has them."""
    keys, heads, width = config.linear_num_key_heads, config.linear_num_value_heads, config.linear_value_head_dim
    if name.endswith(".A_log"):
        values = -np.exp(values)
    if ".conv1d." in name:
        values = values.squeeze(1)
    if name.endswith("linear_attn.norm.weight"):
        return values
    if ".out_proj." in name:
        return _tiled(values.T, keys, heads, width).T
    first = 2 * keys * config.linear_key_head_dim if ".in_proj_qkv." in name or ".conv1d." in name else 0
    per_head = not first and ".in_proj_z." not in name
    return np.concatenate([values[:first], _tiled(values[first:], keys, heads, 1 if per_head else width)])


def _tiled(values: np.ndarray[Any, Any], keys: int, heads: int, width: int) -> np.ndarray[Any, Any]:
    grouped = values.reshape(keys, heads // keys, width, *values.shape[1:])
    found: np.ndarray[Any, Any] = grouped.swapaxes(0, 1).reshape(values.shape)
    return found


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Any) -> None:
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    special = set(tokenizer.all_special_tokens)
    added = {token.content for token in tokenizer.added_tokens_decoder.values()}
    kinds = {True: gguf.TokenType.CONTROL, False: gguf.TokenType.USER_DEFINED}
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([kinds[t in special] if t in added else gguf.TokenType.NORMAL for t in tokens])
    writer.add_token_merges([" ".join(pair) if isinstance(pair, list) else pair for pair in merges])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_chat_template(tokenizer.chat_template)
