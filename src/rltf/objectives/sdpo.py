"""Self-distillation policy optimisation (`sdpo`): the attempt scored again under question and feedback.

The policy that has read the feedback c is the teacher of the one that has not. At every token t of an attempt y that
the policy wrote itself, `w D(pi_teacher(. | x_1, y_<t), pi(. | x_0, y_<t))` is added to the loss, with
x_1 = f(x_0, y, c) and D a divergence between two distributions over the next token (Hübotter et al., arXiv 2601.20802).
Nothing new is sampled: what the feedback changes in the teacher's mind is learned where the attempt went.

The distributions are compared over the teacher's most likely tokens and, as one outcome more, all others together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rltf.config import TokenDistillationConfig
from rltf.objectives.advantages import linear_schedule
from rltf.objectives.base import Answers, Context, Term
from rltf.types import Feedback, FloatArray, Query, Rollout, RolloutGroup, Tokens, TrainingSample


class TeacherPrompt(Protocol):
    """What the teacher reads that the student does not."""

    def __call__(self, rollout: Rollout) -> Tokens | None:
        """The prompt under which the first attempt is scored again; None where there is nothing to add."""
        ...


@dataclass(frozen=True, slots=True)
class AfterFeedback:
    """The question, the attempt and the feedback on it, as a second attempt would be asked for."""

    context: Context

    def __call__(self, rollout: Rollout) -> Tokens | None:
        """None where the first attempt got no feedback."""
        first = rollout.turns[0]
        if not isinstance(first.feedback, Feedback):
            return None
        messages = self.context.prompts.next_turn(
            rollout.problem, first.feedback_messages, first.text, first.feedback.text, self.context.conversation
        )
        return self.context.renderer.prompt(messages)


@dataclass(frozen=True, slots=True)
class TokenDistillation(Term):
    """Moves the policy towards a teacher at every token of its first attempts."""

    config: TokenDistillationConfig
    teacher_prompt: TeacherPrompt
    longest: int = 1 << 30
    """Most tokens that the model's context holds: an attempt that the teacher cannot read again is left out."""

    def _asked(self, group: RolloutGroup) -> list[tuple[int, Query]]:
        """For each rollout that the teacher has something to say about, what it is asked."""
        asked: list[tuple[int, Query]] = []
        for i, rollout in enumerate(group.rollouts):
            prompt = self.teacher_prompt(rollout)
            tokens = rollout.turns[0].completion.tokens
            if prompt is not None and len(prompt) + len(tokens) <= self.longest:
                query = Query(
                    prompt_tokens=prompt, completion_tokens=tokens, policy=self.config.teacher, top=self.config.top
                )
                asked.append((i, query))
        return asked

    def queries(self, group: RolloutGroup) -> list[Query]:
        """The teacher's distribution at each token of each first attempt."""
        return [query for _, query in self._asked(group)]

    def figures(self, group: RolloutGroup, answers: Answers) -> dict[str, list[FloatArray]]:
        """How likely the teacher finds the attempts, to be held against what the student found."""
        return {"distillation/teacher_logprob": [answers[query].logprobs_T for query in self.queries(group)]}

    def samples(self, group: RolloutGroup, progress: float, answers: Answers) -> list[TrainingSample]:
        """Samples `(x_0 -> y_0)` with the teacher's distributions as targets."""
        config = self.config
        coefficient = linear_schedule(config.initial_coefficient, config.coefficient, progress)
        samples: list[TrainingSample] = []
        for i, query in self._asked(group) if coefficient else ():
            turn = group.rollouts[i].turns[0]
            length = len(turn.completion.tokens)
            weight = coefficient / length if config.normalize == "token_mean" else coefficient
            samples.append(
                TrainingSample(
                    prompt_tokens=turn.prompt_tokens,
                    completion_tokens=turn.completion.tokens,
                    weights=np.full(length, weight, dtype=np.float32),
                    loss=config.divergence,
                    targets=answers[query].top,
                    sampling_logprobs=turn.completion.logprobs if turn.sampled else None,
                    teacher_logprobs=answers[query].logprobs_T,
                    component="token_distillation",
                    rollout=i,
                    turn=0,
                )
            )
        return samples
