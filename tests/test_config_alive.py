"""No dead switch: every field of the config, changed, changes what a run does."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pydantic import BaseModel

from rltf.config import RunConfig, TokenDistillationConfig
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
    "records.tokens": "20",
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
    "feedback.sources": '["constant", "rules"]',
    "feedback.shares": "[0.01, 0.99]",
    "feedback.self_share": "0.7",
    "feedback.self_max_tokens": "3",
    "objective.self_feedback_coefficient": "0.0",
    "evaluation.usefulness": "true",
    "evaluation.fluency": "true",
    "evaluation.keep_best": "false",
    "prompts.system": "Be terse.",
    "prompts.revision": "{feedback} Once more.",
    "prompts.single_message": "{question} {feedback}",
    "prompts.feedback_request": "What is wrong?",
    "prompts.lesson_request": "{question} What counts?",
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
    "objective.sampler_ratio_cap": "0.5",
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
    "objective.sd.initial_logprob_floor": "-20.0",
    "objective.sd.floor_on": "ratio",
    "objective.sd.floor_for": "negative",
    "objective.fm.coefficient": "0.5",
    "objective.fm.initial_coefficient": "0.5",
    "objective.fm.normalize": "token_mean",
    "objective.fm.given": "question",
    "objective.fm.most_solved": "0.0",
    "objective.fm": "{coefficient = 0.5}",
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
    "trainer.sampler_gap_tolerance": "0.0",
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
    "prompts.lesson_request": ("objective.name=rltf_fm", "objective.fm.given=question"),
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
    "objective.fm.given": ("objective.name=rltf_fm",),
    "objective.fm.most_solved": ("objective.name=rltf_fm",),
    "objective.fm": SDPO,
    **{f"objective.distil.{field}": SDPO for field in TokenDistillationConfig.model_fields},
    "objective.demonstration": ("objective.name=sdft",),
    "trainer.average_decay": (*SDPO, "objective.distil.teacher=average"),
    "trainer.keep_checkpoints": ("trainer.save_every=1",),
    "feedback.sources": ("feedback.source=first_of", 'feedback.sources=["rules", "constant"]'),
    "feedback.shares": (
        "feedback.source=mix",
        'feedback.sources=["rules", "constant"]',
        "feedback.shares=[0.99, 0.01]",
    ),
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


TESTED_ELSEWHERE: dict[str, str] = {
    "records.trackers": "test_trackers.py::test_curves_settings_and_outcome_go_to_tensorboard_and_go_on_after_a_resume",
    "engine.parallel": "test_several_processes.py::test_accelerates_configuration_says_how_the_policy_lies",
    "engine.sampler": "test_vllm.py::test_the_server_samples_in_a_whole_run_and_after_a_resume",
    "sampler.url": "test_vllm.py::test_the_server_samples_in_a_whole_run_and_after_a_resume",
    "sampler.python": "test_vllm.py::test_a_server_that_a_run_starts_and_that_ends_at_once",
    "sampler.arguments": "test_vllm.py::test_a_server_that_a_run_starts_and_that_ends_at_once",
    "sampler.log": "test_vllm.py::test_a_server_that_a_run_starts_and_that_ends_at_once",
    "sampler.directory": "test_vllm.py::test_the_directory_is_where_weights_are_written",
    "sampler.transfer": "test_vllm_transfer.py::test_weights_reach_the_server_where_they_lie",
    "sampler.sleep": "test_vllm.py::test_a_server_sleeps_while_the_learner_computes",
    "sampler.concurrency": "test_vllm.py::test_concurrency_limits_what_is_asked_at_once",
    "sampler.timeout": "test_vllm.py::test_every_wait_ends",
    "sampler.start_timeout": "test_vllm.py::test_a_server_that_is_never_ready",
    "sampler.tolerance": "test_vllm.py::test_tolerance_says_how_far_a_server_may_be_off",
    "engine.name": "test_tinker.py::test_name_says_which_engine",
    "engine.tokenizer": "test_tinker.py::test_the_tokenizer_may_lie_elsewhere",
    "engine.dialect": "test_tinker.py::test_the_service_gets_losses_by_name_and_other_servers_the_gradient",
    "engine.base_url": "test_tinker.py::test_keys_and_addresses",
    "engine.key_env": "test_tinker.py::test_keys_and_addresses",
    "engine.timeout": "test_tinker.py::test_every_wait_ends",
    "prompts.thinking": "test_templates.py::test_who_reads_what_an_attempt_thought",
    "prompts.date": "test_templates.py::test_a_run_keeps_the_day_on_which_it_began",
    "task.shape": "test_code.py::test_apps",
    "task.shown_tests": "test_code.py::test_the_prompt_shows_the_signature_and_two_tests_alone",
    "task.most_tests": "test_code.py::test_settings_have_their_effects",
    "task.cpu_seconds": "test_code.py::test_settings_have_their_effects",
    "task.seconds": "test_code.py::test_settings_have_their_effects",
    "task.megabytes": "test_code.py::test_settings_have_their_effects",
    "task.processes": "test_code.py::test_equal_attempts_run_once_and_several_at_a_time",
    "task.partial_reward": "test_code.py::test_settings_have_their_effects",
    "task.sandbox": "test_code.py::test_a_machine_that_cannot_lock_attempts_in_is_refused",
    "task.path": "test_own_task.py::test_a_run_on_a_python_file_resumes_from_elsewhere_but_not_with_another_file",
    "task.settings": "test_own_task.py::test_settings_reach_the_class_and_wrong_ones_are_refused",
    "task.test_path": "test_rows_task.py::test_a_test_file_gives_the_test_problems_in_its_order",
    "task.example_field": "test_rows_task.py::test_a_pattern_without_an_example_is_told_what_it_lacks",
    "task.kind_field": "test_rows_task.py::test_kinds_of_rows",
    "task.instruction": "test_rows_task.py::test_rows_become_problems_with_the_form_of_the_answer_behind_them",
    "task.answer_in": "test_rows_task.py::test_where_the_answer_stands",
    "task.scorer": "test_rows_task.py::test_a_judge_scores_rows_with_or_without_an_answer",
    "task.ignore": "test_rows_task.py::test_exact_answers",
    "task.tolerance": "test_rows_task.py::test_the_tolerance_is_a_share_of_the_value",
    "task.shared_words": "test_rows_task.py::test_problems_that_share_words_with_the_test_are_left_out_of_training",
    "task.train": "test_maths_sets.py::test_files_are_named_in_full",
    "task.test": "test_maths_sets.py::test_a_run_learns_from_feedback_and_is_evaluated_on_another_set",
    "task.question_field": "test_maths_sets.py::test_rows_of_ones_own",
    "task.answer_field": "test_maths_sets.py::test_rows_of_ones_own",
    "task.min_constraints": ("test_instructions.py::test_the_number_of_constraints_and_their_kinds_are_settings"),
    "task.max_constraints": ("test_instructions.py::test_the_number_of_constraints_and_their_kinds_are_settings"),
    "task.kinds": "test_instructions.py::test_the_number_of_constraints_and_their_kinds_are_settings",
    "task.difficulty": "test_instructions.py::test_the_difficulty_says_which_kinds_are_drawn",
    "task.unsaid": (
        "test_instructions.py::test_a_drawn_style_is_the_same_for_all_problems_and_another_for_another_seed"
    ),
    "task.style_seed": (
        "test_instructions.py::test_a_drawn_style_is_the_same_for_all_problems_and_another_for_another_seed"
    ),
    "task.style": "test_instructions.py::test_a_house_style_is_told_by_feedback_alone_as_a_lesson",
    "task.style_feedback": "test_instructions.py::test_a_house_style_is_told_by_feedback_alone_as_a_lesson",
    "task.prompt_field": "test_writing.py::test_rows_with_criteria_as_writing_bench_has_them",
    "task.criteria_field": "test_writing.py::test_rows_with_criteria_as_writing_bench_has_them",
    "task.passing_score": "test_writing.py::test_rows_with_criteria_as_writing_bench_has_them",
    "log.path": "test_logs.py::test_training_from_a_log",
    "log.score": "test_writing.py::test_a_judge_scores_revisions_of_a_log",
    "log.passing_score": "test_writing.py::test_a_judge_scores_revisions_of_a_log",
    "log.max_unusable": "test_logs.py::test_entries_without_what_the_score_asks_for_are_left_out_up_to_a_share",
    "log.evaluate_on": "test_logs.py::test_a_log_of_ones_own_questions_holds_some_out_for_evaluation",
    "log.held_out": "test_logs.py::test_a_log_of_ones_own_questions_holds_some_out_for_evaluation",
    "evaluation.judge": "test_dry_run.py::test_a_judge_that_scores_is_asked_once_for_each_attempt",
    "task.tasks.label": "test_mixture.py::test_settings_of_a_part_reach_it",
    "task.tasks.weight": "test_mixture.py::test_the_weight_of_a_part_decides_its_share_of_training",
    "feedback.per_task": "test_mixture.py::test_a_run_on_a_mixture",
    "feedback.function": "test_judged_runs.py::test_a_source_that_cannot_work_leaves_no_run_behind",
    "feedback.on_failure": "test_judged_runs.py::test_fallback_says_that_it_is_one_and_stop_stops",
    "feedback.stop_after_failures": (
        "test_judged_runs.py::test_a_judge_that_goes_down_stops_the_run_which_goes_on_as_if_it_had_not"
    ),
    "objective.path": "test_user_method.py::test_a_method_that_cannot_be_used_is_one_clear_line",
    "objective.settings": (
        "test_user_method.py::test_the_example_trains_through_the_command_line_and_its_settings_count"
    ),
    "engine.model": "test_engine.py::test_a_missing_model_is_one_clear_line",
    "engine.path": (
        "test_best.py::test_an_engine_in_a_file_trains_is_kept_at_its_best_and_evaluated_from_the_command_line"
    ),
    "engine.trust_remote_code": "test_pretrained.py::test_a_model_with_code_of_its_own_needs_a_setting",
    "engine.chat_template": (
        "test_templates.py::test_the_day_is_in_a_runs_record_and_in_its_prompts_also_after_a_resume"
    ),
    "engine.device": "test_dry_run.py::test_a_dry_run_finds_a_device_that_is_not_there_and_what_a_template_refuses",
    "engine.share_prefixes": (
        "test_engine_settings.py::test_prompts_are_computed_once_for_a_group_where_share_prefixes_says_so"
    ),
    "engine.gradient_checkpointing": (
        "test_engine_settings.py::test_layers_are_computed_again_in_training_where_gradient_checkpointing_says_so"
    ),
    "engine.logit_chunk": ("test_engine_settings.py::test_no_more_logits_are_made_at_once_than_logit_chunk_says"),
    "engine.micro_batch_tokens": (
        "test_engine_settings.py::test_no_more_tokens_are_trained_at_once_than_micro_batch_tokens_says"
    ),
    "engine.quantize": ("test_adapters.py::test_four_bits_are_refused_in_one_line_where_they_cannot_be_had"),
    "engine.cuda_graphs": "test_fixed.py::test_an_engine_decodes_with_fixed_shapes_where_cuda_graphs_says_so",
    "engine.decode_batch": (
        "test_engine_settings.py::test_no_more_sequences_are_decoded_at_once_than_decode_batch_says"
    ),
}
"""What a run of a puzzle with a tiny model cannot show, each with a test that is about it."""
JUDGE = {
    "base_url": "test_judged_runs.py::test_a_judge_that_goes_down_stops_the_run_which_goes_on_as_if_it_had_not",
    "model": "test_llm_judge.py::test_the_judge_is_told_what_the_settings_say",
    "key_env": "test_llm_judge.py::test_no_key_is_found_before_any_call",
    "prompt": "test_llm_judge.py::test_the_judge_is_told_what_the_settings_say",
    "tells": "test_llm_judge.py::test_the_judge_is_told_what_the_settings_say",
    "show_answer": "test_llm_judge.py::test_the_judge_is_told_what_the_settings_say",
    "max_words": "test_llm_judge.py::test_the_judge_is_told_what_the_settings_say",
    "leak": "test_llm_judge.py::test_a_judge_that_leaks_is_told_so_and_may_answer_again",
    "format": "test_llm_judge.py::test_structured_output_is_asked_for_and_read",
    "temperature": "test_llm_judge.py::test_the_judge_is_told_what_the_settings_say",
    "max_tokens": "test_llm_judge.py::test_the_judge_is_told_what_the_settings_say",
    "limit_name": "test_llm_judge.py::test_the_judge_is_told_what_the_settings_say",
    "concurrency": "test_llm_judge.py::test_calls_run_side_by_side_up_to_the_limit",
    "requests_per_minute": "test_llm_judge.py::test_rates_are_kept_at_every_moment",
    "tokens_per_minute": "test_llm_judge.py::test_rates_are_kept_at_every_moment",
    "timeout": "test_llm_judge.py::test_whatever_the_endpoint_does_is_feedback_or_a_failure_with_its_cause",
    "retries": "test_llm_judge.py::test_what_passes_does_no_harm",
    "dollars_per_million_in": "test_llm_judge.py::test_the_budget_stops_the_run_before_it_is_passed",
    "dollars_per_million_out": "test_llm_judge.py::test_the_budget_stops_the_run_before_it_is_passed",
    "max_dollars": "test_llm_judge.py::test_the_budget_stops_the_run_before_it_is_passed",
    "max_total_tokens": "test_llm_judge.py::test_the_budget_stops_the_run_before_it_is_passed",
    "store": "test_judged_runs.py::test_a_run_survives_a_bad_judge_and_its_replay_is_the_same_to_the_last_bit",
    "replay": "test_llm_judge.py::test_a_replay_meets_the_same_failures_at_the_same_places_without_a_network",
}
"""Those of a judge, wherever one is set."""
TESTED_ELSEWHERE |= {f"{place}.{name}": test for place in ("judge", "evaluation.judge") for name, test in JUDGE.items()}
# A part's own settings are those of its task.
PARTS = {name for name in fields(RunConfig) if name.startswith("task.tasks.task.")}
THE_PARTS_TEST = "test_mixture.py::test_settings_of_a_part_reach_it"


def source_of_test(name: str) -> str:
    """The text of a test, decorators included; fails where there is none."""
    file, _, function = name.partition("::")
    text = (Path(__file__).parent / file).read_text()
    (node,) = [n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == function]
    first = min(node.lineno, *(decorator.lineno for decorator in node.decorator_list), node.lineno)
    return "\n".join(text.splitlines()[first - 1 : node.end_lineno])


def test_every_field_is_covered() -> None:
    shown = [set(CHANGES), set(TESTED_ELSEWHERE), PARTS]
    assert set(fields(RunConfig)) == set.union(*shown)
    assert sum(map(len, shown)) == len(set.union(*shown)), "a field is vouched for twice"


@pytest.mark.parametrize("field", sorted(TESTED_ELSEWHERE))
def test_a_test_that_vouches_for_a_field_is_there_and_sets_it(field: str) -> None:
    setting = field.rpartition(".")[2]
    assert re.search(rf"\b{setting}\b", source_of_test(TESTED_ELSEWHERE[field])), TESTED_ELSEWHERE[field]


def test_the_parts_of_a_mixture_have_the_settings_of_tasks() -> None:
    assert source_of_test(THE_PARTS_TEST)
    tasks = {name.removeprefix("task.") for name in fields(RunConfig) if name.startswith("task.")}
    assert {name.removeprefix("task.tasks.task.") for name in PARTS} <= tasks


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
    files = {
        name: (path / name).read_bytes()
        for name in ("metrics.jsonl", "rollouts.jsonl", "samples.jsonl", "evaluations.jsonl")
    }
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
