"""Signs within a text: question and quotation marks, commas, digits, brackets, stars."""

from __future__ import annotations

import re
from random import Random
from typing import Annotated, ClassVar

from pydantic import Field

from rltf.tasks.instructions.kinds.base import UNITS, Kind
from rltf.tasks.instructions.plan import Form, Plan
from rltf.tasks.instructions.text import counted, words

_QUOTES = {'"': '"', "\u201c": "\u201d", "\u201e": "\u201c", "\u00ab": "\u00bb", "'": "'", "\u2018": "\u2019"}
_PLACEHOLDER = re.compile(r"\[[^\[\]\n]+\]")
_HIGHLIGHT = re.compile(r"(?<!\*)\*\*?(?=[^\s*])([^*\n]+)(?<=[^\s*])\*\*?(?!\*)")
_ABBREVIATION = re.compile(r"(?:[A-Za-z]\.?){2,5}")
_TITLE = re.compile(r"<<(?=[^\n<>]*[^\s<>])[^\n<>]*>>")


class Question(Kind):
    """The answer ends with a question mark."""

    name: ClassVar = "question"
    group: ClassVar = "mark"

    def phrases(self) -> tuple[str, ...]:
        return ("end with a question mark", "be a question", "end in a question")

    def fault(self, text: str) -> str:
        if not words(text):
            return "There is no word in your answer."
        return "" if text.rstrip(" \n\t\"'\u201d\u2019)*").endswith("?") else "Your answer does not end as a question."

    def plan(self, plan: Plan) -> None:
        plan.mark = "?"

    def spoil(self, text: str) -> str:
        return f"{text} Indeed."

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> Question:
        return cls()


class Exclamation(Kind):
    """The answer ends with an exclamation mark."""

    name: ClassVar = "exclamation"
    group: ClassVar = "mark"

    def phrases(self) -> tuple[str, ...]:
        return ("end with an exclamation mark", "have an exclamation mark at its end")

    def fault(self, text: str) -> str:
        if not words(text):
            return "There is no word in your answer."
        if text.rstrip(" \n\t\"'\u201d\u2019)*").endswith("!"):
            return ""
        return "Your answer does not end with an exclamation mark."

    def plan(self, plan: Plan) -> None:
        plan.mark = "!"

    def spoil(self, text: str) -> str:
        return f"{text} Indeed."

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> Exclamation:
        return cls()


class AvoidSign(Kind):
    """A sign stands nowhere in the answer."""

    name: ClassVar = "avoid_sign"
    forms: ClassVar[frozenset[Form]] = UNITS
    sign: Annotated[str, Field(pattern=r"^[,.!;:?-]$")] = ","

    @property
    def _called(self) -> str:
        names = {",": "comma", ".": "full stop", "!": "exclamation mark", ";": "semicolon", ":": "colon"}
        return names.get(self.sign, "question mark" if self.sign == "?" else "hyphen")

    def phrases(self) -> tuple[str, ...]:
        return (f"have no {self._called} in it", f"do without any {self._called}", f"contain no {self._called}s")

    def fault(self, text: str) -> str:
        count = text.count(self.sign) + (text.count("\uff0c") if self.sign == "," else 0)
        return f"Your answer has {counted(count, self._called)} in it." if count else ""

    def plan(self, plan: Plan) -> None:
        if plan.mark == self.sign:
            plan.mark = "!" if self.sign == "." else "."

    def spoil(self, text: str) -> str:
        return f"{text}{self.sign} indeed"

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> AvoidSign:
        return cls(sign=rng.choice(",,,.!"))


class HasNumber(Kind):
    """There are so many numbers in digits."""

    name: ClassVar = "has_number"
    forms: ClassVar[frozenset[Form]] = UNITS
    group: ClassVar = "digits"
    number: Annotated[int, Field(ge=1, le=100)] = 1

    def phrases(self) -> tuple[str, ...]:
        said = counted(self.number, "number")
        return (f"have at least {said} in digits", f"give at least {said}, written in digits")

    def fault(self, text: str) -> str:
        count = len(re.findall(r"\d+(?:[.,]\d+)*", re.sub(r"(?m)^[^\S\n]*\d+[.)]\s", "", text)))
        if count >= self.number:
            return ""
        return f"Your answer has {counted(count, 'number')} in digits; it must have at least {self.number}."

    def plan(self, plan: Plan) -> None:
        plan.include += [str(7 + 5 * i) for i in range(self.number)]

    def spoil(self, text: str) -> str:
        return re.sub(r"\d", "x", text)

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> HasNumber:
        return cls(number=rng.randint(1, difficulty))


class NoDigits(Kind):
    """There is no digit in the answer."""

    name: ClassVar = "no_digits"
    forms: ClassVar[frozenset[Form]] = UNITS - {"numbered"}
    group: ClassVar = "digits"

    def phrases(self) -> tuple[str, ...]:
        return ("have no digits in it", "write all numbers as words")

    def fault(self, text: str) -> str:
        count = sum(map(str.isdigit, text))
        return f"Your answer has {counted(count, 'digit')} in it." if count else ""

    def plan(self, plan: Plan) -> None:
        """Words have none."""

    def spoil(self, text: str) -> str:
        return f"{text} 7"

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> NoDigits:
        return cls()


