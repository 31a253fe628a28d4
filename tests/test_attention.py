"""Attention of the learner in bfloat16 on a CPU, whose gradient is faster, and nearer the truth, in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_engine import inner, samples
from test_layouts_right import PAIRS, build
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from rltf.config import LoraConfig
from rltf.engines.torch import attention, learner
from rltf.types import Query


@pytest.fixture
def formats(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """The number formats that attention was given by `attention.py`."""
    seen: list[torch.dtype] = []

    def noted(module: Any, query: torch.Tensor, *others: Any, **named: Any) -> Any:
        seen.append(query.dtype)
        return sdpa_attention_forward(module, query, *others, **named)

    monkeypatch.setattr(attention, "sdpa_attention_forward", noted)
    return seen


def gradient(engine: Any) -> torch.Tensor:
    """Of all that is trained, in float32."""
    batch = samples(12)
    engine.forward_backward(batch, float(len(batch)))
    gradients = [master.grad for master in inner(engine)._optimizer.masters.values()]
    return torch.cat([gradient.flatten() for gradient in gradients if gradient is not None])


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=4)])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_passes_of_the_learner_have_it_in_float32(
    lora: LoraConfig | None, checkpointing: bool, tiny_model: Path, formats: list[torch.dtype]
) -> None:
    engine = build(tiny_model, dtype="bfloat16", lora=lora, gradient_checkpointing=checkpointing)
    for work in (
        lambda: engine.answer([Query(prompt_tokens=prompt, completion_tokens=after) for prompt, after in PAIRS]),
        lambda: gradient(engine),
    ):
        formats.clear()
        work()
        assert set(formats) == {torch.float32}
    assert not ALL_ATTENTION_FUNCTIONS._local_mapping


def test_what_computes_in_float32_anyhow_is_left_alone(tiny_model: Path, formats: list[torch.dtype]) -> None:
    gradient(build(tiny_model))
    assert not formats


def test_the_gradient_is_no_farther_from_that_of_float32(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = gradient(build(tiny_model))
    mixed = gradient(build(tiny_model, dtype="bfloat16"))
    monkeypatch.setattr(learner, "is_slow", lambda model: False)
    narrow = gradient(build(tiny_model, dtype="bfloat16"))
    assert 0 < (mixed - truth).norm() < 1.05 * (narrow - truth).norm()
