"""What stands at the beginning and at the end of an answer."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from rltf.tasks.instructions.kinds.base import UNITS, Kind
from rltf.tasks.instructions.kinds.words import Word
from rltf.tasks.instructions.lexicon import word_list
from rltf.tasks.instructions.plan import Form, Plan
from rltf.tasks.instructions.text import QUOTES, fold, other_than, same, sentences, words

_NO_WORDS = "There is no word in your answer."
_BEGINNINGS = (
    "Long ago", "In the end", "Every year", "To be honest", "As always", "Not far away", "At first", "By chance",
    "On that day", "After all", "Some say", "Without a doubt",
)  # fmt: skip
_ENDS = (
    "and that was that", "as far as I know", "for the time being", "and so on", "once and for all", "if you ask me",
    "for better or worse", "at the end of the day", "sooner or later", "more or less",
)  # fmt: skip


class FirstWord(Kind):
    """The answer's first word is a certain one."""

    name: ClassVar = "first_word"
    anchored: ClassVar = True
    forms: ClassVar[frozenset[Form]] = UNITS
    group: ClassVar = "beginning"
    word: Word

    @property
    def said_words(self) -> tuple[str, ...]:
        return (self.word,)

    def phrases(self) -> tuple[str, ...]:
        return (f'begin with the word "{self.word}"', f'start with the word "{self.word}"')

    def fault(self, text: str) -> str:
        found = words(text)
        if not found:
            return _NO_WORDS
        return "" if same(found[0], self.word) else f'The first word is "{found[0]}", not "{self.word}".'

    def plan(self, plan: Plan) -> None:
        plan.begin.append(self.word)

    def spoil(self, text: str) -> str:
        return f"{other_than(self.word)} {text}"

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> FirstWord:
        return cls(word=rng.choice(word_list("nouns" if difficulty > 1 else "adverbs")))


class LastWord(Kind):
    """The answer's last word is a certain one."""

    name: ClassVar = "last_word"
    anchored: ClassVar = True
    forms: ClassVar[frozenset[Form]] = UNITS
    group: ClassVar = "end"
    word: Word

    @property
    def said_words(self) -> tuple[str, ...]:
        return (self.word,)

    def phrases(self) -> tuple[str, ...]:
        return (f'end with the word "{self.word}"', f'have "{self.word}" as its last word')

    def fault(self, text: str) -> str:
        found = words(text)
        if not found:
            return _NO_WORDS
        return "" if same(found[-1], self.word) else f'The last word is "{found[-1]}", not "{self.word}".'

    def plan(self, plan: Plan) -> None:
        plan.end.append(self.word)

    def spoil(self, text: str) -> str:
        return f"{text} {other_than(self.word).lower()}"

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> LastWord:
        return cls(word=rng.choice(word_list("nouns")))


class BeginWith(Kind):
    """The answer begins with certain words."""

    name: ClassVar = "begin_with"
    anchored: ClassVar = True
    forms: ClassVar[frozenset[Form]] = UNITS
    group: ClassVar = "beginning"
    phrase: Word

    def phrases(self) -> tuple[str, ...]:
        return (f'begin with "{self.phrase}"', f'start with the words "{self.phrase}"')

    def fault(self, text: str) -> str:
        begins = fold(text.strip().lstrip(QUOTES + "*#-\u2022 ")).startswith(fold(self.phrase.strip()))
        behind = [fold(word) for word in words(text)][: len(words(self.phrase))]
        wanted = [fold(word) for word in words(self.phrase)]
        if begins and (behind == wanted or not wanted):
            return ""
        return f'Your answer does not begin with "{self.phrase}".'

    def plan(self, plan: Plan) -> None:
        plan.begin += self.phrase.split()

    def spoil(self, text: str) -> str:
        return f"{other_than(self.phrase)} {text}"

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> BeginWith:
        return cls(phrase=rng.choice(_BEGINNINGS))


