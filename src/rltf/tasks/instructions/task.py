"""Short answers under constraints that a program checks, some of which the question may leave unsaid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, Literal

from rltf.support.errors import UserError
from rltf.support.seeds import derive_seed
from rltf.tasks.base import Family, FeedbackLevel
from rltf.tasks.instructions.grading import StyleFeedback, criticise, grade, reveals
from rltf.tasks.instructions.kinds import KINDS, Kind
from rltf.tasks.instructions.kinds.words import UseWords
from rltf.tasks.instructions.problems import draw, drawable, fewest_beside
from rltf.tasks.instructions.styles import drawn_style, given_style
from rltf.tasks.splits import DisjointSplits
from rltf.types import Problem, Score, Split

_DIFFICULTIES = {"easy": 1, "medium": 2, "hard": 3}


class Instructions:
    """The task with its settings; `config.InstructionsConfig` says what each means."""

    name = "instructions"
    family: Family = "general"

    def __init__(
        self,
        *,
        min_constraints: int,
        max_constraints: int,
        difficulty: Literal["easy", "medium", "hard"],
        kinds: Sequence[str],
        unsaid: int,
        style_seed: int,
        style: Sequence[Mapping[str, Any]],
        style_feedback: StyleFeedback,
        partial_reward: bool,
        data_seed: int,
        **sizes: int,
    ) -> None:
        self._numbers = (min_constraints, max_constraints)
        self._difficulty = _DIFFICULTIES[difficulty]
        known = drawable(self._difficulty)
        for name in kinds:
            if name not in known:
                harder = name in drawable(max(_DIFFICULTIES.values()))
                mend = "raise task.difficulty" if harder else f"known: {', '.join(known)}"
                raise UserError(f"task.kinds: {name!r} is not drawn at task.difficulty={difficulty}; {mend}")
        self._kinds = sorted(kinds) or known
        if not any(KINDS[name].anchored for name in self._kinds) and not (style or unsaid):
            raise UserError(
                f"task.kinds: {', '.join(self._kinds)}: any text meets such constraints, so they are asked beside "
                "others alone; add one that is anchored, such as use_words"
            )
        self.style: tuple[Kind, ...] = given_style(style) or drawn_style(unsaid, style_seed)
        """The constraints that no question tells."""
        self._refuse_what_is_never_asked(kinds)
        self._style_feedback: StyleFeedback = style_feedback
        self._partial = partial_reward
        self._sizes = {split.removesuffix("_size"): size for split, size in sizes.items()}
        self._splits = DisjointSplits(self._draw, self._sizes, data_seed)  # type: ignore[arg-type]

    def _refuse_what_is_never_asked(self, given: Sequence[str]) -> None:
        """Of kinds that were named, one that no question could ask for would be left out in silence."""
        for name in given:
            least = fewest_beside(name, self._kinds, self._difficulty, self.style)
            if least is None and self.style:
                raise UserError(
                    f"task.kinds: {name} is never asked with this house style: its questions ask for one sentence, and "
                    "for nothing that the style has a rule for; remove it"
                )
            if least is None:
                layouts = [other for other in drawable(3) if KINDS[other].lays_out in KINDS[name].forms]
                raise UserError(f"task.kinds: {name} is never asked alone; add one of {', '.join(layouts)}")
            if least > self._numbers[1]:
                why = "behind the word that a house style's questions ask for" if self.style else "beside others alone"
                raise UserError(
                    f"task.kinds: {name} is asked {why}; set task.max_constraints={least} or more, or remove it"
                )
        groups = {KINDS[name].group or name for name in (*given, *([UseWords.name] if self.style else []))}
        if given and len(groups) < self._numbers[0]:
            raise UserError(
                f"task.min_constraints={self._numbers[0]}: of task.kinds no more than {len(groups)} can be asked at "
                "once; lower it, or add kinds"
            )

    def size(self, split: Split) -> int:
        """How many problems a split has."""
        return self._sizes[split]

    def problem(self, split: Split, index: int) -> Problem:
        """Problem `index` of a split; its metadata hold the constraints that the question tells (`said`)."""
        return self._splits.problem(split, index)

    def glance(self) -> list[Problem]:
        """Some training problems, drawn without the others."""
        return self._splits.glance("train")

    def _draw(self, split: Split, index: int, seed: int, position: int) -> Problem | None:
        rng = Random(derive_seed(seed, "instructions", position))
        draft = draw(rng, self._kinds, self._numbers, self._difficulty, self.style)
        if draft is None:
            return None
        return Problem(
            task=self.name,
            split=split,
            index=index,
            prompt=draft.question,
            answer=draft.answer,
            metadata={"said": draft.said},
            kinds=tuple(kind.name for kind in draft.said),
        )

    def constraints(self, problem: Problem) -> tuple[Kind, ...]:
        """All constraints on answers to a problem, said and unsaid."""
        return (*problem.metadata["said"], *self.style)

    def score(self, problem: Problem, text: str) -> Score:
        """1 where all constraints are met, else 0 or their share. Accepts any text."""
        return grade(self.constraints(problem), text, partial=self._partial)

    def feedback(self, problem: Problem, text: str, score: Score, level: FeedbackLevel) -> str:
        """What is wrong with the attempt, as far as the level lets it be said."""
        return criticise(problem.metadata["said"], self.style, text, level, self._style_feedback)

    def write_answer(self, answer: str) -> str:
        """An attempt is its own answer."""
        return answer

    def perturbations(self, problem: Problem, rng: Random) -> Iterator[str]:
        """The answer that meets all constraints, changed so that it breaks one of them, for each."""
        for kind in self.constraints(problem):
            yield kind.spoil(problem.answer)

    def reveals_answer(self, problem: Problem, text: str) -> bool:
        """Whether a feedback holds the answer that is known to be right. Of others there is no end."""
        return reveals(problem.answer, text)
