"""No dead switch: every field of the config, changed, changes what a run does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pydantic import BaseModel

from rltf.config import CodeConfig, JudgeConfig, PuzzleConfig, RowsConfig, RunConfig, TokenDistillationConfig
from rltf.config.load import apply_override, validate_config
from rltf.config.variants import members
from rltf.feedback.llm import Endpoints
from rltf.runs.build import build_engine, build_task, build_trainer
from rltf.runs.directory import RunDir
from rltf.runs.observers import Observer
from rltf.tasks import FeedbackLevel, Task
from rltf.tasks.base import Family
from rltf.types import Problem, Score, Split

BASE = (
    "trainer.steps=3",
    "trainer.groups_per_batch=2",
    "trainer.group_size=3",
    "trainer.warmup_steps=1",
    "trainer.learning_rate=0.01",
    "evaluation.problems=2",
    "evaluation.samples=1",
    "rollout.max_new_tokens=10",
    "task.train_size=20",
    "task.validation_size=5",
    "task.test_size=5",
    "engine.device=cpu",
)
# Each field's change, which is a run's only difference from its base.
CHANGES: dict[str, str] = {
    "seed": "1",
    "task.name": "shortest_path",
    "task.min_side": "3",
    "task.max_side": "5",
    "task.p_zero": "0.3",
    "task.min_distance": "3",
    "task.draft": "true",
    "task.train_size": "30",
    "task.validation_size": "6",
    "task.test_size": "6",
    "task.data_seed": "1",
    "task.min_rows": "3",
    "task.max_rows": "5",
    "task.min_columns": "3",
    "task.max_columns": "5",
    "task.p_blocked": "0.1",
    "task.min_steps": "3",
    "task.keep_infeasible": "true",
    "task.people": "4",
    "task.depth": "3",
    "task.width": "3",
    "task.options": "{min_terms = 6, max_terms = 6}",
    "feedback.level": "count",
    "feedback.source": "constant",
    "feedback.constant_text": "No.",
    "feedback.about": "other_problem",
    "feedback.self_share": "0.7",
    "feedback.self_max_tokens": "3",
    "objective.self_feedback_coefficient": "0.0",
    "evaluation.usefulness": "true",
    "evaluation.keep_best": "false",
    "prompts.system": "Be terse.",
    "prompts.revision": "{feedback} Once more.",
    "prompts.single_message": "{question} {feedback}",
    "prompts.feedback_request": "What is wrong?",
    "rollout.horizon": "3",
    "rollout.early_termination": "false",
    "rollout.feedback_on_correct": "true",
    "rollout.feedback_on_last": "true",
    "rollout.conversation": "single_message",
    "rollout.max_new_tokens": "12",
    "rollout.cut_attempts": "criticised",
    "rollout.temperature": "0.8",
    "objective.name": "grpo_multi",
    "objective.gamma": "0.9",
    "objective.normalize_std": "true",
    "objective.format_penalty": "0.5",
    "objective.policy_coefficient": "0.5",
    "objective.policy_loss": "cispo",
    "objective.policy_clip_low": "0.9999",
    "objective.policy_clip_high": "1.0001",
    "objective.entropy_coefficient": "0.1",
    "objective.kl_coefficient": "0.5",
    "objective.sd.coefficient": "0.5",
    "objective.sd.initial_coefficient": "0.1",
    "objective.sd.baseline": "second_turn",
    "objective.sd.ratio": "cispo",
    "objective.sd.ratio_denominator": "feedback_conditioned",
    "objective.sd.clip_low": "0.9999",
    "objective.sd.clip_high": "1.0001",
    "objective.sd.logprob_floor": "-6.3",
    "objective.fm.coefficient": "0.5",
    "objective.fm.initial_coefficient": "0.5",
    "objective.fm.normalize": "token_mean",
    "objective.distil.coefficient": "0.5",
    "objective.distil.initial_coefficient": "0.1",
    "objective.distil.teacher": "initial",
    "objective.distil.divergence": "reverse_kl",
    "objective.distil.top": "3",
    "objective.distil.normalize": "token_sum",
    "objective.demonstration": '"{question} {answer}"',
    "trainer.average_decay": "0.5",
    "trainer.steps": "4",
    "trainer.groups_per_batch": "4",
    "trainer.group_size": "4",
    "trainer.minibatches": "1",
    "trainer.learning_rate": "0.02",
    "trainer.warmup_steps": "2",
    "trainer.schedule": "constant",
    "trainer.weight_decay": "1.0",
    "trainer.beta1": "0.5",
    "trainer.beta2": "0.5",
    "trainer.max_grad_norm": "1e-9",
    "trainer.save_every": "1",
    "trainer.keep_checkpoints": "1",
    "evaluation.samples": "2",
    "evaluation.temperature": "0.0",
    "evaluation.every": "2",
    "evaluation.problems": "3",
    "engine.lora": "{rank = 2}",
    "engine.lora.rank": "2",
    "engine.lora.alpha": "4",
    "engine.lora.target_modules": '["q_proj"]',
    "engine.dtype": "bfloat16",
}
NO_FLOOR = "objective.sd.logprob_floor=none"  # a model with random weights finds every token less likely than -5
TEACHER = ("objective.sd.ratio=cispo", "objective.sd.ratio_denominator=feedback_conditioned", NO_FLOOR)
SDPO = ("objective.name=sdpo", "trainer.max_grad_norm=none")
PATHS = ("task.name=shortest_path",)
PEOPLE = ("task.name=knights_and_knaves",)
# What a field needs around it to matter.
BESIDE: dict[str, tuple[str, ...]] = {
    "task.min_rows": PATHS,
    "task.max_rows": PATHS,
    "task.min_columns": PATHS,
    "task.max_columns": PATHS,
    "task.p_blocked": PATHS,
    "task.min_steps": PATHS,
    "task.keep_infeasible": PATHS,
    "task.people": PEOPLE,
    "task.depth": PEOPLE,
    "task.width": PEOPLE,
    "task.options": ("task.name=reasoning_gym:chain_sum",),
    "task.validation_size": ("evaluation.every=2", "evaluation.problems=none"),
    "task.test_size": ("evaluation.problems=none",),
    "prompts.single_message": ("rollout.conversation=single_message",),
    "prompts.feedback_request": ("objective.name=rltf_fm",),
    "rollout.early_termination": ("rollout.feedback_on_correct=true",),
    "feedback.constant_text": ("feedback.source=constant",),
    "feedback.self_max_tokens": ("feedback.source=self",),
    "objective.self_feedback_coefficient": ("feedback.source=self",),
    "evaluation.keep_best": ("evaluation.every=2",),
    "objective.name": (),
    "objective.policy_loss": ("trainer.minibatches=2",),
    "objective.policy_clip_low": ("trainer.minibatches=2", "objective.policy_loss=ppo"),
    "objective.policy_clip_high": ("trainer.minibatches=2", "objective.policy_loss=ppo"),
    "objective.sd.coefficient": (NO_FLOOR,),
    "objective.sd.initial_coefficient": (NO_FLOOR,),
    "objective.sd.baseline": (NO_FLOOR,),
    "objective.sd.ratio": ("trainer.minibatches=2", NO_FLOOR),
    "objective.sd.ratio_denominator": ("objective.sd.ratio=cispo", NO_FLOOR),
    "objective.sd.clip_low": TEACHER,
    "objective.sd.clip_high": TEACHER,
    "objective.fm.coefficient": ("objective.name=rltf_fm",),
    "objective.fm.initial_coefficient": ("objective.name=rltf_fm",),
    "objective.fm.normalize": ("objective.name=rltf_fm",),
    **{f"objective.distil.{field}": SDPO for field in TokenDistillationConfig.model_fields},
    "objective.demonstration": ("objective.name=sdft",),
    "trainer.average_decay": (*SDPO, "objective.distil.teacher=average"),
    "trainer.keep_checkpoints": ("trainer.save_every=1",),
    "engine.lora.rank": ("engine.lora.rank=4",),
    "engine.lora.alpha": ("engine.lora.rank=4",),
    "engine.lora.target_modules": ("engine.lora.rank=4",),
}


def fields(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in section.model_fields.items():
        inner = members(info.annotation)
        if not inner or type(None) in getattr(info.annotation, "__args__", ()):
            yield prefix + name
        for member in inner:
            yield from fields(member, f"{prefix}{name}.")


TESTED_ELSEWHERE = {
    "prompts.thinking": "test_templates.py",
    "prompts.date": "test_templates.py",
    **{f"task.{field}": "test_code.py" for field in CodeConfig.model_fields if f"task.{field}" not in CHANGES},
    **{
        f"task.{field}": "test_rows_task.py"
        for field in RowsConfig.model_fields
        if field not in PuzzleConfig.model_fields
    },
    "task.path": "test_rows_task.py, test_own_task.py",
    "task.settings": "test_own_task.py",
    "feedback.per_task": "test_mixture.py",
    # A part's own settings are those of its task, and reach it: test_settings_of_a_part_reach_it.
    **{name: "test_mixture.py" for name in fields(RunConfig) if name.startswith("task.tasks.")},
    **{f"judge.{field}": "test_llm_judge.py" for field in JudgeConfig.model_fields},
    "task.train": "test_maths_sets.py, test_code.py, test_writing.py",
    "task.test": "test_maths_sets.py, test_code.py, test_writing.py",
    "task.question_field": "test_maths_sets.py, test_rows_task.py",
    "task.answer_field": "test_maths_sets.py, test_rows_task.py",
    "log.path": "test_logs.py",
    "log.score": "test_logs.py, test_writing.py",
    "log.passing_score": "test_writing.py",
    "log.max_unusable": "test_logs.py",
    "log.evaluate_on": "test_logs.py",
    "log.held_out": "test_logs.py",
    **{f"evaluation.judge.{field}": "test_llm_judge.py" for field in JudgeConfig.model_fields},
    "evaluation.judge": "test_writing.py",
    "task.prompt_field": "test_writing.py",
    "task.criteria_field": "test_writing.py",
    "task.passing_score": "test_writing.py",
    "task.shared_words": "test_listed.py",
    "feedback.sources": "test_judges.py",
    "feedback.shares": "test_judges.py",
    "feedback.function": "test_judges.py",
    "feedback.on_failure": "test_judges.py, test_llm_judge.py",
    "feedback.stop_after_failures": "test_judges.py, test_llm_judge.py",
    "objective.path": "test_user_method.py",
    "objective.settings": "test_user_method.py",
    "engine.name": "one engine only",
    "engine.model": "test_engine.py",
    "engine.chat_template": "test_engine.py",
    "engine.device": "test_engine.py: the machine decides",
    "engine.share_prefixes": "test_engine.py: the same numbers at another speed",
    "engine.gradient_checkpointing": "test_engine.py: the same numbers at another speed",
    "engine.micro_batch_tokens": "test_engine.py: the same numbers at another speed",
    "engine.decode_batch": "test_engine.py: the same numbers at another speed",
}


def test_every_field_is_covered() -> None:
    assert set(fields(RunConfig)) == set(CHANGES) | set(TESTED_ELSEWHERE)


class _HashTask:
    """Binary Matrix's problems with a verdict that a random model's attempts vary in."""

    name = "binary_matrix"
    family: Family = "puzzle"

    def __init__(self, inner: Task) -> None:
        self._inner = inner

    def size(self, split: Split) -> int:
        return self._inner.size(split)

    def problem(self, split: Split, index: int) -> Problem:
        return self._inner.problem(split, index)

    def score(self, problem: Problem, text: str) -> Score:
        code = sum(text.encode("utf-8", "replace"))
        correct = code % 3 == 0
        return Score(
            reward=float(correct),
            correct=correct,
            well_formed=correct or code % 2 == 0,
            answer=None,
            explanation="scripted",
        )

    def feedback(self, problem: Problem, text: str, score: Score, level: FeedbackLevel) -> str:
        return f"{level}: {len(text)} characters are wrong."

    def write_answer(self, answer: str) -> str:
        return self._inner.write_answer(answer)

    def perturbations(self, problem: Problem, rng: Random) -> Iterator[str]:
        return self._inner.perturbations(problem, rng)

    def reveals_answer(self, problem: Problem, text: str) -> bool:
        return False


def train(path: Path, model: Path, overrides: tuple[str, ...]) -> dict[str, Any]:
    """All that a run leaves behind, but for its settings and timings."""
    data: dict[str, Any] = {"engine": {"model": str(model)}}
    for override in (*BASE, *overrides):
        apply_override(data, override)
    config = validate_config(data)
    task = _HashTask(build_task(config.task))
    engine = build_engine(config)
    # A model with random weights hardly ever ends an attempt, and a cut attempt is no answer: let more tokens end it.
    engine.renderer.stop_tokens = (*engine.renderer.stop_tokens, *range(100, 250))
    summary = build_trainer(
        config, run_dir=RunDir.create(path), engine=engine, task=task, endpoints=Endpoints(), observer=Observer()
    ).run()
    files = {name: (path / name).read_bytes() for name in ("metrics.jsonl", "rollouts.jsonl", "evaluations.jsonl")}
    files["model"] = (path / "model" / "model.safetensors").read_bytes()
    files["summary"] = repr(dataclasses.replace(summary, seconds=0.0)).encode()
    files["best"] = b"kept" if (path / "best" / "model.safetensors").is_file() else b"not kept"
    return {**files, "checkpoints": [step for step, _ in RunDir(path).checkpoints()]}


@pytest.fixture(scope="module")
def outcomes(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[str, ...]], dict[str, Any]]:
    known: dict[tuple[str, ...], dict[str, Any]] = {}

    def outcome(overrides: tuple[str, ...]) -> dict[str, Any]:
        if overrides not in known:
            known[overrides] = train(tmp_path_factory.mktemp("alive") / "run", tiny_model, overrides)
        return known[overrides]

    return outcome


def test_the_same_settings_give_the_same_run(
    outcomes: Callable[[tuple[str, ...]], dict[str, Any]], tiny_model: Path, tmp_path: Path
) -> None:
    assert train(tmp_path / "again", tiny_model, ()) == outcomes(())


@pytest.mark.parametrize("field", sorted(CHANGES))
def test_every_field_has_an_effect(field: str, outcomes: Callable[[tuple[str, ...]], dict[str, Any]]) -> None:
    beside = BESIDE.get(field, ())
    assert outcomes((*beside, f"{field}={CHANGES[field]}")) != outcomes(beside)
