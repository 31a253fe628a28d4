"""The evaluations of a run: before, on the way and after, each made once, also across a resume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from rltf.config import RunConfig
from rltf.engines.base import Engine
from rltf.feedback import ConstantSource
from rltf.feedback.scoring import Scorer
from rltf.rollouts.collector import RolloutCollector
from rltf.rollouts.evaluate import evaluate
from rltf.rollouts.fluency import fluency
from rltf.rollouts.recording import rollout_record
from rltf.rollouts.records import Evaluation, EvaluationRecord
from rltf.runs.clock import Clock
from rltf.runs.directory import RunDir
from rltf.runs.observers import Observer
from rltf.tasks.base import INCORRECT_FEEDBACK
from rltf.types import RolloutGroup, Split

EXAMPLES = 3
"""Problems of a split whose rollouts are kept with an evaluation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluations:
    """Makes and keeps the evaluations of one run."""

    config: RunConfig
    run_dir: RunDir
    engine: Engine
    collector: RolloutCollector
    second_opinion: Scorer | None
    """Another judge, which scores first attempts too."""
    stop_requested: Callable[[], bool]

    def once(
        self, step: int, split: Split, observer: Observer, save: Callable[[int], None] = lambda step: None
    ) -> EvaluationRecord:
        """The evaluation after `step`, from the record if it was made before a resume.

        `save` makes a checkpoint of that step; it is called before `best/` is replaced.
        """
        known = self.run_dir.evaluations()
        for record in known:
            if (record.step, record.split) == (step, split):
                return record
        observer.phase(f"evaluating on the {split} problems")
        clock = Clock()
        evaluation, groups = self._evaluate(self.collector, split, step, self.second_opinion)
        clock.lap("evaluation")
        record = EvaluationRecord(
            step=step,
            examples=[rollout_record(group.rollouts[0]) for group in groups if group.rollouts][:EXAMPLES],
            **{each.name: getattr(evaluation, each.name) for each in fields(evaluation)},
        )
        if self.config.evaluation.usefulness:
            record = self._with_usefulness(record, split, step)
            clock.lap("usefulness")
        if self.config.evaluation.fluency:
            figures = fluency(groups, self.engine.answer, self.engine.max_tokens)
            record = replace(record, fluency=figures)
            clock.lap("fluency")
        if split == "validation" and self.config.evaluation.keep_best:
            self._keep_best(record, [earlier.first_turn for earlier in known if earlier.split == "validation"], save)
        self.run_dir.append("timings.jsonl", [clock.timing(step).to_json()])
        self.run_dir.append("evaluations.jsonl", [record.to_json()])
        observer.evaluation(record)
        return record

    def due(self, step: int, observer: Observer, save: Callable[[int], None]) -> None:
        """The evaluation on the way that belongs to a step, also where a resumed run has not made it yet."""
        every = self.config.evaluation.every
        if every and step and step % every == 0:
            self.once(step, "validation", observer, save)

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

    def _with_usefulness(self, record: EvaluationRecord, split: Split, step: int) -> EvaluationRecord:
        """Second-turn accuracy with the feedback minus that with "incorrect" alone, after the same first attempts."""
        denying = replace(self.collector, source=ConstantSource(INCORRECT_FEEDBACK))
        denied = self._evaluate(denying, split, step, None)[0].second_turn
        known = record.second_turn is not None and denied is not None
        usefulness = record.second_turn - denied if known else None  # type: ignore[operator]
        return replace(record, second_turn_denied=denied, usefulness=usefulness)

    def _keep_best(self, record: EvaluationRecord, earlier: list[float], save: Callable[[int], None]) -> None:
        """Exports the policy if no validation evaluation so far had a higher accuracy of first attempts."""
        if all(record.first_turn > accuracy for accuracy in earlier):
            # A run that is resumed from an earlier step, on a machine that goes another way from there, might never
            # again have this policy, nor the one that it replaces.
            save(record.step)
            with self.run_dir.new_model("best") as path:
                self.engine.export(path)
