"""The same batch, the same adapters, the same steps: a server against the engine `torch`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM

from rltf.config import LoraConfig, TinkerEngineConfig, TorchEngineConfig, TrainerConfig
from rltf.engines.base import Engine, Joined
from rltf.engines.tinker.engine import tinker_engine
from rltf.engines.torch.engine import torch_engine
from rltf.types import Answer, LossName, Query, SamplingParams, TrainingSample

RANK = 8
STEPS = 3
LOSSES: tuple[LossName, ...] = ("cross_entropy", "importance_sampling", "ppo", "cispo")
PROMPTS = [(5, 6, 7, 8), (5, 6, 7, 9, 10, 11), (5, 6, 20), (5, 6, 7, 8, 30, 31, 32)]
TRAINER = TrainerConfig(max_grad_norm=None, weight_decay=0.1)
Tell = Callable[[str, float, float], None]
"""Of a difference: what it is of, how large it is, how large it may be."""


def at(url: str, model: Path, seed: int = 0) -> Joined:
    config = TinkerEngineConfig(
        name="tinker",
        model=str(model),
        base_url=url,
        dialect="skyrl_jax",
        lora=LoraConfig(rank=RANK),
        timeout=120.0,
    )
    return tinker_engine(config, TRAINER, seed=seed)


def beside(model: Path, adapters: Path) -> Joined:
    """The engine `torch` with the adapters of an export."""
    config = TorchEngineConfig(model=str(model), device="cpu", lora=LoraConfig(rank=RANK))
    engine = torch_engine(config, TRAINER, 1.0)
    given = load_file(adapters / "adapter_model.safetensors")
    trained = engine.learner._trainable  # type: ignore[attr-defined]
    with torch.no_grad():
        for name, weight in trained.items():
            weight.copy_(torch.from_numpy(given[name.replace(".default.", ".")]))
    assert len(given) == len(trained)
    return engine


def tied(engine: Joined) -> float:
    """Has projections that read the same input share a matrix A, as they do at the server; the gradient's norm there.

    SkyRL's JAX models have one adapter on q, k and v together, and one on gate and up. An export shows each a copy
    of A of its own; these began alike, so equal gradients keep them alike.
    """
    masters = engine.learner._optimizer.masters  # type: ignore[attr-defined]
    shared: dict[str, list[torch.Tensor]] = {}
    for name, weight in masters.items():
        shared.setdefault(_SHARED.sub(r"\1", name) if "lora_A" in name else name, []).append(weight)
    squares = 0.0
    for weights in shared.values():
        total = torch.stack([weight.grad for weight in weights if weight.grad is not None]).sum(dim=0)
        squares += float(total.square().sum())
        for weight in weights:
            weight.grad = total.clone()
    return math.sqrt(squares)


_SHARED = re.compile(r"(self_attn|mlp)\.(?:q|k|v|gate|up)_proj")


def samples_of(completions: Sequence[Any], losses: Sequence[LossName], seed: int) -> list[TrainingSample]:
    """Samples on what was sampled, with weights of both signs and masks, some on the same tokens."""
    rng = np.random.default_rng(seed)
    found = []
    for i, (prompt, completion) in enumerate(completions):
        for loss in losses:
            weights = rng.normal(size=len(completion.tokens)).astype(np.float32)
            weights[i % len(weights)] = 0.0
            old = completion.logprobs + rng.normal(0, 0.2, size=len(weights)).astype(np.float32)
            found.append(
                TrainingSample(
                    prompt_tokens=prompt,
                    completion_tokens=completion.tokens,
                    weights=weights,
                    loss=loss,
                    old_logprobs=None if loss == "cross_entropy" else old,
                    sampling_logprobs=completion.logprobs,
                    component=loss,
                    rollout=i,
                    turn=0,
                )
            )
    return found


def compare(url: str, model: Path, directory: Path, tell: Tell) -> None:
    """Samples, scores, three steps by each loss and by all of them, what is saved and what is exported."""
    for losses in (*((loss,) for loss in LOSSES), LOSSES):
        server = at(url, model)
        name = " and ".join(losses) if len(losses) < 3 else "all losses together"
        server.export(directory / f"new-{name}")
        own = beside(model, directory / f"new-{name}" / "adapter")
        drawn = server.generate(PROMPTS, 2, SamplingParams(max_tokens=10), list(range(len(PROMPTS))))
        completions = [(prompt, c) for prompt, siblings in zip(PROMPTS, drawn, strict=True) for c in siblings]
        queries = [
            Query(prompt_tokens=prompt, completion_tokens=completion.tokens, policy=policy)
            for prompt, completion in completions
            for policy in ("current", "initial")
        ]
        before = own.answer(queries)
        for step in range(STEPS):
            batch = samples_of(completions, losses, step)
            found, expected = server.forward_backward(batch, 4.0), own.forward_backward(batch, 4.0)
            norm = tied(own)
            told = server.optim_step(1e-3)["optim/grad_norm"]
            own.optim_step(1e-3)
            off = max(_off(found[key], expected[key]) for key in expected if key.startswith("loss/"))
            tell(f"{name}, step {step + 1}: loss", off, 1e-5)
            tell(f"{name}, step {step + 1}: gradient norm", _off(told, norm), 1e-5)
        moved = _between(before, own.answer(queries))
        what = f"{name}: log-probabilities after {STEPS} steps, which moved them by up to {moved:.2g}"
        tell(what, _apart(server, own, queries), 1e-5)
        if len(losses) > 1:
            pairs = zip(completions, before[::2], strict=True)
            sampled = max(np.abs(completion.logprobs - answer.logprobs_T).max() for (_, completion), answer in pairs)
            tell("log-probabilities of samples", float(sampled), 1e-5)
            _kept(url, server, model, directory, queries, batch, tell)
        server.close()


def _kept(
    url: str,
    server: Joined,
    model: Path,
    directory: Path,
    queries: Sequence[Query],
    batch: Sequence[TrainingSample],
    tell: Tell,
) -> None:
    server.save(directory / "saved")
    server.export(directory / "trained")
    peft_model = peft.PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(model), directory / "trained" / "adapter"
    )
    query = queries[0]
    tokens = torch.tensor([[*query.prompt_tokens, *query.completion_tokens]])
    first = len(query.prompt_tokens) - 1
    with torch.no_grad():
        logits = peft_model(tokens).logits[0, first:-1].log_softmax(-1)
    plain = logits.gather(1, tokens[0, first + 1 :, None])[:, 0].numpy()
    tell("exported adapters in PEFT", float(np.abs(plain - server.answer([query])[0].logprobs_T).max()), 1e-5)
    assert json.loads((directory / "trained" / "tinker.json").read_text())["version"] == STEPS
    # Another session, with other adapters, goes on from what was saved just as this one does.
    server.forward_backward(batch, 4.0)
    server.optim_step(1e-3)
    expected = server.answer(queries)
    other = at(url, model, seed=7)
    # Last, as the server lets the weight decay of one session shrink the adapters of all.
    other.load(directory / "saved")
    other.forward_backward(batch, 4.0)
    other.optim_step(1e-3)
    tell("a step after save and load", _between(expected, other.answer(queries)), 1e-5)
    other.close()


def _apart(one: Engine, other: Engine, queries: Sequence[Query]) -> float:
    return _between(one.answer(queries), other.answer(queries))


def _between(some: Sequence[Answer], others: Sequence[Answer]) -> float:
    pairs = zip(some, others, strict=True)
    return max(float(np.abs(mine.logprobs_T - its.logprobs_T).max()) for mine, its in pairs)


def _off(found: float, expected: float) -> float:
    """Relative, but for small numbers."""
    return abs(found - expected) / max(1.0, abs(expected))
