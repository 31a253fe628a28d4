"""Figures of one step's rollouts and samples. Names are `group/name`; rollouts.jsonl has the same facts in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rltf.types import (
    Feedback,
    FeedbackFailure,
    FloatArray,
    Message,
    Problem,
    Rollout,
    RolloutGroup,
    RolloutStatus,
    TrainingSample,
    Turn,
    UnscoredAttempt,
)


def rollout_metrics(groups: Sequence[RolloutGroup], *, by_task: bool = False) -> dict[str, float]:
    """Accuracy and length per turn, and how often things went wrong. Responses from a log are not the policy's.

    `accuracy/turnH` is the share of correct attempts among those made at turn H; a turn that no rollout
    reached has no entry. `by_task` adds `accuracy/turnH/TASK` for each task that the problems are of.
    """
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    metrics: dict[str, float] = {}
    for index in range(max((len(rollout.turns) for rollout in rollouts), default=0)):
        turns = [rollout.turns[index] for rollout in rollouts if len(rollout.turns) > index]
        turns = [turn for turn in turns if turn.sampled]
        if not turns:
            continue
        metrics[f"accuracy/turn{index}"] = _mean([turn.score.correct for turn in turns])
        if by_task:
            metrics |= _accuracy_by_task(groups, index)
        metrics[f"reward/turn{index}"] = _mean([turn.score.reward for turn in turns])
        metrics[f"length/turn{index}"] = _mean([len(turn.completion.tokens) for turn in turns])
        metrics[f"rollout/reached_turn{index}"] = len(turns) / len(rollouts)
    turns = [turn for rollout in rollouts for turn in rollout.turns]
    sampled = [turn for turn in turns if turn.sampled]
    metrics["rollout/malformed"] = _mean([not turn.score.well_formed for turn in sampled])
    metrics["rollout/truncated"] = _mean([turn.completion.finish == "length" for turn in sampled])
    asked = [turn.feedback for turn in turns if turn.feedback is not None]
    metrics["feedback/asked"] = float(len(asked))
    failures = [failure for feedback in asked if (failure := _failure(feedback)) is not None]
    metrics["feedback/failed"] = float(len(failures))
    metrics["feedback/replaced"] = float(sum(isinstance(f, Feedback) and f.stands_for is not None for f in asked))
    metrics |= {f"feedback/failed_{cause}": float(n) for cause, n in sorted(Counter(f.cause for f in failures).items())}
    unscored = Counter(attempt.failure.cause for group in groups for attempt in group.unscored)
    if unscored:
        metrics["score/failed"] = float(unscored.total())
        metrics |= {f"score/failed_{cause}": float(n) for cause, n in sorted(unscored.items())}
    written = [feedback.text for feedback in asked if isinstance(feedback, Feedback)]
    if written:
        metrics["feedback/words"] = _mean([len(text.split()) for text in written])
    metrics["rollout/prompt_too_long"] = _mean([rollout.status == "prompt_too_long" for rollout in rollouts])
    metrics["tokens/sampled"] = float(sum(len(turn.completion.tokens) for turn in sampled))
    return metrics


def _accuracy_by_task(groups: Sequence[RolloutGroup], turn: int) -> dict[str, float]:
    correct: dict[str, list[float]] = {}
    for group in groups:
        made = [rollout.turns[turn] for rollout in group.rollouts if len(rollout.turns) > turn]
        correct.setdefault(group.problem.task, []).extend(t.score.correct for t in made if t.sampled)
    return {f"accuracy/turn{turn}/{task}": _mean(shares) for task, shares in sorted(correct.items()) if shares}


def sample_metrics(groups: Sequence[Sequence[TrainingSample]]) -> dict[str, float]:
    """Per component c of the objective: `samples/c` and the share of its tokens with weight 0, `masked/c`.

    `group/without_signal` is the share of groups that gave no sample at all.
    """
    samples = [sample for group in groups for sample in group]
    metrics = {"samples/total": float(len(samples)), "group/without_signal": _mean([not group for group in groups])}
    for component in sorted({sample.component for sample in samples}):
        weights = [sample.weights for sample in samples if sample.component == component]
        metrics[f"samples/{component}"] = float(len(weights))
        metrics[f"masked/{component}"] = float(np.mean(np.concatenate(weights) == 0.0))
    return metrics


def figure_metrics(groups: Sequence[Mapping[str, Sequence[FloatArray]]]) -> dict[str, float]:
    """Means over all tokens of what the objective's terms report, given for each group."""
    together: dict[str, list[FloatArray]] = {}
    for figures in groups:
        for name, values in figures.items():
            together.setdefault(name, []).extend(values)
    return {name: float(np.mean(np.concatenate(values))) for name, values in together.items() if values}


