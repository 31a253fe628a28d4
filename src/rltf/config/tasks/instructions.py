"""Settings of answers under constraints."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from rltf.config.section import FROM_LIST, Positive
from rltf.config.table import Table
from rltf.config.tasks.listed import ListedConfig
from rltf.config.tasks.puzzles import PuzzleConfig

Few = Annotated[int, Field(ge=1, le=4)]


class InstructionsConfig(PuzzleConfig):
    """Short answers under constraints that a program checks: words to use, counts, case, layout and more."""

    implementation: ClassVar[str] = "rltf.tasks.instructions:Instructions"
    name: Literal["instructions"]
    train_size: Positive = 2_000
    """Distinct training problems."""
    min_constraints: Few = 1
    """Fewest constraints that a question tells."""
    max_constraints: Few = 2
    """Most constraints that a question tells."""
    difficulty: Literal["easy", "medium", "hard"] = "easy"
    """Which kinds are drawn, and how far their numbers go."""
    kinds: Annotated[tuple[str, ...], FROM_LIST] = ()
    """The kinds of constraint to draw from, such as `["use_words", "word_count"]`. Empty: all of the difficulty. See
    docs/instructions.md."""
    unsaid: Annotated[int, Field(ge=0, le=4)] = 0
    """Rules of a house style that no question tells and every answer has to meet, drawn with `style_seed`: feedback
    alone speaks of them. Questions are then a customer's."""
    style_seed: int = 0
    """Seed of the house style that `unsaid` draws."""
    style: Annotated[tuple[Table[Any], ...], FROM_LIST] = ()
    """A house style of your own in place of a drawn one: `[{kind="use_words", words=["please", "team"]}]`."""
    style_feedback: Literal["lesson", "fault", "both"] = "lesson"
    """How feedback speaks of the style: as a rule for all later answers, as what is wrong with this one, or both."""
    partial_reward: bool = False
    """Reward a wrong attempt with the share of the constraints that it meets, not with 0."""

    @model_validator(mode="after")
    def _numbers(self) -> InstructionsConfig:
        if self.min_constraints > self.max_constraints:
            raise ValueError(
                f"min_constraints={self.min_constraints} is above max_constraints={self.max_constraints}; lower it"
            )
        return self

    @model_validator(mode="after")
    def _style(self) -> InstructionsConfig:
        if self.style and self.unsaid:
            raise ValueError("style is a house style of your own, and unsaid draws one; remove one of the two")
        if self.style_seed and not self.unsaid:
            raise ValueError("style_seed draws the rules that unsaid asks for; set unsaid to 1 or more, or remove it")
        if self.style_feedback != "lesson" and not (self.style or self.unsaid):
            raise ValueError("style_feedback is read where there is a house style; set unsaid or style, or remove it")
        return self


class IfevalConfig(ListedConfig):
    """Prompts with verifiable constraints from files in the form of IFEval, or of the sets made for training on it."""

    implementation: ClassVar[str] = "rltf.tasks.instructions.rows:InstructionRows"
    local_files: ClassVar[tuple[str, ...]] = ("train", "test")
    name: Literal["ifeval"]
    train: str
    """A JSONL or parquet file, or `hub:OWNER/NAME[/SUBSET][@SPLIT]`: a prompt (`prompt`, or `messages`) and its
    constraints (`instruction_id_list` and `kwargs`, or `ground_truth`)."""
    test: str | None = None
    """Prompts for the final figures, likewise. Unset: some of the training file."""
    partial_reward: bool = False
    """Reward a wrong attempt with the share of the constraints that it meets, not with 0."""
