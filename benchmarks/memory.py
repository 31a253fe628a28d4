"""The memory that a training step takes on a CPU, against what the dry run estimates.

    python benchmarks/memory.py --json benchmarks/memory.json     # some ten minutes on two cores

Each case is a process of its own, which samples, scores and takes an optimiser step on sequences of exactly the
lengths that the estimate counts, so that the estimate is tried where it should be right: at the longest. Two steps on
shorter ones of all lengths follow, as memory that was freed does not always fit what comes next. The peak is
the most memory that the process ever held, libraries included. `smollm2` is SmolLM2-135M-Instruct; `qwen3-0.6b` has
random weights in the shape of Qwen3-0.6B, as memory does not depend on what a model knows.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from rltf.config import RunConfig
from rltf.config.engines import on_this_machine
from rltf.config.load import load_config
from rltf.runs.provenance import environment
from rltf.types import Query, SamplingParams, TrainingSample

MIB = 2**20
QUESTION = 100
"""Tokens of a question."""
GRPO = ("objective.name=grpo", "trainer.groups_per_batch=8", "trainer.group_size=4", "evaluation.problems=8")
TWO_TURNS = ("objective.name=rltf_sd", "trainer.groups_per_batch=4", "trainer.group_size=4", "evaluation.problems=8")
CASES: dict[str, tuple[str, ...]] = {
    "smollm2, all weights": ("engine.model=smollm2", "rollout.max_new_tokens=24", *GRPO),
    "smollm2, all weights, checkpointing": (
        *("engine.model=smollm2", "rollout.max_new_tokens=24", *GRPO),
        "engine.gradient_checkpointing=true",
    ),
    "smollm2, all weights, 2,048 tokens at once": (
        *("engine.model=smollm2", "rollout.max_new_tokens=24", *GRPO),
        "engine.micro_batch_tokens=2048",
    ),
    "smollm2, all weights, two turns of 128 tokens": (
        *("engine.model=smollm2", "rollout.max_new_tokens=128", *TWO_TURNS),
    ),
    "smollm2, adapters": (
        *("engine.model=smollm2", "rollout.max_new_tokens=24", *GRPO),
        "engine.lora.rank=16",
    ),
    "smollm2, adapters, bfloat16": (
        *("engine.model=smollm2", "rollout.max_new_tokens=24", *GRPO),
        *("engine.lora.rank=16", "engine.dtype=bfloat16"),
    ),
    "smollm2, all weights, bfloat16, two turns of 128 tokens": (
        *("engine.model=smollm2", "rollout.max_new_tokens=128", *TWO_TURNS),
        "engine.dtype=bfloat16",
    ),
    "qwen3-0.6b, adapters": (
        *("engine.model=qwen3-0.6b", "rollout.max_new_tokens=32", *GRPO),
        "engine.lora.rank=16",
    ),
    "qwen3-0.6b, all weights": ("engine.model=qwen3-0.6b", "rollout.max_new_tokens=32", *GRPO),
    "qwen3-0.6b, all weights, checkpointing": (
        *("engine.model=qwen3-0.6b", "rollout.max_new_tokens=32", *GRPO),
        *("engine.gradient_checkpointing=true", "engine.micro_batch_tokens=512"),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One case, in MiB."""

    settings: tuple[str, ...]
    estimated: float
    measured: float
    after_import: float
    parts: dict[str, float]

    @property
    def off(self) -> float:
        """The estimate over the measured peak, less 1."""
        return self.estimated / self.measured - 1


def qwen3(path: Path) -> None:
    """Writes a model of random weights in the shape of Qwen3-0.6B, with the built-in model's tokenizer."""
    import transformers

    from rltf.builtin import builtin_directory

    config = transformers.Qwen3Config(
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        vocab_size=151_936,
        tie_word_embeddings=True,
        max_position_embeddings=40_960,
    )
    transformers.Qwen3ForCausalLM(config).save_pretrained(path)
    transformers.AutoTokenizer.from_pretrained(builtin_directory()).save_pretrained(path)


