"""The whole of a run's settings: strict, typed, with the defaults of the main job.

A field that is unknown, of the wrong type or in conflict with another is refused when the config is read,
before any work. Each string under a field is its documentation. `tests/test_config_alive.py` proves that
every field has an effect.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rltf.config.engines import EngineConfig, TinkerEngineConfig, TorchEngineConfig
from rltf.config.feedback import FeedbackConfig, JudgeConfig
from rltf.config.log import LogConfig
from rltf.config.objectives import (
    ObjectiveConfig,
    RltfSdConfig,
    RltfSdFmConfig,
    SdftConfig,
    SdpoConfig,
    UserMethodConfig,
)
from rltf.config.prompts import PromptsConfig
from rltf.config.records import RecordsConfig
from rltf.config.sampler import SamplerConfig
from rltf.config.section import NonNegative, Positive, Rate, Section
from rltf.config.tasks import TASK_SECTIONS, BinaryMatrixConfig, MixtureConfig, TaskConfig, default_name, single_tasks

SPECIAL_LEVELS = frozenset(level for task in TASK_SECTIONS.values() for level in task.special_levels)


class RolloutConfig(Section):
    """How episodes run."""

    horizon: Annotated[int, Field(ge=1)] | None = None
    """Attempts per episode. Unset: 1 for methods that learn from first attempts alone (`grpo`, `sdpo`, `sdft`), and 2
    otherwise."""
    early_termination: bool = True
    """End an episode at its first correct attempt."""
    feedback_on_correct: bool = False
    """Ask for feedback on correct attempts too (for feedback modelling, or to go on after success)."""
    feedback_on_last: bool | None = None
    """Ask for feedback on the last turn's attempts too, which only methods can use that learn from the feedback itself.
    Unset: for `sdpo`, whose first attempt is the last, yes, otherwise no."""
    conversation: Literal["continued", "newest", "single_message"] = "continued"
    """A later prompt continues the conversation (`continued`), or holds the question, the newest attempt and its
    feedback alone, as a conversation (`newest`) or in one message (`single_message`)."""
    max_new_tokens: Positive = 32
    """Token limit of one attempt. Not set: 32 for the built-in model, larger ones by the task."""
    cut_attempts: Literal["told", "criticised"] = "told"
    """What feedback says of an attempt that the token limit cut: that it was cut (`told`), or also what is wrong with
    what there is (`criticised`), which is scored for that alone. Its reward is 0 either way."""
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Sampling temperature; the policy that is trained is the one at this temperature."""

    @model_validator(mode="after")
    def _feedback_for_solved(self) -> RolloutConfig:
        if not self.early_termination and not self.feedback_on_correct:
            raise ValueError(
                "early_termination=false goes on after correct attempts, which needs feedback on them; "
                "set rollout.feedback_on_correct=true"
            )
        return self


