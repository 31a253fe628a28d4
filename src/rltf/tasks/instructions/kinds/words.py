"""Which words an answer uses, how often, and beside which others."""

from __future__ import annotations

import re
from collections import Counter
from random import Random
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from rltf.tasks.instructions.kinds.base import TEXTS, UNITS, Kind, holds
from rltf.tasks.instructions.lexicon import categories, word_list
from rltf.tasks.instructions.plan import Form, Plan, Relation
from rltf.tasks.instructions.text import counted, fold, occurrences, quoted, sentences, without, words

Word = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
Words = Annotated[tuple[Word, ...], Field(min_length=1, max_length=50)]


def draw_nouns(rng: Random, number: int) -> tuple[str, ...]:
    """Different nouns."""
    return tuple(rng.sample(word_list("nouns"), number))


def _the_words(words_: tuple[str, ...], joint: str = "and") -> str:
    return f"the {'word' if len(words_) == 1 else 'words'} {quoted(words_, joint)}"


class UseWords(Kind):
    """Each of some words or phrases stands in the answer."""

    name: ClassVar = "use_words"
    anchored: ClassVar = True
    forms: ClassVar[frozenset[Form]] = TEXTS | {"commas"}
    words: Words

    @property
    def said_words(self) -> tuple[str, ...]:
        return self.words

    def phrases(self) -> tuple[str, ...]:
        said = _the_words(self.words)
        return (f"use {said}", f"include {said}", f"have {said} in it", f"contain {said}")

    def fault(self, text: str) -> str:
        missing = [word for word in self.words if not occurrences(text, word)]
        return f"You did not use {_the_words(tuple(missing))}." if missing else ""

    def plan(self, plan: Plan) -> None:
        plan.include += self.words

    def spoil(self, text: str) -> str:
        return without(text, self.words[-1])

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> UseWords:
        return cls(words=draw_nouns(rng, rng.randint(1, difficulty)))


class AvoidWords(Kind):
    """None of some words stands in the answer."""

    name: ClassVar = "avoid_words"
    forms: ClassVar[frozenset[Form]] = TEXTS | {"commas"}
    words: Words

    @property
    def said_words(self) -> tuple[str, ...]:
        return self.words

    def phrases(self) -> tuple[str, ...]:
        said = _the_words(self.words)
        return (
            f"do without {said}",
            f"not use {_the_words(self.words, 'or')}",
            f"never say {quoted(self.words, 'or')}",
        )

    def fault(self, text: str) -> str:
        used = [word for word in self.words if occurrences(text, word)]
        return f"You used {_the_words(tuple(used))}." if used else ""

    def plan(self, plan: Plan) -> None:
        banned = {fold(word) for word in self.words}
        plan.filters.append(lambda word: fold(word) not in banned)

    def spoil(self, text: str) -> str:
        return f"{text} {self.words[0]}"

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> AvoidWords:
        common = ("the", "and", "very", "is", "was", "it", "with", "but", "that", "in")
        return cls(words=tuple(rng.sample(common, rng.randint(1, 2))))


class WordTimes(Kind):
    """A word stands so many times in the answer."""

    name: ClassVar = "word_times"
    anchored: ClassVar = True
    difficulty: ClassVar = 2
    forms: ClassVar[frozenset[Form]] = UNITS
    word: Word
    times: Annotated[int, Field(ge=0, le=1000)]
    relation: Relation = "exactly"

    @property
    def said_words(self) -> tuple[str, ...]:
        return (self.word,)

    def phrases(self) -> tuple[str, ...]:
        often = f"{self.relation} {counted(self.times, 'time')}"
        return (f'use the word "{self.word}" {often}', f'have the word "{self.word}" in it {often}')

    def fault(self, text: str) -> str:
        count = occurrences(text, self.word)
        if holds(self.relation, count, self.times):
            return ""
        asked = f"{self.relation} {counted(self.times, 'time')}"
        return f'You used the word "{self.word}" {counted(count, "time")}; it must stand there {asked}.'

    def plan(self, plan: Plan) -> None:
        if self.relation != "at most" or self.times:
            plan.include += [self.word] * max(1, self.times)

    def spoil(self, text: str) -> str:
        if self.relation == "at least":
            return without(text, self.word)
        return " ".join([text, *[self.word] * (self.times + 1)])

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> WordTimes:
        (word,) = draw_nouns(rng, 1)
        return cls(word=word, times=rng.randint(2, 1 + difficulty), relation=rng.choice(("exactly", "at least")))


