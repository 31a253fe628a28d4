"""Returns, baselines and ratios as pure functions of a group's rewards.

Axes: `_G` the N siblings of one prompt, `_T` tokens. "Paper" is Song et al., arXiv 2602.02482.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]


def returns(rewards_H: Float64Array, gamma: float) -> Float64Array:
    """Discounted returns of one rollout: `R_h = r_h + gamma R_{h+1}` (paper, section on multi-turn GRPO).

    Args:
        rewards_H: reward of each turn that took place, shape `[H]`.
        gamma: discount between turns.

    Returns:
        Shape `[H]`.
    """
    returns_H = np.array(rewards_H, dtype=np.float64)
    for turn in range(len(returns_H) - 2, -1, -1):
        returns_H[turn] += gamma * returns_H[turn + 1]
    return returns_H


def centred(values_G: Float64Array, *, normalize_std: bool = False, epsilon: float = 1e-6) -> Float64Array:
    """Group advantages `R_i - mean_j R_j`, divided by the group's standard deviation if asked (GRPO).

    Args:
        values_G: one return per sibling that reached the turn, shape `[G]`.
        normalize_std: divide by the standard deviation plus `epsilon`.

    Returns:
        Shape `[G]`; zeros where all values agree.
    """
    advantages_G: Float64Array = values_G - _mean(values_G)
    if normalize_std:
        advantages_G = advantages_G / (values_G.std() + epsilon)
    return advantages_G


def distillation_advantages(
    revision_rewards_G: Float64Array,
    first_turn_rewards_N: Float64Array,
    baseline: Literal["first_turn", "second_turn"],
) -> Float64Array:
    """Advantages of revised answers as first answers: `A_i = r1_i - b` (paper, RLTF-SD).

    `first_turn`: b is the mean reward of the whole group's first attempts, so the teacher's success is
    measured against the student's. `second_turn`: b is the mean over the revisions themselves, which makes
    every advantage vanish with probability `p^N + (1-p)^N` when a revision succeeds with probability p.

    Args:
        revision_rewards_G: rewards of the revisions, shape `[G]`.
        first_turn_rewards_N: rewards of all first attempts of the group, shape `[N]`, N >= G.
        baseline: `first_turn` or `second_turn`.
    """
    compared_G = first_turn_rewards_N if baseline == "first_turn" else revision_rewards_G
    advantages_G: Float64Array = revision_rewards_G - _mean(compared_G)
    return advantages_G


def sequence_ratio(student_logprobs_T: NDArray[np.float32], teacher_logprobs_T: NDArray[np.float32]) -> float:
    """`pi(y|x0) / pi(y|x1)`, the full importance weight of a revision (paper, the exact identity).

    Both arguments are log-probabilities per token of the same answer, shape `[T]`, in nats. A ratio beyond
    the range of a float is infinite; the engine refuses the gradient that follows from it.
    """
    difference = np.sum(student_logprobs_T, dtype=np.float64) - np.sum(teacher_logprobs_T, dtype=np.float64)
    with np.errstate(over="ignore"):
        return float(np.exp(difference))


def linear_schedule(start: float | None, end: float, progress: float) -> float:
    """The value at `progress` in [0, 1] on the line from `start` to `end`; without a start, `end` throughout."""
    return end if start is None else start + (end - start) * progress


def _mean(values: Float64Array) -> float:
    """The mean; exactly the common value where all agree: rounding must not become an advantage."""
    return float(values[0]) if (values == values[0]).all() else float(values.mean())