class EndWith(Kind):
    """The answer ends with certain words; a mark, a quotation mark or a bracket behind them does no harm."""

    name: ClassVar = "end_with"
    anchored: ClassVar = True
    forms: ClassVar[frozenset[Form]] = UNITS
    group: ClassVar = "end"
    phrase: Word

    def phrases(self) -> tuple[str, ...]:
        return (f'end with "{self.phrase}"', f'finish with the words "{self.phrase}"')

    def fault(self, text: str) -> str:
        behind = ".!?\u2026:;,)*_ \n" + QUOTES
        if fold(text.strip().rstrip(behind)).endswith(fold(self.phrase.strip().rstrip(behind))):
            before = fold(text.strip().rstrip(behind))[: -len(fold(self.phrase.strip().rstrip(behind))) or None]
            if not before[-1:].isalnum() or not self.phrase.strip()[0].isalnum():
                return ""
        return f'Your answer does not end with "{self.phrase}".'

    def plan(self, plan: Plan) -> None:
        plan.end += self.phrase.split()

    def spoil(self, text: str) -> str:
        return f"{text} {other_than(self.phrase)}."

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> EndWith:
        return cls(phrase=rng.choice(_ENDS))


class SameEnds(Kind):
    """The answer's first word is its last word too."""

    name: ClassVar = "same_ends"
    difficulty: ClassVar = 3
    group: ClassVar = "end"

    def phrases(self) -> tuple[str, ...]:
        return ("begin and end with the same word", "have the same word at its beginning and at its end")

    def fault(self, text: str) -> str:
        found = words(text)
        if len(found) < 2:
            return "Your answer has less than two words."
        if same(found[0], found[-1]):
            return ""
        return f'The first word is "{found[0]}" and the last one is "{found[-1]}"; they must be the same.'

    def plan(self, plan: Plan) -> None:
        if not plan.begin:
            plan.begin.append("silence")
        plan.end.append(plan.begin[0])

    def spoil(self, text: str) -> str:
        return f"{other_than(words(text)[-1])} {text}"

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> SameEnds:
        return cls()


class EverySentenceBegins(Kind):
    """Each sentence begins with a certain word."""

    name: ClassVar = "every_sentence_begins"
    anchored: ClassVar = True
    difficulty: ClassVar = 3
    group: ClassVar = "beginning"
    word: Word

    @property
    def said_words(self) -> tuple[str, ...]:
        return (self.word,)

    def phrases(self) -> tuple[str, ...]:
        return (f'begin each of its sentences with the word "{self.word}"',)

    def fault(self, text: str) -> str:
        found = sentences(text)
        if not found:
            return _NO_WORDS
        wrong = [i for i, sentence in enumerate(found, 1) if not same(words(sentence)[0], self.word)]
        return f'Sentence {wrong[0]} does not begin with the word "{self.word}".' if wrong else ""

    def plan(self, plan: Plan) -> None:
        plan.begin.append(self.word)
        plan.units.narrow("exactly", 1)

    def spoil(self, text: str) -> str:
        return f"{text} {other_than(self.word)} it is."


class EverySentenceEnds(Kind):
    """Each sentence ends with a certain word."""

    name: ClassVar = "every_sentence_ends"
    anchored: ClassVar = True
    difficulty: ClassVar = 3
    group: ClassVar = "end"
    word: Word

    @property
    def said_words(self) -> tuple[str, ...]:
        return (self.word,)

    def phrases(self) -> tuple[str, ...]:
        return (f'end each of its sentences with the word "{self.word}"',)

    def fault(self, text: str) -> str:
        found = sentences(text)
        if not found:
            return _NO_WORDS
        wrong = [i for i, sentence in enumerate(found, 1) if not same(words(sentence)[-1], self.word)]
        return f'Sentence {wrong[0]} does not end with the word "{self.word}".' if wrong else ""

    def plan(self, plan: Plan) -> None:
        plan.end.append(self.word)
        plan.units.narrow("exactly", 1)

    def spoil(self, text: str) -> str:
        return f"{text} It is so {other_than(self.word).lower()}."
