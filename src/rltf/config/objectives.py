"""Settings of the methods."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from rltf.config.section import Positive, Probability, Rate, Section
from rltf.config.table import Table
from rltf.support.templates import fields
from rltf.types import Policy

Floor: TypeAlias = Annotated[float, Field(le=0, allow_inf_nan=False)]
_OF_THE_FLOOR = {"initial_logprob_floor", "floor_on", "floor_for"}


class ImitationConfig(Section):
    """Raise pi(y1 | x0) for revised answers y1."""

    coefficient: Rate = 1.0
    """Multiplies the distillation term. Not set: 1, or the paper's 0.1 for models from 1,000 million parameters on."""
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
    logprob_floor: Floor | None = -5.0
    """Tokens of y1 less likely than this (in nats, given x0) are left out of the term. "none": off."""
    initial_logprob_floor: Floor | None = None
    """Set: the floor runs linearly from this value to `logprob_floor` over the run."""
    floor_on: Literal["logprob", "ratio"] = "logprob"
    """What the floor is held against: log pi(y1 token given x0), or how much less that is than given x1, where the
    token was sampled. With `ratio` a token that is unlikely under both prompts stays."""

    @model_validator(mode="after")
    def _clip(self) -> ImitationConfig:
        if self.clip_low > self.clip_high:
            raise ValueError(f"clip_low={self.clip_low} is above clip_high={self.clip_high}; lower clip_low")
        if self.ratio == "full" and self.ratio_denominator != "feedback_conditioned":
            raise ValueError("ratio=full is the weight pi(y1|x0)/pi(y1|x1); set ratio_denominator=feedback_conditioned")
        if self.ratio == "full" and self.logprob_floor is not None:
            raise ValueError("ratio=full is unbiased only without masked tokens; set logprob_floor=none")
        return self

    @model_validator(mode="after")
    def _floor(self) -> ImitationConfig:
        if self.logprob_floor is None:
            for name in _OF_THE_FLOOR & type(self).model_fields.keys():
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} is read where there is a floor; set logprob_floor, or remove {name}")
        return self


class DistillationConfig(ImitationConfig):
    """RLTF-SD: weight the revisions with their advantage over a baseline."""

    baseline: Literal["first_turn", "second_turn"] = "first_turn"
    """What a revision's reward is compared with: the group's first attempts, or its revisions."""
    floor_for: Literal["all", "negative"] = "all"
    """Which revisions the floor masks tokens of: all, or those with a negative advantage alone. Pushing down what is
    improbable makes runs collapse; what the feedback brought anew is improbable too, and with `negative` is learned."""


class FeedbackModelConfig(Section):
    """RLTF-FM: predict the feedback."""

    coefficient: Rate = 0.05
    """Multiplies the cross-entropy of the feedback's tokens; its meaning depends on `normalize`. Neither set: 0.2 of
    the mean for models above 10 million parameters."""
    initial_coefficient: Rate | None = None
    """Set: the coefficient runs linearly from this value to `coefficient` over the run."""
    normalize: Literal["token_sum", "token_mean"] = "token_sum"
    """Sum the cross-entropy over a feedback's tokens, or take its mean."""
    given: Literal["attempt", "question"] = "attempt"
    """What the feedback is predicted from: the conversation with the attempt, or the question alone
    (`prompts.lesson_request`). The latter is for feedback that holds a lesson for other attempts too."""
    most_solved: Probability = 1.0
    """Only in groups of whose first attempts at most this share is right."""


class TokenDistillationConfig(Section):
    """SDPO and SDFT: move the policy towards a teacher at every token of its own attempts."""

    coefficient: Rate = 1.0
    """Multiplies the term."""
    initial_coefficient: Rate | None = None
    """Set: the coefficient runs linearly from this value to `coefficient` over the run."""
    teacher: Policy = "average"
    """Whose weights the teacher has: the policy's own of this step (`current`), those before training (`initial`), or
    their running average (`average`, see `trainer.average_decay`). A live teacher can collapse together with
    its pupil."""
    divergence: Literal["jensen_shannon", "forward_kl", "reverse_kl"] = "jensen_shannon"
    """Between teacher and policy: `forward_kl` is KL(teacher, policy), `reverse_kl` the other way."""
    top: Positive = 20
    """So many of the teacher's most likely tokens are compared one by one, all others as one outcome."""
    normalize: Literal["token_sum", "token_mean"] = "token_mean"
    """Sum the divergence over an attempt's tokens, or take its mean."""


