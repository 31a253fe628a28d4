"""How an answer is laid out: as a list, an object, a table, in sections."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from rltf.tasks.instructions.kinds.base import Kind, holds
from rltf.tasks.instructions.plan import Form, Plan, Relation
from rltf.tasks.instructions.text import bullets, counted, fold, lines, numbered, quoted, words

ValueType = Literal["text", "number", "list", "truth"]
_FENCE = re.compile(r"```[a-zA-Z]*\s*")
_RULE = re.compile(r"\|?\s*:?-{2,}:?\s*(\|\s*:?-{2,}:?\s*)*\|?")
_KEYS = ("name", "colour", "age", "size", "place", "price", "weight", "owner", "year", "mood", "tags", "open", "parts")


class BulletList(Kind):
    """There are so many lines that begin with a bullet."""

    name: ClassVar = "bullet_list"
    forms: ClassVar[frozenset[Form]] = frozenset({"bullets"})
    lays_out: ClassVar[Form] = "bullets"
    group: ClassVar = "list"
    number: Annotated[int, Field(ge=1, le=200)]
    relation: Relation = "exactly"

    def phrases(self) -> tuple[str, ...]:
        said = f"{self.relation} {counted(self.number, 'bullet point')}"
        return (f"have {said}, each on a line that begins with a dash", f"be a list of {said} (* or -)")

    def fault(self, text: str) -> str:
        count = len(bullets(text))
        if holds(self.relation, count, self.number):
            return ""
        return f"Your answer has {counted(count, 'bullet point')}; it must have {self.relation} {self.number}."

    def plan(self, plan: Plan) -> None:
        plan.units.narrow(self.relation, self.number)

    def spoil(self, text: str) -> str:
        return "\n".join(line.lstrip("-*\u2022 ") for line in lines(text))

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> BulletList:
        return cls(number=rng.randint(2, 3 + difficulty))


class NumberedList(Kind):
    """There are so many lines, numbered from 1."""

    name: ClassVar = "numbered_list"
    forms: ClassVar[frozenset[Form]] = frozenset({"numbered"})
    lays_out: ClassVar[Form] = "numbered"
    group: ClassVar = "list"
    number: Annotated[int, Field(ge=1, le=200)]

    def phrases(self) -> tuple[str, ...]:
        said = counted(self.number, "item")
        return (f"be a numbered list of {said}, from 1 on", f"have {said} numbered 1., 2. and so on, each on a line")

    def fault(self, text: str) -> str:
        found = [number for number, _ in numbered(text)]
        if len(found) != self.number:
            return f"Your answer has {counted(len(found), 'numbered item')}; it must have {self.number}."
        return "" if found == list(range(1, self.number + 1)) else "The numbers of the items do not count up from 1."

    def plan(self, plan: Plan) -> None:
        plan.units.narrow("exactly", self.number)

    def spoil(self, text: str) -> str:
        return re.sub(r"(?m)^\s*\d+[.)]\s*", "", text)

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> NumberedList:
        return cls(number=rng.randint(2, 3 + difficulty))


class CommaList(Kind):
    """The answer is so many things on one line, with commas between them."""

    name: ClassVar = "comma_list"
    difficulty: ClassVar = 2
    forms: ClassVar[frozenset[Form]] = frozenset({"commas"})
    lays_out: ClassVar[Form] = "commas"
    group: ClassVar = "list"
    number: Annotated[int, Field(ge=2, le=200)]

    def phrases(self) -> tuple[str, ...]:
        said = counted(self.number, "thing")
        return (
            f"be {said} on one line, separated by commas",
            f"name {said}, with commas between them and nothing else",
        )

    def fault(self, text: str) -> str:
        if len(lines(text)) != 1:
            return f"Your answer has {counted(len(lines(text)), 'line')}; it must have one."
        parts = text.strip().rstrip(".").split(",")
        if not all(words(part) for part in parts):
            return "There is nothing between two commas."
        if len(parts) == self.number:
            return ""
        return f"Commas separate {counted(len(parts), 'thing')} in your answer; it must have {self.number}."

    def plan(self, plan: Plan) -> None:
        plan.units.narrow("exactly", self.number)

    def spoil(self, text: str) -> str:
        return f"{text}, " * 2 + "thing"

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> CommaList:
        return cls(number=rng.randint(3, 3 + difficulty))


def items_of(text: str) -> list[str]:
    """The items of a list in any of its layouts."""
    found = bullets(text) or [item for _, item in numbered(text)]
    if found:
        return found
    one_line = len(lines(text)) == 1
    return [part.strip() for part in text.strip().rstrip(".").split(",")] if one_line else lines(text)


class SortedItems(Kind):
    """The items of a list are in alphabetical order."""

    name: ClassVar = "sorted_items"
    difficulty: ClassVar = 2
    forms: ClassVar[frozenset[Form]] = frozenset({"bullets", "numbered", "commas"})

    def phrases(self) -> tuple[str, ...]:
        return ("have its items in alphabetical order", "list its items from A to Z")

    def fault(self, text: str) -> str:
        found = [" ".join(map(fold, words(item))) for item in items_of(text)]
        if len(found) < 2:
            return "Your answer has less than two items."
        wrong = next((i for i in range(1, len(found)) if found[i] < found[i - 1]), None)
        return "" if wrong is None else f"Item {wrong + 1} comes before item {wrong} in the alphabet."

    def plan(self, plan: Plan) -> None:
        plan.sorted_units = True
        plan.units.narrow("at least", 2)

    def spoil(self, text: str) -> str:
        if "\n" not in text.strip():
            return ", ".join(reversed(text.strip().rstrip(".").split(", ")))
        found = lines(text)
        return "\n".join([*found[1:], found[0]] if not numbered(text) else self._turned(text))

    def _turned(self, text: str) -> list[str]:
        return [f"{i}. {item}" for i, (_, item) in enumerate(reversed(numbered(text)), 1)]

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> SortedItems:
        return cls()


class ItemLength(Kind):
    """Each item of a list has at most so many words."""

    name: ClassVar = "item_length"
    forms: ClassVar[frozenset[Form]] = frozenset({"bullets", "numbered", "commas"})
    words: Annotated[int, Field(ge=1, le=100)]

    def phrases(self) -> tuple[str, ...]:
        said = counted(self.words, "word")
        return (f"have at most {said} in each item", f"keep each item to {said} or fewer")

    def fault(self, text: str) -> str:
        counts = [len(words(item)) for item in items_of(text)]
        wrong = next((i for i, count in enumerate(counts) if count > self.words), None)
        if wrong is None:
            return "" if counts else "There are no items in your answer."
        return f"Item {wrong + 1} has {counted(counts[wrong], 'word')}; {self.words} are allowed."

    def plan(self, plan: Plan) -> None:
        plan.unit_words.narrow("at most", self.words)

    def spoil(self, text: str) -> str:
        return text.rstrip() + " indeed" * (self.words + 1)

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> ItemLength:
        return cls(words=rng.randint(3, 5))


def read_json(text: str) -> Any:
    """The JSON that a text is, or that stands alone in a block of code. Raises ValueError."""
    begin, *within, end = text.strip().split("\n") if "\n" in text.strip() else (text, "")
    fenced = _FENCE.fullmatch(begin) and end.strip() == "```"
    try:
        return json.loads("\n".join(within) if fenced else text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _is(value: Any, kind: str) -> bool:
    match kind:
        case "text":
            return isinstance(value, str)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "list":
            return isinstance(value, list)
        case _:
            return isinstance(value, bool)


_TYPE_NAMES = {"text": "a text", "number": "a number", "list": "a list", "truth": "true or false"}


class Json(Kind):
    """The answer is JSON, of any kind."""

    name: ClassVar = "json"
    forms: ClassVar[frozenset[Form]] = frozenset({"json"})
    lays_out: ClassVar[Form] = "json"
    group: ClassVar = "json"
    difficulty: ClassVar = 2
    anchored: ClassVar = True

    def phrases(self) -> tuple[str, ...]:
        return ("be valid JSON and nothing else",)

    def fault(self, text: str) -> str:
        try:
            read_json(text)
        except ValueError:
            return "Your answer is not valid JSON."
        return ""

    def plan(self, plan: Plan) -> None:
        plan.keys = plan.keys or (("name", "text"), ("age", "number"))

    def spoil(self, text: str) -> str:
        return f"Indeed: {text}"


class JsonObject(Kind):
    """The answer is a JSON object with just these keys, and values of these types."""

    name: ClassVar = "json_object"
    anchored: ClassVar = True
    difficulty: ClassVar = 2
    forms: ClassVar[frozenset[Form]] = frozenset({"json"})
    lays_out: ClassVar[Form] = "json"
    group: ClassVar = "json"
    keys: Annotated[tuple[str, ...], Field(min_length=1, max_length=30)]
    types: tuple[ValueType, ...] = ()
    """Of the values, one for each key; empty: any."""

    @model_validator(mode="after")
    def _pairs(self) -> JsonObject:
        if self.types and len(self.types) != len(self.keys):
            raise ValueError(f"{len(self.keys)} keys have {len(self.types)} types; give one for each, or none")
        return self

    def phrases(self) -> tuple[str, ...]:
        if not self.types:
            return (f"be a JSON object with just the keys {quoted(self.keys)}, and nothing else",)
        pairs = [f'"{key}" ({_TYPE_NAMES[kind]})' for key, kind in zip(self.keys, self.types, strict=True)]
        said = pairs[0] if len(pairs) == 1 else f"{', '.join(pairs[:-1])} and {pairs[-1]}"
        return (
            f"be a JSON object with the {'key' if len(pairs) == 1 else 'keys'} {said}, and nothing else",
            f"be nothing but one JSON object, whose {'key is' if len(pairs) == 1 else 'keys are'} {said}",
        )

    def fault(self, text: str) -> str:
        try:
            found = read_json(text)
        except ValueError:
            return "Your answer is not valid JSON."
        if not isinstance(found, dict):
            return "Your answer is no JSON object."
        missing = [key for key in self.keys if key not in found]
        if missing:
            return f"The object has no key {quoted(missing)}."
        if len(found) > len(set(self.keys)):
            more = [key for key in found if key not in self.keys]
            return f"The object has the key {quoted(more[:3])}, which nobody asked for."
        for key, kind in zip(self.keys, self.types, strict=False):
            if not _is(found[key], kind):
                return f'The value of "{key}" is not {_TYPE_NAMES[kind]}.'
        return ""

    def plan(self, plan: Plan) -> None:
        types = self.types or ("text",) * len(self.keys)
        plan.keys = tuple(zip(self.keys, types, strict=True))

    def spoil(self, text: str) -> str:
        (first, value), *others = read_json(text).items()
        return json.dumps({f"no {first}": value, **dict(others)})

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> JsonObject:
        keys = tuple(rng.sample(_KEYS, rng.randint(2, 2 + difficulty)))
        types: tuple[ValueType, ...] = ("text", "text", "number", "number", "list", "truth")
        kinds = types[:4] if difficulty < 3 else types
        return cls(keys=keys, types=tuple(rng.choice(kinds) for _ in keys))


class Table(Kind):
    """There is a Markdown table with these columns and so many rows below its head."""

    name: ClassVar = "table"
    anchored: ClassVar = True
    difficulty: ClassVar = 3
    forms: ClassVar[frozenset[Form]] = frozenset({"table"})
    lays_out: ClassVar[Form] = "table"
    columns: Annotated[tuple[str, ...], Field(min_length=1, max_length=30)]
    rows: Annotated[int, Field(ge=1, le=200)]

    def phrases(self) -> tuple[str, ...]:
        columns = f"{'column' if len(self.columns) == 1 else 'columns'} {quoted(self.columns)}"
        rows = counted(self.rows, "row")
        return (
            f"be a Markdown table with the {columns} and {rows} below its head",
            f"hold a table in Markdown, with the {columns} and, besides the head, {rows}",
        )

    def fault(self, text: str) -> str:
        table = [line for line in lines(text) if "|" in line]
        rule = next((i for i, line in enumerate(table) if _RULE.fullmatch(line) and "-" in line), None)
        if rule != 1:
            return "There is no Markdown table: a head, a line of dashes below it, and rows."
        head = _cells(table[0])
        if [fold(cell) for cell in head] != [fold(column) for column in self.columns]:
            return f"The columns of your table are {quoted(head)}, not {quoted(self.columns)}."
        rows = [_cells(line) for line in table[2:]]
        if any(len(row) != len(head) for row in rows):
            return "A row of your table has not as many cells as there are columns."
        if len(rows) == self.rows:
            return ""
        return f"Your table has {counted(len(rows), 'row')}; it must have {self.rows}."

    def plan(self, plan: Plan) -> None:
        plan.columns = self.columns
        plan.units.narrow("exactly", self.rows)

    def spoil(self, text: str) -> str:
        return text.replace("|", ";")

    @classmethod
    def draw(cls, rng: Random, difficulty: int) -> Table:
        return cls(columns=tuple(rng.sample(_KEYS, rng.randint(2, 3))), rows=rng.randint(2, 3))


def _cells(line: str) -> list[str]:
    return [cell.strip(" *") for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]


class Sections(Kind):
    """There are so many sections, each under a line such as "Section 1"."""

    name: ClassVar = "sections"
    anchored: ClassVar = True
    difficulty: ClassVar = 3
    group: ClassVar = "paragraphs"
    number: Annotated[int, Field(ge=1, le=100)]
    mark: Annotated[str, Field(pattern=r"^\S+( \S+)*$", max_length=40)] = "Section"

    def phrases(self) -> tuple[str, ...]:
        return (f'have {counted(self.number, "section")}, headed "{self.mark} 1" and so on',)

    def fault(self, text: str) -> str:
        count = len(re.findall(rf"(?i)(?<!\w){re.escape(self.mark)}\s?\d+", text))
        if count >= self.number:
            return ""
        return f'Your answer has {counted(count, "section")} headed "{self.mark}"; it must have {self.number}.'

    def plan(self, plan: Plan) -> None:
        plan.units.narrow("at least", self.number)
        plan.extra_words += 2 * self.number
        plan.finish.append((40, self._headed))

    def _headed(self, text: str) -> str:
        heads = [f"{self.mark} {i}" for i in range(1, self.number + 1)]
        return "\n\n".join([*(f"{head}\nNote." for head in heads[:-1]), f"{heads[-1]}\n{text}"])

    def spoil(self, text: str) -> str:
        return re.sub(re.escape(self.mark), "Part" if self.mark != "Part" else "Piece", text)
