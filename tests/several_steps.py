"""Some steps of an engine on given batches, in one process or, launched as a script, in several that share it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from rltf.config.load import configure
from rltf.engines.base import Engine
from rltf.runs.build import build_engine
from rltf.support.launched import is_helper
from rltf.types import (
    DIVERGENCES,
    RATIO_LOSSES,
    LossName,
    Query,
    SamplingParams,
    TokenDistributions,
    Tokens,
    TrainingSample,
)

LOSSES: tuple[LossName, ...] = (
    "cross_entropy",
    "importance_sampling",
    "ppo",
    "cispo",
    "forward_kl",
    "reverse_kl",
    "jensen_shannon",
)
STEM = tuple(range(20, 60))
PROMPTS: tuple[Tokens, ...] = ((*STEM, 5, 6), (*STEM, 5, 6, 7, 9), (5, 6, 20), (*STEM[:17], 8, 30, 31))
VARIANTS: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": {"lora.rank": 4, "lora.alpha": 8},
    "bfloat16": {"dtype": "bfloat16"},
}
"""What is trained, and in what format."""
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddp": ("full", {"parallel": "ddp"}),
    "ddp, lora": ("lora", {"parallel": "ddp"}),
    "fsdp2": ("full", {"parallel": "fsdp2"}),
    "fsdp2, layer by layer": ("full", {"parallel": "fsdp2", "share_prefixes": False, "gradient_checkpointing": True}),
    "fsdp2, lora": ("lora", {"parallel": "fsdp2"}),
    "fsdp2, lora, layer by layer": ("lora", {"parallel": "fsdp2", "share_prefixes": False}),
    "fsdp2, bfloat16": ("bfloat16", {"parallel": "fsdp2", "share_prefixes": False}),
}


def engine_of(model: Path, settings: dict[str, Any]) -> Engine:
    """The engine of some settings, several small passes to a batch."""
    given = {"model": str(model), "device": "cpu", "micro_batch_tokens": 160, "logit_chunk": 5, **settings}
    changes = {f"engine.{name}": value for name, value in given.items()}
    trainer = {"learning_rate": 3e-3, "max_grad_norm": 0.5, "average_decay": 0.5}
    return build_engine(configure((), changes | {f"trainer.{name}": value for name, value in trainer.items()}))


def batch(number: int, count: int) -> list[TrainingSample]:
    """Samples of every loss: prompts that begin alike and some that do not, completions of very different lengths."""
    rng = np.random.default_rng(number)
    samples = []
    for i in range(count):
        loss = LOSSES[i % len(LOSSES)]
        length = int(rng.integers(1, 30))
        old = rng.normal(-6.0, 0.3, size=length).astype(np.float32)
        likely = np.log(rng.dirichlet(np.ones(4), size=length)[:, :3]).astype(np.float32)
        samples.append(
            TrainingSample(
                prompt_tokens=PROMPTS[i * len(PROMPTS) // count],
                completion_tokens=tuple(rng.integers(4, 60, size=length).tolist()),
                weights=rng.normal(size=length).astype(np.float32),
                loss=loss,
                old_logprobs=old if loss in RATIO_LOSSES else None,
                targets=TokenDistributions(tokens_TK=rng.integers(4, 60, size=(length, 3)), logprobs_TK=likely)
                if loss in DIVERGENCES
                else None,
                sampling_logprobs=old if i % 2 else None,
                entropy_weight=0.01 * (i % 3),
                component=("policy", "distillation")[i % 2],
                rollout=i,
                turn=0,
            )
        )
    return samples


def step(engine: Engine, number: int) -> dict[str, Any]:
    """One optimiser step on a batch of its own; the third is of one sample, so that all but one process have none."""
    samples = batch(number, 1 if number == 3 else 14)
    figures = dict(engine.forward_backward(samples[:9], 4.0))
    if len(samples) > 9:
        figures |= {f"second {name}": value for name, value in engine.forward_backward(samples[9:], 4.0).items()}
    figures |= engine.optim_step(3e-3)
    queries = [
        Query(prompt_tokens=s.prompt_tokens, completion_tokens=s.completion_tokens, policy=policy, top=2)
        for s in batch(9, 5)
        for policy in ("current", "initial", "average")
    ]
    answers = engine.answer(queries)
    return {"figures": figures, "logprobs": [a.logprobs_T.tolist() for a in answers], "version": engine.version}


def three_steps(engine: Engine, saved: Path, exported: Path) -> dict[str, Any]:
    """Three steps, then samples, a checkpoint and the exported model."""
    steps = [step(engine, number) for number in (1, 2, 3)]
    drawn = engine.generate(PROMPTS, 3, SamplingParams(max_tokens=6, temperature=1.0), range(len(PROMPTS)))
    engine.save(saved)
    engine.export(exported)
    return {"steps": steps, "drawn": [[list(c.tokens) for c in siblings] for siblings in drawn]}


def held(engine: Any) -> float:
    """The share of the trained weights, and of all that goes with each, that lies in this process."""
    masters = engine._member.learner._optimizer.masters.values()
    parts = sum(getattr(master, "_local_tensor", master).numel() for master in masters)
    return float(parts / sum(master.numel() for master in masters))


def main() -> None:
    """Every way, in the processes that were launched. Each then goes on from what one process had saved."""
    model, directory = Path(sys.argv[1]), Path(sys.argv[2])
    if is_helper():
        from rltf.engines.torch.several import help_out

        help_out()
        return
    for way, (variant, settings) in WAYS.items():
        engine = engine_of(model, VARIANTS[variant] | settings)
        found = three_steps(engine, directory / f"{way} saved", directory / f"{way} exported")
        engine.load(directory / f"{variant} saved")
        found["held"] = held(engine)
        found["fourth"] = step(engine, 4)
        (directory / f"{way}.json").write_text(json.dumps(found))
        engine.close()
    from rltf.engines.torch.several import dismiss

    dismiss()


if __name__ == "__main__":
    main()
