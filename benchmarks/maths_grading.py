"""What grading ordinary maths answers costs: this version against another, batch by batch in turn.

    git worktree add /tmp/before COMMIT
    python benchmarks/maths_grading.py /tmp/before/src [--pairs 10000]

Prints the seconds of both and their ratio. Each version has a process of its own and grades the same pairs, which no
version has seen before.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

_HERE = Path(__file__).parent.parent / "src"
_SERVER = """
import json, sys, time
from rltf.tasks.maths.verdicts import Verdicts
verdicts = Verdicts()
verdicts([(r"\\sqrt{12}", r"2\\sqrt{3}"), (r"\\sqrt{20}", r"2\\sqrt{5}")] * 2)
for line in sys.stdin:
    pairs = [tuple(pair) for pair in json.loads(line)]
    begun = time.perf_counter()
    found = verdicts(pairs)
    seconds = time.perf_counter() - begun
    print(json.dumps([seconds, sum(verdict == "equal" for verdict in found)]), flush=True)
"""


def ordinary_pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """Answers and gold ones as in competition sets: mostly whole numbers, half of the answers right."""
    random = Random(seed)
    makers = {_whole: 55, _fraction: 14, _decimal: 7, _root: 9, _circle: 4, _point: 4, _polynomial: 5, _words: 2}
    found: dict[tuple[str, str], None] = {}
    while len(found) < count:
        (maker,) = random.choices(list(makers), list(makers.values()))
        gold, same, other = maker(random)
        found[random.choice(same) if random.random() < 0.5 else other, gold] = None
    return list(found)


def _whole(random: Random) -> tuple[str, list[str], str]:
    n = random.randint(-500, 100_000)
    return (
        str(n),
        [str(n), f"{n:,}", f"x = {n}", f"{n}\\text{{ cm}}", f"\\${n}", f"{n}.0"],
        str(n + random.randint(1, 9)),
    )


def _fraction(random: Random) -> tuple[str, list[str], str]:
    a, b = random.randint(1, 300), random.randint(2, 300)
    return f"\\frac{{{a}}}{{{b}}}", [f"{a}/{b}", f"\\dfrac{{{a}}}{{{b}}}"], f"\\frac{{{a + 1}}}{{{b}}}"


def _decimal(random: Random) -> tuple[str, list[str], str]:
    n = random.randint(1, 99_999)
    return f"{n / 100:.2f}", [f"\\frac{{{n}}}{{100}}", f"{n / 100:.4f}"], f"{(n + 1) / 100:.2f}"


def _root(random: Random) -> tuple[str, list[str], str]:
    a, b, c = random.randint(2, 40), random.randint(2, 40), random.choice((2, 3, 5, 6, 7, 10, 11, 13))
    gold = f"{a} + {b}\\sqrt{{{c}}}"
    return gold, [f"{b}\\sqrt{{{c}}}+{a}", f"{a}+\\sqrt{{{b * b * c}}}"], f"{a} - {b}\\sqrt{{{c}}}"


def _circle(random: Random) -> tuple[str, list[str], str]:
    a, b = random.randint(2, 400), random.randint(2, 40)
    return f"\\frac{{{a}\\pi}}{{{b}}}", [f"\\frac{{{a}}}{{{b}}}\\pi", f"{a}\\pi/{b}"], f"\\frac{{{a + 1}\\pi}}{{{b}}}"


def _point(random: Random) -> tuple[str, list[str], str]:
    a, b = random.randint(-90, 90), random.randint(-90, 90)
    return f"({a}, {b})", [f"({a},{b})", f"\\left({a}, {b}\\right)", f"x={a}, y={b}"], f"({a}, {b + 1})"


def _polynomial(random: Random) -> tuple[str, list[str], str]:
    a, b, c = (random.randint(2, 60) for _ in range(3))
    return f"{a}x^2 + {b}x + {c}", [f"{c} + {b}x + {a}x^2", f"x({a}x+{b})+{c}"], f"{a}x^2 - {b}x + {c}"


def _words(random: Random) -> tuple[str, list[str], str]:
    word, other = random.sample(("even", "odd", "increasing", "decreasing", "Yes", "No", "A", "B", "C", "D"), 2)
    return f"\\text{{{word}}}", [word, f"\\textbf{{{word}}}"], f"\\text{{{other}}}"


def _start(source: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        env={**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _grade(process: subprocess.Popen[str], pairs: list[tuple[str, str]]) -> tuple[float, int]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(pairs) + "\n")
    process.stdin.flush()
    seconds, equal = json.loads(process.stdout.readline())
    return seconds, equal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="the src folder of another version")
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=250)
    chosen = parser.parse_args()
    pairs = ordinary_pairs(chosen.pairs, seed=0)
    versions = {"before": _start(chosen.before), "now": _start(_HERE)}
    seconds = dict.fromkeys(versions, 0.0)
    equal = dict.fromkeys(versions, 0)
    for start in range(0, len(pairs), chosen.batch):
        order = list(versions) if start // chosen.batch % 2 else list(reversed(versions))
        for name in order:
            took, right = _grade(versions[name], pairs[start : start + chosen.batch])
            seconds[name] += took
            equal[name] += right
    for process in versions.values():
        process.terminate()
    for name in versions:
        print(f"{name:7} {seconds[name]:7.2f} s for {len(pairs):,} pairs, {equal[name]:,} found equal")
    print(f"now / before = {seconds['now'] / seconds['before']:.2f}")


if __name__ == "__main__":
    main()