def measure(settings: tuple[str, ...]) -> Found:
    """One case, in this process, which must hold nothing else."""
    from rltf.engines.torch.engine import torch_engine
    from rltf.engines.torch.memory import memory

    config = load_config([], ["engine.device=cpu", "engine.dtype=float32", *settings])
    if config.engine.lora is not None:
        import peft  # noqa: F401
    after_import = _peak()
    step(torch_engine(on_this_machine(config.engine), config.trainer, config.rollout.temperature), config)
    measured = _peak()
    estimated = memory(config, QUESTION)
    parts = {name: size / MIB for name, size in asdict(estimated).items() if name not in ("parameters", "trained")}
    return Found(
        settings=settings,
        estimated=estimated.peak / MIB,
        measured=measured,
        after_import=after_import,
        parts=parts,
    )


def step(engine: Any, config: RunConfig) -> None:
    """Samples a batch of the longest sequences, scores it and trains on it; then two of shorter ones."""
    for share in (1.0, 0.5, 0.5):
        batch = samples(engine, config, share)
        engine.forward_backward(batch, float(len(batch)))
        engine.optim_step(1e-6)


def samples(engine: Any, config: RunConfig, share: float = 1.0) -> list[TrainingSample]:
    """A batch of the longest sequences that the settings allow, sampled and scored, with weights as in training.

    With less than the whole as `share`, prompts are that share of the longest or more, and attempts that share of it.
    """
    from rltf.engines.torch.memory import lengths

    longest = lengths(config, QUESTION, engine.max_tokens)
    rng = np.random.default_rng(0)
    groups, size = config.trainer.groups_per_batch, config.trainer.group_size
    sizes = rng.integers(int(share * longest.prompt), longest.prompt, size=groups, endpoint=True)
    prompts = [tuple(rng.integers(20, 1000, size=size).tolist()) for size in sizes]
    engine.learner.renderer.stop_tokens = ()  # No attempt ends before the limit.
    sampling = SamplingParams(max_tokens=int(share * longest.completion))
    completions = engine.generate(prompts, size, sampling, list(range(groups)))
    pairs = [(prompt, c) for prompt, siblings in zip(prompts, completions, strict=True) for c in siblings]
    engine.answer([Query(prompt_tokens=prompt, completion_tokens=c.tokens) for prompt, c in pairs])
    return [
        TrainingSample(
            prompt_tokens=prompt,
            completion_tokens=c.tokens,
            weights=np.full(len(c.tokens), float(rng.normal()), dtype=np.float32),
            loss="importance_sampling",
            old_logprobs=c.logprobs,
            sampling_logprobs=c.logprobs,
            component="policy",
            rollout=i % size,
            turn=0,
        )
        for i, (prompt, c) in enumerate(pairs)
    ]


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table(found: dict[str, Found]) -> str:
    """The result for people."""
    lines = ["| | measured, MiB | estimated | off |", "|---|---|---|---|"]
    lines += [f"| {name} | {f.measured:,.0f} | {f.estimated:,.0f} | {f.off:+.0%} |" for name, f in found.items()]
    return "\n".join(lines)


def main() -> None:
    """Measures every case, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES), metavar="CASE")
    parser.add_argument("--json", type=Path, help="file for all figures")
    options = parser.parse_args()
    found: dict[str, Found] = {}
    with tempfile.TemporaryDirectory() as directory:
        for name in options.only:
            path = Path(directory) / "qwen3-0.6b"
            if "engine.model=qwen3-0.6b" in CASES[name] and not path.is_dir():
                _in_own_process(qwen3, path)
            settings = tuple(setting.replace("=qwen3-0.6b", f"={path}") for setting in CASES[name])
            found[name] = _in_own_process(measure, settings)
            print(f"{name}: {found[name]}", file=sys.stderr, flush=True)
    print(table(found))
    if options.json is not None:
        cases = {name: asdict(f) | {"settings": CASES[name], "off": f.off} for name, f in found.items()}
        result = {"environment": environment(), "question_tokens": QUESTION, "cases": cases}
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _in_own_process(function: Any, *arguments: Any) -> Any:
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


if __name__ == "__main__":
    main()
