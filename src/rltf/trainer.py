"""The training loop. It does not know which method, task, judge or engine runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from rltf.config import RunConfig, TrainerConfig
from rltf.engines.base import Engine
from rltf.evaluate import Evaluation, evaluate
from rltf.judges.base import Judge
from rltf.metrics import rollout_metrics, rollout_record, rollout_records, sample_metrics
from rltf.objectives import Needs, Objective, build_objective
from rltf.rollout import RolloutCollector
from rltf.run_dir import RunDir
from rltf.seeds import derive_seed
from rltf.tasks.base import Task
from rltf.types import Problem, RolloutGroup, Split, TrainingSample

EXAMPLES = 3
"""Problems of the test split whose first attempts are kept, before and after training."""


class Interrupted(Exception):
    """The user asked to stop; everything up to `step` is saved."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after step {step}")
        self.step = step


class Observer(Protocol):
    """Watches a run, e.g. to show its progress."""

    def phase(self, name: str) -> None:
        """A long piece of work begins outside the steps (an evaluation, an export)."""
        ...

    def step(self, step: int, metrics: dict[str, float], timing: dict[str, float]) -> None:
        """A step is done."""
        ...

    def evaluation(self, step: int, evaluation: Evaluation) -> None:
        """An evaluation is done; step 0 is before training."""
        ...


