"""Passes laid out from the left, whose attention needs no mask, against plain passes and against the usual layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families.check import distance, gradient_distance, load, logprobs, sample, scores, write_tiny
from test_engine import gradient, inner, samples
from test_layouts_right import PAIRS, STEM, build
from torch.nn.attention import bias
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from rltf.config import LoraConfig
from rltf.engines.torch import attention
from rltf.engines.torch.batching import Batching
from rltf.engines.torch.self_check import check_unmasked

LONGER = [*PAIRS, ((*STEM, 5, 6), (9, 10, 11, 12)), ((60, 61, 62, 63, 64), (65,)), ((*STEM, 5, 7), (8,))]


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """As on a GPU; and the queries and keys of each attention that got no mask."""
    monkeypatch.setattr(attention, "KERNELS", (("cpu", torch.float32),))
    seen: list[tuple[int, int]] = []
    lower_right = bias.causal_lower_right

    def noted(queries: int, keys: int) -> Any:
        seen.append((queries, keys))
        return lower_right(queries, keys)

    monkeypatch.setattr(bias, "causal_lower_right", noted)
    return seen


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gpt2", "mistral", "gemma3_text", "mpt", "qwen3_next"])
def test_it_is_right_for_models_with_and_without_windows(
    kind: str, on_cpu: list[tuple[int, int]], tokenizer: Any, tmp_path: Path
) -> None:
    write_tiny(kind, tokenizer, tmp_path / "tiny")
    plain = load(tmp_path / "tiny")
    engine = build(tmp_path / "tiny")
    on_cpu.clear()
    expected = [logprobs(plain, pair) for pair in LONGER]
    assert distance(scores(engine, LONGER), expected) < 1e-4
    weights = [np.linspace(-1, 1, len(completion)).astype(np.float32) for _, completion in LONGER]
    engine.forward_backward([sample(pair, w) for pair, w in zip(LONGER, weights, strict=True)], 1.0)
    assert gradient_distance(engine.learner._model, plain, LONGER, weights) < 1e-4
    if kind in ("llama", "qwen3", "gpt2"):
        assert engine.learner.unmasked
        assert on_cpu
    assert not ALL_ATTENTION_FUNCTIONS._local_mapping


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=4)])
@pytest.mark.parametrize("budget", [10_000, 48])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_gradient_is_that_of_the_usual_layout(
    lora: LoraConfig | None,
    budget: int,
    checkpointing: bool,
    tiny_model: Path,
    on_cpu: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings: dict[str, Any] = {"lora": lora, "micro_batch_tokens": budget, "gradient_checkpointing": checkpointing}
    engine = build(tiny_model, **settings)
    assert inner(engine).unmasked
    on_cpu.clear()
    found = gradient(engine, samples(12))
    assert on_cpu
    assert all(queries < keys for queries, keys in on_cpu)
    monkeypatch.setattr(attention, "KERNELS", ())
    usual = build(tiny_model, **settings)
    assert not inner(usual).unmasked
    expected = gradient(usual, samples(12))
    assert expected.norm() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_the_check_refuses_attention_that_looks_elsewhere(
    tiny_model: Path, on_cpu: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(tiny_model)
    assert check_unmasked(model, Batching.SHARED, 256)
    elsewhere = bias.causal_upper_left
    monkeypatch.setattr(bias, "causal_lower_right", lambda queries, keys: elsewhere(queries, keys))
    assert not check_unmasked(model, Batching.SHARED, 256)


def test_the_check_refuses_a_gradient_that_points_elsewhere(
    tiny_model: Path, on_cpu: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(tiny_model)
    attend = attention._attend

    def half(module: Any, query: Any, key: Any, value: Any, *args: Any, **named: Any) -> Any:
        """The same numbers, and half of the gradient through the values."""
        return attend(module, query, key, (value + value.detach()) / 2, *args, **named)

    monkeypatch.setattr(attention, "_attend", half)
    assert not check_unmasked(model, Batching.SHARED, 256)
