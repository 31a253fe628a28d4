"""Compares the engine with plain passes of transformers, one sequence at a time, on a tiny model of a family."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from rltf.config import LoraConfig, TorchEngineConfig, TrainerConfig
from rltf.engines.torch.engine import torch_engine
from rltf.engines.torch.tiny import WINDOW, tiny_config
from rltf.types import FloatArray, Query, SamplingParams, Tokens, TrainingSample

from .table import SMALLER_WEIGHTS

Pair = tuple[Tokens, Tokens]
MOST_OFF = 1e-4


@dataclass
class Found:
    """The largest differences from plain transformers, in nats; of the gradient, relative to its largest entry."""

    batching: str
    notes: list[str]
    off: dict[str, float] = field(default_factory=dict)

    @property
    def worst(self) -> float:
        return max(self.off.values())


def write_tiny(kind: str, tokenizer: Any, path: Path, **changes: Any) -> None:
    """Saves a tiny model of a family with random weights, large enough to tell tokens apart."""
    torch.manual_seed(0)
    config = tiny_config(AutoConfig.for_model(kind), vocab_size=len(tokenizer), **changes)
    text = config.get_text_config()
    text.eos_token_id = tokenizer.eos_token_id
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        # As initialised, a tiny model is close to uniform, whatever it is fed: nothing would show.
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(1.5 if kind in SMALLER_WEIGHTS else 3.0)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)


def prompts(vocabulary: int) -> list[Tokens]:
    """Longer than the window, of mixed lengths, some with a beginning in common."""
    rng = np.random.default_rng(1)

    def some(count: int) -> Tokens:
        return tuple(rng.integers(5, vocabulary, size=count).tolist())

    long, short = some(2 * WINDOW + 3), some(4)
    return [long + some(2), long + some(9), long, short + some(1), short + some(3), some(WINDOW - 1)]


def compare(path: Path, lora: bool) -> Found:
    """Sampler, scorer, gradient, a step and the export; raises `UserError` where the engine refuses the model."""
    adapters = LoraConfig(rank=2, alpha=8) if lora else None
    config = TorchEngineConfig(model=str(path), device="cpu", lora=adapters)
    engine = torch_engine(config, TrainerConfig(learning_rate=1e-2, max_grad_norm=None), 1.0)
    learner: Any = engine.learner
    found = Found(batching=str(learner.batching), notes=learner.notes)
    asked = prompts(learner._model.get_input_embeddings().weight.shape[0])
    sampling = SamplingParams(max_tokens=6)
    groups = engine.generate(asked, 2, sampling, range(len(asked)))
    sampled = [(prompt, c) for prompt, group in zip(asked, groups, strict=True) for c in group]
    pairs: list[Pair] = [(prompt, c.tokens) for prompt, c in sampled]
    plain = load(path)
    expected = [logprobs(plain, pair) for pair in pairs]
    found.off["sampler"] = distance([c.logprobs for _, c in sampled], expected)
    found.off["scorer"] = distance(scores(engine, pairs), expected)
    rng = np.random.default_rng(2)
    weights = [rng.normal(size=len(completion)).astype(np.float32) for _, completion in pairs]
    engine.forward_backward([sample(pair, w) for pair, w in zip(pairs, weights, strict=True)], 1.0)
    if not lora:
        found.off["gradient"] = gradient_distance(learner._model, plain, pairs, weights)
    engine.optim_step(1e-2)
    engine.export(path.parent / f"{path.name}-{'lora' if lora else 'full'}")
    trained = load(path.parent / f"{path.name}-{'lora' if lora else 'full'}")
    after = [logprobs(trained, pair) for pair in pairs]
    found.off["scorer after a step"] = distance(scores(engine, pairs), after)
    again = engine.generate(asked, 1, sampling, range(len(asked)))
    later = [(prompt, group[0].tokens) for prompt, group in zip(asked, again, strict=True)]
    found.off["sampler after a step"] = distance([g[0].logprobs for g in again], [logprobs(trained, p) for p in later])
    assert distance(after, expected) > 1e-3, "the step changed nothing"
    return found


def load(path: Path) -> Any:
    """Plain transformers."""
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()


def logprobs(model: Any, pair: Pair, *, grad: bool = False) -> Any:
    """Of the completion's tokens, by a pass over one sequence without cache, mask or positions."""
    prompt, completion = pair
    with torch.set_grad_enabled(grad):
        logits = model(input_ids=torch.tensor([[*prompt, *completion]])).logits[0, len(prompt) - 1 : -1].float()
        picked = torch.log_softmax(logits, -1).gather(1, torch.tensor(completion)[:, None])[:, 0]
    return picked if grad else picked.numpy()


def scores(engine: Any, pairs: list[Pair]) -> list[FloatArray]:
    queries = [Query(prompt_tokens=prompt, completion_tokens=completion) for prompt, completion in pairs]
    return [answer.logprobs_T for answer in engine.answer(queries)]


def sample(pair: Pair, weights: FloatArray) -> TrainingSample:
    return TrainingSample(
        prompt_tokens=pair[0],
        completion_tokens=pair[1],
        weights=weights,
        loss="cross_entropy",
        component="policy",
        rollout=0,
        turn=0,
    )


def distance(found: list[FloatArray], expected: list[FloatArray]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True))


def gradient_distance(model: Any, plain: Any, pairs: list[Pair], weights: list[FloatArray]) -> float:
    for pair, weight in zip(pairs, weights, strict=True):
        (-(torch.from_numpy(weight) * logprobs(plain, pair, grad=True)).sum()).backward()
    named = dict(plain.named_parameters())
    apart, largest = 0.0, 0.0
    for name, parameter in model.named_parameters():
        expected = named[name].grad
        if expected is None:
            assert parameter.grad is None or not parameter.grad.any(), name
            continue
        largest = max(largest, float(expected.abs().max()))
        apart = max(apart, float((parameter.grad - expected).abs().max()))
    return apart / largest
