"""What the whole answer is: one word of a category, one of some answers, two answers, another language."""

from __future__ import annotations

import re
import unicodedata
from random import Random
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from rltf.tasks.instructions.kinds.base import Kind
from rltf.tasks.instructions.kinds.words import Category, Word
from rltf.tasks.instructions.lexicon import categories, languages
from rltf.tasks.instructions.plan import Form, Plan
from rltf.tasks.instructions.text import counted, fold, occurrences, other_than, quoted, words

_STARS = "******"


class OneWordOf(Kind):
    """The answer is a word of a category, begins with a letter, and says nothing else."""

    name: ClassVar = "one_word_of"
    anchored: ClassVar = True
    forms: ClassVar[frozenset[Form]] = frozenset({"name"})
    lays_out: ClassVar[Form] = "name"
    category: Category
    letter: Annotated[str, Field(pattern=r"^[a-z]$")]

    @property
    def _one(self) -> str:
        return categories()[self.category][0]

    def phrases(self) -> tuple[str, ...]:
        behind = f'that begins with the letter "{self.letter.upper()}"'
        return (f"be {self._one} {behind}, and nothing else", f"consist of the name of {self._one} {behind} alone")

    def fault(self, text: str) -> str:
        said = " ".join(fold(word) for word in words(text))
        if re.search(r"[^\w\s.!'\"*\u2019-]", text.strip()):
            return "Your answer says more than a name."
        singular = {said, said.removesuffix("s"), said.removesuffix("es")}
        if singular.isdisjoint(fold(word) for word in categories()[self.category][1]):
            more = "" if len(words(text)) == 1 else " and nothing else"
            return f"Your answer is not {self._one} that I know{more}."
        if said.startswith(self.letter):
            return ""
        return f'It begins with the letter "{said[0].upper()}", not "{self.letter.upper()}".'

    def plan(self, plan: Plan) -> None:
        plan.candidates = tuple(w for w in categories()[self.category][1] if fold(w).startswith(self.letter))

    def spoil(self, text: str) -> str:
        return f"The answer is {text}"

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> OneWordOf:
        category = rng.choice(sorted(categories()))
        return cls(category=category, letter=fold(rng.choice(categories()[category][1]))[0])


class AnswerLetters(Kind):
    """The answer's one word has so many letters."""

    name: ClassVar = "answer_letters"
    difficulty: ClassVar = 2
    forms: ClassVar[frozenset[Form]] = frozenset({"name"})
    letters: Annotated[int, Field(ge=1, le=50)]

    def phrases(self) -> tuple[str, ...]:
        return (f"have {counted(self.letters, 'letter')}", f"be {counted(self.letters, 'letter')} long")

    def fault(self, text: str) -> str:
        count = sum(map(str.isalpha, text))
        if count == self.letters:
            return ""
        return f"Your answer has {counted(count, 'letter')}; it must have {self.letters}."

    def plan(self, plan: Plan) -> None:
        """The candidates are tried."""

    def spoil(self, text: str) -> str:
        return text.strip() + "x"

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> AnswerLetters:
        return cls(letters=rng.randint(3, 8))


class OneOfAnswers(Kind):
    """The answer holds one of some answers, word by word."""

    name: ClassVar = "one_of_answers"
    anchored: ClassVar = True
    answers: Annotated[tuple[Word, ...], Field(min_length=1, max_length=20)]

    def phrases(self) -> tuple[str, ...]:
        return (f"be one of {quoted(self.answers, 'or')}",)

    def fault(self, text: str) -> str:
        given = any(occurrences(text, answer) for answer in self.answers)
        return "" if given else "You gave none of the answers allowed."

    def plan(self, plan: Plan) -> None:
        plan.finish.append((5, lambda text: self.answers[0]))

    def spoil(self, text: str) -> str:
        return f"{other_than(' '.join(self.answers))}."


class TwoAnswers(Kind):
    """There are two different answers with a line of six stars between them."""

    name: ClassVar = "two_answers"
    anchored: ClassVar = True
    difficulty: ClassVar = 3

    def phrases(self) -> tuple[str, ...]:
        return (f"give two different answers, with a line of six stars ({_STARS}) between them",)

    def fault(self, text: str) -> str:
        pieces = [piece.strip() for piece in text.split(_STARS)]
        inner = [piece for i, piece in enumerate(pieces) if piece or 0 < i < len(pieces) - 1]
        if not all(inner) or len(inner) != 2:
            return f"Your answer has {counted(sum(map(bool, inner)), 'part')} by lines of six stars; it must have 2."
        return "The two answers are the same." if inner[0] == inner[1] else ""

    def plan(self, plan: Plan) -> None:
        plan.extra_words += 1
        plan.finish.append((30, lambda text: f"{text}\n{_STARS}\nSoon{plan.mark}"))

    def spoil(self, text: str) -> str:
        return text.replace(_STARS, "---")


class RepeatFirst(Kind):
    """The answer begins with the question, or another text, word by word."""

    name: ClassVar = "repeat_first"
    anchored: ClassVar = True
    difficulty: ClassVar = 3
    group: ClassVar = "beginning"
    repeated: Annotated[str, Field(min_length=1, max_length=20_000, pattern=r"\S")]

    def phrases(self) -> tuple[str, ...]:
        return (f'first repeat "{self.repeated}" word by word, and then answer',)

    def fault(self, text: str) -> str:
        if fold(text.strip()).startswith(fold(self.repeated.strip())):
            return ""
        return "Your answer does not begin by repeating the request."

    def plan(self, plan: Plan) -> None:
        plan.finish.append((70, lambda text: f"{self.repeated.strip()}\n\n{text}"))

    def spoil(self, text: str) -> str:
        return f"{other_than(self.repeated)}. {text}"


