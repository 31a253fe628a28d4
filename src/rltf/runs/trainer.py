"""The training loop. It does not know which method, task, source of feedback or engine runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from rltf.config import RunConfig, TrainerConfig
from rltf.engines.base import Engine
from rltf.objectives import Answers, Objective
from rltf.rollouts.episodes import Episodes
from rltf.rollouts.evaluate import EvaluationStopped
from rltf.rollouts.metrics import figure_metrics, rollout_metrics, sample_metrics
from rltf.rollouts.monitors import alarms, leaked_share, uninformative_share
from rltf.rollouts.recording import rollout_records
from rltf.rollouts.records import Summary
from rltf.rollouts.samples import SampleRecorder
from rltf.runs.clock import Clock
from rltf.runs.directory import RunDir
from rltf.runs.evaluations import Evaluations
from rltf.runs.observers import Observer
from rltf.runs.summary import summarize
from rltf.support.errors import EngineLost, RunStopped
from rltf.types import RolloutGroup, TrainingSample


class Interrupted(Exception):
    """The user, or a source of feedback, asked to stop; everything up to `step` is saved."""

    def __init__(self, step: int, reason: str | None = None) -> None:
        super().__init__(f"stopped after step {step}")
        self.step, self.reason = step, reason


@dataclass(slots=True, kw_only=True)
class Trainer:
    """One run, from its first step or from its newest checkpoint."""

    config: RunConfig
    task: str
    """The task's name."""
    by_task: bool
    """Whether figures are given for each task of a mixture too."""
    run_dir: RunDir
    engine: Engine
    episodes: Episodes
    objective: Objective
    recorder: SampleRecorder
    evaluations: Evaluations
    observer: Observer
    stop_requested: Callable[[], bool]
    _history: list[dict[str, float]] = field(default_factory=list, init=False)
    _alarms: set[str] = field(default_factory=set, init=False)
    """Kinds of alarm that the newest step gave."""

    def run(self) -> Summary:
        """Trains to the end and returns the summary.

        Raises:
            Interrupted: once a requested stop is saved.
            EngineLost: with the advice to resume the run.
        """
        try:
            return self._run()
        except EngineLost as lost:
            advice = "once that is mended, resume the run, which goes on from its newest checkpoint"
            raise EngineLost(f"{lost}; {advice}") from lost

    def _run(self) -> Summary:
        start = done = self._restore()
        steps = self.config.trainer.steps
        try:
            self.observer.begin(start, steps)
            before = self.evaluations.once(0, "test", self.observer)
            self.evaluations.due(start, self.observer, self._save)
            for step in range(start + 1, steps + 1):
                self._step(step)
                done = step
                stopping = self.stop_requested()
                due = self.config.trainer.save_every and step % self.config.trainer.save_every == 0
                if due or stopping or step == steps:
                    self._save(step)
                if stopping:
                    raise Interrupted(step)
                self.evaluations.due(step, self.observer, self._save)
            after = self.evaluations.once(done, "test", self.observer)
        except (EvaluationStopped, RunStopped) as stopped:
            # Attempts are scored and feedback is asked for before a step changes the policy.
            if done:
                self._save(done)
            raise Interrupted(done, str(stopped) if isinstance(stopped, RunStopped) else None) from None
        self.observer.phase("exporting the model")
        with self.run_dir.new_model("model") as path:
            self.engine.export(path)
        return summarize(self.config, self.task, self.run_dir, before, after)

    def _save(self, step: int) -> None:
        """Makes a checkpoint of `step`, unless there is one."""
        if step in dict(self.run_dir.checkpoints()):
            return
        with self.run_dir.new_checkpoint(step, self.config.trainer.keep_checkpoints) as path:
            self.engine.save(path)

    def _restore(self) -> int:
        """Loads the newest checkpoint, if any, and removes what was written after it; returns its step."""
        checkpoints = self.run_dir.checkpoints()
        step = checkpoints[-1][0] if checkpoints else 0
        if checkpoints:
            self.engine.load(checkpoints[-1][1])
        for name in ("metrics.jsonl", "timings.jsonl", "rollouts.jsonl", "samples.jsonl", "evaluations.jsonl"):
            self.run_dir.cut_after(name, step)
        self._history = self.run_dir.metrics()
        return step

    def _step(self, step: int) -> None:
        config = self.config.trainer
        clock = Clock()
        groups = self.episodes.groups(step)
        clock.lap("rollout")
        answers = self._answers(groups)
        progress = (step - 1) / max(1, config.steps - 1)
        samples = [self._fitting(self.objective.samples(group, progress, answers)) for group in groups]
        clock.lap("score")
        metrics = rollout_metrics(groups, by_task=self.by_task)
        metrics["feedback/leaked"] = leaked_share(groups)
        metrics["feedback/uninformative"] = uninformative_share(groups)
        metrics |= figure_metrics([self.objective.figures(group, answers) for group in groups])
        metrics |= sample_metrics([fitting for fitting, _ in samples])
        metrics["samples/too_long"] = float(sum(too_long for _, too_long in samples))
        recorded = self.recorder.records(step, groups, [fitting for fitting, _ in samples], answers)
        clock.lap("record")
        metrics |= self._update(step, [fitting for fitting, _ in samples])
        metrics["policy/version"] = float(self.engine.version)
        clock.lap("update")
        timing = clock.timing(step, metrics["tokens/sampled"])
        records = rollout_records(step, groups, [fitting for fitting, _ in samples])
        self.run_dir.append("rollouts.jsonl", (record.to_json() for record in records))
        if recorded:
            self.run_dir.append("samples.jsonl", (record.to_json() for record in recorded))
        self.run_dir.append("timings.jsonl", [timing.to_json()])
        self._history.append(metrics)
        reasons = alarms(self._history, config.sampler_gap_tolerance)
        metrics["alarm/collapse"] = 0.0
        metrics |= {f"alarm/{kind}": 1.0 for kind in reasons}
        self.run_dir.append("metrics.jsonl", [{"step": step, **metrics}])
        self.observer.step(step, metrics, timing)
        for kind, reason in reasons.items():
            if kind not in self._alarms:
                self.observer.alarm(step, reason)
        self._alarms = set(reasons)

    def _fitting(self, samples: Sequence[TrainingSample]) -> tuple[list[TrainingSample], int]:
        """The samples that the model's context holds, and how many it does not."""
        limit = self.engine.max_tokens
        fitting = [s for s in samples if len(s.prompt_tokens) + len(s.completion_tokens) <= limit]
        return fitting, len(samples) - len(fitting)

    def _update(self, step: int, samples: Sequence[Sequence[TrainingSample]]) -> dict[str, float]:
        """One optimiser step per minibatch of groups; metrics are means over the minibatches that had samples.

        `policy/sampler_gap` is that of the first, which is scored by the very policy that sampled.
        """
        config = self.config.trainer
        rows: list[dict[str, float]] = []
        for part in range(config.minibatches):
            groups = samples[part :: config.minibatches]
            minibatch = [sample for group in groups for sample in group]
            if not minibatch:
                continue
            rollouts = len(groups) * config.group_size
            row = dict(self.engine.forward_backward(minibatch, float(rollouts)))
            if rows:
                # By now the policy has moved away from the one that sampled, and is meant to.
                row.pop("policy/sampler_gap", None)
            row |= self.engine.optim_step(learning_rate(config, step))
            rows.append(row)
        names = sorted({name for row in rows for name in row})
        return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}

    def _answers(self, groups: Sequence[RolloutGroup]) -> Answers:
        """The log-probabilities that the objective asks for."""
        queries = list(dict.fromkeys(query for group in groups for query in self.objective.queries(group)))
        limit = self.engine.max_tokens
        fitting = [q for q in queries if len(q.prompt_tokens) + len(q.completion_tokens) <= limit]
        return dict(zip(fitting, self.engine.answer(fitting), strict=True))


def learning_rate(config: TrainerConfig, step: int) -> float:
    """The learning rate of step 1, 2, ...: linear warm-up, then constant or down to 0 after the last step."""
    warmup_steps = config.warmup_steps
    assert warmup_steps is not None
    warm = min(1.0, step / warmup_steps) if warmup_steps else 1.0
    progress = max(0, step - 1 - warmup_steps) / max(1, config.steps - warmup_steps)
    decay = {"constant": 1.0, "linear": 1.0 - progress, "cosine": 0.5 * (1.0 + math.cos(math.pi * progress))}
    return config.learning_rate * warm * decay[config.schedule]
