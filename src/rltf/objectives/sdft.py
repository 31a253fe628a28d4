"""Self-distillation from a demonstration (`sdft`): the attempt scored again under question and right answer.

As `sdpo`, but what the teacher reads beside the question is the task's own answer and no feedback (Shenfeld et al.,
arXiv 2601.19897; with a solution, Zhao et al., arXiv 2601.18734).
"""

from __future__ import annotations

from dataclasses import dataclass

from rltf.objectives.base import Context
from rltf.support.templates import substitute
from rltf.types import Message, Rollout, Tokens


@dataclass(frozen=True, slots=True)
class AfterDemonstration:
    """The question with its right answer, and the request to answer it."""

    context: Context
    template: str
    """With `{question}` and `{answer}`."""

    def __call__(self, rollout: Rollout) -> Tokens | None:
        """None where the problem has no right answer to show."""
        if not rollout.problem.answer:
            return None
        fields = {"question": rollout.problem.prompt, "answer": rollout.problem.answer}
        asked = (Message(role="user", content=substitute(self.template, fields)),)
        return self.context.renderer.prompt(self.context.prompts.opened(asked))
