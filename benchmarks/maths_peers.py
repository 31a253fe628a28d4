"""The same maths answers through our grader and through those of other packages: who errs where, both ways.

    pip install -c constraints.txt -e ".[dev,peers]" && pip install --no-deps verl==0.9.1
    python benchmarks/maths_peers.py [--python OTHER/bin/python]

The pairs are those of `tests/data/wild/maths*.jsonl` and `tests/data/maths_pairs.tsv`, and near misses made from a seed
(`tests/near_misses.py`). Prints a table of Markdown: of each grader, the wrong answers that it pays and the right ones
that it refuses, by kind. A grader that is not installed is left out. verl is in no extra: it requires a transformers
below 5.11, and only its grader is read here. The others are handed an answer without its box
and a gold one without its solution, and have five seconds for each. Run it on no answers but these: some of them
evaluate what they read.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

from rltf.tasks.maths.boxed import last_answer
from rltf.tasks.maths.golds import normal_answer
from rltf.tasks.maths.verdicts import Verdicts

TESTS = Path(__file__).parent.parent / "tests"
sys.path.insert(0, str(TESTS))

from near_misses import near_misses  # noqa: E402

Case: TypeAlias = tuple[str, str, str, bool]
"""Kind, gold answer, answer, and whether it is right."""

_PEERS = {
    "math-verify": """
from math_verify import LatexExtractionConfig, parse, verify
config = [LatexExtractionConfig(boxed_match_priority=0)]
def grade(gold, answer):
    read = [parse("\\\\boxed{" + text + "}", extraction_config=config) for text in (gold, answer)]
    return verify(*read)
""",
    "mathruler": """
from mathruler.grader import grade_answer
def grade(gold, answer):
    return grade_answer(answer, gold)
""",
    "ai4math": """
from ai4math.verify import verify
def grade(gold, answer):
    return verify(gold, answer)
""",
    "verl": """
import importlib.util, pathlib
folder = pathlib.Path(importlib.util.find_spec("verl").origin).parent
spec = importlib.util.spec_from_file_location("reward", folder / "utils/reward_score/math_reward.py")
reward = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reward)
def grade(gold, answer):
    return reward.is_equiv(answer, gold)
""",
}
_SERVER = """
import json, logging, os, signal, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
logging.disable(logging.CRITICAL)
def late(*_):
    raise TimeoutError
for gold, answer in json.load(sys.stdin):
    signal.signal(signal.SIGALRM, late)
    signal.alarm(5)
    try:
        found = bool(grade(gold, answer))
    except BaseException:
        found = False
    signal.alarm(0)
    answers.write("1" if found else "0")
answers.flush()
"""


def cases(near: int) -> list[Case]:
    """All pairs with their right verdicts."""
    found: list[Case] = []
    for path in sorted((TESTS / "data" / "wild").glob("maths*.jsonl")):
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            answer = row["answer"] if "answer" in row else last_answer(row["attempt"]) or ""
            found.append((row["kind"], normal_answer(row["gold"]), answer, row["right"]))
    for line in (TESTS / "data" / "maths_pairs.tsv").read_text(encoding="utf-8").splitlines():
        gold, answer, right = line.split("\t")
        found.append(("table of ordinary answers", gold, answer, right == "right"))
    found += [(f"near misses: {each.change}", each.gold, each.answer, False) for each in near_misses(near, seed=0)]
    return found


def ours(pairs: list[tuple[str, str]]) -> list[bool]:
    """Our verdicts on pairs of a gold answer and an answer."""
    return [verdict == "equal" for verdict in Verdicts(seconds=30.0)([(answer, gold) for gold, answer in pairs])]


def theirs(python: str, peer: str, pairs: list[tuple[str, str]]) -> list[bool] | None:
    """A peer's verdicts; None, and a line that says why, where it gives none."""
    asked = subprocess.run(
        [python, "-c", _PEERS[peer] + _SERVER], input=json.dumps(pairs), capture_output=True, text=True, check=False
    )
    if len(asked.stdout) != len(pairs):
        print(f"{peer} is left out: {(asked.stderr.strip() or 'it ended early').splitlines()[-1]}", file=sys.stderr)
        return None
    return [found == "1" for found in asked.stdout]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="of an environment with the other packages")
    parser.add_argument("--near", type=int, default=2000, help="how many near misses are made")
    parser.add_argument("--show", metavar="PEER", help="print the pairs on which we err and this grader does not")
    chosen = parser.parse_args()
    those = cases(chosen.near)
    pairs = [(gold, answer) for _, gold, answer, _ in those]
    asked = {peer: theirs(chosen.python, peer, pairs) for peer in _PEERS}
    verdicts = {"rltf": ours(pairs)} | {peer: found for peer, found in asked.items() if found is not None}
    print("| kind | wrong, right | " + " | ".join(verdicts) + " |")
    print("|---|---|" + "---|" * len(verdicts))
    kinds = list(dict.fromkeys(kind for kind, *_ in those))
    for kind in (*kinds, ""):
        places = [i for i, case in enumerate(those) if case[0] == kind or not kind]
        wrong = [i for i in places if not those[i][3]]
        right = [i for i in places if those[i][3]]
        counts = [f"{sum(found[i] for i in wrong)}, {sum(not found[i] for i in right)}" for found in verdicts.values()]
        print(f"| {kind or 'all'} | {len(wrong)}, {len(right)} | " + " | ".join(counts) + " |")
    if chosen.show:
        for i, (kind, gold, answer, is_right) in enumerate(those):
            if verdicts["rltf"][i] != is_right and verdicts[chosen.show][i] == is_right:
                print(f"{kind}: {gold!r} {answer!r} is {'right' if is_right else 'wrong'}")


if __name__ == "__main__":
    main()
