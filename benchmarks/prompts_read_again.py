"""What it would save on a CPU to read less of what was read before, in sampling. Neither is done; see README.md.

    python benchmarks/prompts_read_again.py [--models builtin smollm2]

While decoding, each sibling's attention reads its own copy of the group's prompt. `attention` is the share of decoding
that it takes, and what one layer takes for one token as it is, and in two parts (the prompt once for all siblings, then
each one's own tokens; putting them together is not counted).

In a conversation the second prompt begins with the first prompt and attempt. `second turn` is the time to read the
second prompts as it is done, the first prompt once for its siblings, and to go on from the first turn's caches.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rltf.config import TorchEngineConfig, TrainerConfig
from rltf.engines.base import Joined
from rltf.engines.torch.caches import prefix_cache
from rltf.engines.torch.engine import torch_engine
from rltf.engines.torch.sampler import _Decoder
from rltf.types import SamplingParams


@dataclass(frozen=True, slots=True)
class Job:
    """Groups and their siblings, and tokens of the question, an attempt, and what follows it in the next prompt."""

    model: str
    groups: int
    siblings: int
    question: int
    attempt: int
    rest: int


JOBS = (
    Job("builtin", 16, 8, 20, 23, 9),
    Job("builtin", 16, 8, 100, 32, 9),
    Job("smollm2", 8, 4, 25, 24, 43),
    Job("smollm2", 8, 4, 162, 24, 43),
)


def seconds_of(work: Callable[[], object], repeats: int) -> float:
    """The median of some runs after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def attention_share(engine: Joined, job: Job) -> float:
    """The part of decoding that attention over the prompts' columns takes."""
    shares: list[float] = []
    run = _Decoder.run

    def profiled(self: Any) -> None:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            run(self)
        events = profiler.key_averages()
        whole = sum(event.self_cpu_time_total for event in events)
        shares.append(sum(e.self_cpu_time_total for e in events if "_attention_" in e.key) / whole)

    engine.renderer.stop_tokens = ()
    rng = np.random.default_rng(0)
    prompts = [tuple(int(t) for t in rng.integers(20, 120, size=job.question)) for _ in range(job.groups)]
    _Decoder.run = profiled  # type: ignore[method-assign]
    try:
        engine.generate(prompts, job.siblings, SamplingParams(max_tokens=job.attempt), range(job.groups))
    finally:
        _Decoder.run = run  # type: ignore[method-assign]
    return statistics.mean(shares) * job.question / (job.question + job.attempt / 2)


@torch.inference_mode()
def one_layer(config: Any, job: Job) -> tuple[float, float]:
    """Milliseconds of attention for one token of all rows: over all columns, and in two parts."""
    attend = torch.nn.functional.scaled_dot_product_attention
    heads, grouped = config.num_attention_heads, config.num_key_value_heads
    size, rows, own = config.hidden_size // heads, job.groups * job.siblings, job.attempt // 2
    each = heads // grouped
    query, key = torch.randn(rows, grouped, each, size), torch.randn(rows, grouped, job.question + own, size)
    mask = torch.ones(rows, 1, 1, key.shape[2], dtype=torch.bool)
    together = torch.randn(job.groups, grouped, job.siblings * each, size)
    prompt, last = key[:: job.siblings, :, : job.question], key[:, :, job.question :]

    def parts() -> None:
        attend(together, prompt, prompt)
        attend(query, last, last)

    whole = seconds_of(lambda: attend(query, key, key, attn_mask=mask), 50)
    return 1e3 * whole, 1e3 * seconds_of(parts, 50)


@torch.inference_mode()
def second_turn(model: Any, job: Job) -> tuple[float, float]:
    """Seconds to read the second prompts of all rows: as it is done, and from the first turn's caches."""
    rows = job.groups * job.siblings
    ids = torch.randint(20, 120, (rows, job.question + job.attempt + job.rest))

    def read(past: Any, tokens: Any) -> None:
        model(input_ids=tokens, past_key_values=past, use_cache=True, logits_to_keep=1)

    def as_it_is() -> None:
        past = prefix_cache()
        read(past, ids[:: job.siblings, : job.question])
        past.batch_repeat_interleave(job.siblings)
        read(past, ids[:, job.question :])

    first = prefix_cache()
    read(first, ids[:, : -job.rest])
    kept = [[(layer.keys[i].clone(), layer.values[i].clone()) for i in range(rows)] for layer in first.layers]

    def going_on() -> None:
        past = prefix_cache()
        for i, states in enumerate(kept):
            past.update(torch.stack([k for k, _ in states]), torch.stack([v for _, v in states]), i)
        read(past, ids[:, -job.rest :])

    return seconds_of(as_it_is, 5), seconds_of(going_on, 5)


def main() -> None:
    """Prints a line for each job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=["builtin", "smollm2"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for job in JOBS:
        if job.model not in arguments.models:
            continue
        config = TorchEngineConfig(model=job.model, device="cpu", dtype="float32")
        engine = torch_engine(config, TrainerConfig(), 1.0)
        model: Any = engine.learner.weights().model
        whole, parts = one_layer(model.config, job)
        now, then = second_turn(model, job)
        print(
            f"{job.model}, question {job.question}, attempt {job.attempt}: attention over the prompt "
            f"{attention_share(engine, job):.0%} of decoding; one layer {whole:.2f} ms, in two parts {parts:.2f} ms; "
            f"second turn {now:.3f} s, from the caches {then:.3f} s",
            flush=True,
        )
        engine.close()


if __name__ == "__main__":
    main()
