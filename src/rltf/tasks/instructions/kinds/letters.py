"""Letters: which ones are used, where words begin and end, and rhyme."""

from __future__ import annotations

import re
from random import Random
from typing import Annotated, ClassVar

from pydantic import Field

from rltf.tasks.instructions.kinds.base import UNITS, Kind, holds
from rltf.tasks.instructions.lexicon import rhymes
from rltf.tasks.instructions.plan import Form, Plan, Relation
from rltf.tasks.instructions.text import counted, fold, lines, quoted, sentences, words

Letter = Annotated[str, Field(min_length=1, max_length=1, pattern=r"\S")]
_NO_LETTERS = "There is no letter in your answer."


def _initials(pieces: list[str]) -> str:
    """The first letter of the first word of each piece."""
    return "".join(fold(words(piece)[0])[0] for piece in pieces if words(piece))


class AvoidLetter(Kind):
    """A letter stands nowhere in the answer."""

    name: ClassVar = "avoid_letter"
    difficulty: ClassVar = 3
    forms: ClassVar[frozenset[Form]] = UNITS
    group: ClassVar = "letter"
    letter: Annotated[Letter, Field(pattern=r"^[^\W_]$")]

    def phrases(self) -> tuple[str, ...]:
        return (f'do without the letter "{self.letter}"', f'not use the letter "{self.letter}" anywhere')

    def fault(self, text: str) -> str:
        held = [word for word in words(text) if fold(self.letter) in fold(word)]
        return f'The letter "{self.letter}" stands in {quoted(held[:3])}.' if held else ""

    def plan(self, plan: Plan) -> None:
        plan.filters.append(lambda word: fold(self.letter) not in fold(word))

    def spoil(self, text: str) -> str:
        return f"{text} {self.letter}"

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> AvoidLetter:
        return cls(letter=rng.choice("bcfgkmpvwyz" if difficulty < 3 else "eaotinslr"))


class LetterTimes(Kind):
    """A letter stands in the answer so many times."""

    name: ClassVar = "letter_times"
    difficulty: ClassVar = 2
    forms: ClassVar[frozenset[Form]] = UNITS
    group: ClassVar = "letter"
    letter: Letter
    times: Annotated[int, Field(ge=0, le=100_000)]
    relation: Relation = "at least"

    def phrases(self) -> tuple[str, ...]:
        often = f"{self.relation} {counted(self.times, 'time')}"
        return (f'use the letter "{self.letter}" {often}', f'have the letter "{self.letter}" in it {often}')

    def fault(self, text: str) -> str:
        count = fold(text).count(fold(self.letter))
        if holds(self.relation, count, self.times):
            return ""
        asked = f"{self.relation} {counted(self.times, 'time')}"
        return f'The letter "{self.letter}" stands there {counted(count, "time")}; it must be {asked}.'

    def plan(self, plan: Plan) -> None:
        if self.relation == "at most":
            plan.filters.append(lambda word: fold(self.letter) not in fold(word))
        else:
            plan.favourite = fold(self.letter)
            plan.words.narrow("at least", min(2 * self.times, plan.words.most))

    def spoil(self, text: str) -> str:
        if self.relation == "at least":
            return re.sub(re.escape(self.letter), "", text, flags=re.IGNORECASE)
        return text + self.letter * (self.times + 1)

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> LetterTimes:
        relation: Relation = rng.choice(("at least", "at most"))
        times = rng.randint(3, 3 + 2 * difficulty) if relation == "at least" else rng.randint(0, 2)
        return cls(letter=rng.choice("bcdfgklmpsw"), times=times, relation=relation)


