"""Feedback modelling (RLTF-FM): the policy learns to predict the feedback on its own attempts.

`l_FM = E sum_h -log pi(c_h | f_FM(x_h, y_h))`, added to the loss with a coefficient lambda (paper, RLTF-FM).
The feedback is the stored record of what the source wrote; only its tokens carry gradient. With `fm.given = question`
it is predicted from the question alone, `-log pi(c_h | f_lesson(x_0))`, without the attempt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rltf.config import FeedbackModelConfig
from rltf.objectives.advantages import linear_schedule
from rltf.objectives.base import Answers, Term
from rltf.text.prompts import Prompts
from rltf.text.renderer import Renderer
from rltf.types import Feedback, RolloutGroup, TrainingSample


@dataclass(frozen=True, slots=True)
class FeedbackModelling(Term):
    """The feedback-modelling term."""

    fm: FeedbackModelConfig
    renderer: Renderer
    prompts: Prompts

    def samples(self, group: RolloutGroup, progress: float, answers: Answers) -> list[TrainingSample]:
        """Samples `(f_FM(x_h, y_h) -> c_h)` for every turn that has feedback which the policy did not write itself."""
        fm = self.fm
        coefficient = linear_schedule(fm.initial_coefficient, fm.coefficient, progress)
        solved = sum(rollout.turns[0].score.correct for rollout in group.rollouts) / len(group.rollouts)
        if coefficient == 0.0 or solved > fm.most_solved:
            return []
        samples: list[TrainingSample] = []
        for i, rollout in enumerate(group.rollouts):
            for turn_index, turn in enumerate(rollout.turns):
                if not isinstance(turn.feedback, Feedback) or turn.feedback.completion is not None:
                    continue
                tokens = self.renderer.completion(turn.feedback.text)
                weight = coefficient / len(tokens) if fm.normalize == "token_mean" else coefficient
                if fm.given == "question":
                    request = self.prompts.lesson_request(rollout.turns[0].messages)
                else:
                    request = self.prompts.feedback_request(turn.feedback_messages, turn.text)
                samples.append(
                    TrainingSample(
                        prompt_tokens=self.renderer.prompt(request),
                        completion_tokens=tokens,
                        weights=np.full(len(tokens), weight, dtype=np.float32),
                        loss="cross_entropy",
                        component="feedback",
                        rollout=i,
                        turn=turn_index,
                    )
                )
        return samples