class OneOfWords(Kind):
    """Just one of some words stands in the answer."""

    name: ClassVar = "one_of_words"
    anchored: ClassVar = True
    difficulty: ClassVar = 2
    forms: ClassVar[frozenset[Form]] = UNITS
    words: Annotated[tuple[Word, ...], Field(min_length=2, max_length=20)]

    @property
    def said_words(self) -> tuple[str, ...]:
        return self.words

    def phrases(self) -> tuple[str, ...]:
        return (
            f"use just one of the words {quoted(self.words)}",
            f"use one of the words {quoted(self.words, 'or')}, and none of the others",
        )

    def fault(self, text: str) -> str:
        used = [word for word in self.words if occurrences(text, word)]
        if len(used) == 1:
            return ""
        if not used:
            return f"You used none of the words {quoted(self.words)}; just one of them must stand there."
        return f"You used the words {quoted(used)}; just one of them must stand there."

    def plan(self, plan: Plan) -> None:
        plan.choices.append(self.words)

    def spoil(self, text: str) -> str:
        return f"{text} {' '.join(self.words)}"

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> OneOfWords:
        return cls(words=draw_nouns(rng, rng.randint(2, 3)))


class WordOrder(Kind):
    """Some words stand in the answer, the first occurrence of each in this order."""

    name: ClassVar = "word_order"
    anchored: ClassVar = True
    difficulty: ClassVar = 2
    forms: ClassVar[frozenset[Form]] = UNITS
    words: Annotated[tuple[Word, ...], Field(min_length=2, max_length=20)]

    @property
    def said_words(self) -> tuple[str, ...]:
        return self.words

    def phrases(self) -> tuple[str, ...]:
        return (f"use the words {quoted(self.words)} in this order", f"mention {quoted(self.words)}, in this order")

    def fault(self, text: str) -> str:
        missing = [word for word in self.words if not occurrences(text, word)]
        if missing:
            return f"You did not use {_the_words(tuple(missing))}."
        pieces = [fold(word) for word in words(text)]
        places = [_place(pieces, word) for word in self.words]
        late = next((i for i in range(1, len(places)) if places[i] < places[i - 1]), None)
        if late is None:
            return ""
        return f'The word "{self.words[late]}" first stands before "{self.words[late - 1]}"; the order is another.'

    def plan(self, plan: Plan) -> None:
        plan.include += self.words

    def spoil(self, text: str) -> str:
        return f"{self.words[-1]} {text}"

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> WordOrder:
        return cls(words=draw_nouns(rng, rng.randint(2, max(2, difficulty))))


def _place(pieces: list[str], phrase: str) -> int:
    wanted = [fold(word) for word in words(phrase)]
    starts = range(len(pieces) - len(wanted) + 1)
    exact = (start for start in starts if pieces[start : start + len(wanted)] == wanted)
    return next(exact, next((i for i, piece in enumerate(pieces) if occurrences(piece, phrase)), -1))


class AdjacentWords(Kind):
    """A word stands right before another."""

    name: ClassVar = "adjacent_words"
    anchored: ClassVar = True
    difficulty: ClassVar = 2
    forms: ClassVar[frozenset[Form]] = UNITS
    first: Word
    second: Word

    @property
    def said_words(self) -> tuple[str, ...]:
        return (self.first, self.second)

    def phrases(self) -> tuple[str, ...]:
        return (
            f'use the word "{self.first}" right before the word "{self.second}"',
            f'have the words "{self.first} {self.second}" next to each other in it',
        )

    def fault(self, text: str) -> str:
        if occurrences(text, f"{self.first} {self.second}"):
            return ""
        missing = tuple(word for word in (self.first, self.second) if not occurrences(text, word))
        if missing:
            return f"You did not use {_the_words(missing)}."
        return f'The word "{self.first}" does not stand right before "{self.second}".'

    def plan(self, plan: Plan) -> None:
        plan.include.append(f"{self.first} {self.second}")

    def spoil(self, text: str) -> str:
        return without(text, f"{self.first} {self.second}", f"{self.second} {self.first}")

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> AdjacentWords:
        (noun,) = draw_nouns(rng, 1)
        return cls(first=rng.choice(word_list("adjectives")), second=noun)


