"""Self distillation (RLTF-SD): the feedback-conditioned policy teaches the feedback-free one.

`g_SD = (1/N) sum_i A^i grad log pi(y_h^i | x_0)` for every later turn h >= 1 (paper, RLTF-SD; there h = 1).
Rejection sampling is the same with A = 1 for correct revisions and 0 for others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from rltf.config import DistillationConfig, ImitationConfig, PolicyGradientConfig
from rltf.objectives.advantages import Float64Array, distillation_advantages, linear_schedule, sequence_ratio
from rltf.objectives.base import Answers, Term
from rltf.objectives.policy_gradient import graded_reward
from rltf.types import FloatArray, Query, RolloutGroup, TrainingSample, Turn

RevisionAdvantages: TypeAlias = Callable[[list[Turn], list[Turn]], tuple[Float64Array, Float64Array]]
"""(revisions of one turn index, first attempts of the group) -> per revision, what it is worth, and its advantage:
that less a baseline."""


@dataclass(frozen=True, slots=True)
class AgainstBaseline:
    """`A = r_h - b`, with the first turn's or the later turn's mean reward as b."""

    sd: DistillationConfig
    policy: PolicyGradientConfig

    def __call__(self, revisions: list[Turn], first_attempts: list[Turn]) -> tuple[Float64Array, Float64Array]:
        """Rewards and advantages of the revisions, shape `[G]` each."""
        rewards_G = np.array([graded_reward(turn, self.policy) for turn in revisions])
        first_rewards_N = np.array([graded_reward(turn, self.policy) for turn in first_attempts])
        return rewards_G, distillation_advantages(rewards_G, first_rewards_N, self.sd.baseline)


def correct_only(revisions: list[Turn], first_attempts: list[Turn]) -> tuple[Float64Array, Float64Array]:
    """Rejection sampling: 1 for a correct revision, 0 for any other, and no baseline."""
    correct_G = np.array([float(turn.score.correct) for turn in revisions])
    return correct_G, correct_G


@dataclass(frozen=True, slots=True)
class Distillation(Term):
    """The distillation term."""

    sd: ImitationConfig
    advantages: RevisionAdvantages
    floor_for: Literal["all", "negative"] = "all"

    @property
    def _reads_student(self) -> bool:
        """Whether the floor, or a ratio, has the student's log-probabilities in it."""
        student_ratio = self.sd.ratio == "full" or (
            self.sd.ratio in ("ppo", "cispo") and self.sd.ratio_denominator == "student"
        )
        return student_ratio or self.sd.logprob_floor is not None

    def queries(self, group: RolloutGroup) -> list[Query]:
        """log pi(y_h | x_0) of every later attempt, under the policy that sampled: the student's."""
        if not self._reads_student:
            return []
        return [_student(rollout.turns[0], turn) for rollout in group.rollouts for turn in rollout.turns[1:]]

    def figures(self, group: RolloutGroup, answers: Answers) -> dict[str, list[FloatArray]]:
        """How likely a feedback-free first attempt would have been to say what the revisions say."""
        return {"distillation/student_logprob": [answers[query].logprobs_T for query in self.queries(group)]}

    def samples(self, group: RolloutGroup, progress: float, answers: Answers) -> list[TrainingSample]:
        """Samples `(x_0 -> y_h)` for every turn after the first."""
        sd = self.sd
        coefficient = linear_schedule(sd.initial_coefficient, sd.coefficient, progress)
        floor = sd.logprob_floor
        if floor is not None:
            floor = linear_schedule(sd.initial_logprob_floor, floor, progress)
        first_attempts = [rollout.turns[0] for rollout in group.rollouts]
        samples: list[TrainingSample] = []
        for turn_index in range(1, max(len(rollout.turns) for rollout in group.rollouts)):
            reached = [i for i, rollout in enumerate(group.rollouts) if len(rollout.turns) > turn_index]
            revisions = [group.rollouts[i].turns[turn_index] for i in reached]
            values_G, advantages_G = self.advantages(revisions, first_attempts)
            for i, turn, value, advantage in zip(reached, revisions, values_G, advantages_G, strict=True):
                student_T = answers[_student(first_attempts[i], turn)].logprobs_T if self._reads_student else None
                weights_T = self._weights(turn, student_T, coefficient * advantage, floor)
                if not weights_T.any():
                    continue
                samples.append(
                    TrainingSample(
                        prompt_tokens=first_attempts[i].prompt_tokens,
                        completion_tokens=turn.completion.tokens,
                        weights=weights_T,
                        loss="cross_entropy" if sd.ratio == "none" or sd.ratio == "full" else sd.ratio,
                        old_logprobs=self._old_logprobs(turn, student_T),
                        clip=(sd.clip_low, sd.clip_high),
                        value=float(value),
                        baseline=float(value - advantage),
                        component="distillation",
                        rollout=i,
                        turn=turn_index,
                    )
                )
        return samples

    def _weights(self, turn: Turn, student_T: FloatArray | None, weight: float, floor: float | None) -> FloatArray:
        """The advantage on each token, times the full ratio if asked, 0 on tokens below the floor."""
        if self.sd.ratio == "full" and weight != 0.0:
            assert student_T is not None
            weight *= sequence_ratio(student_T, turn.completion.logprobs)
        weights_T = np.full(len(turn.completion.tokens), weight, dtype=np.float32)
        if floor is not None and (self.floor_for == "all" or weight < 0.0):
            assert student_T is not None
            held_T = student_T if self.sd.floor_on == "logprob" else student_T - turn.completion.logprobs
            weights_T[held_T < floor] = 0.0
        return weights_T

    def _old_logprobs(self, turn: Turn, student_T: FloatArray | None) -> FloatArray | None:
        if self.sd.ratio in ("none", "full"):
            return None
        return student_T if self.sd.ratio_denominator == "student" else turn.completion.logprobs


def _student(first: Turn, later: Turn) -> Query:
    return Query(prompt_tokens=first.prompt_tokens, completion_tokens=later.completion.tokens)
