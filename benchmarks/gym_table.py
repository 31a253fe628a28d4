"""Validates every dataset of reasoning-gym and writes the table of docs/reasoning_gym.md.

python benchmarks/gym_table.py [--problems 10] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import re
import time
from importlib import metadata
from pathlib import Path

from rltf.config.load import validate_config
from rltf.runs.build import build_task
from rltf.support.errors import UserError
from rltf.tasks.validate import validate

PAGE = Path(__file__).parent.parent / "docs" / "reasoning_gym.md"
START, END = "<!-- table: benchmarks/gym_table.py -->", "<!-- end of table -->"
SHORT = {
    "the gold answer scores 1": "gold",
    "a perturbed answer scores below 1": "wrong answers",
    "garbage scores 0 with an explanation and does not raise": "garbage",
    "no constant answer is right": "constants",
    "no feedback reveals the answer": "leaks",
    "no problem stands twice, within or across splits": "distinct",
}


def verdict(name: str, problems: int) -> tuple[str, str]:
    """Whether a dataset passes, and what fails."""
    sizes = {"train_size": problems, "validation_size": problems, "test_size": problems}
    config = validate_config({"task": {"name": f"reasoning_gym:{name}", **sizes}})
    try:
        checks = validate(build_task(config.task), problems)
    except UserError as error:
        return "refused", str(error)
    failed = [check for check in checks if not check.passed]
    for check in failed:
        print(
            "   ", check.name, len(check.failures), "of", check.checked, *check.failures[:2], sep="\n      ", flush=True
        )
    reasons = [f"{SHORT[check.name]}: {len(check.failures)} of {check.checked}" for check in failed]
    return "fails" if failed else "passes", "; ".join(reasons)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--problems", type=int, default=10)
    parser.add_argument("--only", nargs="*")
    chosen = parser.parse_args()
    from reasoning_gym.factory import DATASETS

    rows = []
    for name in chosen.only or sorted(DATASETS):
        started = time.monotonic()
        outcome, why = verdict(name, chosen.problems)
        seconds = time.monotonic() - started
        print(f"{name}: {outcome} ({seconds:.1f} s) {why}", flush=True)
        rows.append(f"| `{name}` | {outcome} | {' '.join(why.split())} | {seconds:.1f} |")
    if chosen.only:
        return
    passing = sum("| passes |" in row for row in rows)
    head = (
        f"reasoning-gym {metadata.version('reasoning-gym')}, {chosen.problems} problems of each split: "
        f"{passing} of {len(rows)} pass.\n\n| dataset | `rltf validate` | what fails | seconds |\n|---|---|---|---|\n"
    )
    page = PAGE.read_text(encoding="utf-8")
    table = f"{START}\n{head}" + "\n".join(rows) + f"\n{END}"
    PAGE.write_text(re.sub(f"{START}.*{END}", lambda _: table, page, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