class PolicyGradientConfig(Section):
    """What every objective shares: the policy gradient on the turns themselves."""

    needs_feedback: ClassVar[bool] = True
    """Whether it learns from feedback, or from what comes after it."""
    learns_revisions: ClassVar[bool] = True
    """Whether it learns from attempts after the first: its default horizon is then 2, else 1."""
    learns_feedback_itself: ClassVar[bool] = False
    """Whether feedback teaches it something also where no attempt follows."""

    gamma: Probability = 0.1
    """Discount between turns: R_0 = r_0 + gamma r_1."""
    normalize_std: bool = False
    """Divide a group's advantages by their standard deviation."""
    format_penalty: Rate = 0.1
    """Taken from the reward of an attempt without a well-formed answer."""
    policy_coefficient: Rate = 1.0
    """Multiplies the policy-gradient term."""
    self_feedback_coefficient: Rate = 1.0
    """Multiplies the policy gradient on feedback that the policy wrote itself, which the next attempt rewards."""
    policy_loss: Literal["importance_sampling", "ppo", "cispo"] = "importance_sampling"
    """How the ratio to the sampling policy enters, once several optimiser steps are taken per batch."""
    policy_clip_low: Annotated[float, Field(ge=0)] = 0.8
    """Lower absolute bound of the ratio for `ppo` and `cispo`."""
    policy_clip_high: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.2
    """Upper absolute bound of the ratio for `ppo` and `cispo`."""
    sampler_ratio_cap: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Set (2 is usual): weight each token that the policy wrote with min(pi / pi of the sampler, this), and take the
    ratio of the loss to pi as the trainer computed it before the step. For samplers that round otherwise than the
    trainer. "none": off."""
    entropy_coefficient: Rate = 0.0
    """Bonus per sampled token for the entropy of the policy there. 0: off."""
    kl_coefficient: Rate = 0.0
    """Penalty on each turn's reward per nat of log pi - log pi_initial of the attempt. 0: off."""

    @model_validator(mode="after")
    def _kl(self) -> PolicyGradientConfig:
        if self.kl_coefficient > 0 and self.policy_coefficient == 0:
            raise ValueError(
                f"kl_coefficient={self.kl_coefficient} acts in the policy gradient's reward, which "
                "policy_coefficient=0 turns off; set one of the two otherwise"
            )
        return self

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
    learns_revisions: ClassVar[bool] = False
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

    learns_feedback_itself: ClassVar[bool] = True
    name: Literal["rltf_fm"]
    fm: FeedbackModelConfig = FeedbackModelConfig()


class RltfSdFmConfig(PolicyGradientConfig):
    """Policy gradient, self distillation and feedback modelling."""

    name: Literal["rltf_sd_fm"]
    sd: DistillationConfig = DistillationConfig()
    fm: FeedbackModelConfig = FeedbackModelConfig()


class SdpoConfig(PolicyGradientConfig):
    """Token by token towards the policy that has read the feedback, on the attempt itself (SDPO)."""

    learns_revisions: ClassVar[bool] = False
    learns_feedback_itself: ClassVar[bool] = True
    name: Literal["sdpo"]
    policy_coefficient: Rate = 0.0
    """Multiplies the policy-gradient term, which SDPO does without."""
    distil: TokenDistillationConfig = TokenDistillationConfig()
    fm: FeedbackModelConfig | None = None
    """Set: predict the feedback beside (SELF, arXiv 2610.11384, does so with `normalize="token_mean"`,
    `coefficient=0.2` and `distil.divergence="reverse_kl"`)."""


class SdftConfig(PolicyGradientConfig):
    """Token by token towards the policy that has read the task's own answer (SDFT). Never sees feedback."""

    needs_feedback: ClassVar[bool] = False
    learns_revisions: ClassVar[bool] = False
    name: Literal["sdft"]
    policy_coefficient: Rate = 0.0
    """Multiplies the policy-gradient term, which SDFT does without."""
    distil: TokenDistillationConfig = TokenDistillationConfig()
    demonstration: str = (
        "{question}\n\nA right answer is:\n{answer}\n\n"
        "Answer the question afresh, as if for the first time, without mentioning that answer."
    )
    """What the teacher reads in place of the question; a template with `{question}` and `{answer}`."""

    @field_validator("demonstration")
    @classmethod
    def _fields(cls, text: str) -> str:
        if fields(text) != {"question", "answer"}:
            raise ValueError("needs the fields {question} and {answer}, and no other")
        return text


class UserMethodConfig(PolicyGradientConfig):
    """A method in a Python file of yours, beside the policy gradient."""

    learns_feedback_itself: ClassVar[bool] = True
    name: Literal["user"] = "user"
    path: Annotated[str, Field(pattern=r".+\.py:\w+$")]
    """`path/to/file.py:name`: a function there takes the settings and a `Context` and returns terms."""
    settings: Table[Any] = Table()
    """Settings of the function's own, `objective.settings.NAME=value`, checked against the types that it declares."""


ObjectiveConfig: TypeAlias = Annotated[
    GrpoConfig
    | GrpoMultiConfig
    | RltfSdConfig
    | RltfFmConfig
    | RltfSdFmConfig
    | RejectionSamplingConfig
    | SdpoConfig
    | SdftConfig
    | UserMethodConfig,
    Field(discriminator="name"),
]
