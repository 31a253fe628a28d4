"""The share of an update that is matrix products at the machine's rate, and what takes the rest, on the CPU.

    OMP_NUM_THREADS=2 python benchmarks/update.py --json benchmarks/update.json     # two minutes on two cores

An update here is loss and gradients of 32 attempts of 24 tokens by SmolLM2 with all its weights trained, without the
optimiser's step. Its products are counted by torch's own counter and divided by its seconds and by the rate at which
the machine multiplies two large matrices of the same format, measured beside each update, the best of all.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from statistics import median
from typing import Any

from memory import GRPO, samples
from turns import in_own_process

from rltf.config.engines import on_this_machine
from rltf.config.load import load_config
from rltf.runs.provenance import environment

UPDATES = 3


def measure(model: str, dtype: str, tokens_at_once: int | None) -> dict[str, Any]:
    """One number format, in this process."""
    from torch.profiler import ProfilerActivity, profile
    from torch.utils.flop_counter import FlopCounterMode

    from rltf.engines.torch.arithmetic import measured
    from rltf.engines.torch.engine import torch_engine

    settings = [
        f"engine.model={model}",
        f"engine.dtype={dtype}",
        "engine.device=cpu",
        "rollout.max_new_tokens=24",
        *GRPO,
    ]
    if tokens_at_once is not None:
        settings.append(f"engine.micro_batch_tokens={tokens_at_once}")
    config = load_config([], settings)
    engine = torch_engine(on_this_machine(config.engine), config.trainer, config.rollout.temperature)
    batch = samples(engine, config)

    def update() -> float:
        start = time.perf_counter()
        engine.forward_backward(batch, float(len(batch)))
        return time.perf_counter() - start

    update()  # The first finds the size of its micro-batches.
    rates, seconds = [], []
    for _ in range(UPDATES):
        measured.cache_clear()
        rates.append(getattr(measured("cpu"), dtype))
        seconds.append(update())
    with FlopCounterMode(display=False) as counter:
        update()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        update()
    own = {event.key: event.self_cpu_time_total for event in profiler.key_averages() if event.key.startswith("aten::")}
    largest = sorted(own.items(), key=lambda item: -item[1])[:12]
    flop = counter.get_total_flops()
    return {
        "seconds": seconds,
        "gflop": flop / 1e9,
        "machine_gflop_per_second": max(rates) / 1e9,
        "share": flop / median(seconds) / max(rates),
        "operators": {name.removeprefix("aten::"): round(spent / sum(own.values()), 4) for name, spent in largest},
    }


def main() -> None:
    """Both formats, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2", help="`smollm2`, a directory, or a hub name")
    parser.add_argument("--tokens-at-once", type=int, help="engine.micro_batch_tokens (default: found by rltf)")
    parser.add_argument("--json", type=Path, help="file for all figures")
    options = parser.parse_args()
    os.environ.update(TRANSFORMERS_VERBOSITY="error", KINETO_LOG_LEVEL="5")
    formats = ("float32", "bfloat16")
    found = {name: in_own_process(measure, options.model, name, options.tokens_at_once) for name in formats}
    print("| | seconds | GFLOP | the machine's GFLOP/s | share | most of the time, in operators |")
    print("|---|---|---|---|---|---|")
    for name, case in found.items():
        operators = ", ".join(f"{operator} {part:.0%}" for operator, part in list(case["operators"].items())[:6])
        print(
            f"| {name} | {median(case['seconds']):.2f} | {case['gflop']:,.0f} | "
            f"{case['machine_gflop_per_second']:,.0f} | {case['share']:.0%} | {operators} |"
        )
    if options.json is not None:
        threads = os.environ.get("OMP_NUM_THREADS", "all")
        result = {"environment": environment() | {"threads": threads}, "model": options.model, "formats": found}
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
