"""The training loop. It does not know which method, task, source of feedback or engine runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from rltf.config import RunConfig, TrainerConfig
from rltf.engines.base import Engine
from rltf.rollouts.episodes import Episodes
from rltf.support.errors import RunStopped
from rltf.rollouts.evaluate import Evaluation, EvaluationStopped, evaluate
from rltf.feedback import ConstantSource
from rltf.feedback.scoring import Scorer
from rltf.rollouts.metrics import figure_metrics, rollout_metrics, rollout_record, rollout_records, sample_metrics
from rltf.rollouts.monitors import collapse, leaked_share, uninformative_share
from rltf.objectives import Answers, Context, Objective, build_objective
from rltf.rollouts.collector import RolloutCollector
from rltf.runs.directory import RunDir
from rltf.tasks.base import INCORRECT_FEEDBACK, Task
from rltf.tasks.mixture import parts_of
from rltf.text.prompts import Prompts
from rltf.types import RolloutGroup, Split, TrainingSample

EXAMPLES = 3
"""Problems of the test split whose first attempts are kept, before and after training."""


class Interrupted(Exception):
    """The user, or a source of feedback, asked to stop; everything up to `step` is saved."""

    def __init__(self, step: int, reason: str | None = None) -> None:
        super().__init__(f"stopped after step {step}")
        self.step, self.reason = step, reason


class Observer(Protocol):
    """Watches a run, e.g. to show its progress."""

    def phase(self, name: str) -> None:
        """A long piece of work begins outside the steps (an evaluation, an export)."""
        ...

    def step(self, step: int, metrics: dict[str, float], timing: dict[str, float]) -> None:
        """A step is done."""
        ...

    def evaluation(self, step: int, evaluation: Evaluation, usefulness: float | None) -> None:
        """An evaluation is done; step 0 is before training. `usefulness` None: not measured."""
        ...

    def alarm(self, step: int, reason: str) -> None:
        """The run seems to go wrong; told once for each reason in a row."""
        ...


@dataclass(slots=True, kw_only=True)
class Trainer:
    """One run, from its first step or from its newest checkpoint."""

    config: RunConfig
    run_dir: RunDir
    engine: Engine
    task: Task
    episodes: Episodes
    evaluation_collector: RolloutCollector
    second_opinion: Scorer | None
    """Another judge, which scores the first attempts of evaluations too."""
    observer: Observer
    stop_requested: Callable[[], bool]
    _objective: Objective = field(init=False)
    _history: list[dict[str, Any]] = field(default_factory=list, init=False)
    _alarm: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        context = Context(
            renderer=self.engine.renderer,
            prompts=Prompts(self.config.prompts),
            conversation=self.config.rollout.conversation,
            max_tokens=self.engine.max_tokens,
        )
        self._objective = build_objective(self.config.objective, context)

    def run(self) -> dict[str, Any]:
        """Trains to the end and returns the summary. Raises `Interrupted` once a requested stop is saved."""
        start = done = self._restore()
        try:
            before = self._evaluate_once(0, "test")
            self._evaluate_if_due(start)
            for step in range(start + 1, self.config.trainer.steps + 1):
                self._step(step)
                done = step
                stopping = self.stop_requested()
                due = self.config.trainer.save_every and step % self.config.trainer.save_every == 0
                if due or stopping or step == self.config.trainer.steps:
                    self._save(step)
                if stopping:
                    raise Interrupted(step)
                self._evaluate_if_due(step)
            after = self._evaluate_once(done, "test")
        except (EvaluationStopped, RunStopped) as stopped:
            # Attempts are scored and feedback is asked for before a step changes the policy.
            if done and done not in dict(self.run_dir.checkpoints()):
                self._save(done)
            raise Interrupted(done, str(stopped) if isinstance(stopped, RunStopped) else None) from None
        self.observer.phase("exporting the model")
        with self.run_dir.new_model("model") as path:
            self.engine.export(path)
        return self._summary(before, after)

    def _evaluate_if_due(self, step: int) -> None:
        """The evaluation on the way that belongs to a step, also where a resumed run has not made it yet."""
        every = self.config.evaluation.every
        if every and step and step % every == 0:
            self._evaluate_once(step, "validation")

    def _save(self, step: int) -> None:
        with self.run_dir.new_checkpoint(step, self.config.trainer.keep_checkpoints) as path:
            self.engine.save(path)

    def _restore(self) -> int:
        """Loads the newest checkpoint, if any, and removes what was written after it; returns its step."""
        checkpoints = self.run_dir.checkpoints()
        step = checkpoints[-1][0] if checkpoints else 0
        if checkpoints:
            self.engine.load(checkpoints[-1][1])
        for name in ("metrics.jsonl", "timings.jsonl", "rollouts.jsonl", "evaluations.jsonl"):
            self.run_dir.cut_after(name, step)
        self._history = self.run_dir.records("metrics.jsonl")
        return step

    def _step(self, step: int) -> None:
        config = self.config.trainer
        clock = _Clock()
        groups = self.episodes.groups(step)
        clock.lap("rollout")
        objective = self._objective
        answers = self._answers(groups)
        progress = (step - 1) / max(1, config.steps - 1)
        samples = [self._fitting(objective.samples(group, progress, answers)) for group in groups]
        clock.lap("score")
        metrics = rollout_metrics(groups, by_task=len(parts_of(self.task)) > 1)
        metrics["feedback/leaked"] = leaked_share(groups)
        metrics["feedback/uninformative"] = uninformative_share(groups)
        metrics |= figure_metrics([objective.figures(group, answers) for group in groups])
        metrics |= sample_metrics([fitting for fitting, _ in samples])
        metrics["samples/too_long"] = float(sum(too_long for _, too_long in samples))
        metrics |= self._update(step, [fitting for fitting, _ in samples])
        metrics["policy/version"] = float(self.engine.version)
        clock.lap("update")
        timing = clock.record(metrics["tokens/sampled"])
        self.run_dir.append("rollouts.jsonl", rollout_records(step, groups, [fitting for fitting, _ in samples]))
        self.run_dir.append("timings.jsonl", [{"step": step, **timing}])
        self._history.append(metrics)
        reason = collapse(self._history)
        metrics["alarm/collapse"] = float(reason is not None)
        self.run_dir.append("metrics.jsonl", [{"step": step, **metrics}])
        self.observer.step(step, metrics, timing)
        if reason is not None and self._alarm is None:
            self.observer.alarm(step, reason)
        self._alarm = reason

    def _fitting(self, samples: Sequence[TrainingSample]) -> tuple[list[TrainingSample], int]:
        """The samples that the model's context holds, and how many it does not."""
        limit = self.engine.max_tokens
        fitting = [s for s in samples if len(s.prompt_tokens) + len(s.completion_tokens) <= limit]
        return fitting, len(samples) - len(fitting)

    def _update(self, step: int, samples: Sequence[Sequence[TrainingSample]]) -> dict[str, float]:
        """One optimiser step per minibatch of groups; metrics are means over the minibatches that had samples."""
        config = self.config.trainer
        rows: list[dict[str, float]] = []
        for part in range(config.minibatches):
            groups = samples[part :: config.minibatches]
            minibatch = [sample for group in groups for sample in group]
            if not minibatch:
                continue
            rollouts = len(groups) * config.group_size
            row = dict(self.engine.forward_backward(minibatch, float(rollouts)))
            row |= self.engine.optim_step(learning_rate(config, step))
            rows.append(row)
        names = sorted({name for row in rows for name in row})
        return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}

    def _answers(self, groups: Sequence[RolloutGroup]) -> Answers:
        """The log-probabilities that the objective asks for."""
        queries = list(dict.fromkeys(query for group in groups for query in self._objective.queries(group)))
        limit = self.engine.max_tokens
        fitting = [q for q in queries if len(q.prompt_tokens) + len(q.completion_tokens) <= limit]
        return dict(zip(fitting, self.engine.answer(fitting), strict=True))

    def _evaluate_once(self, step: int, split: Split) -> dict[str, Any]:
        """The evaluation after `step`, from the record if it was made before a resume."""
        for record in self.run_dir.records("evaluations.jsonl"):
            if record["step"] == step and record["split"] == split:
                return record
        self.observer.phase(f"evaluating on the {split} problems")
        clock = _Clock()
        evaluation, groups = self._evaluate(self.evaluation_collector, split, step, self.second_opinion)
        clock.lap("evaluation")
        examples = [rollout_record(group.rollouts[0]) for group in groups if group.rollouts][:EXAMPLES]
        record = {"step": step, **evaluation.record(), "examples": examples}
        if self.config.evaluation.usefulness:
            record |= self._usefulness(evaluation, split, step)
            clock.lap("usefulness")
        if split == "validation" and self.config.evaluation.keep_best:
            self._keep_best(record)
        self.run_dir.append("timings.jsonl", [{"step": step, **clock.record(0.0)}])
        self.run_dir.append("evaluations.jsonl", [record])
        self.observer.evaluation(step, evaluation, record.get("usefulness"))
        return record

    def _evaluate(
        self, collector: RolloutCollector, split: Split, step: int, second_opinion: Scorer | None
    ) -> tuple[Evaluation, list[RolloutGroup]]:
        settings = self.config.evaluation
        return evaluate(
            collector,
            split,
            samples=settings.samples,
            temperature=settings.temperature,
            problems=settings.problems,
            seed=self.config.seed,
            occasion=step,
            second_opinion=second_opinion,
            stop_requested=self.stop_requested,
        )

    def _usefulness(self, evaluation: Evaluation, split: Split, step: int) -> dict[str, float | None]:
        """Second-turn accuracy with the feedback minus that with "incorrect" alone, after the same first attempts."""
        denying = replace(self.evaluation_collector, source=ConstantSource(INCORRECT_FEEDBACK))
        denied, _ = self._evaluate(denying, split, step, None)
        known = evaluation.second_turn is not None and denied.second_turn is not None
        return {
            "second_turn_denied": denied.second_turn,
            "usefulness": evaluation.second_turn - denied.second_turn if known else None,  # type: ignore[operator]
        }

    def _keep_best(self, record: dict[str, Any]) -> None:
        """Exports the policy if no validation evaluation so far had a higher single-turn accuracy."""
        earlier = [r["single_turn"] for r in self.run_dir.records("evaluations.jsonl") if r["split"] == "validation"]
        if all(record["single_turn"] > accuracy for accuracy in earlier):
            with self.run_dir.new_model("best") as path:
                self.engine.export(path)

    def _summary(self, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
        timings = self.run_dir.records("timings.jsonl")
        metrics = self.run_dir.records("metrics.jsonl")
        config = self.config.trainer
        accuracies = (
            "single_turn",
            "single_turn_interval",
            "second_turn",
            "second_turn_interval",
            "reward",
            "reward_interval",
            "second_reward",
            "other_reward",
            "reward_by_length",
            "tokens",
            "solved",
            "pass_at_k",
            "by_task",
        )
        return {
            "task": self.task.name,
            "method": self.config.objective.name,
            "seed": self.config.seed,
            "steps": config.steps,
            "rollouts": config.steps * config.groups_per_batch * config.group_size,
            "tokens": int(sum(record["tokens/sampled"] for record in metrics)),
            "feedback_calls": int(sum(record["feedback/asked"] for record in metrics)),
            "seconds": round(sum(record["seconds"] for record in timings), 1),
            "test_problems": after["problems"],
            "alarms": int(sum(record["alarm/collapse"] for record in metrics)),
            "best": self._best(),
            "before": {name: before[name] for name in accuracies if name in before},
            "after": {name: after[name] for name in accuracies if name in after},
        }

    def _best(self) -> dict[str, Any] | None:
        """Step and validation accuracy of the policy in `best/`; None without evaluations on the way."""
        records = [r for r in self.run_dir.records("evaluations.jsonl") if r["split"] == "validation"]
        if not records or not self.config.evaluation.keep_best:
            return None
        best = max(records, key=lambda record: (record["single_turn"], -record["step"]))
        return {"step": best["step"], "validation_single_turn": best["single_turn"]}


def learning_rate(config: TrainerConfig, step: int) -> float:
    """The learning rate of step 1, 2, ...: linear warm-up, then constant or down to 0 after the last step."""
    warmup_steps = config.warmup_steps
    assert warmup_steps is not None
    warm = min(1.0, step / warmup_steps) if warmup_steps else 1.0
    progress = max(0, step - 1 - warmup_steps) / max(1, config.steps - warmup_steps)
    decay = {"constant": 1.0, "linear": 1.0 - progress, "cosine": 0.5 * (1.0 + math.cos(math.pi * progress))}
    return config.learning_rate * warm * decay[config.schedule]


class _Clock:
    """Seconds per phase of a step."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._laps[f"seconds/{name}"] = round(now - self._last, 4)
        self._last = now

    def record(self, tokens: float) -> dict[str, float]:
        seconds = self._last - self._start
        return {"seconds": round(seconds, 4), **self._laps, "tokens_per_second": round(tokens / max(seconds, 1e-9), 1)}
