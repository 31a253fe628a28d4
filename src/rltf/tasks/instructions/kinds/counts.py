"""How much there is: words, sentences, paragraphs, characters."""

from __future__ import annotations

import re
from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from rltf.tasks.instructions.kinds.base import UNITS, Kind, holds, relation_of
from rltf.tasks.instructions.kinds.words import Word
from rltf.tasks.instructions.plan import Form, Plan, Relation
from rltf.tasks.instructions.text import counted, paragraphs, same, sentences, words

Number = Annotated[int, Field(ge=0, le=100_000)]


class WordCount(Kind):
    """The answer has so many words."""

    name: ClassVar = "word_count"
    forms: ClassVar[frozenset[Form]] = UNITS
    number: Number
    relation: Relation = "exactly"

    def phrases(self) -> tuple[str, ...]:
        said = f"{self.relation} {counted(self.number, 'word')}"
        return (f"have {said}", f"be {said} long", f"consist of {said}")

    def fault(self, text: str) -> str:
        count = len(words(text))
        if holds(self.relation, count, self.number):
            return ""
        return f"Your answer has {counted(count, 'word')}; it must have {self.relation} {self.number}."

    def plan(self, plan: Plan) -> None:
        plan.words.narrow(self.relation, self.number)

    def spoil(self, text: str) -> str:
        if self.relation == "at least":
            return " ".join(text.split()[: max(0, self.number - 1)][: self.number // 2])
        return " ".join([text, *["indeed"] * (self.number + 1)])

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> WordCount:
        relation = relation_of(rng) if difficulty > 1 else rng.choice(("at least", "at most"))
        return cls(number=rng.randint(8, 8 + 6 * difficulty), relation=relation)


class SentenceCount(Kind):
    """The answer has so many sentences."""

    name: ClassVar = "sentence_count"
    number: Number
    relation: Relation = "exactly"

    def phrases(self) -> tuple[str, ...]:
        said = f"{self.relation} {counted(self.number, 'sentence')}"
        return (f"have {said}", f"consist of {said}", f"be made of {said}")

    def fault(self, text: str) -> str:
        count = len(sentences(text))
        if holds(self.relation, count, self.number):
            return ""
        return f"Your answer has {counted(count, 'sentence')}; it must have {self.relation} {self.number}."

    def plan(self, plan: Plan) -> None:
        plan.units.narrow(self.relation, self.number)

    def spoil(self, text: str) -> str:
        if self.relation == "at least":
            return " ".join(words(text)) if self.number > 1 else ""
        return " ".join([text, *["Indeed it is."] * (self.number + 1)])

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> SentenceCount:
        return cls(number=rng.randint(1, 1 + difficulty), relation=rng.choice(("exactly", "exactly", "at most")))


class SentenceLength(Kind):
    """Each sentence has at most so many words."""

    name: ClassVar = "sentence_length"
    number: Number

    def phrases(self) -> tuple[str, ...]:
        said = counted(self.number, "word")
        return (f"have at most {said} in each sentence", f"keep each sentence to at most {said}")

    def fault(self, text: str) -> str:
        counts = [len(words(sentence)) for sentence in sentences(text)]
        wrong = next((i for i, count in enumerate(counts) if count > self.number), None)
        if wrong is None:
            return ""
        return f"Sentence {wrong + 1} has {counted(counts[wrong], 'word')}; {self.number} are allowed."

    def plan(self, plan: Plan) -> None:
        plan.unit_words.narrow("at most", self.number)

    def spoil(self, text: str) -> str:
        return f"{text} And {'then ' * self.number}it ended."

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> SentenceLength:
        return cls(number=rng.randint(13 - 2 * difficulty, 16 - 2 * difficulty))


class CharacterCount(Kind):
    """The answer has at most so many characters, spaces included."""

    name: ClassVar = "character_count"
    forms: ClassVar[frozenset[Form]] = UNITS
    number: Number

    def phrases(self) -> tuple[str, ...]:
        return (f"have at most {self.number} characters, spaces included", f"fit into {self.number} characters")

    def fault(self, text: str) -> str:
        count = len(text.strip())
        if count <= self.number:
            return ""
        return f"Your answer has {counted(count, 'character')}; {self.number} are allowed."

    def plan(self, plan: Plan) -> None:
        plan.words.narrow("at most", max(1, self.number // 9))

    def spoil(self, text: str) -> str:
        return text + " indeed" * self.number

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> CharacterCount:
        return cls(number=rng.randrange(160 - 30 * difficulty, 240 - 30 * difficulty, 10))


Divider = Literal["blank", "stars"]
_STARS = "***"
_STARRED = re.compile(r"\*\*\*|\* \* \*")
"""The same line of Markdown, written in either way: IFEval asks for the first, RLVR-IFeval for the second."""


def parted(text: str, divider: Divider) -> list[str]:
    """The paragraphs of a text, by blank lines or by lines of three stars."""
    if divider == "blank":
        return paragraphs(text)
    pieces = [piece.strip() for piece in _STARRED.split(text)]
    return [piece for i, piece in enumerate(pieces) if piece or 0 < i < len(pieces) - 1]


def divider_text(divider: Divider) -> str:
    """What stands between two paragraphs."""
    return "\n\n" if divider == "blank" else f"\n\n{_STARS}\n\n"


def divided_by(divider: Divider) -> str:
    """How a divider is spoken of."""
    return "a blank line" if divider == "blank" else "a line of three stars (***)"


class ParagraphCount(Kind):
    """The answer has so many paragraphs."""

    name: ClassVar = "paragraph_count"
    difficulty: ClassVar = 2
    group: ClassVar = "paragraphs"
    number: Annotated[int, Field(ge=1, le=200)]
    divider: Divider = "blank"
    relation: Relation = "exactly"

    def phrases(self) -> tuple[str, ...]:
        said = f"{self.relation} {counted(self.number, 'paragraph')}"
        between = f"with {divided_by(self.divider)} between paragraphs"
        return (f"have {said}, {between}", f"be divided into {said}, {between}")

    def fault(self, text: str) -> str:
        found = parted(text, self.divider)
        if not all(found):
            return "A paragraph is empty."
        if holds(self.relation, len(found), self.number):
            return ""
        return f"Your answer has {counted(len(found), 'paragraph')}; it must have {self.relation} {self.number}."

    def plan(self, plan: Plan) -> None:
        plan.paragraphs.narrow(self.relation, self.number)
        plan.units.narrow("at least", plan.paragraphs.least)
        plan.divider = divider_text(self.divider)

    def spoil(self, text: str) -> str:
        if self.relation == "at least":
            return " ".join(parted(text, self.divider)) if self.number > 1 else ""
        return text + f"{divider_text(self.divider)}Indeed." * (self.number + 1)

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> ParagraphCount:
        return cls(number=rng.randint(2, 3))


class ParagraphFirstWord(Kind):
    """There are so many paragraphs, and a certain one begins with a certain word."""

    name: ClassVar = "paragraph_first_word"
    anchored: ClassVar = True
    difficulty: ClassVar = 3
    group: ClassVar = "paragraphs"
    paragraphs: Annotated[int, Field(ge=1, le=200)]
    paragraph: Annotated[int, Field(ge=1, le=200)]
    word: Word

    @property
    def said_words(self) -> tuple[str, ...]:
        return (self.word,)

    def phrases(self) -> tuple[str, ...]:
        return (
            f"have {counted(self.paragraphs, 'paragraph')}, with a blank line between them, of which paragraph "
            f'{self.paragraph} begins with the word "{self.word}"',
        )

    def fault(self, text: str) -> str:
        found = paragraphs(text)
        if len(found) != self.paragraphs:
            return f"Your answer has {counted(len(found), 'paragraph')}; it must have {self.paragraphs}."
        if self.paragraph > len(found):
            return f"There is no paragraph {self.paragraph}."
        first = words(found[self.paragraph - 1])
        if first and same(first[0], self.word):
            return ""
        return f'Paragraph {self.paragraph} does not begin with the word "{self.word}".'

    def plan(self, plan: Plan) -> None:
        plan.paragraphs.narrow("exactly", self.paragraphs)
        plan.units.narrow("exactly", self.paragraphs)
        if self.paragraph == 1:
            plan.begin.append(self.word)
        else:
            plan.in_unit[self.paragraph - 1] = self.word

    def spoil(self, text: str) -> str:
        return f"{text}\n\nIndeed."
