"""What constraints ask of an answer in common, in the form in which `witness` builds one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Form: TypeAlias = Literal["prose", "bullets", "numbered", "commas", "verse", "json", "table", "name", "foreign"]
"""How an answer is laid out: sentences, the items of a list, lines, an object, a table, one word, another language."""
Relation: TypeAlias = Literal["exactly", "at least", "at most"]
MANY = 100_000


@dataclass(slots=True)
class Range:
    """How many there may be of something."""

    least: int
    most: int = MANY

    def narrow(self, relation: Relation, number: int) -> None:
        """Also holds that there are `exactly`, `at least` or `at most` so many."""
        if relation != "at most":
            self.least = max(self.least, number)
        if relation != "at least":
            self.most = min(self.most, number)


@dataclass(slots=True)
class Plan:
    """An answer that is to be built. Its *units* are sentences, items or lines, as its form has it."""

    form: Form = "prose"
    units: Range = field(default_factory=lambda: Range(1))
    words: Range = field(default_factory=lambda: Range(1))
    unit_words: Range = field(default_factory=lambda: Range(1))
    paragraphs: Range = field(default_factory=lambda: Range(1))
    divider: str = "\n\n"
    """Between paragraphs."""
    begin: list[str] = field(default_factory=list)
    """The first words."""
    end: list[str] = field(default_factory=list)
    """The last words."""
    include: list[str] = field(default_factory=list)
    """Words and phrases that stand somewhere, in this order."""
    choices: list[tuple[str, ...]] = field(default_factory=list)
    """Of each of these, one stands somewhere."""
    in_unit: dict[int, str] = field(default_factory=dict)
    """A phrase at the beginning of the unit of this number, counted from 0."""
    unit_ends: list[str] = field(default_factory=list)
    """Words of which each unit ends in one, all different."""
    unit_initials: str = ""
    """The letter with which each unit begins, in turn; a single one is that of all."""
    sorted_units: bool = False
    distinct: bool = False
    """No word stands twice."""
    filters: list[Callable[[str], bool]] = field(default_factory=list)
    """What every other word is like."""
    favourite: str = ""
    """A letter of which the other words are to have many."""
    mark: str = "."
    """Behind each sentence."""
    keys: tuple[tuple[str, str], ...] = ()
    """Names and types of an object's values."""
    columns: tuple[str, ...] = ()
    language: str = ""
    candidates: tuple[str, ...] = ()
    """The words of which an answer of one word is one."""
    extra_words: int = 0
    """Words that `finish` adds."""
    finish: list[tuple[int, Callable[[str], str]]] = field(default_factory=list)
    """What is done to the whole text at the end, in the order of the numbers."""
