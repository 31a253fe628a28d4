"""What a run writes down of its rollouts and evaluations, as types that write and read the same JSON.

`to_json` gives plain values for one line of a JSONL file. `from_json` takes such a line back, and those of runs of
version 0.1, whose first attempts were called `turn0` or `single_turn`. It raises `ValueError` where a value is not what
a run writes there; what later versions may add is passed over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from rltf.types import Role, Split, turn_name

FORMAT = 2
"""Of a run's directory. 1 is version 0.1's, which named first attempts otherwise."""
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRecord:
    """One message of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRecord:
    """The verdict on an attempt."""

    reward: float
    correct: bool
    well_formed: bool
    answer: str | None
    explanation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackRecord:
    """What a source gave: a text, a failure, or a text that stands in for a failure."""

    source: str
    text: str | None = None
    cause: str | None = None
    """The kind of failure, where there was one."""
    failure: str | None = None
    """What happened, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightRecord:
    """How an attempt was trained by one component of the objective."""

    weight: float
    """That of its unmasked tokens; of the first of them, where they differ."""
    masked_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRecord:
    """One attempt."""

    prompt: Sequence[MessageRecord]
    """The messages that came since the last turn."""
    text: str
    status: str
    """How the attempt ended: `stop`, or `length` where the token limit cut it."""
    score: ScoreRecord
    feedback: FeedbackRecord | None
    prompt_tokens: int
    completion_tokens: int
    logprob: float
    """Of the whole attempt under the policy that sampled it, nats."""
    weights: Mapping[str, WeightRecord] = field(default_factory=dict)
    """By component of the objective. Empty in an evaluation."""
    thinking: str | None = None
    """A block of thinking that stood before `text`, where the scorer does not read it (`prompts.thinking`)."""
    version: int | None = None
    """Optimiser steps that the policy had taken which sampled it. None in runs of version 0.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRecord:
    """One rollout; or, with `failure`, an attempt that got no score and so is in no turn."""

    task: str
    split: Split
    problem: int
    status: str
    turns: Sequence[TurnRecord]
    """Empty for an attempt without a score."""
    answer: str | None = None
    """The problem's right answer."""
    step: int | None = None
    """None in an evaluation."""
    group: int | None = None
    """Index of its group in the step. None in an evaluation, and in runs of version 0.1."""
    rollout: int | None = None
    """Index in its group."""
    turn: int | None = None
    """Of an attempt without a score: at which turn it was made."""
    text: str | None = None
    """What such an attempt says."""
    failure: FeedbackRecord | None = None
    """Why it has none."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is None stands in no line."""
        return {name: value for name, value in _plain(self).items() if value is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RolloutRecord:
        """From a line of rollouts.jsonl."""
        return _typed(cls, data)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRecord:
    """A training sample, token by token: how much each token was pushed, and how likely it was before that."""

    component: str
    """The term of the objective that it belongs to."""
    loss: str
    rollout: int
    """Index in its group of the rollout that it comes from."""
    turn: int
    value: float | None
    """What the weights rest on, such as the attempt's return, where the term says so."""
    baseline: float | None
    """What `value` is compared with, such as the mean over the siblings."""
    tokens: Sequence[str]
    """The text of each token of the completion, control tokens too."""
    weights: Sequence[float]
    """Of each token; 0 where it is masked."""
    plain: Sequence[float | None] | None
    """Log-probability of each token after the question alone, under the policy that made the step's rollouts; None
    where it was not asked for: for feedback that is learned, and where the prompt outgrows the model's context."""
    feedback: Sequence[float | None] | None
    """The same after question, attempt and feedback (with `sdft`, after the demonstration)."""
    own: Sequence[float | None] | None
    """The same after the sample's own prompt, where it is neither of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSamples:
    """The recorded training samples of one group of a step, all or those of its first rollouts."""

    step: int
    group: int
    """As in the records of its rollouts."""
    task: str
    problem: int
    samples: Sequence[SampleRecord]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return _plain(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GroupSamples:
        """From a line of samples.jsonl."""
        return _typed(cls, data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracies:
    """What an evaluation found, in shares of attempts or rollouts, with half of each one's 95 % interval."""

    first_turn: float
    """First attempts that are correct: what the model does without feedback."""
    first_turn_interval: float | None
    second_turn: float | None
    """Second attempts that are correct, each made after a wrong first one; None where there were none."""
    second_turn_interval: float | None
    reward: float
    """Mean reward of first attempts: `first_turn` where a task knows right and wrong alone."""
    reward_interval: float | None
    second_reward: float | None
    """Mean reward of second attempts."""
    other_reward: float | None
    """Mean reward of first attempts by another judge than the one that trains; None without one."""
    reward_by_length: float | None
    """Correlation of a first attempt's reward with its tokens: a judge who likes long texts shows here. None where one
    of the two does not vary."""
    tokens: float
    """Mean tokens of a first attempt."""
    solved: float
    """Rollouts that end correct, at any turn."""
    pass_at_k: float
    """Problems with a correct first attempt among the samples."""
    by_task: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """For each task of a mixture: `problems`, `first_turn`, `second_turn` and their intervals. Empty for one task."""
    by_kind: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """The same for each kind of problem (`Problem.kinds`), of the problems of that kind, which may be of others too.
    Empty where the task tells no kinds apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation(Accuracies):
    """Figures over all problems and samples of a split."""

    split: Split
    problems: int
    samples: int
    """Rollouts per problem."""
    temperature: float
    by_turn: Sequence[float | None]
    """Share of correct attempts at each turn, among the attempts made there."""
    by_turn_interval: Sequence[float | None]
    reached: Sequence[float] = ()
    """Share of rollouts that made an attempt at each turn. An episode may end at a right attempt, for want of
    feedback or where its prompt outgrows the model's context. Empty in some runs of version 0.1."""
    other_reward_interval: float | None = None
    malformed: float
    """First attempts without a well-formed answer."""
    truncated: float
    """First attempts cut at the token limit."""
    feedback_failed: float
    """Rollouts that ended because a source of feedback failed."""
    score_failed: float = 0.0
    """Rollouts that the judge who scores did not score, in full or in part. They count in nothing else."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return _plain(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fluency:
    """How first attempts read. Beside an accuracy that rises, a figure that goes off shows a trick."""

    initial_logprob: float | None
    """Mean log-probability of a token, in nats, under the policy before training: how usual the attempts are. None
    where none could be asked about."""
    copies: float
    """Share that says word by word what an attempt at another problem says."""
    echoes: float
    """Share that holds three words in a row of some feedback which no question holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRecord(Evaluation):
    """An evaluation of a run."""

    step: int
    """After which step; 0 is before training."""
    examples: Sequence[RolloutRecord] = ()
    """The rollouts on the first few problems."""
    second_turn_denied: float | None = None
    """Accuracy of second attempts after "incorrect" alone (`evaluation.usefulness`)."""
    usefulness: float | None = None
    """By how much the feedback does better than that."""
    fluency: Fluency | None = None
    """How the first attempts read (`evaluation.fluency`)."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**_plain(self), "examples": [example.to_json() for example in self.examples]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EvaluationRecord:
        """From a line of evaluations.jsonl."""
        return _typed(cls, _renamed(data))


@dataclass(frozen=True, slots=True, kw_only=True)
class BestRecord:
    """The policy in `best/`."""

    step: int
    validation_first_turn: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The outcome of a run."""

    task: str
    method: str
    seed: int
    steps: int
    rollouts: int
    tokens: int
    """Sampled in training."""
    feedback_calls: int
    seconds: float
    test_problems: int
    before: Accuracies
    after: Accuracies
    alarms: int = 0
    """Steps at which something looked wrong."""
    best: BestRecord | None = None
    """None without evaluations on the way."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return _plain(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Summary:
        """From summary.json."""
        return _typed(cls, _renamed(data))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long a step or an evaluation took."""

    step: int
    seconds: float
    phases: Mapping[str, float]
    """Seconds of each part, such as `rollout`, `score`, `update`."""
    tokens_per_second: float

    def to_json(self) -> dict[str, Any]:
        """Plain values, each phase as `seconds/NAME`."""
        phases = {f"seconds/{name}": seconds for name, seconds in self.phases.items()}
        return {"step": self.step, "seconds": self.seconds, **phases, "tokens_per_second": self.tokens_per_second}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Timing:
        """From a line of timings.jsonl."""
        begins = "seconds/"
        phases = {name.removeprefix(begins): value for name, value in data.items() if name.startswith(begins)}
        return _typed(cls, {**data, "phases": phases})


def metrics_from_json(data: Mapping[str, Any]) -> dict[str, float]:
    """A line of metrics.jsonl: `step`, and a finite number by each name. Raises `ValueError` for anything else."""
    if (
        not all(isinstance(value, int | float) and math.isfinite(value) for value in data.values())
        or "step" not in data
    ):
        raise ValueError("is no row of metrics")
    return {_metric_name(name): value for name, value in data.items()}


def _metric_name(name: str) -> str:
    """`accuracy/turn0/TASK` of version 0.1 is `accuracy/first_turn/TASK`."""
    group, _, rest = name.partition("/")
    turn, slash, task = rest.partition("/")
    head = "reached_" if turn.startswith("reached_turn") else ""
    number = turn.removeprefix(head).removeprefix("turn")
    if not turn.removeprefix(head).startswith("turn") or not number.isdigit():
        return name
    return f"{group}/{head}{turn_name(int(number))}{slash}{task}"


_OLD_NAMES = {
    "single_turn": "first_turn",
    "single_turn_interval": "first_turn_interval",
    "validation_single_turn": "validation_first_turn",
}


def _renamed(data: Any) -> Any:
    """With the names of version 0.1 replaced by today's, at any depth; names of tasks and kinds stay as they are."""
    if isinstance(data, Mapping):
        labels = {
            part: {name: _renamed(value) for name, value in data[part].items()}
            for part in ("by_task", "by_kind")
            if isinstance(data.get(part), dict)
        }
        return {_OLD_NAMES.get(name, name): _renamed(value) for name, value in data.items()} | labels
    return [_renamed(value) for value in data] if isinstance(data, list) else data


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """Made once for each type, as that takes longer than a record."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _plain(record: Any) -> dict[str, Any]:
    values: dict[str, Any] = _adapter(type(record)).dump_python(record, mode="json", warnings=False)
    return values


def _typed(kind: type[R], data: Mapping[str, Any]) -> R:
    try:
        record: R = _adapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return record