def rollout_records(
    step: int, groups: Sequence[RolloutGroup], samples: Sequence[Sequence[TrainingSample]]
) -> list[dict[str, Any]]:
    """One record per rollout for rollouts.jsonl, and per attempt without a score; `samples` are those of each group."""
    records: list[dict[str, Any]] = []
    for group, group_samples in zip(groups, samples, strict=True):
        for index, rollout in enumerate(group.rollouts):
            mine = [sample for sample in group_samples if sample.rollout == index]
            records.append({"step": step, "rollout": index, **rollout_record(rollout, mine)})
        records += [{"step": step, **_unscored_record(group.problem, attempt)} for attempt in group.unscored]
    return records


def group_records(groups: Sequence[RolloutGroup]) -> list[dict[str, Any]]:
    """The record of each rollout, and of each attempt without a score."""
    return [
        record
        for group in groups
        for record in (
            *(rollout_record(rollout) for rollout in group.rollouts),
            *(_unscored_record(group.problem, attempt) for attempt in group.unscored),
        )
    ]


def rollout_record(rollout: Rollout, samples: Sequence[TrainingSample] = ()) -> dict[str, Any]:
    """A rollout with all that happened in it. A turn's `prompt` holds the messages that came since the last turn."""
    turns: list[dict[str, Any]] = []
    seen: tuple[Message, ...] = ()
    for index, turn in enumerate(rollout.turns):
        continued = turn.messages[: len(seen)] == seen
        new = turn.messages[len(seen) + 1 :] if seen and continued else turn.messages
        weights = {s.component: _weight_record(s) for s in samples if s.turn == index}
        turns.append({"prompt": [{"role": m.role, "content": m.content} for m in new], **_turn_record(turn, weights)})
        seen = turn.messages
    problem = rollout.problem
    return {
        "task": problem.task,
        "split": problem.split,
        "problem": problem.index,
        "answer": problem.answer,
        "status": str(rollout.status),
        "turns": turns,
    }


def _unscored_record(problem: Problem, attempt: UnscoredAttempt) -> dict[str, Any]:
    failure = attempt.failure
    return {
        "task": problem.task,
        "split": problem.split,
        "problem": problem.index,
        "status": str(RolloutStatus.SCORE_FAILED),
        "turn": attempt.turn,
        "text": attempt.text,
        "failure": {"cause": failure.cause, "failure": failure.reason, "source": failure.source},
        "turns": [],
    }


def _turn_record(turn: Turn, weights: Mapping[str, Any]) -> dict[str, Any]:
    score = turn.score
    return {
        **({"thinking": turn.thinking} if turn.thinking else {}),
        "text": turn.text,
        "status": str(turn.completion.finish),
        "score": {
            "reward": score.reward,
            "correct": score.correct,
            "well_formed": score.well_formed,
            "answer": score.answer,
            "explanation": score.explanation,
        },
        "feedback": _feedback_record(turn.feedback),
        "prompt_tokens": len(turn.prompt_tokens),
        "completion_tokens": len(turn.completion.tokens),
        "logprob": float(turn.completion.logprobs.sum()),
        "weights": weights,
    }


def _failure(feedback: Feedback | FeedbackFailure) -> FeedbackFailure | None:
    """The failure that an answer is or stands for."""
    return feedback if isinstance(feedback, FeedbackFailure) else feedback.stands_for


def _feedback_record(feedback: Feedback | FeedbackFailure | None) -> dict[str, str] | None:
    match feedback:
        case Feedback():
            failure = feedback.stands_for
            stands_for = {"cause": failure.cause, "failure": failure.reason} if failure else {}
            return {"text": feedback.text, "source": feedback.source, **stands_for}
        case FeedbackFailure():
            return {"cause": feedback.cause, "failure": feedback.reason, "source": feedback.source}
        case None:
            return None


def _weight_record(sample: TrainingSample) -> dict[str, float]:
    """The weight that the sample's unmasked tokens share, and how many tokens are masked."""
    live = sample.weights[sample.weights != 0.0]
    return {"weight": float(live[0]) if len(live) else 0.0, "masked_tokens": len(sample.weights) - len(live)}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