class Quotation(Kind):
    """The whole answer stands between quotation marks."""

    name: ClassVar = "quotation"
    forms: ClassVar[frozenset[Form]] = UNITS
    group: ClassVar = "wrapped"

    def phrases(self) -> tuple[str, ...]:
        return ("stand between double quotation marks as a whole", "be wrapped in double quotation marks")

    def fault(self, text: str) -> str:
        text = text.strip()
        if len(text) > 2 and text[0] in '"\u201c\u201e\u00ab' and text[-1] == _QUOTES[text[0]]:
            return ""
        return "Your answer does not stand between double quotation marks."

    def plan(self, plan: Plan) -> None:
        plan.finish.append((99, lambda text: f'"{text}"'))

    def spoil(self, text: str) -> str:
        return text.strip().strip('"')

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> Quotation:
        return cls()


class Title(Kind):
    """There is a title between double angular brackets."""

    name: ClassVar = "title"
    difficulty: ClassVar = 2
    forms: ClassVar[frozenset[Form]] = UNITS
    group: ClassVar = "wrapped"

    def phrases(self) -> tuple[str, ...]:
        return (
            "have a title between double angular brackets, <<like this>>",
            "carry a title in double angular brackets, such as <<my title>>",
        )

    def fault(self, text: str) -> str:
        return "" if _TITLE.search(text) else "There is no title between double angular brackets."

    def plan(self, plan: Plan) -> None:
        # Before the first words, which other constraints may ask for, a title would be the beginning itself.
        plan.extra_words += 1
        plan.finish.append((10, lambda text: re.sub(r"([^\W_][\w'-]*)(?=\W*\s)", r"\1 <<note>>", text, count=1)))

    def spoil(self, text: str) -> str:
        return text.replace("<<", "").replace(">>", "")

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> Title:
        return cls()


class Highlights(Kind):
    """So many pieces of the answer stand between single or double stars, as Markdown highlights them."""

    name: ClassVar = "highlights"
    difficulty: ClassVar = 2
    number: Annotated[int, Field(ge=1, le=100)]

    def phrases(self) -> tuple[str, ...]:
        said = counted(self.number, "phrase")
        return (f"highlight at least {said} with stars, *like this*", f"put at least {said} between *stars*")

    def fault(self, text: str) -> str:
        count = len(_HIGHLIGHT.findall(text))
        if count >= self.number:
            return ""
        return f"Your answer has {counted(count, 'highlighted phrase')}; it must have at least {self.number}."

    def plan(self, plan: Plan) -> None:
        plan.words.narrow("at least", self.number + 1)
        plan.finish.append(
            (80, lambda text: re.sub(r"(?<![\[<*\w])\b([^\W_][\w'-]*)\b", r"*\1*", text, count=self.number))
        )

    def spoil(self, text: str) -> str:
        return text.replace("*", "")

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> Highlights:
        return cls(number=rng.randint(1, difficulty))


class Placeholders(Kind):
    """So many things to fill in stand in square brackets."""

    name: ClassVar = "placeholders"
    difficulty: ClassVar = 2
    number: Annotated[int, Field(ge=1, le=100)]

    def phrases(self) -> tuple[str, ...]:
        said = counted(self.number, "placeholder")
        return (
            f"have at least {said} in square brackets, such as [name]",
            f"leave at least {said} to fill in, in square brackets like [address]",
        )

    def fault(self, text: str) -> str:
        count = len(_PLACEHOLDER.findall(text))
        if count >= self.number:
            return ""
        return (
            f"Your answer has {counted(count, 'placeholder')} in square brackets; it must have at least {self.number}."
        )

    def plan(self, plan: Plan) -> None:
        plan.extra_words += self.number
        marks = " ".join(["[name]", "[date]", "[place]"][i % 3] for i in range(self.number))
        plan.finish.append((20, lambda text: re.sub(r"([^\W_][\w'-]*)(?=\W*\s)", rf"\1 {marks}", text, count=1)))

    def spoil(self, text: str) -> str:
        return text.replace("[", "").replace("]", "")

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> Placeholders:
        return cls(number=rng.randint(1, difficulty))


class Postscript(Kind):
    """There is a postscript behind a certain mark."""

    name: ClassVar = "postscript"
    anchored: ClassVar = True
    difficulty: ClassVar = 2
    group: ClassVar = "end"
    marker: Annotated[str, Field(pattern=r"\S", max_length=40)] = "P.S."

    def phrases(self) -> tuple[str, ...]:
        return (
            f'have a postscript at its end that begins with "{self.marker}"',
            f'add a postscript, marked "{self.marker}"',
        )

    def fault(self, text: str) -> str:
        mark = re.escape(self.marker.strip())
        if _ABBREVIATION.fullmatch(self.marker):  # "PS" and "P. S." are as good.
            mark = r"\.?\s?".join(filter(str.isalpha, self.marker)) + r"\.?:?"
        found = re.search(rf"(?:^|\s){mark}\s+\S", text, re.IGNORECASE)
        return "" if found else f'There is no postscript that begins with "{self.marker}".'

    def plan(self, plan: Plan) -> None:
        plan.extra_words += len(words(self.marker)) + 1
        plan.finish.append((30, lambda text: f"{text}\n\n{self.marker} Soon{plan.mark}"))

    def spoil(self, text: str) -> str:
        return re.sub(re.escape(self.marker.strip()), "Then", text, flags=re.IGNORECASE)

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> Postscript:
        return cls(marker=rng.choice(("P.S.", "P.P.S.")))
