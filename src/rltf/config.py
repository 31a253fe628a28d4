"""The whole of a run's settings: strict, typed, with the defaults of the main job.

A field that is unknown, of the wrong type or in conflict with another is refused when the config is read,
before any work. Each string under a field is its documentation. `tests/test_config_alive.py` proves that
every field has an effect.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive: TypeAlias = Annotated[int, Field(gt=0)]
NonNegative: TypeAlias = Annotated[int, Field(ge=0)]
Rate: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability: TypeAlias = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A strict, frozen group of settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _none_words(cls, data: Any) -> Any:
        """TOML has no null: the word none unsets a field that can be unset."""
        if not isinstance(data, dict):
            return data
        unset = {n for n, f in cls.model_fields.items() if type(None) in get_args(f.annotation)}
        return {k: None if v == "none" and k in unset else v for k, v in data.items()}


class BinaryMatrixConfig(Section):
    """Binary Matrix: distance of each cell to the nearest 0."""

    name: Literal["binary_matrix"] = "binary_matrix"
    min_side: Annotated[int, Field(ge=1, le=100)] = 4
    """Smallest side of the matrix."""
    max_side: Annotated[int, Field(ge=1, le=100)] = 4
    """Largest side of the matrix."""
    p_zero: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Probability that a cell is 0."""
    min_distance: NonNegative = 2
    """Only matrices with at least one distance this large; below 2, a copy of the question is often right."""
    train_size: Positive = 10_000
    """Distinct training problems."""
    validation_size: Positive = 200
    """Distinct problems for choosing settings and checkpoints; disjoint from the others."""
    test_size: Positive = 200
    """Distinct problems for the final figures; disjoint from the others."""
    data_seed: int = 0
    """Seed of the problems. Apart from the run's seed, so that runs with different seeds share one test."""

    @model_validator(mode="after")
    def _sides(self) -> BinaryMatrixConfig:
        if self.min_side > self.max_side:
            raise ValueError(f"min_side={self.min_side} is above max_side={self.max_side}; lower min_side")
        return self


TaskConfig: TypeAlias = BinaryMatrixConfig


class FeedbackConfig(Section):
    """Where the text feedback comes from."""

    source: Literal["rules"] = "rules"
    """`rules`: the task's own program reads the attempt."""
    level: Literal["located", "count", "correctness"] = "located"
    """How much the feedback says: where and how, how many errors, or only that it is wrong."""


class RolloutConfig(Section):
    """How episodes run."""

    horizon: Annotated[int, Field(ge=1)] | None = None
    """Attempts per episode. Unset: 1 for `grpo`, which is single-turn, and 2 otherwise."""
    early_termination: bool = True
    """End an episode at its first correct attempt."""
    feedback_on_correct: bool = False
    """Ask for feedback on correct attempts too (for feedback modelling, or to go on after success)."""
    feedback_on_last: bool = False
    """Ask for feedback on the last turn's attempts too, which only feedback modelling can use."""
    conversation: Literal["continued", "single_message"] = "continued"
    """Whether a later prompt continues the conversation or restates all in one message."""
    max_new_tokens: Positive = 32
    """Token limit of one attempt."""
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


class ImitationConfig(Section):
    """Raise pi(y1 | x0) for revised answers y1."""

    coefficient: Rate = 1.0
    """Multiplies the distillation term."""
    initial_coefficient: Rate | None = None
    """Set: the coefficient runs linearly from this value to `coefficient` over the run."""
    ratio: Literal["none", "full", "ppo", "cispo"] = "none"
    """Importance ratio: none (the paper's choice), the full sequence weight, or clipped per token."""
    ratio_denominator: Literal["student", "feedback_conditioned"] = "student"
    """Denominator of the `ppo` and `cispo` ratio: the sampling policy on x0, or on x1. `full` is
    defined with `feedback_conditioned` and requires it."""
    clip_low: Annotated[float, Field(ge=0)] = 0.8
    """Lower absolute bound of the ratio."""
    clip_high: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.2
    """Upper absolute bound of the ratio."""
    logprob_floor: Annotated[float, Field(le=0)] | None = -5.0
    """Tokens of y1 less likely than this (in nats, given x0) are left out of the term. "none": off."""

    @model_validator(mode="after")
    def _clip(self) -> ImitationConfig:
        if self.clip_low > self.clip_high:
            raise ValueError(f"clip_low={self.clip_low} is above clip_high={self.clip_high}; lower clip_low")
        if self.ratio == "full" and self.ratio_denominator != "feedback_conditioned":
            raise ValueError("ratio=full is the weight pi(y1|x0)/pi(y1|x1); set ratio_denominator=feedback_conditioned")
        return self


