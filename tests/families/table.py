"""The families, and what is known of each."""

from __future__ import annotations

from typing import Any

from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

CHANGES: dict[str, dict[str, Any]] = {
    "gpt_neo": {"num_layers": 4, "attention_types": [[["global", "local"], 2]]},
    # Sizes that a default config leaves out, or ties to each other.
    "bamba": {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 16, "attn_layer_indices": [1]},
    "bailing_hybrid": {"num_expert_group": 1, "topk_group": 1},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dots1": {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1},
    "gemma3n_text": {
        "num_kv_shared_layers": 0,
        "vocab_size_per_layer_input": 5000,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "activation_sparsity_pattern": [0.0] * 4,
    },
    "granitemoehybrid": {
        "mamba_n_heads": 8,
        "mamba_d_head": 8,
        "mamba_d_state": 16,
        "layer_types": ["linear_attention", "full_attention"] * 2,
    },
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8, "moe_topk": 1},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "longcat_flash": {"head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8, "qk_head_dim": 16},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "ministral": {"head_dim": 8},
    "nemotron": {"num_key_value_heads": 2},
    "zamba2": {
        "attention_head_dim": 16,
        "attention_hidden_size": 64,
        "mamba_headdim": 8,
        "n_mamba_heads": 8,
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "hybrid_layer_ids": [1, 3],
    },
    # Their second embedding has the vocabulary's size too.
    "gemma4": {"vocab_size_per_layer_input": 5000},
    "gemma4_text": {"vocab_size_per_layer_input": 5000},
    "gemma4_unified": {"vocab_size_per_layer_input": 5000},
    "gemma4_unified_text": {"vocab_size_per_layer_input": 5000},
}
"""What a tiny model of a kind needs beside the general shrinking."""

SMALLER_WEIGHTS = {"mamba", "mamba2", "falcon_mamba"}
"""Exponentials of states: with weights as large as the others' rounding alone would exceed the limit."""

REFUSED: dict[str, str] = {
    **dict.fromkeys(
        (
            *("bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert"),
            *("rembert", "roberta", "roberta-prelayernorm", "roc_bert", "roformer", "xlm-roberta", "xlm-roberta-xl"),
            *("openai-gpt", "recurrent_gemma", "rwkv", "xlm"),
        ),
        "no cache",
    ),
    "cpmant": "must match",
    "prophetnet": "off by",
}
"""Kinds that a run refuses in one line, and a part of it. The first are encoders, which see what is to be predicted."""

LEFT_OUT: dict[str, str] = {
    **dict.fromkeys(
        ("emu3", "fuyu", "gemma3n", "got_ocr2", "mllama", "musicgen", "musicgen_melody"), "for images or sound"
    ),
    **dict.fromkeys(
        ("gemma4_assistant", "gemma4_unified_assistant"), "drafts for another model, not a model by itself"
    ),
    **dict.fromkeys(("blenderbot", "xmod", "reformer", "xlnet"), "not built as a decoder"),
    "blt": "reads bytes, with a model inside a model",
    "cohere_compass_text": "its default config does not build",
    "dbrx": "its default config does not build",
    "dots3_note": "sizes tied to each other",
    "dots3_note_text": "sizes tied to each other",
    "hrm_text": "sizes tied to each other",
    "qwen4_exp": "its default config does not build",
    "qwen4_exp_text": "its default config does not build",
    "xlstm": "sizes tied to each other",
    "zamba": "sizes tied to each other",
}
"""Kinds of which the general shrinking makes no model, and why."""

SUBSET = (
    *(
        "llama",
        "mistral",
        "gemma2",
        "gemma3_text",
        "gpt_oss",
        "phi3",
        "qwen2",
        "mpt",
        "gpt_neo",
        "bloom",
        "llama4_text",
    ),
    *("mamba", "qwen3_next", "minimax", "rwkv"),
)
"""What is tried in the suite: one of every mechanism (windows, chunks, sinks, ALiBi, learned positions, states)."""


def kinds() -> list[str]:
    """All that transformers loads as a causal language model."""
    return [kind for kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if kind not in LEFT_OUT]
