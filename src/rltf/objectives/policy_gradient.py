"""Group-relative policy gradient on every turn (`grpo`, `grpo_multi`, and a term of every other method).

Turn h of rollout i gets the advantage `A_h^i = R_h^i - mean_j R_h^j` over the siblings that reached turn h,
on `log pi(y_h | x_h)`, with `R_h = r_h + gamma R_{h+1}` (paper, multi-turn GRPO). With one turn this is GRPO.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rltf.config import PolicyGradientConfig
from rltf.objectives.advantages import Float64Array, centred, returns
from rltf.objectives.base import Answers, Term
from rltf.objectives.sampler_ratio import attempts_as_trained, corrected
from rltf.types import FloatArray, Query, Rollout, RolloutGroup, TrainingSample, Turn


def graded_reward(turn: Turn, config: PolicyGradientConfig) -> float:
    """`r - format_penalty [not well-formed]`."""
    return turn.score.reward - config.format_penalty * (not turn.score.well_formed)


def initial_policy_queries(group: RolloutGroup, config: PolicyGradientConfig) -> list[Query]:
    """What a KL penalty reads: the initial policy's log-probabilities of every attempt that the policy made."""
    if config.kl_coefficient == 0:
        return []
    return [_initial(turn) for rollout in group.rollouts for turn in rollout.turns if turn.sampled]


def _initial(turn: Turn) -> Query:
    return Query(prompt_tokens=turn.prompt_tokens, completion_tokens=turn.completion.tokens, policy="initial")


def log_ratio_to_initial(turn: Turn, answers: Answers) -> FloatArray:
    """`log pi - log pi_initial` of each token of an attempt, shape `[T]`."""
    log_ratio_T: FloatArray = turn.completion.logprobs - answers[_initial(turn)].logprobs_T
    return log_ratio_T


def shaped_reward(turn: Turn, config: PolicyGradientConfig, answers: Answers) -> float:
    """The reward that the policy gradient trains a turn on.

    The graded reward `- kl_coefficient * sum_t (log pi - log pi_initial)`. The KL divergence in the reward gives
    an unbiased gradient of itself, since the gradient of the expectation of `log pi` under `pi` is 0.
    """
    reward = graded_reward(turn, config)
    if config.kl_coefficient and turn.sampled:
        log_ratio_T = turn.completion.logprobs.astype(np.float64) - answers[_initial(turn)].logprobs_T
        reward -= config.kl_coefficient * float(log_ratio_T.sum())
    return reward


def turn_returns(rollout: Rollout, config: PolicyGradientConfig, answers: Answers) -> Float64Array:
    """Discounted return of each turn, shape `[H]`."""
    return returns(np.array([shaped_reward(turn, config, answers) for turn in rollout.turns]), config.gamma)


@dataclass(frozen=True, slots=True)
class PolicyGradient(Term):
    """The policy-gradient term."""

    config: PolicyGradientConfig

    def queries(self, group: RolloutGroup) -> list[Query]:
        """The initial policy's log-probabilities, where a KL penalty is on; the trainer's, where they correct."""
        return initial_policy_queries(group, self.config) + attempts_as_trained(group, self.config)

    def figures(self, group: RolloutGroup, answers: Answers) -> dict[str, list[FloatArray]]:
        """Where they were asked for, the divergence from the initial policy, and the ratio to the sampler."""
        turns = [turn for rollout in group.rollouts for turn in rollout.turns if turn.sampled]
        figures: dict[str, list[FloatArray]] = {}
        if self.config.kl_coefficient:
            figures["policy/kl_to_initial"] = [log_ratio_to_initial(turn, answers) for turn in turns]
        if self.config.sampler_ratio_cap is not None:
            figures["policy/sampler_ratio"] = [
                corrected(1.0, turn.prompt_tokens, turn.completion, self.config, answers)[0] for turn in turns
            ]
        return figures

    def samples(self, group: RolloutGroup, progress: float, answers: Answers) -> list[TrainingSample]:
        """Samples `(x_h -> y_h)` weighted with their group advantage."""
        config = self.config
        returns_GH = [turn_returns(rollout, config, answers) for rollout in group.rollouts]
        samples: list[TrainingSample] = []
        for turn_index in range(max(map(len, returns_GH))):
            reached = [i for i, returns_H in enumerate(returns_GH) if len(returns_H) > turn_index]
            values_G = np.array([returns_GH[i][turn_index] for i in reached])
            baseline = float(values_G.mean())
            advantages_G = config.policy_coefficient * centred(values_G, normalize_std=config.normalize_std)
            for i, value, advantage in zip(reached, values_G.tolist(), advantages_G, strict=True):
                if advantage == 0.0 and config.entropy_coefficient == 0.0:
                    continue
                turn = group.rollouts[i].turns[turn_index]
                if not turn.sampled:
                    continue
                weights_T, old_T = corrected(advantage, turn.prompt_tokens, turn.completion, config, answers)
                samples.append(
                    TrainingSample(
                        prompt_tokens=turn.prompt_tokens,
                        completion_tokens=turn.completion.tokens,
                        weights=weights_T,
                        loss=config.policy_loss,
                        old_logprobs=old_T,
                        clip=(config.policy_clip_low, config.policy_clip_high),
                        sampling_logprobs=turn.completion.logprobs,
                        entropy_weight=config.entropy_coefficient,
                        value=value,
                        baseline=baseline,
                        component="policy",
                        rollout=i,
                        turn=turn_index,
                    )
                )
        return samples
