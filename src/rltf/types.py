"""The records that travel through a run, from problem to weighted training sample.

Only the standard library and numpy are imported here. Array names end in their axes:
`_T` token of a completion, `_G` member of a group, `_B` sequence of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]
IntArray: TypeAlias = NDArray[np.int64]
Role: TypeAlias = Literal["system", "user", "assistant"]
Split: TypeAlias = Literal["train", "validation", "test"]
Policy: TypeAlias = Literal["current", "initial", "average"]
"""Under which weights: those that are trained, those before any training, or their running average."""
LossName: TypeAlias = Literal[
    "cross_entropy", "importance_sampling", "ppo", "cispo", "forward_kl", "reverse_kl", "jensen_shannon"
]
RATIO_LOSSES: frozenset[LossName] = frozenset({"importance_sampling", "ppo", "cispo"})
"""Those that compare with `old_logprobs`."""
DIVERGENCES: frozenset[LossName] = frozenset({"forward_kl", "reverse_kl", "jensen_shannon"})
"""Those that compare whole distributions, with `targets`."""
Tokens: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a conversation. `content` is untrusted unless a template wrote it."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One instance of a task."""

    task: str
    split: Split
    index: int
    prompt: str
    """The full question, x0 in the paper, as the model sees it."""
    answer: str
    """The gold answer in the task's own notation. The policy sees it only where `feedback.source=answer` or `sdft`
    shows it on purpose."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the task needs to score and to explain; opaque to everything else."""
    before: tuple[Message, ...] = ()
    """The conversation that leads up to the question, for a question out of the midst of one."""
    kinds: tuple[str, ...] = ()
    """What kinds of problem it is of, by which evaluations give figures too; empty where the task knows none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A task's verdict on one attempt."""

    reward: float
    """In [0, 1]; r_h in the paper."""
    correct: bool
    """Full reward: ends the episode under early termination."""
    well_formed: bool
    """False where no answer could be extracted."""
    answer: str | None
    """The extracted answer in normal form, None where there is none."""
    explanation: str
    """Why the score is what it is, for people. It may name the gold answer: never show it to the policy."""
    criticism: str | None = None
    """What the judge that gave the score says about the attempt, for the policy; None where a program gave it."""
    of_fragment: Score | None = None
    """Of an attempt that the token limit cut: the verdict on what there is, for feedback alone. None where
    `rollout.cut_attempts` does not ask for it."""


