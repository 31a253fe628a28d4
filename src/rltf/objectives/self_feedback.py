"""Self-critique RL: the policy's own feedback is trained by what the next attempt made of it.

The feedback c_h that the policy wrote gets the advantage `R_{h+1}^i - mean_j R_{h+1}^j` over the siblings whose
feedback the policy wrote too, on `log pi(c_h | f_FM(x_h, y_h))` (paper, test-time self-feedback).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rltf.config import PolicyGradientConfig
from rltf.objectives.advantages import centred
from rltf.objectives.base import Answers, Term
from rltf.objectives.policy_gradient import initial_policy_queries, turn_returns
from rltf.objectives.sampler_ratio import as_trained, corrected
from rltf.types import Feedback, Query, RolloutGroup, TrainingSample


@dataclass(frozen=True, slots=True)
class SelfFeedback(Term):
    """The term on feedback that the policy wrote; without any, it has no samples."""

    config: PolicyGradientConfig

    def queries(self, group: RolloutGroup) -> list[Query]:
        """The initial policy's log-probabilities, where a KL penalty is in the returns; the trainer's, to correct."""
        queries = initial_policy_queries(group, self.config)
        if self.config.sampler_ratio_cap is None:
            return queries
        written = [turn.feedback for rollout in group.rollouts for turn in rollout.turns]
        return queries + [
            as_trained(feedback.prompt_tokens, feedback.completion)
            for feedback in written
            if isinstance(feedback, Feedback) and feedback.completion is not None and feedback.prompt_tokens is not None
        ]

    def samples(self, group: RolloutGroup, progress: float, answers: Answers) -> list[TrainingSample]:
        """Samples `(f_FM(x_h, y_h) -> c_h)` weighted with the group advantage of the attempt that followed."""
        config = self.config
        samples: list[TrainingSample] = []
        for turn_index in range(max(len(rollout.turns) for rollout in group.rollouts) - 1):
            written = [
                (i, rollout.turns[turn_index].feedback, turn_returns(rollout, config, answers)[turn_index + 1])
                for i, rollout in enumerate(group.rollouts)
                if len(rollout.turns) > turn_index + 1
            ]
            own = [(i, c, value) for i, c, value in written if isinstance(c, Feedback) and c.completion is not None]
            if not own:
                continue
            values = np.array([value for _, _, value in own])
            advantages = centred(values, normalize_std=config.normalize_std)
            for (i, feedback, value), advantage in zip(own, config.self_feedback_coefficient * advantages, strict=True):
                if advantage == 0.0:
                    continue
                assert feedback.completion is not None
                assert feedback.prompt_tokens is not None
                weights_T, old_T = corrected(advantage, feedback.prompt_tokens, feedback.completion, config, answers)
                samples.append(
                    TrainingSample(
                        prompt_tokens=feedback.prompt_tokens,
                        completion_tokens=feedback.completion.tokens,
                        weights=weights_T,
                        loss=config.policy_loss,
                        old_logprobs=old_T,
                        clip=(config.policy_clip_low, config.policy_clip_high),
                        sampling_logprobs=feedback.completion.logprobs,
                        value=float(value),
                        baseline=float(values.mean()),
                        component="self_feedback",
                        rollout=i,
                        turn=turn_index,
                    )
                )
        return samples
