"""The outcome of a run, put together from what stands in its directory."""

from __future__ import annotations

from dataclasses import fields

from rltf.config import RunConfig
from rltf.rollouts.records import Accuracies, BestRecord, EvaluationRecord, Summary
from rltf.runs.directory import RunDir


def summarize(
    config: RunConfig, task: str, run_dir: RunDir, before: EvaluationRecord, after: EvaluationRecord
) -> Summary:
    """What the run cost and changed. `task` is the task's name."""
    metrics = run_dir.metrics()
    trainer = config.trainer
    return Summary(
        task=task,
        method=method_of(config, run_dir),
        seed=config.seed,
        steps=trainer.steps,
        rollouts=trainer.steps * trainer.groups_per_batch * trainer.group_size,
        tokens=int(sum(row["tokens/sampled"] for row in metrics)),
        feedback_calls=int(sum(row["feedback/asked"] for row in metrics)),
        seconds=round(sum(timing.seconds for timing in run_dir.timings()), 1),
        test_problems=after.problems,
        alarms=sum(any(value for name, value in row.items() if name.startswith("alarm/")) for row in metrics),
        best=_best(run_dir) if config.evaluation.keep_best else None,
        before=_accuracies(before),
        after=_accuracies(after),
    )


def method_of(config: RunConfig, run_dir: RunDir) -> str:
    """What a run's method is called, also where it was handed in from Python."""
    return run_dir.given().get("objective", config.method)


def _accuracies(record: EvaluationRecord) -> Accuracies:
    return Accuracies(**{each.name: getattr(record, each.name) for each in fields(Accuracies)})


def _best(run_dir: RunDir) -> BestRecord | None:
    """The first of those evaluations on the way that were best; None without any."""
    records = [record for record in run_dir.evaluations() if record.split == "validation"]
    if not records:
        return None
    best = max(records, key=lambda record: (record.first_turn, -record.step))
    return BestRecord(step=best.step, validation_first_turn=best.first_turn)
