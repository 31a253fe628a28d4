"""Figures of one step's rollouts and samples. Names are `group/name`; rollouts.jsonl has the same facts in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from rltf.types import (
    Feedback,
    FeedbackFailure,
    FloatArray,
    RolloutGroup,
    TrainingSample,
    turn_name,
)


def rollout_metrics(groups: Sequence[RolloutGroup], *, by_task: bool = False) -> dict[str, float]:
    """Accuracy and length per turn, and how often things went wrong. Responses from a log are not the policy's.

    `accuracy/first_turn` is the share of correct attempts among those made at the first turn, and so on; a turn that no
    rollout reached has no entry. `by_task` adds `accuracy/first_turn/TASK` for each task that the problems are of.
    """
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    metrics: dict[str, float] = {}
    for index in range(max((len(rollout.turns) for rollout in rollouts), default=0)):
        turns = [rollout.turns[index] for rollout in rollouts if len(rollout.turns) > index]
        turns = [turn for turn in turns if turn.sampled]
        if not turns:
            continue
        name = turn_name(index)
        metrics[f"accuracy/{name}"] = _mean([turn.score.correct for turn in turns])
        if by_task:
            metrics |= _accuracy_by_task(groups, index)
        metrics[f"reward/{name}"] = _mean([turn.score.reward for turn in turns])
        metrics[f"length/{name}"] = _mean([len(turn.completion.tokens) for turn in turns])
        metrics[f"rollout/reached_{name}"] = len(turns) / len(rollouts)
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
    return {f"accuracy/{turn_name(turn)}/{task}": _mean(shares) for task, shares in sorted(correct.items()) if shares}


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


def _failure(feedback: Feedback | FeedbackFailure) -> FeedbackFailure | None:
    """The failure that an answer is or stands for."""
    return feedback if isinstance(feedback, FeedbackFailure) else feedback.stands_for


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
