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

from rltf.comparisons.comparison import spread
from rltf.comparisons.report import percent_points

NAMES = {"self": "own feedback", "rules": "the task's feedback"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", type=Path)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--samples", type=int, default=2)
    arguments = parser.parse_args()
    runs: dict[str, dict[str, Path]] = {}
    for summary in sorted(arguments.comparison.glob("*-seed*/summary.json")):
        arm, _, seed = summary.parent.name.rpartition("-seed")
        runs.setdefault(arm, {})[seed] = summary.parent
    if not runs:
        parser.error(f"{arguments.comparison}: no finished run of a comparison there")
    if len({frozenset(seeds) for seeds in runs.values()}) > 1:
        parser.error(f"{arguments.comparison}: its arms have different seeds; finish the comparison first")
    found: dict[str, dict[str, Any]] = {}
    for arm, seeds in runs.items():
        for seed, run in seeds.items():
            print(f"{arm}, seed {seed}", file=sys.stderr)
            found.setdefault(arm, {})[seed] = refine(run, arguments.rounds, arguments.samples)
    text = table(found, arguments.rounds, arguments.samples)
    (arguments.comparison / "refine.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    (arguments.comparison / "refine.md").write_text(text, encoding="utf-8")
    print(text)


def refine(run: Path, rounds: int, samples: int) -> dict[str, list[float | None]]:
    """By source of feedback, the accuracy at each round; None where no rollout came to it."""
    command = [sys.executable, "-P", "-m", "rltf", "refine", str(run), "--rounds", str(rounds), "-k", str(samples)]
    done = subprocess.run([*command, "--json"], check=True, stdout=subprocess.PIPE, text=True)
    records = json.loads(done.stdout)
    curves = {source: record["by_turn"] for source, record in records.items() if source not in ("task", "model")}
    return {source: curve + [None] * (rounds + 1 - len(curve)) for source, curve in curves.items()}


def table(found: dict[str, dict[str, Any]], rounds: int, samples: int) -> str:
    columns = [(arm, source) for arm, seeds in found.items() for source in next(iter(seeds.values()))]
    head = [f"`{arm}`, {NAMES.get(source, source)}" for arm, source in columns]
    lines = [f"| round | {' | '.join(head)} |", "|---" * (1 + len(columns)) + "|"]
    for number in range(rounds + 1):
        cells = []
        for arm, source in columns:
            values = [curves[source][number] for curves in found[arm].values()]
            cells.append("-" if None in values else percent_points(spread(values).record()))
        lines.append(f"| {number} | {' | '.join(cells)} |")
    count = len(next(iter(found.values())))
    lines += [
        "",
        f"Per cent of test problems, {samples} samples of each; mean over {count} seeds ± half its 95 % interval "
        f"(Student's t). Made by `rltf refine RUN --rounds {rounds} -k {samples}` on every run.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
