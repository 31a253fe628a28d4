"""Directories of runs that nobody trained, for tests of what reads them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from helpers import make_evaluation

from rltf.config.load import config_to_json, load_config
from rltf.rollouts.records import (
    FeedbackRecord,
    GroupSamples,
    MessageRecord,
    RolloutRecord,
    SampleRecord,
    ScoreRecord,
    TurnRecord,
    WeightRecord,
)


def score(reward: float, explanation: str = "", *, well_formed: bool = True) -> ScoreRecord:
    said = explanation or ("Every cell is right." if reward == 1 else "3 of 16 cells are wrong.")
    return ScoreRecord(reward=reward, correct=reward == 1, well_formed=well_formed, answer=None, explanation=said)


def attempt(
    text: str,
    reward: float,
    *,
    prompt: str = "What is 1 + 1?",
    feedback: FeedbackRecord | str | None = None,
    weights: dict[str, float] | None = None,
    tokens: int = 3,
    well_formed: bool = True,
    explanation: str = "",
) -> TurnRecord:
    given = FeedbackRecord(source="rules:located", text=feedback) if isinstance(feedback, str) else feedback
    return TurnRecord(
        prompt=[MessageRecord(role="user", content=prompt)],
        text=text,
        status="stop",
        score=score(reward, explanation, well_formed=well_formed),
        feedback=given,
        prompt_tokens=len(prompt),
        completion_tokens=tokens,
        logprob=-1.5,
        weights={name: WeightRecord(weight=weight, masked_tokens=0) for name, weight in (weights or {}).items()},
        version=0,
    )


def rollout(
    step: int, group: int | None, index: int, *turns: TurnRecord, problem: int = 0, task: str = "toy", answer: str = "2"
) -> RolloutRecord:
    return RolloutRecord(
        task=task,
        split="train",
        problem=problem,
        status="solved" if turns[-1].score.correct else "horizon",
        turns=turns,
        answer=answer,
        step=step,
        group=group,
        rollout=index,
    )


def sample(
    rollout: int, turn: int, component: str = "policy", tokens: Sequence[str] = ("The", " answer", "\n2")
) -> SampleRecord:
    length = len(tokens)
    return SampleRecord(
        component=component,
        loss="importance_sampling",
        rollout=rollout,
        turn=turn,
        value=1.0,
        baseline=0.25,
        tokens=tokens,
        weights=[0.75] * (length - 1) + [0.0],
        plain=[-1.0 - i for i in range(length)],
        feedback=[-0.5] * length,
        own=None,
    )


def metrics(step: int, **figures: float) -> dict[str, float]:
    named = {name.replace("__", "/"): value for name, value in figures.items()}
    return {
        "step": step,
        "accuracy/first_turn": 0.5,
        "rollout/malformed": 0.0,
        "tokens/sampled": 100.0,
        "feedback/asked": 2.0,
        "feedback/failed": 0.0,
        "group/without_signal": 0.0,
        "policy/entropy": 1.0,
        "alarm/collapse": 0.0,
        **named,
    }


def append(path: Path, rows: Iterable[Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row if isinstance(row, dict) else row.to_json()) + "\n")


def make_run(path: Path, steps: int = 10, settings: Sequence[str] = ()) -> Path:
    """A directory with settings and nothing else."""
    path.mkdir(parents=True)
    config = load_config(
        [], [f"trainer.steps={steps}", "trainer.groups_per_batch=2", "trainer.group_size=4", *settings]
    )
    (path / "config.json").write_text(config_to_json(config))
    (path / "run.json").write_text('{"format": 2, "given": {}}')
    return path


def fill_run(
    path: Path,
    steps: int = 10,
    *,
    text: Callable[[str], str] = lambda text: text,
    seed: int = 0,
    until: int | None = None,
) -> Path:
    """Writes the records of a run that learns: two groups of four a step. `text` makes what model and judge wrote."""
    rng = random.Random(seed)
    for step in range(1, (until or steps) + 1):
        records, kept = [], []
        for group in range(2):
            problem = rng.randrange(6)
            question = f"What is {problem} + {problem}?"
            for index in range(4):
                right = rng.random() < step / steps
                said = text(f"It is {2 * problem}." if right else f"It is {2 * problem + 1 + rng.randrange(3)}.")
                turns = [
                    attempt(
                        said,
                        float(right),
                        prompt=question,
                        feedback=None if right else text("Too large."),
                        weights={"policy": 0.25},
                    )
                ]
                if not right:
                    fixed = rng.random() < 0.6
                    again = text(f"It is {2 * problem}." if fixed else said)
                    turns.append(
                        attempt(again, float(fixed), prompt="Too large.", weights={"policy": -0.5, "distillation": 1.0})
                    )
                records.append(rollout(step, group, index, *turns, problem=problem, answer=str(2 * problem)))
            if group == 0:
                tokens = [text("The"), text(" answer"), "\n2"]
                samples = [
                    sample(r.rollout or 0, turn, component, tokens)
                    for r in records
                    for turn, component in (
                        (0, "policy"),
                        *([(1, "policy"), (1, "distillation")] if len(r.turns) > 1 else []),
                    )
                ]
                kept.append(GroupSamples(step=step, group=0, task="toy", problem=problem, samples=samples))
        append(path / "rollouts.jsonl", records)
        append(path / "samples.jsonl", kept)
        append(
            path / "metrics.jsonl", [metrics(step, accuracy__first_turn=step / steps, policy__entropy=2 - step / steps)]
        )
    for step, first in ((0, 0.1), (until or steps, 0.9)):
        record = make_evaluation(step, "test", first, 0.5)
        append(path / "evaluations.jsonl", [record])
    return path