class NoRepeatedWord(Kind):
    """No word stands twice in the answer."""

    name: ClassVar = "no_repeated_word"
    difficulty: ClassVar = 2

    def phrases(self) -> tuple[str, ...]:
        return ("use no word twice", "not repeat any word", "use each word only once")

    def fault(self, text: str) -> str:
        twice = [word for word, count in Counter(map(fold, words(text))).items() if count > 1]
        return f"You used {_the_words(tuple(twice[:3]))} more than once." if twice else ""

    def plan(self, plan: Plan) -> None:
        plan.distinct = True

    def spoil(self, text: str) -> str:
        return f"{text} {words(text)[0]}"

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> NoRepeatedWord:
        return cls()


class WordInSentence(Kind):
    """A word stands in the sentence of a certain number."""

    name: ClassVar = "word_in_sentence"
    anchored: ClassVar = True
    difficulty: ClassVar = 2
    word: Word
    sentence: Annotated[int, Field(ge=1, le=100)]

    @property
    def said_words(self) -> tuple[str, ...]:
        return (self.word,)

    def phrases(self) -> tuple[str, ...]:
        which = f"sentence {self.sentence}"
        return (f'use the word "{self.word}" in {which}', f'have the word "{self.word}" in {which}')

    def fault(self, text: str) -> str:
        found = sentences(text)
        if len(found) < self.sentence:
            return f"Your answer has {counted(len(found), 'sentence')}, so there is no sentence {self.sentence}."
        if occurrences(found[self.sentence - 1], self.word):
            return ""
        return f'Sentence {self.sentence} does not use the word "{self.word}".'

    def plan(self, plan: Plan) -> None:
        plan.units.narrow("at least", self.sentence)
        plan.in_unit[self.sentence - 1] = self.word

    def spoil(self, text: str) -> str:
        return without(text, self.word)

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> WordInSentence:
        (word,) = draw_nouns(rng, 1)
        return cls(word=word, sentence=rng.randint(2, 1 + difficulty))


def _known(category: str) -> str:
    if category not in categories():
        raise ValueError(f"{category!r} is no category; known: {', '.join(categories())}")
    return category


Category = Annotated[str, AfterValidator(_known)]
"""A category of which the package has a list."""


def members_in(text: str, category: str) -> list[str]:
    """The words of a category that stand in a text, in the singular or the plural."""
    said = f" {' '.join(re.findall(_PART, fold(text)))} "
    return [word for word in categories()[category][1] if any(f" {form} " in said for form in _forms(word))]


_PART = r"[^\W_]+"


def _forms(word: str) -> tuple[str, ...]:
    plain = " ".join(re.findall(_PART, fold(word)))
    return (plain, f"{plain}s", f"{plain}es", f"{plain.removesuffix('y')}ies")


class NameOf(Kind):
    """The answer names something of a category, beside whatever else it says."""

    name: ClassVar = "name_of"
    anchored: ClassVar = True
    forms: ClassVar[frozenset[Form]] = UNITS
    category: Category
    letter: Annotated[str, Field(pattern=r"^[a-z]$")]

    def phrases(self) -> tuple[str, ...]:
        one = categories()[self.category][0]
        behind = f'whose name begins with the letter "{self.letter}"'
        return (f"name {one} {behind}", f"mention {one} {behind}", f"speak of {one} {behind}")

    def fault(self, text: str) -> str:
        named = members_in(text, self.category)
        if any(fold(word).startswith(self.letter) for word in named):
            return ""
        one = categories()[self.category][0]
        if not named:
            return f"You did not name {one}."
        return f'You named {one}, but none that begins with the letter "{self.letter}".'

    def plan(self, plan: Plan) -> None:
        named = categories()[self.category][1]
        plan.choices.append(tuple(word for word in named if fold(word).startswith(self.letter)))

    def spoil(self, text: str) -> str:
        for word in members_in(text, self.category):
            for form in _forms(word):
                text = without(text, form)
        return text

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> NameOf:
        category = rng.choice(sorted(set(categories()) - {"weekday", "planet"}))
        initial = fold(rng.choice(categories()[category][1]))[0]
        return cls(category=category, letter=initial)
