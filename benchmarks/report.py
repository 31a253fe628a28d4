"""How long a report of many rollouts takes, and how much memory: `python benchmarks/report.py [ROLLOUTS]`.

Makes the directory of a run of Binary Matrix without training it: rollouts with two turns, feedback and weights, and
recorded samples, as a run writes them. Then `rltf report` reads it in a process of its own.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rltf.config import RunConfig
from rltf.config.load import config_to_json
from rltf.runs.build import build_task

GROUPS, SIBLINGS = 16, 8


def attempt(rng: random.Random, text: str, prompt: str, *, correct: bool, feedback: str | None) -> dict[str, Any]:
    wrong = rng.randint(1, 9)
    said = "Every cell is right." if correct else f"{wrong} of 16 cells are wrong."
    score = {"reward": float(correct), "correct": correct, "well_formed": True, "answer": text, "explanation": said}
    given = None if feedback is None else {"source": "rules:located", "text": feedback, "cause": None, "failure": None}
    weights = {"policy": {"weight": rng.uniform(-1, 1), "masked_tokens": 0}}
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "text": f"<answer>\n{text}\n</answer>",
        "status": "stop",
        "score": score,
        "feedback": given,
        "prompt_tokens": 24,
        "completion_tokens": 20,
        "logprob": -rng.random() * 8,
        "weights": weights,
        "thinking": None,
        "version": 0,
    }


def sample(rng: random.Random, rollout: int, turn: int) -> dict[str, Any]:
    def logprobs() -> list[float]:
        return [-round(rng.random(), 3) for _ in range(20)]

    return {
        "component": "policy",
        "loss": "importance_sampling",
        "rollout": rollout,
        "turn": turn,
        "value": 1.0,
        "baseline": 0.25,
        "tokens": [str(rng.randint(0, 9)) for _ in range(20)],
        "weights": [rng.uniform(-1, 1)] * 20,
        "plain": logprobs(),
        "feedback": logprobs(),
        "own": None,
    }


def make_run(path: Path, rollouts: int) -> None:
    steps = rollouts // (GROUPS * SIBLINGS)
    path.mkdir()
    config = RunConfig()
    config = config.model_copy(update={"trainer": config.trainer.model_copy(update={"steps": steps})})
    (path / "config.json").write_text(config_to_json(config))
    (path / "run.json").write_text('{"format": 2, "given": {}}')
    task, rng = build_task(config.task), random.Random(0)
    problems = [task.problem("train", index) for index in range(500)]
    with (
        (path / "rollouts.jsonl").open("w") as rows,
        (path / "samples.jsonl").open("w") as samples,
        (path / "metrics.jsonl").open("w") as metrics,
    ):
        for step in range(1, steps + 1):
            for group in range(GROUPS):
                problem = rng.choice(problems)
                for rollout in range(SIBLINGS):
                    right = rng.random() < step / steps
                    words = f"Row {rng.randint(1, 4)}, column {rng.randint(1, 4)} should be smaller."
                    turns = [
                        attempt(rng, problem.answer, problem.prompt, correct=right, feedback=None if right else words)
                    ]
                    if not right:
                        fixed = rng.random() < 0.7
                        turns.append(attempt(rng, problem.answer, words, correct=fixed, feedback=None))
                    row = {
                        "task": problem.task,
                        "split": "train",
                        "problem": problem.index,
                        "status": "solved" if turns[-1]["score"]["correct"] else "horizon",
                        "turns": turns,
                        "answer": problem.answer,
                        "step": step,
                        "group": group,
                        "rollout": rollout,
                    }
                    rows.write(json.dumps(row) + "\n")
                if group % 8 == 0:
                    kept = [sample(rng, rollout, turn) for rollout in range(SIBLINGS) for turn in (0, 1)]
                    about = {"step": step, "group": group, "task": problem.task, "problem": problem.index}
                    samples.write(json.dumps({**about, "samples": kept}) + "\n")
            row = {"step": step, "tokens/sampled": 2500.0, "feedback/asked": 60.0, "feedback/failed": 0.0}
            row |= {"rollout/malformed": 0.0, "accuracy/first_turn": step / steps, "policy/entropy": 1 - step / steps}
            metrics.write(json.dumps(row) + "\n")


def main() -> None:
    rollouts = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with tempfile.TemporaryDirectory() as folder:
        run, page = Path(folder) / "run", Path(folder) / "report.html"
        make_run(run, rollouts)
        size = sum(file.stat().st_size for file in run.iterdir()) / 1e6
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "rltf", "report", str(run), "--out", str(page)], check=True)
        seconds = time.perf_counter() - start
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
        outcome = {"rollouts": rollouts, "megabytes_read": round(size), "seconds": round(seconds, 1)}
        print(json.dumps(outcome | {"peak_megabytes": round(memory), "page_megabytes": page.stat().st_size / 1e6}))


if __name__ == "__main__":
    main()
