"""Float32 masters: what a step adds is not lost where the model computes in bfloat16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_engine import PROMPTS, build, inner, samples, score

from rltf.config import LoraConfig
from rltf.engines.base import Joined
from rltf.types import Policy, SamplingParams

SMALL_RATE = 1e-5


def train(engine: Joined, steps: int, rate: float = SMALL_RATE) -> None:
    for _ in range(steps):
        engine.forward_backward([s for s in samples() if s.loss == "cross_entropy"], 8.0)
        engine.optim_step(rate)


def weights(engine: Joined) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in inner(engine)._trainable.items()}


def share_moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> float:
    return torch.cat([(before[name] != after[name]).flatten().float() for name in before]).mean().item()


def test_small_steps_are_lost_in_pure_bfloat16_and_add_up_in_masters(tiny_model: Path) -> None:
    engine = build(tiny_model, dtype="bfloat16")
    before = weights(engine)
    # As it was: the optimiser adds to the bfloat16 weights themselves.
    pure = {name: torch.nn.Parameter(p.clone()) for name, p in before.items()}
    adamw = torch.optim.AdamW(pure.values(), lr=SMALL_RATE, betas=(0.9, 0.95), weight_decay=0.0)
    for _ in range(20):
        engine.forward_backward([s for s in samples() if s.loss == "cross_entropy"], 8.0)
        for name, parameter in pure.items():
            master = inner(engine)._optimizer.masters[name]
            parameter.grad = None if master.grad is None else master.grad.to(torch.bfloat16)
        adamw.step()
        engine.optim_step(SMALL_RATE)
    lost, kept = share_moved(before, {n: p.detach() for n, p in pure.items()}), share_moved(before, weights(engine))
    # What moves in pure bfloat16 are the weights next to 0.
    assert lost < 0.2
    assert kept > 0.5

    float32 = build(tiny_model)
    start = weights(float32)
    train(float32, 20)
    wanted = torch.cat([(weights(float32)[n] - start[n]).flatten() for n in start])
    held = inner(engine)._optimizer.masters
    found = torch.cat([(held[n].detach() - before[n].float()).flatten() for n in start])
    assert torch.nn.functional.cosine_similarity(found, wanted, dim=0) > 0.95


def test_masters_have_float32_gradients_whatever_the_micro_batches(tiny_model: Path) -> None:
    whole, split = build(tiny_model, dtype="bfloat16"), build(tiny_model, dtype="bfloat16", micro_batch_tokens=8)
    for engine in (whole, split):
        engine.forward_backward(samples(), 1.0)
        assert all(p.dtype == torch.bfloat16 and p.grad is None for p in inner(engine)._trainable.values())
        assert all(m.dtype == torch.float32 for m in inner(engine)._optimizer.masters.values())
    one, many = (
        torch.cat([m.grad.flatten() for m in inner(e)._optimizer.masters.values() if m.grad is not None])
        for e in (whole, split)
    )
    assert torch.nn.functional.cosine_similarity(one, many, dim=0) > 0.999


def test_after_each_step_the_model_is_the_masters_rounded(tiny_model: Path) -> None:
    engine = build(tiny_model, dtype="bfloat16")
    train(engine, 3, rate=1e-3)
    for name, parameter in inner(engine)._trainable.items():
        assert torch.equal(parameter, inner(engine)._optimizer.masters[name].to(torch.bfloat16))


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=2, alpha=4)])
def test_a_bfloat16_run_goes_on_from_a_checkpoint_to_the_last_bit(
    tiny_model: Path, tmp_path: Path, lora: LoraConfig | None
) -> None:
    engine = build(tiny_model, dtype="bfloat16", lora=lora)
    pairs = [(prompt, (12, 13)) for prompt in PROMPTS]
    score(engine, pairs, "average")
    train(engine, 3)
    engine.save(tmp_path / "state")
    restored = build(tiny_model, dtype="bfloat16", lora=lora)
    restored.load(tmp_path / "state")
    for each in (engine, restored):
        train(each, 3)
    held, again = inner(engine)._optimizer.masters, inner(restored)._optimizer.masters
    assert all(torch.equal(held[name], again[name]) for name in held)
    policies: tuple[Policy, ...] = ("current", "average")
    for policy in policies:
        np.testing.assert_array_equal(score(restored, pairs, policy), score(engine, pairs, policy))
    sampled = [e.generate(PROMPTS, 2, SamplingParams(max_tokens=5), seeds=range(4)) for e in (engine, restored)]
    assert [[c.tokens for c in g] for g in sampled[0]] == [[c.tokens for c in g] for g in sampled[1]]


def test_the_averaged_policy_follows_in_float32(tiny_model: Path) -> None:
    engine = build(tiny_model, dtype="bfloat16")
    before = weights(engine)
    score(engine, [(PROMPTS[0], (12,))], "average")
    train(engine, 5)
    averages = inner(engine)._averages()
    assert all(average.dtype == torch.float32 for average in averages.values())
    assert share_moved({n: p.float() for n, p in before.items()}, averages) > 0.9


def test_adapters_on_a_bfloat16_base_are_float32(tiny_model: Path) -> None:
    engine = build(tiny_model, dtype="bfloat16", lora=LoraConfig(rank=2, alpha=4))
    dtypes = {("lora_" in name, p.dtype) for name, p in inner(engine)._model.named_parameters()}
    assert dtypes == {(True, torch.float32), (False, torch.bfloat16)}
    assert score(engine, [(PROMPTS[0], (12,))])[0].dtype == np.float32


def test_a_gradient_that_was_cleared_leaves_nothing_behind(tiny_model: Path) -> None:
    engine, other = build(tiny_model, dtype="bfloat16"), build(tiny_model, dtype="bfloat16")
    engine.forward_backward(samples(), 1.0)
    inner(engine)._optimizer.zero_grad()
    for each in (engine, other):
        train(each, 1)
    assert share_moved(weights(engine), weights(other)) == 0.0
