"""How fast a step is on several GPUs, and where its time goes: a simulation, and a check of it by two processes here.

    python benchmarks/scale.py                         # tables for 8 B on up to 8 GPUs, in Markdown; a minute
    python benchmarks/scale.py --check check.json      # one and two processes on this CPU against what is predicted

A step is simulated as the engine makes it: prompts and samples are dealt among the GPUs as `engines/shares.py` deals
them, each GPU decodes until its longest attempt ends, attempts go to the judge, wrong ones are made again, and all
samples are trained on. Lengths and the judge's delays are drawn; what a token and a byte cost is given by `Costs`. On a
GPU these are computed from the figures below, on this CPU they are measured in one process.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from rltf.engines.shares import shares

# One H100, by its data sheet, and what of it is reached.
MEMORY_RATE = 0.6 * 3.35e12
"""Bytes per second: a share that decoding is commonly said to reach."""
TRAINING_RATE = 1.7e14
"""Floating-point operations per second: what benchmarks/gpu_h200.json has for the adapters of Qwen3-4B."""
PREFILL_RATE = 2 * TRAINING_RATE
LINK_RATE = 3e11
"""Bytes per second to and from the other GPUs of one machine: two thirds of NVLink's."""
LEAST_STEP = 0.01
"""Seconds of a decoding step, however small the model: launches."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What things take in one process, in seconds."""

    step: float
    """A decoding step without a row: weights are read once."""
    row: float
    """A row in it."""
    cell: float
    """A token of a row's context in it."""
    read: float
    """A token of a prompt."""
    train: float
    """A token that is trained on, scored once before."""
    update: float
    """An update without a token."""
    moved: float = 0.0
    """What travels between processes in a step."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A step of a run."""

    groups: int
    group_size: int = 8
    prompt: int = 200
    response: int = 1024
    """Most tokens of an attempt; attempts are half of that in the mean."""
    wrong: float = 0.7
    """The share of first attempts that are made again after feedback."""
    judge: float = 0.0
    """Seconds that a call to the judge takes in the mean; each attempt is one call."""
    concurrency: int = 64
    fixed_lengths: bool = False
    """Every attempt as long as it may be."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """Seconds of a step."""

    sampling: float
    judging: float
    training: float
    moving: float

    @property
    def seconds(self) -> float:
        """All of it: the phases follow each other."""
        return self.sampling + self.judging + self.training + self.moving


def simulate(job: Job, costs: Costs, gpus: int, seed: int = 0) -> Step:
    """One step."""
    rng = np.random.default_rng(seed)
    rollouts = job.groups * job.group_size
    first, second = _lengths(rng, job, rollouts), _lengths(rng, job, rollouts)
    again = np.flatnonzero(rng.random(rollouts) < job.wrong)
    if job.fixed_lengths:
        again = np.arange(round(job.wrong * rollouts))
    sampling = 0.0
    # First attempts are dealt by prompt, a group together; second ones are prompts of their own.
    groups = first.reshape(job.groups, job.group_size)
    cost = job.prompt + job.group_size * job.response
    sampling += max(
        _decoding(costs, groups[share.start : share.stop].ravel(), job.prompt, len(share) * job.prompt)
        for share in shares([cost] * job.groups, gpus)
    )
    longer = job.prompt + first[again] + 100
    dealt = shares((longer + job.response).tolist(), gpus)
    sampling += max(
        _decoding(costs, second[again][share.start : share.stop], int(longer.mean()), int(longer[list(share)].sum()))
        for share in dealt
    )
    judging = sum(_queue(rng, job, attempts) for attempts in (rollouts, len(again)))
    # Both attempts, and the second one as an answer to the plain question.
    samples = np.concatenate([first, second[again] + first[again] + 100, second[again]])
    prompts = job.groups * job.prompt / gpus
    training = max(samples[list(share)].sum() for share in shares(samples.tolist(), gpus)) + prompts
    return Step(sampling=sampling, judging=judging, training=costs.update + costs.train * training, moving=costs.moved)


def _lengths(rng: np.random.Generator, job: Job, count: int) -> np.ndarray:
    if job.fixed_lengths:
        return np.full(count, job.response)
    return np.clip(rng.lognormal(np.log(job.response / 2) - 0.125, 0.5, count), 1, job.response).astype(int)


def _decoding(costs: Costs, lengths: np.ndarray, context: int, read: int) -> float:
    """Seconds until the longest of some attempts has ended; those that have ended leave the batch."""
    if not len(lengths):
        return 0.0
    alive = np.array([(lengths > t).sum() for t in range(int(lengths.max()))])
    contexts = context + np.arange(len(alive))
    return float((costs.step + alive * (costs.row + costs.cell * contexts)).sum() + costs.read * read)


def _queue(rng: np.random.Generator, job: Job, calls: int) -> float:
    """Seconds until the judge has answered all calls, so many at a time."""
    if not job.judge or not calls:
        return 0.0
    delays = np.full(calls, job.judge) if job.fixed_lengths else rng.lognormal(np.log(job.judge) - 0.125, 0.5, calls)
    free = [0.0] * job.concurrency
    for delay in delays:
        heapq.heapreplace(free, free[0] + float(delay))
    return max(free)


def on_h100(gpus: int, *, adapters: bool, traffic: float, parameters: float = 8.03e9, layers: int = 32) -> Costs:
    """Costs of a model of 8 B with grouped heads in bfloat16, computed. `traffic`: see `engines/torch/plan.py`."""
    cache = layers * 2 * 8 * 128 * 2  # bytes of keys and values for a token
    # Forward for scoring, and forward and backward for the update; of frozen weights no gradient is made.
    operations = 2 + (4 if adapters else 6)
    return Costs(
        step=max(LEAST_STEP, parameters * 2 / MEMORY_RATE),
        row=parameters * 2 / PREFILL_RATE,
        cell=cache / MEMORY_RATE,
        read=parameters * 2 / PREFILL_RATE,
        train=operations * parameters / TRAINING_RATE,
        update=parameters * (0 if adapters else 16) / gpus / MEMORY_RATE,
        moved=traffic / LINK_RATE,
    )


def traffic_of(gpus: int, *, adapters: bool) -> float:
    """Bytes that a GPU receives in a step, by the dry run's own plan."""
    from transformers import LlamaConfig

    from rltf.config.load import configure
    from rltf.engines.torch.plan import plans

    with tempfile.TemporaryDirectory() as directory:
        shape = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_key_value_heads": 8}
        described = LlamaConfig(vocab_size=128256, max_position_embeddings=131072, tie_word_embeddings=False, **shape)
        described.save_pretrained(directory)
        changes = {"engine.model": directory, "engine.dtype": "bfloat16", "trainer.minibatches": 1}
        changes |= {"engine.lora.rank": 32} if adapters else {}
        found = plans(configure((), changes), 200, gpus, 80 * 2**30)
    return next((plan.traffic for plan in found if plan.fits(80 * 2**30)), found[-1].traffic)


