"""Capital and small letters."""

from __future__ import annotations

import re
from random import Random
from typing import Annotated, ClassVar

from pydantic import Field

from rltf.tasks.instructions.kinds.base import TEXTS, UNITS, Kind, holds
from rltf.tasks.instructions.plan import Form, Plan, Relation
from rltf.tasks.instructions.text import counted, quoted, words

_NO_LETTERS = "There is no letter in your answer."


class Lowercase(Kind):
    """No letter is a capital one."""

    name: ClassVar = "lowercase"
    forms: ClassVar[frozenset[Form]] = TEXTS
    group: ClassVar = "case"

    def phrases(self) -> tuple[str, ...]:
        return ("have no capital letters", "be written in small letters alone", "be all lowercase")

    def fault(self, text: str) -> str:
        if not any(map(str.isalpha, text)):
            return _NO_LETTERS
        return "There are capital letters in your answer." if text != text.lower() else ""

    def plan(self, plan: Plan) -> None:
        plan.finish.append((90, str.lower))

    def spoil(self, text: str) -> str:
        return text.upper()

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> Lowercase:
        return cls()


class Uppercase(Kind):
    """All letters are capital ones."""

    name: ClassVar = "uppercase"
    forms: ClassVar[frozenset[Form]] = TEXTS
    group: ClassVar = "case"

    def phrases(self) -> tuple[str, ...]:
        return ("be in capital letters alone", "be written in capital letters", "be all uppercase")

    def fault(self, text: str) -> str:
        if not any(map(str.isalpha, text)):
            return _NO_LETTERS
        return "There are small letters in your answer." if text != text.upper() else ""

    def plan(self, plan: Plan) -> None:
        plan.finish.append((90, str.upper))

    def spoil(self, text: str) -> str:
        return text.lower()

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> Uppercase:
        return cls()


class TitleCase(Kind):
    """Each word begins with a capital letter, or with a digit."""

    name: ClassVar = "title_case"
    difficulty: ClassVar = 2
    forms: ClassVar[frozenset[Form]] = UNITS
    group: ClassVar = "case"

    def phrases(self) -> tuple[str, ...]:
        return ("begin each of its words with a capital letter", "have a capital letter at the start of each word")

    def fault(self, text: str) -> str:
        found = words(text)
        if not found:
            return _NO_LETTERS
        wrong = [word for word in found if word[0].islower()]
        return f"{quoted(wrong[:3])} must begin with a capital letter." if wrong else ""

    def plan(self, plan: Plan) -> None:
        plan.finish.append((90, lambda text: re.sub(r"[^\W_][\w'-]*", lambda m: m[0][0].upper() + m[0][1:], text)))

    def spoil(self, text: str) -> str:
        return text.lower()

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> TitleCase:
        return cls()


class CapitalWords(Kind):
    """So many words are in capital letters throughout; a letter alone, such as "I", is one of them too."""

    name: ClassVar = "capital_words"
    difficulty: ClassVar = 2
    forms: ClassVar[frozenset[Form]] = UNITS
    group: ClassVar = "case"
    number: Annotated[int, Field(ge=0, le=10_000)]
    relation: Relation = "at least"

    def phrases(self) -> tuple[str, ...]:
        said = f"{self.relation} {counted(self.number, 'word')}"
        return (f"have {said} in all capital letters", f"write {said} in capital letters throughout")

    def fault(self, text: str) -> str:
        count = sum(word.isupper() for word in words(text))
        if holds(self.relation, count, self.number):
            return ""
        has = f"{counted(count, 'word')} in all capital letters"
        return f"Your answer has {has}; it must have {self.relation} {self.number}."

    def plan(self, plan: Plan) -> None:
        if self.relation != "at most":
            plan.words.narrow("at least", self.number + 1)
            plan.finish.append((90, self._raise))

    def _raise(self, text: str) -> str:
        pieces = re.split(r"([^\W_][\w'-]*)", text)
        for i in range(1, len(pieces), 2)[: self.number]:
            pieces[i] = pieces[i].upper()
        return "".join(pieces)

    def spoil(self, text: str) -> str:
        return text.lower() if self.relation != "at most" else text + " INDEED" * (self.number + 1)

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> CapitalWords:
        return cls(number=rng.randint(1, 3), relation=rng.choice(("at least", "exactly")))