class DistillationConfig(ImitationConfig):
    """RLTF-SD: weight the revisions with their advantage over a baseline."""

    baseline: Literal["first_turn", "second_turn"] = "first_turn"
    """What a revision's reward is compared with: the group's first attempts, or its revisions."""


class FeedbackModelConfig(Section):
    """RLTF-FM: predict the feedback."""

    coefficient: Rate = 0.05
    """Multiplies the cross-entropy of the feedback's tokens; its meaning depends on `normalize`."""
    initial_coefficient: Rate | None = None
    """Set: the coefficient runs linearly from this value to `coefficient` over the run."""
    normalize: Literal["token_sum", "token_mean"] = "token_sum"
    """Sum the cross-entropy over a feedback's tokens, or take its mean."""


class PolicyGradientConfig(Section):
    """What every objective shares: the policy gradient on the turns themselves."""

    needs_feedback: ClassVar[bool] = True

    gamma: Probability = 0.1
    """Discount between turns: R_0 = r_0 + gamma r_1."""
    normalize_std: bool = False
    """Divide a group's advantages by their standard deviation."""
    format_penalty: Rate = 0.1
    """Taken from the reward of an attempt without a well-formed answer."""
    policy_coefficient: Rate = 1.0
    """Multiplies the policy-gradient term."""
    policy_loss: Literal["importance_sampling", "ppo", "cispo"] = "importance_sampling"
    """How the ratio to the sampling policy enters, once several optimiser steps are taken per batch."""
    policy_clip_low: Annotated[float, Field(ge=0)] = 0.8
    """Lower absolute bound of the ratio for `ppo` and `cispo`."""
    policy_clip_high: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.2
    """Upper absolute bound of the ratio for `ppo` and `cispo`."""
    entropy_coefficient: Rate = 0.0
    """Bonus per sampled token for the entropy of the policy there. 0: off."""
    kl_coefficient: Rate = 0.0
    """Penalty on each turn's reward per nat of log pi - log pi_initial of the attempt. 0: off."""

    @model_validator(mode="after")
    def _policy_clip(self) -> PolicyGradientConfig:
        if self.policy_clip_low > self.policy_clip_high:
            raise ValueError(
                f"policy_clip_low={self.policy_clip_low} is above policy_clip_high={self.policy_clip_high}; "
                "lower policy_clip_low"
            )
        return self


class GrpoConfig(PolicyGradientConfig):
    """Single-turn GRPO: the baseline that never sees feedback."""

    needs_feedback: ClassVar[bool] = False
    name: Literal["grpo"]


class GrpoMultiConfig(PolicyGradientConfig):
    """Multi-turn GRPO: policy gradient on every turn."""

    name: Literal["grpo_multi"]


class RltfSdConfig(PolicyGradientConfig):
    """Policy gradient and self distillation."""

    name: Literal["rltf_sd"] = "rltf_sd"
    sd: DistillationConfig = DistillationConfig()


class RejectionSamplingConfig(PolicyGradientConfig):
    """Policy gradient and imitation of the correct revisions alone (advantage 1 or 0)."""

    name: Literal["rejection_sampling"]
    sd: ImitationConfig = ImitationConfig()


class RltfFmConfig(PolicyGradientConfig):
    """Policy gradient and feedback modelling."""

    name: Literal["rltf_fm"]
    fm: FeedbackModelConfig = FeedbackModelConfig()