def tables() -> str:
    """What is in docs/scale.md."""
    lines: list[str] = []
    base = Job(groups=32)
    cases = [(True, 1), (True, 2), (True, 4), (True, 8), (False, 8)]
    traffic = {(adapters, gpus): traffic_of(gpus, adapters=adapters) for adapters, gpus in cases}
    costs = {case: on_h100(case[1], adapters=case[0], traffic=traffic[case]) for case in cases}

    def row(name: str, job: Job, gpus: int, *, adapters: bool = True) -> None:
        steps = [simulate(job, costs[adapters, gpus], gpus, seed) for seed in range(5)]
        seconds = statistics.mean(step.seconds for step in steps)
        names = ("sampling", "judging", "training", "moving")
        parts = [statistics.mean(getattr(step, name) for step in steps) for name in names]
        portions = " | ".join(f"{100 * part / seconds:.0f} %" for part in parts)
        calls = job.groups * job.group_size * (1 + job.wrong) / seconds
        rate = job.groups * job.group_size / seconds
        lines.append(f"| {name} | {seconds:.0f} | {rate:.1f} | {portions} | {calls:.1f} |")

    lines.append("| | seconds a step | rollouts/s | sampling | judge | training | moving | judge calls/s |")
    lines.append("|---" * 8 + "|")
    for gpus in (1, 2, 4, 8):
        row(f"{gpus} GPU{'s' * (gpus > 1)}, adapters", base, gpus)
    row("8 GPUs, all weights (fsdp2)", base, 8, adapters=False)
    for delay in (1, 5, 20):
        row(f"8 GPUs, a judge of {delay} s", replace(base, judge=float(delay)), 8)
    row("8 GPUs, a judge of 20 s, 256 calls at a time", replace(base, judge=20.0, concurrency=256), 8)
    for size in (4, 16):
        row(f"8 GPUs, groups of {size}", replace(base, group_size=size), 8)
    for length in (256, 4096):
        row(f"8 GPUs, attempts of up to {length:,} tokens", replace(base, response=length), 8)
    return "\n".join(lines)