class LetterCount(Kind):
    """The answer has so many letters in all."""

    name: ClassVar = "letter_count"
    difficulty: ClassVar = 3
    forms: ClassVar[frozenset[Form]] = UNITS
    number: Annotated[int, Field(ge=0, le=1_000_000)]
    relation: Relation = "at least"

    def phrases(self) -> tuple[str, ...]:
        said = f"{self.relation} {counted(self.number, 'letter')}"
        return (f"have {said} in all", f"be made of {said}")

    def fault(self, text: str) -> str:
        count = sum(map(str.isalpha, text))
        if holds(self.relation, count, self.number):
            return ""
        return f"Your answer has {counted(count, 'letter')}; it must have {self.relation} {self.number}."

    def plan(self, plan: Plan) -> None:
        if self.relation == "at most":
            plan.words.narrow("at most", max(1, self.number // 8))
        else:
            plan.words.narrow("at least", min(self.number // 2, plan.words.most))

    def spoil(self, text: str) -> str:
        return text[: self.number // 2] if self.relation == "at least" else text + " indeed" * (self.number + 1)

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> LetterCount:
        return cls(number=rng.randrange(20, 61, 5), relation=rng.choice(("at least", "at most")))


class WordInitials(Kind):
    """Each word begins with a certain letter."""

    name: ClassVar = "word_initials"
    anchored: ClassVar = True
    difficulty: ClassVar = 3
    group: ClassVar = "initials"
    letter: Letter

    def phrases(self) -> tuple[str, ...]:
        return (
            f'have only words that begin with the letter "{self.letter}"',
            f'begin each of its words with the letter "{self.letter}"',
        )

    def fault(self, text: str) -> str:
        found = words(text)
        if len(found) < 2:
            return "Your answer has less than two words."
        wrong = [word for word in found if not fold(word).startswith(fold(self.letter))]
        return f'{quoted(wrong[:3])} do not begin with the letter "{self.letter}".' if wrong else ""

    def plan(self, plan: Plan) -> None:
        plan.filters.append(lambda word: fold(word).startswith(fold(self.letter)))
        plan.words.narrow("at least", 2)

    def spoil(self, text: str) -> str:
        return f"{text} {'a' if fold(self.letter) != 'a' else 'the'}"

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> WordInitials:
        return cls(letter=rng.choice("bcfgprst"))


class SentenceInitials(Kind):
    """Each sentence begins with a certain letter."""

    name: ClassVar = "sentence_initials"
    difficulty: ClassVar = 2
    group: ClassVar = "initials"
    letter: Letter

    def phrases(self) -> tuple[str, ...]:
        return (
            f'begin each of its sentences with the letter "{self.letter.upper()}"',
            f'have only sentences that begin with the letter "{self.letter.upper()}"',
        )

    def fault(self, text: str) -> str:
        initials = _initials(sentences(text))
        if not initials:
            return _NO_LETTERS
        wrong = next((i for i, initial in enumerate(initials) if initial != fold(self.letter)), None)
        return "" if wrong is None else f'Sentence {wrong + 1} begins with the letter "{initials[wrong].upper()}".'

    def plan(self, plan: Plan) -> None:
        plan.unit_initials = fold(self.letter)

    def spoil(self, text: str) -> str:
        return f"{'Indeed' if fold(self.letter) != 'i' else 'Truly'} it is. {text}"

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> SentenceInitials:
        return cls(letter=rng.choice("abcfhlmnprstw"))


class Acrostic(Kind):
    """The first letters of the lines spell a word."""

    name: ClassVar = "acrostic"
    anchored: ClassVar = True
    difficulty: ClassVar = 3
    forms: ClassVar[frozenset[Form]] = frozenset({"verse"})
    lays_out: ClassVar[Form] = "verse"
    group: ClassVar = "initials"
    word: Annotated[str, Field(min_length=2, max_length=12, pattern=r"^[a-z]+$")]

    def phrases(self) -> tuple[str, ...]:
        return (
            f'have {len(self.word)} lines whose first letters spell "{self.word}"',
            f'be {len(self.word)} lines long, so that the first letters of the lines spell "{self.word}"',
        )

    def fault(self, text: str) -> str:
        found = lines(text)
        if len(found) != len(self.word):
            return f"Your answer has {counted(len(found), 'line')}; it must have {len(self.word)}."
        spelled = _initials(found)
        if spelled == self.word:
            return ""
        return f'The first letters of the lines spell "{spelled}", not "{self.word}".'

    def plan(self, plan: Plan) -> None:
        plan.units.narrow("exactly", len(self.word))
        plan.unit_initials = self.word

    def spoil(self, text: str) -> str:
        return "\n".join([*lines(text), "Indeed"])

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> Acrostic:
        return cls(word=rng.choice(("sea", "sun", "cat", "hat", "tea", "map", "star", "moon", "song", "lamp", "boat")))


class Rhyme(Kind):
    """There are so many lines, which all end in different words with the same last letters."""

    name: ClassVar = "rhyme"
    anchored: ClassVar = True
    difficulty: ClassVar = 2
    forms: ClassVar[frozenset[Form]] = frozenset({"verse"})
    lays_out: ClassVar[Form] = "verse"
    group: ClassVar = "end"
    ending: Annotated[str, Field(min_length=1, max_length=10, pattern=r"^\S+$")]
    lines: Annotated[int, Field(ge=1, le=100)] = 2

    def phrases(self) -> tuple[str, ...]:
        return (
            f'have {self.lines} lines that end in different words with the letters "{self.ending}" at their end',
            f'be {self.lines} lines that rhyme: the last word of each, another each time, ends in "{self.ending}"',
        )

    def fault(self, text: str) -> str:
        found = [line for line in lines(text) if words(line)]
        if len(found) != self.lines:
            return f"Your answer has {counted(len(found), 'line')}; it must have {self.lines}."
        last = [fold(words(line)[-1]) for line in found]
        wrong = next((i for i, word in enumerate(last) if not word.endswith(fold(self.ending))), None)
        if wrong is not None:
            return f'Line {wrong + 1} ends in "{last[wrong]}", which does not end in "{self.ending}".'
        return f'Two lines end in the same word, "{last[0]}".' if len(set(last)) < len(last) else ""

    def plan(self, plan: Plan) -> None:
        plan.units.narrow("exactly", self.lines)
        plan.unit_ends += rhymes().get(self.ending, (self.ending,))

    def spoil(self, text: str) -> str:
        return f"{text} {'truly' if 'indeed'.endswith(fold(self.ending)) else 'indeed'}"

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> Rhyme:
        return cls(ending=rng.choice(sorted(rhymes())), lines=rng.choice((2, 2, difficulty)))


class LongestWord(Kind):
    """No word has more than so many letters."""

    name: ClassVar = "longest_word"
    difficulty: ClassVar = 2
    forms: ClassVar[frozenset[Form]] = UNITS
    letters: Annotated[int, Field(ge=1, le=100)]

    def phrases(self) -> tuple[str, ...]:
        return (
            f"use no word of more than {self.letters} letters",
            f"have only words of {self.letters} letters or fewer",
        )

    def fault(self, text: str) -> str:
        long = [word for word in words(text) if sum(map(str.isalnum, word)) > self.letters]
        return f"{quoted(long[:3])} {'is' if len(long) == 1 else 'are'} too long." if long else ""

    def plan(self, plan: Plan) -> None:
        plan.filters.append(lambda word: len(word) <= self.letters)

    def spoil(self, text: str) -> str:
        return f"{text} {'o' * (self.letters + 1)}h"

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> LongestWord:
        return cls(letters=rng.randint(9 - difficulty, 9 - difficulty + 1))
