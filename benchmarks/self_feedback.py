"""Accuracy over rounds of revision on a model's own feedback, for every run of a comparison.

    python benchmarks/self_feedback.py runs/compare/self_feedback

Runs `rltf refine` on each run (test problems) and writes refine.json and refine.md into the comparison's directory: per
arm and round the mean over seeds and half its 95 % interval. Round 0 is the first attempt. Beside it, for comparison,
what revisions on the task's own feedback come to.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rltf.comparison import spread
from rltf.comparison_report import percent_points

SOURCES = {"self": "own feedback", "rules": "the task's feedback"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", type=Path)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--samples", type=int, default=2)
    arguments = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    for run in sorted(arguments.comparison.glob("*-seed*/summary.json")):
        arm, _, seed = run.parent.name.rpartition("-seed")
        print(f"{arm}, seed {seed}", file=sys.stderr)
        found.setdefault(arm, {})[seed] = refine(run.parent, arguments.rounds, arguments.samples)
    text = table(found, arguments.rounds)
    (arguments.comparison / "refine.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    (arguments.comparison / "refine.md").write_text(text, encoding="utf-8")
    print(text)


def refine(run: Path, rounds: int, samples: int) -> dict[str, list[float]]:
    """By source of feedback, the accuracy at each round."""
    command = [sys.executable, "-P", "-m", "rltf", "refine", str(run), "--rounds", str(rounds), "-k", str(samples)]
    done = subprocess.run([*command, "--json"], check=True, stdout=subprocess.PIPE, text=True)
    records = json.loads(done.stdout)
    return {source: records[source]["by_turn"] for source in SOURCES}


def table(found: dict[str, dict[str, Any]], rounds: int) -> str:
    columns = [(arm, source) for arm in found for source in SOURCES]
    head = [f"`{arm}`, {SOURCES[source]}" for arm, source in columns]
    lines = [f"| round | {' | '.join(head)} |", "|---" * (1 + len(columns)) + "|"]
    for number in range(rounds + 1):
        cells = [
            percent_points(spread([curves[source][number] for curves in found[arm].values()]).record())
            for arm, source in columns
        ]
        lines.append(f"| {number} | {' | '.join(cells)} |")
    seeds = max(len(curves) for curves in found.values())
    lines += ["", f"Per cent of test problems; mean over {seeds} seeds ± half its 95 % interval (Student's t)."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
