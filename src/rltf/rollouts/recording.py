"""From rollouts to the records of them that a run keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rltf.rollouts.records import (
    FeedbackRecord,
    MessageRecord,
    RolloutRecord,
    ScoreRecord,
    TurnRecord,
    WeightRecord,
)
from rltf.types import (
    Feedback,
    FeedbackFailure,
    Message,
    Problem,
    Rollout,
    RolloutGroup,
    RolloutStatus,
    TrainingSample,
    Turn,
    UnscoredAttempt,
)


def rollout_records(
    step: int, groups: Sequence[RolloutGroup], samples: Sequence[Sequence[TrainingSample]]
) -> list[RolloutRecord]:
    """One record per rollout of a step, and per attempt without a score; `samples` are those of each group."""
    records: list[RolloutRecord] = []
    for number, (group, group_samples) in enumerate(zip(groups, samples, strict=True)):
        for index, rollout in enumerate(group.rollouts):
            mine = [sample for sample in group_samples if sample.rollout == index]
            records.append(rollout_record(rollout, mine, step=step, group=number, index=index))
        records += [_unscored_record(group.problem, attempt, step, number) for attempt in group.unscored]
    return records


def group_records(groups: Sequence[RolloutGroup]) -> list[RolloutRecord]:
    """The record of each rollout, and of each attempt without a score."""
    return [
        record
        for group in groups
        for record in (
            *(rollout_record(rollout) for rollout in group.rollouts),
            *(_unscored_record(group.problem, attempt) for attempt in group.unscored),
        )
    ]


def rollout_record(
    rollout: Rollout,
    samples: Sequence[TrainingSample] = (),
    *,
    step: int | None = None,
    group: int | None = None,
    index: int | None = None,
) -> RolloutRecord:
    """A rollout with all that happened in it, and how it was trained by its samples."""
    turns: list[TurnRecord] = []
    seen: tuple[Message, ...] = ()
    for number, turn in enumerate(rollout.turns):
        continued = turn.messages[: len(seen)] == seen
        new = turn.messages[len(seen) + 1 :] if seen and continued else turn.messages
        weights = {s.component: _weight_record(s) for s in samples if s.turn == number}
        turns.append(_turn_record(turn, new, weights))
        seen = turn.messages
    problem = rollout.problem
    return RolloutRecord(
        step=step,
        group=group,
        rollout=index,
        task=problem.task,
        split=problem.split,
        problem=problem.index,
        answer=problem.answer,
        status=str(rollout.status),
        turns=turns,
    )


def _unscored_record(
    problem: Problem, attempt: UnscoredAttempt, step: int | None = None, group: int | None = None
) -> RolloutRecord:
    return RolloutRecord(
        step=step,
        group=group,
        task=problem.task,
        split=problem.split,
        problem=problem.index,
        status=str(RolloutStatus.SCORE_FAILED),
        turns=(),
        turn=attempt.turn,
        text=attempt.text,
        failure=_feedback_record(attempt.failure),
    )


def _turn_record(turn: Turn, new: Sequence[Message], weights: Mapping[str, WeightRecord]) -> TurnRecord:
    score = turn.score
    return TurnRecord(
        prompt=[MessageRecord(role=message.role, content=message.content) for message in new],
        text=turn.text,
        status=str(turn.completion.finish),
        score=ScoreRecord(
            reward=score.reward,
            correct=score.correct,
            well_formed=score.well_formed,
            answer=score.answer,
            explanation=score.explanation,
        ),
        feedback=_feedback_record(turn.feedback),
        prompt_tokens=len(turn.prompt_tokens),
        completion_tokens=len(turn.completion.tokens),
        logprob=float(turn.completion.logprobs.sum()),
        weights=weights,
        thinking=turn.thinking or None,
        version=turn.completion.version if turn.sampled else None,
    )


def _feedback_record(feedback: Feedback | FeedbackFailure | None) -> FeedbackRecord | None:
    match feedback:
        case Feedback():
            failure = feedback.stands_for
            return FeedbackRecord(
                source=feedback.source,
                text=feedback.text,
                cause=failure.cause if failure else None,
                failure=failure.reason if failure else None,
            )
        case FeedbackFailure():
            return FeedbackRecord(source=feedback.source, cause=feedback.cause, failure=feedback.reason)
        case None:
            return None


def _weight_record(sample: TrainingSample) -> WeightRecord:
    live = sample.weights[sample.weights != 0.0]
    return WeightRecord(weight=float(live[0]) if len(live) else 0.0, masked_tokens=len(sample.weights) - len(live))
