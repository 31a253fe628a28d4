"""Methods against each other: which runs a comparison needs, and what their directories say together.

A comparison is a TOML file:

    title = "Binary Matrix"
    seeds = [0, 1, 2]
    baseline = "grpo"               # every arm's paired difference is to this one

    [common]                        # settings of every run
    evaluation.every = 25

    [arms.grpo]                     # settings of one arm
    objective.name = "grpo"
    [arms.rltf_sd]
    objective.name = "rltf_sd"

Each arm is trained once per seed. All runs take the same number of rollouts, unless `unequal_rollouts = true`.
On the command line, what the file has (`seeds=[0]`, `arms.grpo.objective.gamma=0.5`) goes over it, and any other
`section.field=value` over every arm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, ValidationError

from rltf.config import RunConfig, Section
from rltf.config.load import apply_override, overlay, read_toml, validate_config, with_absolute_paths
from rltf.rollouts.records import EvaluationRecord, Summary
from rltf.runs.directory import RunDir
from rltf.support.errors import UserError

FIGURES = ("first_turn", "second_turn")
LEVELS = (0.25, 0.5, 0.75)
"""Accuracies of first attempts on the validation split; what is counted is the rollouts that it takes to reach them."""
# Two-sided 95% points of Student's t for 1, 2, ... degrees of freedom.
_T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
_ARM = r"^[A-Za-z0-9_.-]{1,80}$"


class ComparisonFile(Section):
    """The file as it is written."""

    title: Annotated[str, Field(pattern=r"^[^|\n\r]+$")]
    """Heading of the table and the figures."""
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    """One run of every arm per seed."""
    baseline: str | None = None
    """The arm that the others' paired differences are to."""
    unequal_rollouts: bool = False
    """Allow arms with different numbers of rollouts."""
    common: Annotated[dict[str, Any], Field(default_factory=dict)]
    """Settings of every run."""
    arms: Annotated[dict[Annotated[str, Field(pattern=_ARM)], dict[str, Any]], Field(min_length=1)]
    """Settings of each arm, laid over the common ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """One arm with one seed."""

    arm: str
    seed: int
    config: RunConfig

    @property
    def name(self) -> str:
        """The run's directory."""
        return f"{self.arm}-seed{self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A checked comparison."""

    title: str
    baseline: str | None
    runs: tuple[PlannedRun, ...]

    @property
    def arms(self) -> list[str]:
        """In the file's order."""
        return list(dict.fromkeys(run.arm for run in self.runs))

    @property
    def seeds(self) -> list[int]:
        """In the file's order."""
        return list(dict.fromkeys(run.seed for run in self.runs))


def load_comparison(path: Path, overrides: Sequence[str] = ()) -> Comparison:
    """Reads and checks all of it: every arm's settings, the names, the number of rollouts."""
    data = read_toml(path)
    for override in overrides:
        if _is_of_the_file(override):
            apply_override(data, override)
    settings = [override for override in overrides if not _is_of_the_file(override)]
    try:
        file = ComparisonFile.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if file.baseline is not None and file.baseline not in file.arms:
        raise UserError(f"{path}: baseline={file.baseline!r} is no arm; arms: {', '.join(file.arms)}")
    if len(set(file.seeds)) < len(file.seeds):
        raise UserError(f"{path}: seeds: a seed stands twice; it would be the same run")
    over: dict[str, Any] = {}
    for setting in settings:
        apply_override(over, setting)
    arms = {arm: overlay(overlay(file.common, own), over) for arm, own in file.arms.items()}
    places = {"common": file.common, **{f"arms.{arm}": own for arm, own in file.arms.items()}, "settings": over}
    for place, held in places.items():
        if "seed" in held:
            raise UserError(f"{path}: {place}.seed: the seeds of a comparison are in `seeds`; remove it")
    runs = [
        PlannedRun(arm=arm, seed=seed, config=_config(path, arm, overlay(own, {"seed": seed})))
        for arm, own in arms.items()
        for seed in file.seeds
    ]
    _check_distinct(path, runs)
    for name in ("task", "evaluation"):
        if any(getattr(run.config, name) != getattr(runs[0].config, name) for run in runs):
            raise UserError(
                f"{path}: arms differ in {name}, so their figures cannot stand in one table; set it in common"
            )
    if any(run.config.engine.model != runs[0].config.engine.model for run in runs):
        raise UserError(f"{path}: arms differ in engine.model, so they have no common start; set it in common")
    counts = {run.arm: rollouts(run.config) for run in runs}
    if len(set(counts.values())) > 1 and not file.unequal_rollouts:
        shown = ", ".join(f"{arm} {count:,}" for arm, count in counts.items())
        raise UserError(f"{path}: the arms take different numbers of rollouts ({shown}); set unequal_rollouts=true")
    return Comparison(title=file.title, baseline=file.baseline, runs=tuple(runs))