@dataclass(slots=True, kw_only=True)
class Trainer:
    """One run, from its first step or from its newest checkpoint."""

    config: RunConfig
    run_dir: RunDir
    engine: Engine
    task: Task
    judge: Judge
    observer: Observer
    stop_requested: Callable[[], bool]
    _orders: dict[int, list[int]] = field(default_factory=dict, init=False)
    _objective: Objective = field(init=False)

    def __post_init__(self) -> None:
        self._objective = build_objective(self.config.objective, self.engine.renderer)

    def run(self) -> dict[str, Any]:
        """Trains to the end and returns the summary. Raises `Interrupted` once a requested stop is saved."""
        start = self._restore()
        steps = self.config.trainer.steps
        before = self._evaluate_once(0, "test")
        for step in range(start + 1, steps + 1):
            self._step(step)
            if self.config.evaluation.every and step % self.config.evaluation.every == 0:
                self._evaluate_once(step, "validation")
            stopping = self.stop_requested() and step < steps
            due = self.config.trainer.save_every and step % self.config.trainer.save_every == 0
            if due or stopping or step == steps:
                with self.run_dir.new_checkpoint(step, self.config.trainer.keep_checkpoints) as path:
                    self.engine.save(path)
            if stopping:
                raise Interrupted(step)
        after = self._evaluate_once(steps, "test")
        self.observer.phase("exporting the model")
        with self.run_dir.new_model() as path:
            self.engine.export(path)
        return self._summary(before, after)

    def _restore(self) -> int:
        """Loads the newest checkpoint, if any, and removes what was written after it; returns its step."""
        checkpoints = self.run_dir.checkpoints()
        step = checkpoints[-1][0] if checkpoints else 0
        if checkpoints:
            self.engine.load(checkpoints[-1][1])
        for name in ("metrics.jsonl", "timings.jsonl", "rollouts.jsonl", "evaluations.jsonl"):
            self.run_dir.cut_after(name, step)
        return step

    def _step(self, step: int) -> None:
        config = self.config.trainer
        clock = _Clock()
        groups = self._collector(self.config.horizon).collect(
            self._problems(step),
            config.group_size,
            self.config.rollout.temperature,
            derive_seed(self.config.seed, "rollouts", step),
        )
        clock.lap("rollout")
        objective = self._objective
        self._fill_in(groups, objective.needs)
        progress = (step - 1) / max(1, config.steps - 1)
        samples = [self._fitting(objective(group, progress)) for group in groups]
        clock.lap("score")
        metrics = rollout_metrics(groups)
        metrics |= sample_metrics([sample for fitting, _ in samples for sample in fitting])
        metrics["samples/too_long"] = float(sum(too_long for _, too_long in samples))
        metrics |= self._update(step, [fitting for fitting, _ in samples])
        metrics["policy/version"] = float(self.engine.policy_version)
        clock.lap("update")
        timing = clock.record(metrics["tokens/sampled"])
        self.run_dir.append("rollouts.jsonl", rollout_records(step, groups, [fitting for fitting, _ in samples]))
        self.run_dir.append("timings.jsonl", [{"step": step, **timing}])
        self.run_dir.append("metrics.jsonl", [{"step": step, **metrics}])
        self.observer.step(step, metrics, timing)

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

    def _fill_in(self, groups: Sequence[RolloutGroup], needs: Needs) -> None:
        """Log-probabilities that the objective reads and sampling did not give."""
        rollouts = [rollout for group in groups for rollout in group.rollouts]
        if needs.student_logprobs:
            later = [(rollout.turns[0], turn) for rollout in rollouts for turn in rollout.turns[1:]]
            scores = self.engine.score([(first.prompt_tokens, turn.completion.tokens) for first, turn in later])
            for (_, turn), logprobs in zip(later, scores, strict=True):
                turn.student_logprobs = logprobs
        if needs.reference_logprobs:
            turns = [turn for rollout in rollouts for turn in rollout.turns]
            pairs = [(turn.prompt_tokens, turn.completion.tokens) for turn in turns]
            for turn, logprobs in zip(turns, self.engine.score(pairs, initial_policy=True), strict=True):
                turn.reference_logprobs = logprobs

    def _problems(self, step: int) -> list[Problem]:
        """The step's problems: the training split in an order drawn anew for each pass over it."""
        size = self.task.size("train")
        count = self.config.trainer.groups_per_batch
        problems: list[Problem] = []
        for position in range((step - 1) * count, step * count):
            epoch, index = divmod(position, size)
            problems.append(self.task.problem("train", self._order(epoch)[index]))
        return problems

    def _order(self, epoch: int) -> list[int]:
        if epoch not in self._orders:
            generator = np.random.default_rng(derive_seed(self.config.seed, "order", epoch))
            self._orders = {epoch: generator.permutation(self.task.size("train")).tolist()}
        return self._orders[epoch]

    def _collector(self, horizon: int) -> RolloutCollector:
        return RolloutCollector(
            task=self.task,
            judge=self.judge,
            renderer=self.engine.renderer,
            generate=self.engine.generate,
            max_tokens=self.engine.max_tokens,
            config=self.config.rollout,
            horizon=horizon,
        )

    def _evaluate_once(self, step: int, split: Split) -> dict[str, Any]:
        """The evaluation after `step`, from the record if it was made before a resume."""
        for record in self.run_dir.records("evaluations.jsonl"):
            if record["step"] == step and record["split"] == split:
                return record
        self.observer.phase(f"evaluating on the {split} problems")
        clock = _Clock()
        settings = self.config.evaluation
        evaluation, groups = evaluate(
            self._collector(max(2, self.config.horizon)),
            split,
            samples=settings.samples,
            temperature=settings.temperature,
            problems=settings.problems,
            seed=self.config.seed,
        )
        clock.lap("evaluation")
        examples = [rollout_record(group.rollouts[0]) for group in groups[:EXAMPLES]]
        record = {"step": step, **evaluation.record(), "examples": examples}
        self.run_dir.append("timings.jsonl", [{"step": step, **clock.record(0.0)}])
        self.run_dir.append("evaluations.jsonl", [record])
        self.observer.evaluation(step, evaluation)
        return record

    def _summary(self, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
        timings = self.run_dir.records("timings.jsonl")
        metrics = self.run_dir.records("metrics.jsonl")
        config = self.config.trainer
        accuracies = (
            "single_turn",
            "single_turn_interval",
            "second_turn",
            "second_turn_interval",
            "solved",
            "pass_at_k",
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
            "before": {name: before[name] for name in accuracies},
            "after": {name: after[name] for name in accuracies},
        }


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
