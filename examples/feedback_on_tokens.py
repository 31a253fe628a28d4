"""A method of one's own: press down on what the feedback made less likely.

    rltf train objective.path=examples/feedback_on_tokens.py:feedback_on_tokens objective.settings.weight=0.5

Each token of a wrong first attempt is scored twice: after the question alone, as it was sampled, and after the
feedback. Where the feedback makes it less likely, that token is to blame, and its probability is lowered by as much as
the feedback took from it.
"""

from __future__ import annotations

import numpy as np

import rltf


class Settings(rltf.Section):
    """Settings of the method: `objective.settings.NAME=value`."""

    weight: float = 1.0
    """Multiplies the term."""
    most: float = 2.0
    """Most nats that one token is blamed for."""


class FeedbackOnTokens(rltf.Term):
    """The term: it asks for log-probabilities, and makes samples of the answers."""

    def __init__(self, settings: Settings, context: rltf.Context) -> None:
        self.settings, self.context = settings, context

    def _behind_feedback(self, rollout: rltf.Rollout) -> rltf.Query | None:
        first = rollout.turns[0]
        if not isinstance(first.feedback, rltf.Feedback):
            return None
        messages = self.context.prompts.next_turn(
            rollout.problem, first.feedback_messages, first.text, first.feedback.text, self.context.conversation
        )
        prompt = self.context.renderer.prompt(messages)
        return rltf.Query(prompt_tokens=prompt, completion_tokens=first.completion.tokens)

    def queries(self, group: rltf.RolloutGroup) -> list[rltf.Query]:
        """How likely each first attempt is, once its feedback has been read."""
        return [query for rollout in group.rollouts if (query := self._behind_feedback(rollout)) is not None]

    def samples(self, group: rltf.RolloutGroup, progress: float, answers: rltf.Answers) -> list[rltf.TrainingSample]:
        """One sample for each first attempt with feedback: a negative weight on every token to blame."""
        samples = []
        for i, rollout in enumerate(group.rollouts):
            query, first = self._behind_feedback(rollout), rollout.turns[0]
            if query is None or query not in answers:  # No feedback, or more than the model's context holds.
                continue
            lost = first.completion.logprobs - answers[query].logprobs_T
            blame = np.clip(lost, 0.0, self.settings.most).astype(np.float32)
            samples.append(
                rltf.TrainingSample(
                    prompt_tokens=first.prompt_tokens,
                    completion_tokens=first.completion.tokens,
                    weights=-self.settings.weight * blame,
                    loss="importance_sampling",
                    old_logprobs=first.completion.logprobs,
                    component="blame",
                    rollout=i,
                    turn=0,
                )
            )
        return samples


def feedback_on_tokens(settings: Settings, context: rltf.Context) -> list[rltf.Term]:
    """What `objective.path` names: from settings and context to terms."""
    return [FeedbackOnTokens(settings, context)]