def _is_of_the_file(override: str) -> bool:
    """Whether it is the comparison's own, such as `seeds=[0]` or `arms.NAME.trainer.steps=9`, and no setting of all."""
    return override.partition("=")[0].partition(".")[0].strip() in ComparisonFile.model_fields


def _check_distinct(path: Path, runs: Sequence[PlannedRun]) -> None:
    """Refuses arms that are the same run under two names, as a setting over all arms makes them easily."""
    known: dict[str, str] = {}
    for run in runs:
        arm = known.setdefault(run.config.model_dump_json(), run.arm)
        if arm != run.arm:
            raise UserError(
                f"{path}: the arms {arm} and {run.arm} have the same settings; remove one, "
                "or the setting that is laid over both"
            )


def rollouts(config: RunConfig) -> int:
    """First attempts of a run."""
    trainer = config.trainer
    return trainer.steps * trainer.groups_per_batch * trainer.group_size


def _config(path: Path, arm: str, data: dict[str, Any]) -> RunConfig:
    try:
        return with_absolute_paths(validate_config(data))
    except UserError as error:
        raise UserError(f"{path}: arm {arm}: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A mean over seeds."""

    mean: float
    half: float | None
    """Half the width of its 95% interval (Student's t over seeds); None for a single seed."""

    def record(self) -> dict[str, float | None]:
        """As plain JSON values."""
        return {"mean": self.mean, "half": self.half}


def spread(values: Sequence[float]) -> Spread:
    """Mean and interval of one value per seed."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Spread(mean=mean, half=None)
    freedom = len(values) - 1
    t = _T95[freedom - 1] if freedom <= len(_T95) else 1.96 + 2.5 / freedom
    return Spread(mean=mean, half=t * float(np.std(values, ddof=1)) / math.sqrt(len(values)))


def outcome(comparison: Comparison, directory: Path) -> dict[str, Any]:
    """Everything that the finished runs say together, as plain JSON values.

    Per arm and figure: each seed's value and their spread, before and after training; the paired difference to
    the baseline over the seeds; the learning curves on the validation split; first attempts by kind of problem, where
    the task tells kinds; cost.
    """
    summaries = {run: _summary(directory / run.name) for run in comparison.runs}
    arms: dict[str, Any] = {}
    for arm in comparison.arms:
        mine = {run.seed: summaries[run] for run in comparison.runs if run.arm == arm}
        arms[arm] = {
            when: {
                figure: _over_seeds({seed: getattr(getattr(s, when), figure) for seed, s in mine.items()})
                for figure in FIGURES
            }
            for when in ("before", "after")
        }
        arms[arm]["cost"] = {
            name: float(np.mean([getattr(s, name) for s in mine.values()]))
            for name in ("rollouts", "tokens", "feedback_calls", "seconds")
        }
        paths = {run.seed: directory / run.name for run in comparison.runs if run.arm == arm}
        arms[arm]["curve"] = _curve(list(paths.values()))
        arms[arm]["rollouts_to"] = {
            str(level): {str(seed): _rollouts_to(path, level) for seed, path in paths.items()} for level in LEVELS
        }
        arms[arm]["fluency"] = _fluency(list(paths.values()))
        arms[arm]["by_kind"] = _by_kind(list(mine.values()))
    for arm in comparison.arms:
        arms[arm]["difference"] = _differences(arms, arm, comparison.baseline)
    return {
        "title": comparison.title,
        "baseline": comparison.baseline,
        "seeds": comparison.seeds,
        "test_problems": next(iter(summaries.values())).test_problems,
        "arms": arms,
    }


def _summary(path: Path) -> Summary:
    run = RunDir.open(path)
    summary = run.summary()
    if summary is None:
        raise UserError(f"{path}: the run is not finished; start the comparison again to go on")
    return summary


def _over_seeds(values: Mapping[int, float | None]) -> dict[str, Any]:
    known = [value for value in values.values() if value is not None]
    return {
        "seeds": {str(seed): value for seed, value in values.items()},
        "spread": spread(known).record() if known else None,
    }


def _differences(arms: Mapping[str, Any], arm: str, baseline: str | None) -> dict[str, Any]:
    """The arm minus the baseline, seed by seed: what the seeds have in common cancels."""
    if baseline is None or arm == baseline:
        return {}
    found: dict[str, Any] = {}
    for figure in FIGURES:
        mine, theirs = (arms[name]["after"][figure]["seeds"] for name in (arm, baseline))
        pairs = [mine[s] - theirs[s] for s in mine if mine[s] is not None and theirs[s] is not None]
        found[figure] = spread(pairs).record() if pairs else None
    return found


def _curve(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Validation accuracy over rollouts: mean and interval over seeds at each evaluation."""
    points: dict[int, list[EvaluationRecord]] = {}
    per_step = 0
    for path in paths:
        run = RunDir.open(path)
        trainer = run.config()["trainer"]
        per_step = trainer["groups_per_batch"] * trainer["group_size"]
        for record in run.evaluations():
            if record.split == "validation":
                points.setdefault(record.step, []).append(record)
    curve: list[dict[str, Any]] = []
    for step, records in sorted(points.items()):
        point: dict[str, Any] = {"rollouts": step * per_step}
        for figure in FIGURES:
            known = [value for record in records if (value := getattr(record, figure)) is not None]
            point[figure] = spread(known).record() if known else None
        curve.append(point)
    return curve


def _rollouts_to(path: Path, level: float) -> int | None:
    """Rollouts at the first evaluation on the validation split that reaches an accuracy; None where none does."""
    run = RunDir.open(path)
    trainer = run.config()["trainer"]
    steps = [r.step for r in run.evaluations() if r.split == "validation" and r.first_turn >= level]
    return min(steps) * trainer["groups_per_batch"] * trainer["group_size"] if steps else None


def _by_kind(summaries: Sequence[Summary]) -> dict[str, dict[str, Any]]:
    """First attempts at the test problems of each kind, before and after training; empty where tasks tell no kinds.

    Over seeds as everywhere; of a single run, the interval is that over its problems.
    """
    found: dict[str, dict[str, Any]] = {}
    for kind, figures in summaries[0].after.by_kind.items():
        found[kind] = {"problems": figures["problems"]}
        for when in ("before", "after"):
            known = [each for s in summaries if (each := getattr(s, when).by_kind.get(kind))]
            values = [each["first_turn"] for each in known if each["first_turn"] is not None]
            if not values:
                found[kind][when] = None
            elif len(summaries) == 1:
                found[kind][when] = {"mean": values[0], "half": known[0]["first_turn_interval"]}
            else:
                found[kind][when] = spread(values).record()
    return found


def _fluency(paths: Sequence[Path]) -> dict[str, dict[str, float | None]] | None:
    """How first attempts at the test problems read before and after training, where all runs measured it."""
    found: dict[str, dict[str, float | None]] = {}
    for when in ("before", "after"):
        tests = [[r for r in RunDir.open(path).evaluations() if r.split == "test"] for path in paths]
        records = [records[0 if when == "before" else -1] for records in tests if records]
        reads = [record.fluency for record in records if record.fluency is not None]
        if len(reads) < len(paths):
            return None
        logprobs = [each.initial_logprob for each in reads if each.initial_logprob is not None]
        found[when] = {
            "initial_logprob": float(np.mean(logprobs)) if logprobs else None,
            "copies": float(np.mean([each.copies for each in reads])),
            "echoes": float(np.mean([each.echoes for each in reads])),
            "tokens": float(np.mean([record.tokens for record in records])),
        }
    return found
