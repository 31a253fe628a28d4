"""Accuracy of a policy on a split: first attempts alone, and attempts after feedback."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from rltf.feedback.scoring import Scorer
from rltf.rollouts.collector import RolloutCollector
from rltf.rollouts.records import Evaluation
from rltf.support.errors import FeedbackStopped
from rltf.support.seeds import derive_seed
from rltf.types import Finish, Problem, RolloutGroup, Score, Split, Turn

PROBLEMS_AT_ONCE = 64


class EvaluationStopped(Exception):
    """The evaluation was given up because a stop was asked for."""


def evaluate(
    collector: RolloutCollector,
    split: Split,
    *,
    samples: int,
    temperature: float,
    problems: int | None,
    seed: int,
    occasion: int = 0,
    second_opinion: Scorer | None = None,
    stop_requested: Callable[[], bool] = lambda: False,
) -> tuple[Evaluation, list[RolloutGroup]]:
    """Rolls out `samples` episodes on each problem of a split (the first `problems` of them, if given).

    The seed decides the samples; with the same seed, two policies meet the same random numbers. `occasion` (the step)
    is for sources of feedback alone, whose record tells evaluations of one run apart by it. `second_opinion` scores the
    first attempts once more.
    """
    size = collector.task.size(split)
    count = size if problems is None else min(problems, size)
    groups: list[RolloutGroup] = []
    for start in range(0, count, PROBLEMS_AT_ONCE):
        if stop_requested():
            raise EvaluationStopped
        chunk = [collector.task.problem(split, i) for i in range(start, min(start + PROBLEMS_AT_ONCE, count))]
        groups += collector.collect(
            chunk,
            samples,
            temperature,
            derive_seed(seed, "evaluation", split, start),
            derive_seed(seed, "evaluation feedback", split, start, occasion),
        )
    summary = summarize(groups, split, samples, temperature)
    if second_opinion is not None:
        other_seed = derive_seed(seed, "second opinion", split, occasion)
        mean, interval = _mean_and_interval(groups, 0, _judged_anew(groups, second_opinion, other_seed))
        summary = replace(summary, other_reward=mean, other_reward_interval=interval)
    return summary, groups


def summarize(groups: Sequence[RolloutGroup], split: Split, samples: int, temperature: float) -> Evaluation:
    """The figures of some groups of `samples` rollouts each. Raises `FeedbackStopped` where no attempt got a score."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    if not rollouts:
        failure = groups[0].unscored[0].failure
        raise FeedbackStopped(f"no attempt at the {split} problems got a score, for one: {failure.reason}")
    first = [rollout.turns[0] for rollout in rollouts]
    horizon = max(len(rollout.turns) for rollout in rollouts)
    by_turn = [_mean_and_interval(groups, turn, _correct) for turn in range(max(2, horizon))]
    first_turn, first_turn_interval = by_turn[0]
    assert first_turn is not None
    reward, reward_interval = _mean_and_interval(groups, 0, _reward)
    assert reward is not None
    return Evaluation(
        split=split,
        problems=len(groups),
        samples=samples,
        temperature=temperature,
        first_turn=first_turn,
        first_turn_interval=first_turn_interval,
        pass_at_k=_mean([any(r.turns[0].score.correct for r in group.rollouts) for group in groups if group.rollouts]),
        second_turn=by_turn[1][0],
        second_turn_interval=by_turn[1][1],
        solved=_mean([rollout.turns[-1].score.correct for rollout in rollouts]),
        by_turn=tuple(mean for mean, _ in by_turn),
        by_turn_interval=tuple(interval for _, interval in by_turn),
        reached=tuple(_mean([len(rollout.turns) > turn for rollout in rollouts]) for turn in range(max(2, horizon))),
        reward=reward,
        reward_interval=reward_interval,
        second_reward=_mean_and_interval(groups, 1, _reward)[0],
        other_reward=None,
        other_reward_interval=None,
        reward_by_length=_correlation(
            [turn.score.reward for turn in first], [len(turn.completion.tokens) for turn in first]
        ),
        malformed=_mean([not turn.score.well_formed for turn in first]),
        truncated=_mean([turn.completion.finish == "length" for turn in first]),
        feedback_failed=_mean([rollout.status == "feedback_failed" for rollout in rollouts]),
        score_failed=sum(len(group.unscored) for group in groups) / (samples * len(groups)),
        tokens=_mean([len(turn.completion.tokens) for turn in first]),
        by_task=_by_name(groups, lambda problem: (problem.task,)),
        by_kind=_by_name(groups, lambda problem: problem.kinds),
    )