class TrainerConfig(Section):
    """The loop and the optimiser."""

    steps: Positive = 200
    """Batches of rollouts to train on."""
    groups_per_batch: Positive = 16
    """Problems per step. Not set: by the model's size."""
    group_size: Annotated[int, Field(gt=0, le=10_000)] = 8
    """Rollouts per problem (N)."""
    minibatches: Positive = 2
    """Optimiser steps per batch; each takes an equal share of the batch's groups. Not set: 2 for the built-in
    model, 1 for larger ones."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 4e-4
    """Peak learning rate of AdamW. Not set: 4e-4 for the built-in model, others by size and adapters
    (docs/your_model.md)."""
    warmup_steps: NonNegative | None = None
    """Steps over which the learning rate rises linearly from 0. Unset: 10, or a tenth of `steps` if that is fewer."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """How the learning rate goes on after warm-up: constant, or down towards 0, which it would reach one
    step after the last."""
    weight_decay: Rate = 0.0
    """Decoupled weight decay of AdamW."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """AdamW's decay of the first moment."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """AdamW's decay of the second moment."""
    average_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """How much of the averaged policy each optimiser step keeps, for methods that ask it (`sdpo`, `sdft`)."""
    max_grad_norm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = 1.0
    """Gradients are scaled down to this norm. "none": off."""
    sampler_gap_tolerance: Rate = 0.2
    """An alarm is raised where the policy as it samples and as it is trained differ by more, in nats per token
    (`policy/sampler_gap`): rounding, or a sampler with other weights."""
    save_every: NonNegative = 50
    """Steps between checkpoints; 0 saves only at the end, or where a stop is asked for."""
    keep_checkpoints: Positive = 2
    """How many of the newest checkpoints stay on disk."""

    @model_validator(mode="after")
    def _warmup(self) -> TrainerConfig:
        if self.warmup_steps is None:
            object.__setattr__(self, "warmup_steps", min(10, self.steps // 10))
        elif self.warmup_steps > self.steps:
            raise ValueError(
                f"warmup_steps={self.warmup_steps} is above steps={self.steps}, so the learning rate would never be "
                "reached; lower warmup_steps, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _minibatches(self) -> TrainerConfig:
        if self.groups_per_batch % self.minibatches:
            raise ValueError(
                f"minibatches={self.minibatches} does not divide groups_per_batch={self.groups_per_batch}; "
                "choose a divisor"
            )
        return self


class EvaluationConfig(Section):
    """How accuracy is measured before and after training, and on the way."""

    samples: Positive = 4
    """Rollouts per problem."""
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """Sampling temperature; 0 is greedy."""
    every: NonNegative = 0
    """Steps between evaluations on the validation split during training; 0 is never."""
    problems: Positive | None = None
    """Evaluate on the first so many problems of a split. "none": all."""
    usefulness: bool = False
    """Evaluate a second time with feedback that only says "incorrect": what the rest of the feedback is worth."""
    fluency: bool = False
    """Also measure how first attempts read: their log-probability before training, copies, words of the feedback. Of a
    model that trains all its weights it keeps a second copy."""
    judge: JudgeConfig | None = None
    """A second judge, for tasks that a judge scores: what it thinks of the first attempts shows whether training
    pleased the first judge alone. Nothing is trained on it."""
    keep_best: bool = True
    """Export the model that is best on the validation split so far to `best/` (needs `every`)."""


class RunConfig(Section):
    """One run. The defaults are the main job: the built-in model learns Binary Matrix with RLTF-SD."""

    seed: NonNegative = 0
    """Every random choice of the run follows from it."""
    task: TaskConfig = BinaryMatrixConfig()
    feedback: FeedbackConfig = FeedbackConfig()
    judge: JudgeConfig = JudgeConfig()
    log: LogConfig = LogConfig()
    prompts: PromptsConfig = PromptsConfig()
    rollout: RolloutConfig = RolloutConfig()
    objective: ObjectiveConfig = RltfSdConfig()
    engine: EngineConfig = TorchEngineConfig()
    sampler: SamplerConfig = SamplerConfig()
    trainer: TrainerConfig = TrainerConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    records: RecordsConfig = RecordsConfig()

    @model_validator(mode="before")
    @classmethod
    def _default_names(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        task = data.get("task")
        task_name = (default_name(task) if isinstance(task, dict) else None) or "binary_matrix"
        objective = data.get("objective")
        own = isinstance(objective, dict) and "path" in objective
        defaults = {"task": task_name, "objective": "user" if own else "rltf_sd", "engine": "torch"}
        named = {key: {"name": name, **data[key]} for key, name in defaults.items() if isinstance(data.get(key), dict)}
        return data | named

    @model_validator(mode="after")
    def _sampler(self) -> RunConfig:
        torch = self.engine if isinstance(self.engine, TorchEngineConfig) else None
        by_server = torch is not None and torch.sampler == "vllm"
        if by_server and self.sampler.url is None and self.sampler.python is None:
            raise ValueError("engine.sampler=vllm needs a server: set sampler.url, or sampler.python to start one")
        if not by_server and self.sampler != SamplerConfig():
            raise ValueError("sampler is set, but the learner's own model samples; set engine.sampler=vllm")
        if self.sampler.transfer != "file" and torch is not None and torch.lora is not None:
            raise ValueError(
                f"sampler.transfer={self.sampler.transfer} is for all weights, and a server reads the adapters of "
                "engine.lora from files; set sampler.transfer=file"
            )
        return self

    @model_validator(mode="after")
    def _special_levels(self) -> RunConfig:
        level = self.feedback.level
        if level in SPECIAL_LEVELS and not any(level in task.special_levels for task in single_tasks(self.task)):
            givers = ", ".join(name for name, task in TASK_SECTIONS.items() if level in task.special_levels)
            raise ValueError(
                f"feedback.level={level}: {self.task.name} gives no {level.removesuffix('s')}s, but {givers} may; set "
                "feedback.level=located"
            )
        return self

    @model_validator(mode="after")
    def _read_prompts(self) -> RunConfig:
        form, texts = self.rollout.conversation, type(self.prompts).model_fields
        unread, mend = (
            ("revision", "continued or newest") if form == "single_message" else ("single_message", "single_message")
        )
        if getattr(self.prompts, unread) != texts[unread].default:
            raise ValueError(
                f"prompts.{unread} is not read with rollout.conversation={form}; set that to {mend}, or "
                f"prompts.{unread}=none"
            )
        return self

    @model_validator(mode="after")
    def _per_task(self) -> RunConfig:
        labels = self.task.labels if isinstance(self.task, MixtureConfig) else []
        for name in self.feedback.per_task:
            if not labels:
                raise ValueError("feedback.per_task is for task.name=mixture; set feedback.source instead")
            if name not in labels:
                raise ValueError(f"feedback.per_task.{name}: the mixture has no such task, but {', '.join(labels)}")
        return self

    @model_validator(mode="after")
    def _judge(self) -> RunConfig:
        if self.asks_judge and self.judge.model is None:
            who = "feedback.source=llm"
            if self.judge_scores:
                who = f"task.name={self.task.name}" if self.task.judged else "log.score=judge"
            raise ValueError(f"judge.model is not set, which {who} asks; name the judge's model")
        if not self.asks_judge and self.judge != JudgeConfig():
            raise ValueError(
                f"judge is set, but feedback.source={self.feedback.source} never asks it; "
                "set feedback.source=llm or remove the section"
            )
        other = self.evaluation.judge
        if other is not None:
            if not self.task.judged:
                raise ValueError(f"evaluation.judge is set, but no judge scores {self.task.name}; remove the section")
            if other.model is None:
                raise ValueError("evaluation.judge.model is not set; name the second judge's model")
            if (other.base_url, other.model, other.prompt) == (
                self.judge.base_url,
                self.judge.model,
                self.judge.prompt,
            ):
                raise ValueError(f"evaluation.judge.model={other.model} is the first judge again; name another")
        return self

    @property
    def judge_scores(self) -> bool:
        """Whether attempts are scored by the judge, at least in part."""
        return self.task.judged or self.log.score == "judge"

    @property
    def asks_judge(self) -> bool:
        """Whether the run calls the judge at all."""
        return self.judge_scores or "llm" in self.feedback.asked

    @model_validator(mode="after")
    def _what_a_server_gives(self) -> RunConfig:
        if not isinstance(self.engine, TinkerEngineConfig):
            return self
        objective, instead = self.objective, "or train with engine.name=torch"
        if self.rollout.temperature != 1.0:
            raise ValueError(
                f"rollout.temperature={self.rollout.temperature}: engine.name=tinker gets log-probabilities at "
                f"temperature 1 alone; set rollout.temperature=1.0, {instead}"
            )
        if isinstance(objective, SdpoConfig | SdftConfig):
            raise ValueError(
                f"objective.name={objective.name} compares whole distributions of tokens, of which engine.name=tinker "
                f"trains the sampled token alone; set objective.name=rltf_sd, {instead}"
            )
        if objective.entropy_coefficient > 0:
            raise ValueError(
                f"objective.entropy_coefficient={objective.entropy_coefficient} reads all of the vocabulary, which "
                f"engine.name=tinker does not get; set objective.entropy_coefficient=0.0, {instead}"
            )
        return self

    @model_validator(mode="after")
    def _horizon(self) -> RunConfig:
        objective = self.objective
        rollout: dict[str, Any] = {}
        if self.rollout.horizon is None:
            rollout["horizon"] = 2 if objective.learns_revisions else 1
        if self.rollout.feedback_on_last is None:
            rollout["feedback_on_last"] = objective.needs_feedback and not objective.learns_revisions
        object.__setattr__(self, "rollout", self.rollout.model_copy(update=rollout))
        if self.log.path is None and self.log.score != "task":
            raise ValueError(f"log.score={self.log.score} without log.path has no effect; name the log")
        self._check_log_evaluation()
        if self.log.score != "judge" and self.log.passing_score != LogConfig().passing_score:
            raise ValueError("log.passing_score is read with log.score=judge alone; remove it")
        if self.log.path is not None:
            self._check_log()
        elif objective.needs_feedback and self.horizon < 2:
            if not objective.learns_feedback_itself:
                raise ValueError(
                    f"rollout.horizon=1 leaves {objective.name} nothing to learn from; set it to 2 or more"
                )
            if not self.rollout.feedback_on_last:
                raise ValueError(
                    f"rollout.horizon=1 leaves {objective.name} no feedback to learn from; set it to 2 or more, or "
                    "rollout.feedback_on_last=true"
                )
        if not objective.needs_feedback and self.horizon > 1:
            raise ValueError(
                f"objective.name={objective.name} is single-turn; remove rollout.horizon or use grpo_multi"
            )
        if self.trainer.group_size < 2 and objective.policy_coefficient > 0:
            raise ValueError(
                "trainer.group_size=1 makes every group advantage 0; set it to 2 or more, "
                "or objective.policy_coefficient=0"
            )
        return self

    def _check_log_evaluation(self) -> None:
        log, default = self.log, LogConfig()
        if log.path is None:
            for name in ("max_unusable", "evaluate_on", "held_out"):
                if getattr(log, name) != getattr(default, name):
                    raise ValueError(f"log.{name} without log.path has no effect; name the log, or remove it")
        elif log.evaluate_on == "log" and log.score in ("task", "none"):
            says = "scores nothing" if log.score == "none" else "is about the task's own problems"
            raise ValueError(f"log.evaluate_on=log: log.score={log.score} {says}; set log.score=answer or judge")
        elif log.held_out != default.held_out and (log.evaluate_on == "task" or log.score in ("task", "none")):
            raise ValueError("log.held_out is read where evaluations ask the log's questions; set log.evaluate_on=log")

    def _check_log(self) -> None:
        objective, log = self.objective, self.log
        if self.feedback.self_share > 0 or self.feedback.about != "attempt":
            raise ValueError(
                "feedback.self_share and feedback.about change the feedback on attempts of the policy; remove log.path"
            )
        if not objective.needs_feedback:
            raise ValueError(f"objective.name={objective.name} learns nothing from a log; use one that reads feedback")
        if self.horizon < 2 and not objective.learns_feedback_itself:
            raise ValueError(f"rollout.horizon=1 leaves {objective.name} no revisions; set it to 2, or use rltf_fm")
        if log.score == "none" and self.horizon > 1:
            raise ValueError(
                "log.score=none tells no good revision from a bad one; set log.score=task, answer or judge, or learn "
                "the feedback alone with objective.name=rltf_fm rollout.horizon=1"
            )
        if log.learns_logged_revisions:
            if not isinstance(objective, RltfSdConfig | RltfSdFmConfig):
                raise ValueError(f"log.score={log.score} weighs revisions by their reward; set objective.name=rltf_sd")
            if self.trainer.group_size > 1 or self.horizon > 2:
                raise ValueError(
                    f"log.score={log.score} learns one revision of each entry; set trainer.group_size=1, "
                    "objective.policy_coefficient=0 and rollout.horizon=2"
                )
            if objective.sd.ratio != "none" or objective.sd.baseline != "first_turn":
                raise ValueError(
                    f"log.score={log.score} has one revision that is not the policy's; set objective.sd.ratio=none and "
                    "objective.sd.baseline=first_turn"
                )

    @property
    def method(self) -> str:
        """What the method is called; one of the user's by the name of its function."""
        objective = self.objective
        return objective.path.rpartition(":")[2] if isinstance(objective, UserMethodConfig) else objective.name

    @property
    def horizon(self) -> int:
        """Attempts per episode, resolved."""
        assert self.rollout.horizon is not None
        return self.rollout.horizon
