"""What a method is: terms that ask an engine for log-probabilities and turn a rollout group into weighted samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rltf.text.prompts import ConversationForm, Prompts
from rltf.text.renderer import Renderer
from rltf.types import Answer, FloatArray, Query, RolloutGroup, TrainingSample


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a method may use besides its settings."""

    renderer: Renderer
    """Messages to tokens."""
    prompts: Prompts
    """The conversations that the policy is given."""
    conversation: ConversationForm
    """How a second prompt is put together (`rollout.conversation`)."""
    max_tokens: int
    """Longest sequence, prompt and completion, that the model takes."""


Answers: TypeAlias = Mapping[Query, Answer]
"""What the engine answered, by what was asked. Equal queries are asked once, whichever terms ask them."""


class Term(ABC):
    """One term of an objective. A method of one's own is one of these; `samples` is all that it must have."""

    def queries(self, group: RolloutGroup) -> Sequence[Query]:
        """The log-probabilities that the term reads and that sampling did not give."""
        return ()

    @abstractmethod
    def samples(self, group: RolloutGroup, progress: float, answers: Answers) -> list[TrainingSample]:
        """Samples whose summed loss, divided by the number of rollouts, is the term to minimise.

        Args:
            group: the siblings of one problem; at least one.
            progress: the run's position in [0, 1], for schedules.
            answers: by query, the answers to what `queries` gave for this group, but for queries that are longer than
                the model's context (`Context.max_tokens`), which have none.

        Returns:
            Samples without any weight are left out.
        """

    def figures(self, group: RolloutGroup, answers: Answers) -> Mapping[str, Sequence[FloatArray]]:
        """Values per token whose mean over the batch is a metric of that name, such as `policy/kl_to_initial`."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A sum of terms. The trainer and the engine see only queries and samples."""

    terms: tuple[Term, ...]

    def queries(self, group: RolloutGroup) -> list[Query]:
        """What all terms ask, each query once; nothing where no attempt got a score."""
        if not group.rollouts:
            return []
        return list(dict.fromkeys(query for term in self.terms for query in term.queries(group)))

    def samples(self, group: RolloutGroup, progress: float, answers: Answers) -> list[TrainingSample]:
        """The samples of all terms; none where no attempt got a score."""
        if not group.rollouts:
            return []
        return [sample for term in self.terms for sample in term.samples(group, progress, answers)]

    def figures(self, group: RolloutGroup, answers: Answers) -> dict[str, list[FloatArray]]:
        """The figures of all terms; those of one name together."""
        together: dict[str, list[FloatArray]] = {}
        for term in self.terms if group.rollouts else ():
            for name, values in term.figures(group, answers).items():
                together.setdefault(name, []).extend(values)
        return together
