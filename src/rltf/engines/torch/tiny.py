"""Makes a model's config tiny, so that its architecture can be tried out without its weights."""

from __future__ import annotations

import re
from typing import Any

WINDOW = 8
"""What every limit on how far a layer looks back becomes."""
_LAYERS = 4

# The first pattern that matches an attribute's whole name says what an integer there becomes.
_SIZES: tuple[tuple[str, int], ...] = (
    (r"sliding_window|attention_chunk_size|window_size|attention_window_size|local_attention", WINDOW),
    (r"num_hidden_layers|n_layers?|num_layers|num_decoder_layers|decoder_layers|encoder_layers|num_blocks", _LAYERS),
    (r"depth|num_mtp_layers|num_nextn_predict_layers|mtp_num_hidden_layers", 1),
    (r"(num|n)_(key_value|kv)_heads|num_attention_groups|linear_num_key_heads|multi_query_group_num", 2),
    (r"num_global_key_value_heads|swa_num_key_value_heads|encoder_attention_heads|linear_num_value_heads", 2),
    (r"num_attention_heads|n_heads?|num_heads|decoder_attention_heads|swa_num_attention_heads", 4),
    (r"hidden_size|n_embd|n_embed|d_model|embedding_size|word_embed_proj_dim|embed_dim|attention_hidden_size", 32),
    (r"hidden_dim|emb_dim|embedding_dim|out_hidden_size|lru_width|(in|out)put_embedding_size|mlp_hidden_size", 32),
    (r"(\w+_)?intermediate_size|n_inner|ffn_dim|d_ff|(de|en)coder_ffn_dim|ffn_hidden_size|\w*feed_forward_size", 64),
    (r"\w*intermediate_size_\w+|\w*expert_ffn_hidden_size", 64),
    (r"(\w+_)?head_dim|d_kv|kv_channels", 8),
    (r"qk_rope_head_dim|rotary_dim", 8),
    (r"(\w+_)?lora_rank", 16),
    (r"num_experts|n_routed_experts|num_local_experts|moe_num_experts|zero_expert_num", 4),
    (r"num_experts_per_tok|moe_topk|moe_top_k|num_experts_per_token|top_k_experts|moe_k", 2),
    (r"n_group|topk_group|first_k_dense_replace", 1),
    (r"hidden_size_per_layer_input", 8),
    (r"vocab_size|vocab_size_per_layer_input|encoder_hash_byte_group_vocab", 128),
    (r"(\w+_)?token_id", 0),
    (r"(\w+_)?chunk_size", WINDOW),
    (r"attn_layer_period", 2),
    (r"attn_layer_offset", 1),
    (r"qk_head_dim", 16),
    (r"max_position_embeddings|n_positions|max_seq_len|seq_length|n_ctx|context_length|index_topk", 256),
)


def tiny_config(config: Any, **changes: Any) -> Any:
    """The same architecture with few layers, of every kind it has, and few, small units; `changes` go over that."""
    shrunk = _shrunk(config.to_dict())
    text = shrunk.get("text_config")
    (text if isinstance(text, dict) else shrunk).update(changes)
    return type(config).from_dict(shrunk)


def _shrunk(settings: dict[str, Any]) -> dict[str, Any]:
    count = next((settings[n] for n in ("num_hidden_layers", "n_layer", "num_layers") if settings.get(n)), None)
    kept = _kept_layers(settings.get("layer_types") or settings.get("layers_block_type"), count)
    shrunk: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and name.endswith("_config") and "model_type" in value:
            shrunk[name] = _shrunk(value)
        elif isinstance(value, list) and count is not None and len(value) == count:
            shrunk[name] = [value[i] for i in kept]
        elif name == "per_layer_config" and value:
            shrunk[name] = {kept.index(int(i)): settings for i, settings in value.items() if int(i) in kept}
        elif isinstance(value, int) and not isinstance(value, bool):
            size = next((size for pattern, size in _SIZES if re.fullmatch(pattern, name)), value)
            shrunk[name] = min(value, size)
        else:
            shrunk[name] = value
    if shrunk.get("kv_lora_rank"):  # Latent attention: as many key heads as query heads.
        shrunk["num_key_value_heads"] = shrunk["num_attention_heads"]
    return shrunk


def _kept_layers(kinds: list[str] | None, count: int | None) -> list[int]:
    """Which layers stay: the first of every kind, then the first ones, in order."""
    if count is None:
        return []
    firsts = [] if kinds is None else [kinds.index(kind) for kind in dict.fromkeys(kinds)]
    chosen = list(dict.fromkeys([*firsts, *range(count)]))[:_LAYERS]
    return sorted(chosen)
