"""Settings that change how much is computed at once, and nothing that comes out: seen from inside the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from test_engine import PROMPTS, build, inner, samples, seeds_from

from rltf.engines.base import Joined
from rltf.types import SamplingParams


def passes(engine: Joined, work: Callable[[], Any]) -> tuple[list[tuple[int, int]], int]:
    """Rows and columns of each pass through the decoder during `work`, and how often its first layer was computed."""
    model = inner(engine)._model
    found: list[tuple[int, int]] = []
    layers: list[None] = []

    def enter(module: Any, args: Any, named: dict[str, Any]) -> None:
        inputs = named["inputs_embeds"] if named.get("input_ids") is None else named["input_ids"]
        found.append((inputs.shape[0], inputs.shape[1]))

    hooks = [
        model.model.register_forward_pre_hook(enter, with_kwargs=True),
        model.model.layers[0].mlp.register_forward_pre_hook(lambda module, args: layers.append(None)),
    ]
    try:
        work()
    finally:
        for hook in hooks:
            hook.remove()
    return found, len(layers)


def sampled(engine: Joined) -> list[tuple[int, int]]:
    return passes(engine, lambda: engine.generate(PROMPTS, 4, SamplingParams(max_tokens=6), seeds_from(3)))[0]


def trained(engine: Joined) -> tuple[list[tuple[int, int]], int]:
    return passes(engine, lambda: engine.forward_backward(samples(), 8.0))


def test_no_more_sequences_are_decoded_at_once_than_decode_batch_says(tiny_model: Path) -> None:
    def most(**settings: Any) -> int:
        return max(rows for rows, columns in sampled(build(tiny_model, **settings)) if columns == 1)

    assert most() == 4 * len(PROMPTS)
    assert most(decode_batch=8) == 8
    assert most(decode_batch=3) == 3


def test_no_more_tokens_are_trained_at_once_than_micro_batch_tokens_says(tiny_model: Path) -> None:
    whole, _ = trained(build(tiny_model, micro_batch_tokens=10_000))
    small, _ = trained(build(tiny_model, micro_batch_tokens=32))
    assert len(small) > len(whole)
    assert max(rows * columns for rows, columns in small) < max(rows * columns for rows, columns in whole)


def test_prompts_are_computed_once_for_a_group_where_share_prefixes_says_so(tiny_model: Path) -> None:
    def tokens(share: bool) -> int:
        return sum(rows * columns for rows, columns in trained(build(tiny_model, share_prefixes=share))[0])

    assert tokens(True) < tokens(False)


def test_layers_are_computed_again_in_training_where_gradient_checkpointing_says_so(tiny_model: Path) -> None:
    def layers(on: bool) -> int:
        return trained(build(tiny_model, gradient_checkpointing=on, micro_batch_tokens=10_000))[1]

    assert layers(True) == 2 * layers(False) > 0


def test_no_more_logits_are_made_at_once_than_logit_chunk_says(tiny_model: Path) -> None:
    def most(**settings: Any) -> int:
        engine, found = build(tiny_model, micro_batch_tokens=10_000, **settings), [0]
        hook = inner(engine)._model.lm_head.register_forward_pre_hook(
            lambda module, args: found.append(args[0].numel() // args[0].shape[-1])
        )
        trained(engine)
        hook.remove()
        return max(found)

    assert most(logit_chunk=7) == 7
    assert most(logit_chunk=512) > 7
