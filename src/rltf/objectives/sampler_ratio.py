"""Truncated importance sampling between sampler and trainer.

A sampler that rounds otherwise than the trainer (another engine, bfloat16) is another policy, mu, than the one that is
trained, pi_old: what it wrote is off-policy before the first step. Each token's weight is multiplied by

    min(pi_old / mu, cap)

with pi_old as the trainer computes it before the step, and the ratio of the loss is taken to pi_old in place of mu
(Yao et al., "Your efficient RL framework secretly brings you off-policy RL training", 2025). Per token, so unbiased
for answers of one token whose ratios stay below the cap; for longer ones with a bias that is small where ratios are
near 1, and a variance that stays small however far they are.
"""

from __future__ import annotations

import numpy as np

from rltf.config import PolicyGradientConfig
from rltf.objectives.base import Answers
from rltf.types import Completion, FloatArray, Query, RolloutGroup, Tokens


def as_trained(prompt: Tokens, completion: Completion) -> Query:
    """The trainer's own log-probabilities of what the sampler wrote."""
    return Query(prompt_tokens=prompt, completion_tokens=completion.tokens)


def attempts_as_trained(group: RolloutGroup, config: PolicyGradientConfig) -> list[Query]:
    """What the correction of the attempts reads, where it is on."""
    if config.sampler_ratio_cap is None:
        return []
    turns = [turn for rollout in group.rollouts for turn in rollout.turns if turn.sampled]
    return [as_trained(turn.prompt_tokens, turn.completion) for turn in turns]


def corrected(
    advantage: float, prompt: Tokens, completion: Completion, config: PolicyGradientConfig, answers: Answers
) -> tuple[FloatArray, FloatArray]:
    """Weight of each token, and the denominator of the loss's ratio, both `[T]`."""
    weights_T = np.full(len(completion.tokens), advantage, dtype=np.float32)
    if config.sampler_ratio_cap is None:
        return weights_T, completion.logprobs
    trained_T = answers[as_trained(prompt, completion)].logprobs_T
    return weights_T * truncated_ratio(trained_T, completion.logprobs, config.sampler_ratio_cap), trained_T


def truncated_ratio(trained_T: FloatArray, sampled_T: FloatArray, cap: float) -> FloatArray:
    """`min(exp(trained - sampled), cap)` of each token. Cut in the exponent: a far token does not overflow."""
    ratio_T: FloatArray = np.exp(np.minimum(trained_T - sampled_T, np.log(np.float32(cap))))
    return ratio_T