class Copies(Kind):
    """The answer is a text, word by word, so many times, with a line of six stars between two."""

    name: ClassVar = "copies"
    anchored: ClassVar = True
    difficulty: ClassVar = 3
    repeated: Annotated[str, Field(min_length=1, max_length=20_000, pattern=r"\S")]
    times: Annotated[int, Field(ge=1, le=100)] = 1

    def phrases(self) -> tuple[str, ...]:
        return (f'repeat "{self.repeated}" {counted(self.times, "time")}, with six stars between two, and say no more',)

    def fault(self, text: str) -> str:
        pieces = [fold(piece.strip()) for piece in text.split(_STARS)]
        if len(pieces) != self.times:
            return f"Six stars part your answer into {len(pieces)}; it must have {counted(self.times, 'part')}."
        wrong = next((i for i, piece in enumerate(pieces, 1) if piece != fold(self.repeated.strip())), None)
        return "" if wrong is None else f"Part {wrong} is not the request, word by word."

    def plan(self, plan: Plan) -> None:
        plan.finish.append((70, lambda text: f"\n{_STARS}\n".join([self.repeated.strip()] * self.times)))

    def spoil(self, text: str) -> str:
        return f"Indeed. {text}"


_SCRIPTS = {
    "ru": "CYRILLIC", "uk": "CYRILLIC", "bg": "CYRILLIC", "ar": "ARABIC", "fa": "ARABIC", "ur": "ARABIC",
    "hi": "DEVANAGARI", "mr": "DEVANAGARI", "ne": "DEVANAGARI", "bn": "BENGALI", "ta": "TAMIL", "te": "TELUGU",
    "kn": "KANNADA", "gu": "GUJARATI", "pa": "GURMUKHI", "ml": "MALAYALAM", "th": "THAI", "ko": "HANGUL",
    "ja": "HIRAGANA", "zh": "CJK", "el": "GREEK", "he": "HEBREW", "ka": "GEORGIAN", "hy": "ARMENIAN",
}  # fmt: skip
_SCRIPT_NAMES = {
    "ru": "Russian", "uk": "Ukrainian", "bg": "Bulgarian", "ar": "Arabic", "fa": "Persian", "ur": "Urdu",
    "hi": "Hindi", "mr": "Marathi", "ne": "Nepali", "bn": "Bengali", "ta": "Tamil", "te": "Telugu", "kn": "Kannada",
    "gu": "Gujarati", "pa": "Punjabi", "ml": "Malayalam", "th": "Thai", "ko": "Korean", "ja": "Japanese",
    "zh": "Chinese", "el": "Greek", "he": "Hebrew", "ka": "Georgian", "hy": "Armenian",
}  # fmt: skip


class Language(Kind):
    """The answer is in a certain language.

    A language with an alphabet of its own is known by it (so Russian is not told from Ukrainian), one in Latin letters
    by its most frequent words: no other language that we know has more of them in the text.
    """

    name: ClassVar = "language"
    anchored: ClassVar = True
    difficulty: ClassVar = 3
    forms: ClassVar[frozenset[Form]] = frozenset({"foreign"})
    lays_out: ClassVar[Form] = "foreign"
    language: str

    @field_validator("language")
    @classmethod
    def _known(cls, code: str) -> str:
        if code not in languages() and code not in _SCRIPTS:
            raise ValueError(f"{code} is none of the languages that can be told: {', '.join(known_languages())}")
        return code

    @property
    def _called(self) -> str:
        return languages()[self.language][0] if self.language in languages() else _SCRIPT_NAMES[self.language]

    def phrases(self) -> tuple[str, ...]:
        return (f"be in {self._called}", f"be written in {self._called} alone")

    def fault(self, text: str) -> str:
        letters = [character for character in text if character.isalpha()]
        if not letters:
            return "There is no letter in your answer."
        if self.language in _SCRIPTS:
            script = _SCRIPTS[self.language]
            share = sum(_in_script(character, script) for character in letters) / len(letters)
            return "" if share > 0.5 and self._own_signs(text) else f"Your answer is not in {self._called}."
        if sum("LATIN" in unicodedata.name(character, "") for character in letters) < 0.7 * len(letters):
            return f"Your answer is not in {self._called}."
        said = [fold(word) for word in words(text)]
        scores = {code: sum(word in known for word in said) for code, (_, _, known) in languages().items()}
        mine = scores[self.language]
        best = max(scores.values())
        return "" if mine and mine == best and mine >= len(said) / 12 else f"Your answer is not in {self._called}."

    def _own_signs(self, text: str) -> bool:
        """Japanese and Chinese share characters: kana tell which it is."""
        kana = any(
            _in_script(character, "HIRAGANA") and "CJK" not in unicodedata.name(character, "") for character in text
        )
        return kana if self.language == "ja" else not (self.language == "zh" and kana)

    def plan(self, plan: Plan) -> None:
        plan.language = self.language

    def spoil(self, text: str) -> str:
        return languages()["en" if self.language != "en" else "de"][1]

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> Language:
        return cls(language=rng.choice(("de", "fr", "es", "it", "pt", "nl")))


def _in_script(character: str, script: str) -> bool:
    name = unicodedata.name(character, "")
    if script == "HIRAGANA":
        return name.startswith(("HIRAGANA", "KATAKANA", "CJK"))
    return name.startswith(script)


def known_languages() -> tuple[str, ...]:
    """The codes of the languages that can be told."""
    return (*sorted(languages()), *sorted(_SCRIPTS))