FailureCause: TypeAlias = Literal[
    "connection",  # the endpoint could not be reached
    "timeout",
    "rate_limited",  # still, after all retries
    "server_error",  # an HTTP status of 500 or more, or a body that is no answer
    "refused",  # another HTTP status of 400 or more, or the judge said that it will not
    "content_filter",  # a filter of the endpoint's took the answer away
    "token_limit",  # the token limit cut the answer
    "unparseable",  # an answer not in the form asked for
    "empty",
    "too_long",
    "leak",  # the answer gives the gold answer away
    "language",  # not in the script of the question
    "raised",  # the user's function raised, or gave something that is no text
    "nothing_to_say",  # the user's function gave none on purpose
    "context",  # the request is longer than the source can read
    "no_other_problem",
    "other",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackFailure:
    """A source was asked, for feedback or for a score, and gave nothing usable.

    Recorded; never turned into a reward or into text.
    """

    cause: FailureCause
    """The kind of failure, which metrics count."""
    reason: str
    """What happened, for people."""
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """Text that a source wrote about one attempt; c_h in the paper."""

    text: str
    source: str
    """Which source wrote it, e.g. `rules:located`."""
    prompt_tokens: Tokens | None = None
    """What the policy was asked, where it wrote the feedback itself."""
    completion: Completion | None = None
    """What the policy sampled, where it wrote the feedback itself."""
    stands_for: FeedbackFailure | None = None
    """The failure that this text stands in for, where the failure policy gives a text instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackRequest:
    """What a source of feedback sees: the actual attempt, its score, and the turns before it."""

    problem: Problem
    attempt: str
    score: Score
    truncated: bool = False
    """The token limit cut the attempt."""
    history: tuple[Turn, ...] = ()
    messages: tuple[Message, ...] = ()
    """The conversation behind which feedback is asked for: the one that the attempt answers, or the question alone."""
    sibling: int = 0
    """Index of the rollout in its group."""
    repeat: int = 0
    """How many groups before its own, of those that are collected together, are about the same problem."""


class Finish(StrEnum):
    """How a completion ended."""

    STOP = "stop"
    LENGTH = "length"
    """The token limit cut it: recorded, and never read as a deliberate end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """Tokens an engine sampled after one prompt."""

    tokens: Tokens
    """Includes the end-of-turn token where the model wrote one."""
    logprobs: FloatArray
    """Log-probability of each token under the sampling policy, shape `[T]`, nats."""
    finish: Finish
    version: int = 0
    """Optimiser steps that the policy had taken which sampled it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How to sample."""

    max_tokens: int
    temperature: float = 1.0
    """0 is greedy; the log-probabilities are then those at temperature 1."""


class Generate(Protocol):
    """The only thing that sources of feedback and rollouts know of an engine."""

    def __call__(
        self, prompts: Sequence[Tokens], n: int, sampling: SamplingParams, seeds: Sequence[int]
    ) -> list[list[Completion]]:
        """`n` completions of each prompt, drawn from the prompt's own seed."""
        ...


@dataclass(slots=True, kw_only=True)
class Turn:
    """One attempt with all that belongs to it."""

    messages: tuple[Message, ...]
    """The conversation the attempt answers; x_h in the paper."""
    prompt_tokens: Tokens
    completion: Completion
    """y_h as tokens."""
    text: str
    """y_h as text, without control tokens, as scorers and sources of feedback read it."""
    score: Score
    feedback: Feedback | FeedbackFailure | None = None
    """c_h. None where none was asked for (a solved attempt, the last turn)."""
    thinking: str = ""
    """The thinking block before the text, where nobody is to read it (`prompts.thinking = unscored`)."""
    sampled: bool = True
    """Whether the policy wrote it. A response from a log has no log-probabilities and no policy gradient."""
    judged_after: tuple[Message, ...] | None = None
    """The conversation behind which feedback on the attempt is asked for, where it is not the one that it answers."""

    @property
    def feedback_messages(self) -> tuple[Message, ...]:
        """The conversation behind which feedback on the attempt is asked for."""
        return self.messages if self.judged_after is None else self.judged_after


class RolloutStatus(StrEnum):
    """Why a rollout ended."""

    SOLVED = "solved"
    HORIZON = "horizon"
    FEEDBACK_FAILED = "feedback_failed"
    PROMPT_TOO_LONG = "prompt_too_long"
    SCORE_FAILED = "score_failed"
    """The judge that scores gave no score for the attempt that would have been next."""


@dataclass(slots=True, kw_only=True)
class Rollout:
    """One episode: up to `horizon` turns on one problem."""

    problem: Problem
    turns: list[Turn]
    status: RolloutStatus = RolloutStatus.HORIZON


@dataclass(frozen=True, slots=True, kw_only=True)
class UnscoredAttempt:
    """An attempt that got no score. Nothing is trained on it."""

    sibling: int
    turn: int
    text: str
    tokens: int
    failure: FeedbackFailure


@dataclass(slots=True, kw_only=True)
class RolloutGroup:
    """The N sibling rollouts of one problem, less those whose first attempt got no score."""

    problem: Problem
    rollouts: list[Rollout]
    unscored: list[UnscoredAttempt] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a method asks an engine: how likely a policy finds a completion after a prompt."""

    prompt_tokens: Tokens
    completion_tokens: Tokens
    policy: Policy = "current"
    top: int = 0
    """Also give the so many most likely tokens at each position of the completion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDistributions:
    """At each position of a completion, the most likely tokens and their log-probabilities; what these leave of 1 is
    the probability of all other tokens together."""

    tokens_TK: IntArray
    logprobs_TK: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An engine's answer to a `Query`, at the temperature that is trained."""

    logprobs_T: FloatArray
    """Log-probability of each token of the completion, shape `[T]`, in nats."""
    top: TokenDistributions | None = None
    """Where the query asked for it, shapes `[T, K]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSample:
    """One sequence with a weight per completion token: all that a method says to an engine.

    The loss is summed over tokens: `cross_entropy` is `-w log pi`; `importance_sampling` is `-w r`;
    `ppo` is `-min(w r, w clip(r))`; `cispo` is `-w stop_grad(clip(r)) log pi`, with
    `r = exp(log pi - old_logprobs)`; `forward_kl`, `reverse_kl` and `jensen_shannon` are `w` times the divergence
    between `targets` and the policy's distribution there.

    Raises `ValueError` where the parts do not fit together.
    """

    prompt_tokens: Tokens
    completion_tokens: Tokens
    weights: FloatArray
    """Signed weight per completion token, shape `[T]`: advantage times coefficient, 0 where masked."""
    loss: LossName
    old_logprobs: FloatArray | None = None
    """The denominator of the ratio, shape `[T]`; required by the losses with a ratio, refused by the others."""
    clip: tuple[float, float] = (0.8, 1.2)
    """Absolute bounds of the ratio, for `ppo` and `cispo`."""
    targets: TokenDistributions | None = None
    """The distributions to move towards, shapes `[T, K]`; required by the divergences, refused by the others."""
    sampling_logprobs: FloatArray | None = None
    """Where the policy itself wrote the completion after this prompt: its log-probabilities then, shape `[T]`. The
    engine measures entropy and the gap between sampler and trainer on these samples."""
    entropy_weight: float = 0.0
    """Bonus per token for the policy's entropy, on the completion's tokens."""
    value: float | None = None
    """What the weights rest on, such as the attempt's return, before a baseline is taken from it: for the record."""
    baseline: float | None = None
    """What `value` is compared with: for the record."""
    teacher_logprobs: FloatArray | None = None
    """Log-probabilities of the completion under the prompt that the teacher reads, shape `[T]`: for the record."""
    component: str
    """Which term of the objective this is, such as `policy` or `distillation`, for metrics and records."""
    rollout: int
    """Index of the rollout in its group, for the record."""
    turn: int
    """Index of the turn in its rollout, for the record."""

    def __post_init__(self) -> None:
        length = len(self.completion_tokens)
        if not self.prompt_tokens or not length:
            raise ValueError(f"{self._name}: prompt and completion need a token each")
        per_token = {"weights": self.weights, "old_logprobs": self.old_logprobs, "sampling": self.sampling_logprobs}
        for name, values in per_token.items():
            if values is not None and values.shape != (length,):
                raise ValueError(f"{self._name}: {name} has shape {values.shape}, the completion has {length} tokens")
        if (self.old_logprobs is not None) != (self.loss in RATIO_LOSSES):
            has = "needs" if self.old_logprobs is None else "takes no"
            raise ValueError(f"{self._name}: the loss {self.loss} {has} old_logprobs")
        if (self.targets is not None) != (self.loss in DIVERGENCES):
            has = "needs" if self.targets is None else "takes no"
            raise ValueError(f"{self._name}: the loss {self.loss} {has} targets")
        if self.targets is not None:
            shapes = {self.targets.tokens_TK.shape, self.targets.logprobs_TK.shape}
            if len(shapes) > 1 or len(next(iter(shapes))) != 2 or next(iter(shapes))[0] != length:
                raise ValueError(f"{self._name}: targets have shapes {shapes}, the completion has {length} tokens")
        if not 0 <= self.clip[0] <= self.clip[1]:
            raise ValueError(f"{self._name}: clip={self.clip} are no bounds of a ratio")

    @property
    def _name(self) -> str:
        return f"a sample of {self.component!r} (rollout {self.rollout}, turn {self.turn})"


def turn_name(index: int) -> str:
    """What the attempts at a turn are called in metrics and records: `first_turn` for index 0, and so on."""
    return f"{_ORDINALS[index]}_turn" if index < len(_ORDINALS) else f"turn_{index + 1}"


_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
