"""The README's table: methods x seeds at the same number of rollouts, one `rltf train` after another.

    python benchmarks/methods.py [--methods rltf_sd grpo] [--seeds 0 1 2] [--runs runs/methods] [section.field=value]...

Finished runs are kept, interrupted ones go on. All settings are the defaults but for `objective.name`, `seed` and those
given.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

METHODS = ("rltf_sd", "grpo", "grpo_multi", "rejection_sampling", "rltf_fm", "rltf_sd_fm")


def summary(run: Path, method: str, seed: int, settings: list[str]) -> dict[str, Any]:
    """Makes the run, or goes on with it, unless it is finished."""
    finished = run / "summary.json"
    if not finished.is_file():
        arguments = [f"objective.name={method}", f"seed={seed}", *settings, "--run-dir", str(run)]
        if (run / "config.json").is_file():
            arguments = ["--resume", str(run)]
        subprocess.run([sys.executable, "-m", "rltf", "train", *arguments], check=True)
    loaded: dict[str, Any] = json.loads(finished.read_text())
    return loaded


def shares(values: list[float | None]) -> str:
    """Each seed's share in per cent, and their mean."""
    known = [100 * value for value in values if value is not None]
    return f"{np.mean(known):.1f} ({', '.join(f'{value:.1f}' for value in known)})" if known else "-"


def main() -> None:
    """Runs what is missing and prints the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/methods"))
    parser.add_argument("settings", nargs="*")
    options = parser.parse_args()
    rows = []
    for method in options.methods:
        done = [summary(options.runs / f"{method}-{s}", method, s, options.settings) for s in options.seeds]
        first = shares([run["after"]["single_turn"] for run in done])
        second = shares([run["after"]["second_turn"] for run in done])
        seconds = f"{np.mean([run['seconds'] for run in done]):.0f}"
        rows.append(f"| `{method}` | {first} | {second} | {done[0]['rollouts']:,} | {seconds} |")
        base = shares([done[0]["before"]["single_turn"]]), shares([done[0]["before"]["second_turn"]])
    print("| method | single-turn, % (seeds) | second-turn, % (seeds) | rollouts | seconds |\n|---|---|---|---|---|")
    print(f"| before training | {base[0]} | {base[1]} | 0 | |")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