class RltfSdFmConfig(PolicyGradientConfig):
    """Policy gradient, self distillation and feedback modelling."""

    name: Literal["rltf_sd_fm"]
    sd: DistillationConfig = DistillationConfig()
    fm: FeedbackModelConfig = FeedbackModelConfig()


ObjectiveConfig: TypeAlias = Annotated[
    GrpoConfig | GrpoMultiConfig | RltfSdConfig | RltfFmConfig | RltfSdFmConfig | RejectionSamplingConfig,
    Field(discriminator="name"),
]


class LoraConfig(Section):
    """Low-rank adapters (needs the `lora` extra)."""

    rank: Positive = 32
    """Rank of the adapters."""
    alpha: Positive = 32
    """Scale of the adapters: their update is multiplied by alpha / rank."""
    target_modules: Literal["all-linear"] | list[str] = "all-linear"
    """Which modules get one."""


class TorchEngineConfig(Section):
    """Sampling and training in one process with PyTorch and transformers."""

    name: Literal["torch"] = "torch"
    model: Annotated[str, Field(min_length=1)] = "builtin"
    """`builtin`, a directory, or a hub name of a causal language model."""
    chat_template: str | None = None
    """A Jinja file to use in place of the tokenizer's chat template."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to run; `auto` takes CUDA, else MPS, else the CPU."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format of the weights."""
    lora: LoraConfig | None = None
    """Set: train adapters in place of all weights."""
    share_prefixes: bool = True
    """Compute a prompt once for all the sequences that begin with it. Off for models whose cache cannot
    be copied between sequences."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time. Excludes `share_prefixes`."""
    micro_batch_tokens: Positive | None = None
    """Most tokens (padding counted) that one forward pass takes. Changes speed and memory only. "none":
    2,048 on a CPU, whose caches are small, else 16,384."""
    decode_batch: Positive = 256
    """Most sequences that are sampled at the same time. Changes speed and memory only."""

    @model_validator(mode="after")
    def _checkpointing(self) -> TorchEngineConfig:
        if self.gradient_checkpointing and self.share_prefixes:
            raise ValueError("gradient_checkpointing=true recomputes without a cache; set engine.share_prefixes=false")
        return self


EngineConfig: TypeAlias = TorchEngineConfig


class TrainerConfig(Section):
    """The loop and the optimiser."""

    steps: Positive = 150
    """Batches of rollouts to train on."""
    groups_per_batch: Positive = 16
    """Problems per step."""
    group_size: Positive = 8
    """Rollouts per problem (N)."""
    minibatches: Positive = 2
    """Optimiser steps per batch; each takes an equal share of the batch's groups."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 4e-4
    """Peak learning rate of AdamW."""
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
    max_grad_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Gradients are scaled down to this norm. "none": off."""
    save_every: NonNegative = 50
    """Steps between checkpoints; 0 saves only at the end."""
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


class RunConfig(Section):
    """One run. The defaults are the main job: the built-in model learns Binary Matrix with RLTF-SD."""

    seed: NonNegative = 0
    """Every random choice of the run follows from it."""
    task: TaskConfig = BinaryMatrixConfig()
    feedback: FeedbackConfig = FeedbackConfig()
    rollout: RolloutConfig = RolloutConfig()
    objective: ObjectiveConfig = RltfSdConfig()
    engine: EngineConfig = TorchEngineConfig()
    trainer: TrainerConfig = TrainerConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="before")
    @classmethod
    def _default_objective(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("objective"), dict):
            return {**data, "objective": {"name": "rltf_sd", **data["objective"]}}
        return data

    @model_validator(mode="after")
    def _horizon(self) -> RunConfig:
        objective = self.objective
        if self.rollout.horizon is None:
            rollout = self.rollout.model_copy(update={"horizon": 2 if objective.needs_feedback else 1})
            object.__setattr__(self, "rollout", rollout)
        if objective.needs_feedback and self.horizon < 2:
            raise ValueError(f"rollout.horizon=1 leaves {objective.name} nothing to learn from; set it to 2 or more")
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

    @property
    def horizon(self) -> int:
        """Attempts per episode, resolved."""
        assert self.rollout.horizon is not None
        return self.rollout.horizon