# The check: one and two processes on this machine.

CHECKED = Job(groups=16, prompt=120, response=27, wrong=1.0, fixed_lengths=True)
"""About what the built-in model does on Binary Matrix: no first attempt is right, and attempts have 27 tokens."""
STEPS = 8


def check(out: Path) -> None:
    """Fits costs to one process at two sizes, predicts other sizes and two processes, and times them."""
    found = []
    with tempfile.TemporaryDirectory() as directory:
        known = {groups: _timed(groups, 1, Path(directory)) for groups in (8, 16)}
        costs = _fitted(known)
        for processes, groups in ((1, 8), (1, 16), (1, 32), (2, 16), (2, 32)):
            timed = known.get(groups) if processes == 1 else None
            timed = timed or _timed(groups, processes, Path(directory))
            predicted = simulate(replace(CHECKED, groups=groups), costs, processes)
            found.append({"processes": processes, "groups": groups, "timed": timed, "predicted": asdict(predicted)})
            print(
                f"{processes} x {groups} groups, timed and predicted: sampling {timed['sampling']:.2f} and "
                f"{predicted.sampling:.2f} s, training {timed['training']:.2f} and {predicted.training:.2f} s",
                flush=True,
            )
    out.write_text(json.dumps({"costs": asdict(costs), "steps": found}, indent=2) + "\n")


def _timed(groups: int, processes: int, directory: Path) -> dict[str, float]:
    """Seconds of a step's phases in process 0, the medians: of the processor, so that what else runs counts less."""
    run = directory / f"{processes}-{groups}"
    settings = {
        "engine.device": "cpu",
        "trainer.groups_per_batch": groups,
        "trainer.group_size": CHECKED.group_size,
        "trainer.minibatches": 1,
        "trainer.learning_rate": 1e-9,  # The same policy in all steps.
        "trainer.steps": STEPS,
        "evaluation.problems": 1,
        "evaluation.samples": 1,
        "records.tokens": 0,
    }
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)] if processes > 1 else []
    given = [f"{name}={value}" for name, value in settings.items()]
    command = [sys.executable, *launcher, __file__, "--one-run", str(run), *given]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    rows = [json.loads(line) for line in (run / "timings.jsonl").read_text().splitlines()]
    steps = [row for row in rows if "seconds/update" in row][1:]
    return {
        "sampling": statistics.median(row["seconds/rollout"] for row in steps),
        "training": statistics.median(row["seconds/update"] + row["seconds/score"] for row in steps),
    }


def run_here(run: Path, settings: list[str]) -> None:
    """A run in this process, or its part in it, whose clock counts the seconds that the processor works for it."""
    from rltf.cli.train import train_command

    time.perf_counter = time.process_time
    train_command(settings, run, None, accept_changed_files=False)


def _fitted(known: dict[int, dict[str, float]]) -> Costs:
    """The costs at which a simulated process takes the times of a real one, at two sizes."""
    (few, of_few), (many, of_many) = sorted(known.items())
    tokens = {}
    for groups in known:
        free = Costs(step=0.0, row=0.0, cell=0.0, read=0.0, train=1.0, update=0.0)
        tokens[groups] = simulate(replace(CHECKED, groups=groups), free, 1).training
    steps = 2 * CHECKED.response
    each = (of_many["sampling"] - of_few["sampling"]) / (many - few)
    train = (of_many["training"] - of_few["training"]) / (tokens[many] - tokens[few])
    return Costs(
        step=(of_few["sampling"] - each * few) / steps,
        row=each / steps / CHECKED.group_size,
        cell=0.0,
        read=0.0,
        train=train,
        update=of_few["training"] - train * tokens[few],
    )


def main() -> None:
    """Prints the tables, or checks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", type=Path, metavar="JSON", help="compare with processes on this machine")
    parser.add_argument("--one-run", type=Path, metavar="DIRECTORY", help=argparse.SUPPRESS)
    parser.add_argument("settings", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one_run is not None:
        run_here(arguments.one_run, arguments.settings)
    elif arguments.check is not None:
        check(arguments.check)
    else:
        print(tables())


if __name__ == "__main__":
    main()