def _by_name(
    groups: Sequence[RolloutGroup], names_of: Callable[[Problem], Sequence[str]]
) -> dict[str, dict[str, float | None]]:
    """The figures of the problems that bear each name; empty where all bear the same ones."""
    bearing: dict[str, list[RolloutGroup]] = {}
    for group in groups:
        for name in dict.fromkeys(names_of(group.problem)):
            bearing.setdefault(name, []).append(group)
    if all(len(mine) == len(groups) for mine in bearing.values()):
        return {}
    figures: dict[str, dict[str, float | None]] = {}
    for name, mine in sorted(bearing.items()):
        (single, single_interval), (second, second_interval) = (
            _mean_and_interval(mine, turn, _correct) for turn in (0, 1)
        )
        figures[name] = {
            "problems": len(mine),
            "first_turn": single,
            "first_turn_interval": single_interval,
            "second_turn": second,
            "second_turn_interval": second_interval,
        }
    return figures


def _judged_anew(groups: Sequence[RolloutGroup], scorer: Scorer, seed: int) -> Callable[[Turn], float | None]:
    """The reward by another scorer of each first attempt that ended; None where that fails."""
    first = [rollout.turns[0] for group in groups for rollout in group.rollouts]
    problems = [group.problem for group in groups for _ in group.rollouts]
    ended = [i for i, turn in enumerate(first) if turn.completion.finish is not Finish.LENGTH]
    scores = scorer.scores([(problems[i], first[i].text) for i in ended], seed)
    rewards: dict[int, float | None] = {id(turn): turn.score.reward for turn in first}
    for i, score in zip(ended, scores, strict=True):
        rewards[id(first[i])] = score.reward if isinstance(score, Score) else None
    return lambda turn: rewards[id(turn)]


def _correct(turn: Turn) -> float:
    return float(turn.score.correct)


def _reward(turn: Turn) -> float:
    return turn.score.reward


def _correlation(values: Sequence[float], others: Sequence[float]) -> float | None:
    """Pearson's; None where one of the two does not vary."""
    if np.ptp(values) == 0 or np.ptp(others) == 0:
        return None
    return float(np.corrcoef(values, others)[0, 1])


def _mean_and_interval(
    groups: Sequence[RolloutGroup], turn: int, figure: Callable[[Turn], float | None]
) -> tuple[float | None, float | None]:
    """Mean figure, in [0, 1], of the attempts at a turn, and half of its 95% interval with problems as clusters.

    Attempts whose figure is None are left out.
    """
    known = [
        [
            f
            for rollout in group.rollouts
            if len(rollout.turns) > turn and (f := figure(rollout.turns[turn])) is not None
        ]
        for group in groups
    ]
    return mean_and_interval([sum(values) for values in known], [len(values) for values in known])


def mean_and_interval(sums: Sequence[float], counts: Sequence[int]) -> tuple[float | None, float | None]:
    """The mean of figures in [0, 1] that come in clusters, and half of its 95% interval; None where there are too few.

    The mean is a ratio of sums over clusters (figures, attempts made), so its variance is that of the residuals
    `figures - mean * made` per cluster, by linearisation. Where all figures are 0, or all 1, it is 0; half the
    interval is then the largest share of other attempts that n clusters show none of with probability 5%.

    Args:
        sums: of each cluster, such as the attempts at one problem, the sum of its figures.
        counts: how many figures each has.
    """
    figures, made = np.array(sums, dtype=np.float64), np.array(counts, dtype=np.float64)
    if made.sum() == 0:
        return None, None
    share = figures.sum() / made.sum()
    if len(made) < 2:
        return float(share), None
    if share in (0.0, 1.0):
        return float(share), 1.0 - 0.05 ** (1.0 / int(np.count_nonzero(made)))
    residuals = figures - share * made
    variance = len(made) / (len(made) - 1) * float((residuals**2).sum()) / made.sum() ** 2
    return float(share), 1.96 * math.sqrt(variance)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
