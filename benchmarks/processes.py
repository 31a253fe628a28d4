"""The memory of each of two processes that share a run, against what `rltf train --dry-run --gpus 2` computes for it.

    python benchmarks/processes.py                       # a table in Markdown; some minutes on two cores
    python benchmarks/processes.py ddp fsdp2             # some of its rows

On a CPU, in float32, with a Llama of random weights, of 26 million parameters unless --hidden says otherwise. The steps
are of sequences as long as the plan counts them. What a process holds after the same with a tiny model, its libraries,
is left out, and so is the plan's part for them. Peaks are of the second step, by when the optimiser has its moments, of
the process that had more. The allocator gives what is freed back at once, so that what it keeps does not count.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rltf.config import RunConfig
from rltf.config.load import configure

MIB = 2**20
QUESTION = 100
"""Tokens of a question."""
ADAPTERS = {"engine.lora.rank": 16}
WAYS: dict[str, dict[str, Any]] = {
    "ddp": {"engine.parallel": "ddp"},
    "fsdp2": {"engine.parallel": "fsdp2"},
    "fsdp2, layer by layer": {"engine.parallel": "fsdp2", "engine.share_prefixes": False},
    "ddp, adapters": {"engine.parallel": "ddp", **ADAPTERS},
    "fsdp2, adapters": {"engine.parallel": "fsdp2", **ADAPTERS},
}
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
SETTINGS: dict[str, Any] = {
    "engine.device": "cpu",
    "engine.dtype": "float32",
    "engine.micro_batch_tokens": 1024,
    "objective.name": "grpo",
    "trainer.groups_per_batch": 4,
    "trainer.group_size": 4,
    "rollout.max_new_tokens": 48,
    "evaluation.problems": 4,
    "evaluation.samples": 1,
}


def make_model(path: Path, hidden: int) -> None:
    """A Llama of random weights with the built-in model's tokenizer."""
    import torch
    import transformers

    from rltf.builtin import builtin_directory

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=1157, hidden_size=hidden, intermediate_size=hidden * 11 // 4, num_hidden_layers=8,
        num_attention_heads=8, num_key_value_heads=8, max_position_embeddings=2048, tie_word_embeddings=True,
        eos_token_id=1153, pad_token_id=1154, bos_token_id=None,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(path)
    transformers.AutoTokenizer.from_pretrained(builtin_directory()).save_pretrained(path)


def config_of(way: str, model: Path) -> RunConfig:
    """The settings of one way."""
    return configure(changes=SETTINGS | WAYS[way] | {"engine.model": str(model)})


def measure(ways: list[str], model: Path, out: Path) -> None:
    """This process's part of all steps. Writes for each way what it held before and between steps, and what it held at
    most in each kind of call."""
    from memory import step

    from rltf.engines.torch import several
    from rltf.engines.torch.team import team
    from rltf.runs.build import build_engine
    from rltf.support.launched import is_helper

    index = team().index
    found: list[dict[str, int]] = []
    member_of: Any = several._Member
    load, plain = member_of.__init__, member_of.outcome

    def loading(member: Any, *arguments: Any) -> None:
        gc.collect()
        found.append({"before": _now()})
        load(member, *arguments)

    def noting(member: Any, name: str, arguments: Mapping[str, Any]) -> Any:
        member.learner.renderer.stop_tokens = ()  # No attempt ends before the limit.
        held = _now()
        if name == "generate":  # There is no gradient.
            found[-1]["held"] = held
        Path("/proc/self/clear_refs").write_text("5")  # The peak begins anew.
        outcome = plain(member, name, arguments)
        found[-1][name] = _status("VmHWM")
        return outcome

    member_of.__init__, member_of.outcome = loading, noting
    if is_helper():
        several.help_out()
    else:
        for way in ways:
            for directory in (model / "tiny", model):
                engine: Any = build_engine(config_of(way, directory))
                engine.learner = engine._member.learner  # As `step` has it of an engine of one process.
                for _ in range(2):
                    step(engine, config_of(way, directory))
                engine.close()
        several.dismiss()
    (out / f"{index}.json").write_text(json.dumps(dict(zip(ways, found[1::2], strict=True))))


def _now() -> int:
    """What this process holds, once the allocator has given back what is free."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return _status("VmRSS")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


def row(way: str, model: Path, both: list[dict[str, int]]) -> str:
    """A line of the table, in MiB."""
    from rltf.engines.torch.plan import plans

    name = way.removesuffix(", adapters")
    plan = next(p for p in plans(config_of(way, model), QUESTION, 2, 80 * 2**30) if p.way == name)

    def cell(size: int, *calls: str) -> str:
        measured = max(one[call] - one["before"] for one in both for call in calls)
        return f"{measured / MIB:,.0f} | {(size - plan.process) / MIB:,.0f}"

    held = cell(plan.held, "held")
    sampling, training = cell(plan.while_sampling, "generate", "answer"), cell(plan.while_training, "accumulate")
    return f"| {way} | {held} | {sampling} | {training} |"


def main() -> None:
    """Prints the table, or measures in a process that was launched for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="*", default=list(WAYS), metavar="WAY", help=", ".join(WAYS))
    parser.add_argument("--hidden", type=int, default=512, help="width of the model")
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.out is not None:
        measure(options.ways, options.model, options.out)
        return
    with tempfile.TemporaryDirectory() as directory:
        model = Path(directory) / "model"
        make_model(model, options.hidden)
        make_model(model / "tiny", 16)
        launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", __file__]
        command = [*launcher, *options.ways, "--model", str(model), "--out", directory]
        subprocess.run(command, check=True, env=os.environ | ENVIRONMENT, stdout=subprocess.DEVNULL)
        both = [json.loads((Path(directory) / f"{index}.json").read_text()) for index in (0, 1)]
        print("| MiB | held | computed | sampling, scoring | computed | training | computed |")
        print("|---" * 7 + "|")
        for way in options.ways:
            print(row(way, model, [one[way] for one in both]))


if __name__ == "__main__":
    main()
