"""One run, read from its directory into what its page shows; a run that is under way is read on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from rltf.config import RunConfig
from rltf.config.flat import flat_settings, not_default
from rltf.config.load import config_from_json
from rltf.report.findings import findings
from rltf.report.groups import Group, grouped
from rltf.report.reading import Follower
from rltf.report.shown import Shown, clipped, shown_messages, shown_rollout
from rltf.report.tally import Tally
from rltf.rollouts.monitors import alarms
from rltf.rollouts.records import EvaluationRecord, GroupSamples, RolloutRecord, Summary
from rltf.runs.directory import RunDir
from rltf.runs.summary import method_of

POINTS = 300
"""Most points of a curve; of longer runs, several steps make one."""
HEALTH = {
    "policy/entropy": "entropy of the policy, nats per token",
    "length/first_turn": "tokens of a first attempt",
    "policy/sampler_gap": "gap between sampler and trainer, nats",
    "group/without_signal": "share of groups that trained nothing",
    "rollout/malformed": "share of attempts without a readable answer",
    "optim/grad_norm": "norm of the gradient",
    "optim/learning_rate": "learning rate",
    "reward/first_turn": "mean reward of first attempts",
    "policy/kl_to_initial": "divergence from the policy before training, nats per token",
    "feedback/failed": "failed feedback per step",
    "feedback/uninformative": "share of feedback that says no more than right or wrong",
    "feedback/leaked": "share of first attempts that repeat feedback",
}
"""Metrics whose course says whether a run is well, and what each is."""


class Digest:
    """What a page needs of one run. `advance` reads what was written since; `data` gives it as plain values."""

    def __init__(self, run: RunDir, *, size: int) -> None:
        """`size`: bytes that the rollouts on the page may take."""
        run.given()  # Refuses a later format.
        self.run, self._size = run, size
        self._config_text = run.config_text()
        self.config: RunConfig = config_from_json(self._config_text, str(run.path / "config.json"))
        steps = self.config.trainer.steps
        recorded = run.has("samples.jsonl")
        self._tally = Tally(steps, logged=self.config.log.path is not None)
        self._shown = Shown(seed=self.config.seed, steps=steps, size=size, recorded=recorded)
        self._rollouts = Follower(run.path / "rollouts.jsonl", RolloutRecord.from_json)
        self._samples = Follower(run.path / "samples.jsonl", GroupSamples.from_json)
        self.metrics: list[dict[str, float]] = []
        self._evaluations: list[EvaluationRecord] = []

    def same_run(self) -> bool:
        """Whether the settings are still those that were read; a run may have been made longer."""
        return self.run.config_text() == self._config_text

    def advance(self) -> bool:
        """Reads on, up to the last step that is complete; says whether anything is new. Raises `Shrunk`."""
        metrics, evaluations = self.run.metrics(), self.run.evaluations()
        if (len(metrics), len(evaluations)) == (len(self.metrics), len(self._evaluations)):
            return False
        self.metrics, self._evaluations = metrics, evaluations
        done = int(metrics[-1]["step"]) if metrics else 0
        for group in _with_samples(grouped(self._rollouts.until(done)), self._samples.until(done)):
            self._tally.add(group)
            self._shown.add(group)
        return True

    def data(self) -> dict[str, Any]:
        """The page's part about this run; `README` of the page's script says what each value is."""
        summary = self.run.summary()
        groups = self._shown.groups()
        tally = self._tally.figures()
        done = int(self.metrics[-1]["step"]) if self.metrics else 0
        alarms = self._alarms()
        settings = flat_settings(self.config)
        return {
            "name": self.run.path.resolve().name,
            "path": str(self.run.path.resolve()),
            "method": method_of(self.config, self.run),
            "task": self.config.task.name,
            "model": self.config.engine.model,
            "seed": self.config.seed,
            "steps": self.config.trainer.steps,
            "done": done,
            "finished": summary is not None,
            "findings": findings(self.config, self.metrics, self._evaluations, self._tally, alarms, done),
            "axis": self._axis(),
            "health": self._health(),
            "alarms": alarms,
            "tally": tally,
            "evaluations": self._evaluation_points(),
            "examples": self._examples(),
            "cost": self._cost(summary),
            "settings": settings,
            "not_default": not_default(settings),
            "groups": groups,
            "rollouts_shown": sum(len(group["rollouts"]) for group in groups),
        }

    def _axis(self) -> dict[str, list[float]]:
        """For the end of each stretch: step, rollouts and tokens until then."""
        per_step = self.config.trainer.groups_per_batch * self.config.trainer.group_size
        tokens = np.cumsum([row["tokens/sampled"] for row in self.metrics]).tolist()
        ends = self._tally.ends()
        return {
            "step": [float(end) for end in ends],
            "rollouts": [float(end * per_step) for end in ends],
            "tokens": [float(tokens[min(end, len(tokens)) - 1]) if tokens else 0.0 for end in ends],
        }

    def _health(self) -> dict[str, Any]:
        """Curves of metrics, with a step for each point."""
        width = -(-max(1, len(self.metrics)) // POINTS)
        chunks = [self.metrics[i : i + width] for i in range(0, len(self.metrics), width)]
        curves = {}
        for name, meaning in HEALTH.items():
            means = [_mean([row[name] for row in chunk if name in row]) for chunk in chunks]
            # What never happened needs no curve.
            if any(value is not None and value != 0.0 for value in means):
                curves[name] = {"meaning": meaning, "values": means}
        return {"step": [chunk[-1]["step"] for chunk in chunks], "curves": curves}

    def _alarms(self) -> list[dict[str, Any]]:
        """First and last step and the reason of each stretch of steps with an alarm of one kind, in their order."""
        found: list[dict[str, Any]] = []
        open_now: dict[str, dict[str, Any]] = {}
        for number, row in enumerate(self.metrics, start=1):
            kinds = [name.removeprefix("alarm/") for name, value in row.items() if name.startswith("alarm/") and value]
            began = [kind for kind in kinds if kind not in open_now]
            reasons = alarms(self.metrics[:number], self.config.trainer.sampler_gap_tolerance) if began else {}
            for kind in began:
                open_now[kind] = {"step": int(row["step"]), "reason": reasons.get(kind, kind)}
                found.append(open_now[kind])
            open_now = {kind: open_now[kind] for kind in kinds}
            for stretch in open_now.values():
                stretch["until"] = int(row["step"])
        return found

    def _evaluation_points(self) -> list[dict[str, Any]]:
        per_step = self.config.trainer.groups_per_batch * self.config.trainer.group_size
        tokens = np.cumsum([0.0, *(row["tokens/sampled"] for row in self.metrics)]).tolist()
        return [
            {
                "step": record.step,
                "rollouts": record.step * per_step,
                "tokens": tokens[min(record.step, len(tokens) - 1)],
                "split": record.split,
                "problems": record.problems,
                "first": [record.first_turn, record.first_turn_interval],
                "later": [record.second_turn, record.second_turn_interval],
                "usefulness": record.usefulness,
                "by_task": {task: dict(figures) for task, figures in record.by_task.items()},
            }
            for record in self._evaluations
        ]

    def _examples(self) -> list[dict[str, Any]]:
        """The same test problems before, on the way and after."""
        found: dict[tuple[str, str, int], dict[str, Any]] = {}
        for record in self._evaluations:
            for example in record.examples:
                if not example.turns:
                    continue
                item = found.setdefault(
                    (record.split, example.task, example.problem),
                    {
                        "split": record.split,
                        "task": clipped(example.task),
                        "problem": example.problem,
                        "answer": clipped(example.answer),
                        "prompt": shown_messages(example.turns[0].prompt),
                        "visits": [],
                    },
                )
                item["visits"].append({"step": record.step, "rollout": shown_rollout(example)})
        return list(found.values())

    def _cost(self, summary: Summary | None) -> dict[str, Any]:
        timings = self.run.timings()
        phases: dict[str, float] = {}
        for timing in timings:
            for phase, seconds in timing.phases.items():
                phases[phase] = phases.get(phase, 0.0) + seconds
        return {
            "seconds": round(sum(timing.seconds for timing in timings), 1),
            "phases": {name: round(seconds, 1) for name, seconds in phases.items()},
            "tokens": int(sum(row["tokens/sampled"] for row in self.metrics)),
            "asked": int(sum(row["feedback/asked"] for row in self.metrics)),
            "failed": int(sum(row["feedback/failed"] for row in self.metrics)),
            "replaced": int(sum(row.get("feedback/replaced", 0.0) for row in self.metrics)),
            "summary": None if summary is None else asdict(summary),
        }


def _with_samples(groups: Iterator[Group], samples: Iterator[GroupSamples]) -> Iterator[Group]:
    """Groups with their recorded samples; both come in the order of the run."""
    waiting = next(samples, None)
    for group in groups:
        while waiting is not None and (waiting.step, waiting.group) < (group.step, group.number):
            waiting = next(samples, None)
        if waiting is not None and (waiting.step, waiting.group) == (group.step, group.number):
            group.samples = waiting
            waiting = next(samples, None)
        yield group
    for _ in samples:  # Whatever is left is read, so that the next reading begins behind it.
        pass


def _mean(values: Sequence[float]) -> float | None:
    return float(f"{np.mean(values):.4g}") if values else None
