"""How the time of a training step grows, on the CPU.

    OMP_NUM_THREADS=2 python benchmarks/steps.py --json benchmarks/steps.json     # an hour on two cores, 16 GiB

Each question compares a few settings of one run, which take turns step by step in processes of their own (`turns.py`).
Every attempt has all its tokens and a reward of its own, so that every step of a setting does the same work. The figure
is the ratio to the question's first setting, over the rounds.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from turns import alternate, copy_that_cannot_stop, in_own_process, spread, train

from rltf.config import RunConfig
from rltf.config.load import load_config
from rltf.runs.provenance import environment

BASE = (
    *("task.name=binary_matrix", "task.min_side=8", "task.max_side=8", "rollout.max_new_tokens=24"),
    *(
        "objective.name=grpo",
        "engine.device=cpu",
        "engine.dtype=float32",
        "evaluation.problems=2",
        "evaluation.samples=1",
    ),
    *("trainer.groups_per_batch=8", "trainer.group_size=4", "trainer.minibatches=1", "trainer.save_every=0"),
    *("trainer.learning_rate=1e-6", "trainer.warmup_steps=0", "trainer.schedule=constant"),
)
"""32 attempts of 24 tokens, single-turn GRPO in float32."""
DISTIL = ("objective.name=rltf_sd", "objective.sd.logprob_floor=none")
QUESTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "turns": {
        "GRPO, one turn": (),
        "GRPO, one turn, twice the groups": ("trainer.groups_per_batch=16",),
        "RLTF-SD, two turns": DISTIL,
        "RLTF-SD, three turns": (*DISTIL, "rollout.horizon=3"),
    },
    "arithmetic": {
        "float32": (),
        "bfloat16 over float32 weights": ("engine.dtype=bfloat16",),
    },
    "group size": {
        "16 groups of 2": ("trainer.groups_per_batch=16", "trainer.group_size=2"),
        "8 groups of 4": (),
        "2 groups of 16": ("trainer.groups_per_batch=2", "trainer.group_size=16"),
    },
    "new tokens": {
        "24": (),
        "48": ("rollout.max_new_tokens=48",),
        "96": ("rollout.max_new_tokens=96",),
    },
    "prompt": {
        "side 4": ("task.min_side=4", "task.max_side=4"),
        "side 8": (),
        "side 12": ("task.min_side=12", "task.max_side=12"),
    },
    "vocabulary": {
        "8,192 tokens": ("engine.model=8192",),
        "49,152 tokens": ("engine.model=49152",),
    },
}


def write_vocabulary(size: int, path: str) -> None:
    """Writes a model of SmolLM2's shape but for its vocabulary: random weights, the built-in model's tokenizer."""
    import transformers

    from rltf.builtin import builtin_directory
    from rltf.engines.torch.model import source_of

    config = transformers.AutoConfig.from_pretrained(source_of("smollm2"))
    config.vocab_size = size
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(path)
    transformers.AutoTokenizer.from_pretrained(builtin_directory()).save_pretrained(path)


def settings_of(changes: Sequence[str], model: str, directory: Path) -> tuple[str, ...]:
    """All settings of a case; `model` stands where the case names none. Writes the model if need be."""
    name = next((change.partition("=")[2] for change in changes if change.startswith("engine.model=")), model)
    path = directory / name.replace("/", "+")
    if not path.is_dir():
        source = name
        if name.isdecimal():
            source = str(directory / f"{name} that may stop")
            in_own_process(write_vocabulary, int(name), source)
        in_own_process(copy_that_cannot_stop, source, str(path))
    return (*BASE, *(change for change in changes if not change.startswith("engine.model=")), f"engine.model={path}")


def config_of(settings: Sequence[str], steps: int) -> RunConfig:
    """All settings of a run of that many steps, with as many training problems as a step takes."""
    settings = [*settings, f"trainer.steps={steps}"]
    problems = load_config([], settings).trainer.groups_per_batch
    return load_config([], [*settings, f"task.train_size={problems}"])


def ask(cases: Mapping[str, tuple[str, ...]], options: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """Seconds of each round and the ratios to the first case, by case."""
    steps = options.warmup + options.rounds
    settings = [settings_of(changes, options.model, directory) for changes in cases.values()]
    sides = [functools.partial(train, config_of(case, steps)) for case in settings]
    rounds = alternate(sides, steps, options.warmup)
    return {
        name: {
            "settings": changes,
            "seconds": [seconds[i] for seconds in rounds],
            "ratio": spread([seconds[i] / seconds[0] for seconds in rounds]),
        }
        for i, (name, changes) in enumerate(cases.items())
    }


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The result for people."""
    lines = ["| | seconds | of the first: median (least to greatest) |", "|---|---|---|"]
    for question, cases in found.items():
        lines.append(f"| **{question}** | | |")
        for name, case in cases.items():
            ratio = case["ratio"]
            spans = f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"
            lines.append(f"| {name} | {median(case['seconds']):.2f} | {spans} |")
    return "\n".join(lines)


def main() -> None:
    """Asks every question, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2", help="`smollm2`, `builtin`, a directory, or a hub name")
    parser.add_argument("--only", nargs="+", default=list(QUESTIONS), choices=list(QUESTIONS), metavar="QUESTION")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds (default: 3)")
    parser.add_argument("--warmup", type=int, default=1, help="rounds before the timed ones (default: 1)")
    parser.add_argument("--json", type=Path, help="file for all figures")
    options = parser.parse_args()
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        for question in options.only:
            print(question, file=sys.stderr, flush=True)
            found[question] = ask(QUESTIONS[question], options, Path(directory))
            print(table({question: found[question]}), file=sys.stderr, flush=True)
    print(table(found))
    if options.json is not None:
        threads = os.environ.get("OMP_NUM_THREADS", "all")
        result = {"environment": environment() | {"threads": threads}, "model": options.model, "questions": found}
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
