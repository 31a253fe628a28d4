"""Problems that stand in files: three splits that share nothing."""

from __future__ import annotations

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Any, ClassVar, TypeAlias

from rltf.support.errors import UserError
from rltf.support.seeds import derive_seed
from rltf.tasks.base import Family, FeedbackLevel
from rltf.types import Problem, Score, Split

_WORD = re.compile(r"\w+")
# What is no punctuation: 3 + 4 is another question than 3 - 4, and 5! than 5. A hyphen between letters is none of it.
_WORD_OR_SYMBOL = re.compile(
    r"\w+|[+*/^=<>%|~\u00b1\u00d7\u00f7\u221a\u2264\u2265]|(?<![^\W\d_])-|-(?![^\W\d_])|(?<=[\d)])!"
)
_MOST = 200
_Key: TypeAlias = Callable[["Item"], tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A problem that has no place in a split yet."""

    prompt: str
    """What the policy is asked, with the form of the answer."""
    question: str
    """The question alone, by which two problems are found to be the same."""
    answer: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    """As of `Problem`."""

    def placed(self, task: str, split: Split, index: int) -> Problem:
        """The problem at its place in a split."""
        return Problem(
            task=task,
            split=split,
            index=index,
            prompt=self.prompt,
            answer=self.answer,
            metadata=self.metadata,
            kinds=self.kinds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Problems that no split has, and why."""

    repeated: int
    """The same question stood in the file before."""
    contaminated: int
    """Training problems that a test problem holds, or shares too many words in a row with."""
    unusable: int = 0
    """Problems of a data set that cannot be checked."""
    unusable_for: str = "without a test that can be checked"
    """Why they cannot."""

    def __str__(self) -> str:
        reasons = {
            "repeated": self.repeated,
            "shared with the test problems": self.contaminated,
            self.unusable_for: self.unusable,
        }
        return ", ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)


class ListedTask(ABC):
    """A task whose problems `_read` gives. The keyword arguments are those of `config.tasks.listed.ListedConfig`."""

    name: str
    family: Family
    same_by_answer: ClassVar[bool] = False
    """Whether questions that differ by case or punctuation are the same only if their answers are. Of published sets,
    which repeat their problems with answers in other words, they always are."""

    def __init__(
        self,
        *,
        train_size: int | None,
        validation_size: int | None,
        test_size: int | None,
        data_seed: int,
        shared_words: int,
    ) -> None:
        self._sizes = {"train": train_size, "validation": validation_size, "test": test_size}
        self._data_seed, self._shared_words = data_seed, shared_words

    def size(self, split: Split) -> int:
        """How many problems a split has; reads the files."""
        return len(self._problems[0][split])

    def problem(self, split: Split, index: int) -> Problem:
        """Problem `index` of a split."""
        items = self._problems[0][split]
        if not 0 <= index < len(items):
            raise IndexError(f"{split} problem {index} of {len(items)}")
        return items[index].placed(self.name, split, index)

    @property
    def left_out(self) -> LeftOut:
        """What was read and is in no split."""
        return self._problems[1]

    @abstractmethod
    def _read(self) -> tuple[Sequence[Item], Sequence[Item] | None]:
        """The items for training and validation, and those for testing; None where they are to be taken from the
        former. Raises `UserError` that names file and line."""

    @abstractmethod
    def score(self, problem: Problem, text: str) -> Score:
        """The verdict on an attempt's text."""

    @abstractmethod
    def feedback(self, problem: Problem, text: str, score: Score, level: FeedbackLevel) -> str:
        """What is wrong with the attempt."""

    @cached_property
    def _problems(self) -> tuple[dict[Split, Sequence[Item]], LeftOut]:
        train, test = self._read()
        return split_items(
            train, test, self._sizes, self._data_seed, self._shared_words, same_by_answer=self.same_by_answer
        )


def split_items(
    train: Sequence[Item],
    test: Sequence[Item] | None,
    sizes: Mapping[str, int | None],
    seed: int,
    shared_words: int,
    *,
    same_by_answer: bool = False,
    section: str = "task",
) -> tuple[dict[Split, Sequence[Item]], LeftOut]:
    """Test problems in the order of their file, the others in a random order; no question stands in two splits.

    `same_by_answer`: see `ListedTask`. `section` is where the sizes are set, for error messages.
    """
    key = _key_and_answer if same_by_answer else _key
    given = len(train) + len(test or ())
    train = _distinct(train, key)
    if test is None:
        train = _shuffled(train, derive_seed(seed, "listed", "test"))
        count = sizes["test"] or min(_MOST, max(1, len(train) // 5))
        test, train = train[:count], train[count:]
    else:
        test = _distinct(test, key)
        count = sizes["test"] or len(test)
        # All of the test file, also what is not used of it, stays out of training.
    repeated = given - len(train) - len(test)
    clean = _clean(train, test, shared_words, key)
    contaminated = len(train) - len(clean)
    clean = _shuffled(clean, derive_seed(seed, "listed", "train"))
    held = sizes["validation"] or min(_MOST, max(1, len(clean) // 10))
    validation, rest = clean[:held], clean[held:]
    wanted = sizes["train"] or max(1, len(rest))
    found: dict[Split, Sequence[Item]] = {"train": rest[:wanted], "validation": validation, "test": test[:count]}
    for split, least in (("test", count), ("validation", held), ("train", wanted)):
        if len(found[split]) < max(1, least):  # type: ignore[index]
            mend = "give more" if sizes[split] is None else f"lower {section}.{split}_size={sizes[split]}"
            raise UserError(
                f"too few {split} problems: there are {len(test)} for testing and {len(clean)} others "
                f"({repeated} repeated and {contaminated} shared with the test are left out); {mend}"
            )
    return found, LeftOut(repeated=repeated, contaminated=contaminated)


def normal_words(text: str) -> tuple[str, ...]:
    """The words of a question in the form in which runs of them are compared."""
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def _distinct(items: Sequence[Item], key: _Key) -> list[Item]:
    # The same text first, which is quick: a file may hold each of its rows a hundred times.
    exact: dict[str, Item] = {}
    for item in items:
        exact.setdefault(item.question, item)
    first: dict[tuple[str, ...], Item] = {}
    for item in exact.values():
        first.setdefault(key(item), item)
    return list(first.values())


def _key(item: Item) -> tuple[str, ...]:
    """What two items have in common that ask the same."""
    normal = unicodedata.normalize("NFKC", item.question).casefold()
    return tuple(_WORD_OR_SYMBOL.findall(normal)) or (item.question.strip(),)


def _key_and_answer(item: Item) -> tuple[str, ...]:
    return (*_key(item), "\0", item.answer)


def _clean(train: Sequence[Item], test: Sequence[Item], shared_words: int, key: _Key) -> list[Item]:
    """The training items that no test item holds in part."""
    questions, equal = {item.question for item in test}, {key(item) for item in test}
    runs = {run for item in test for run in _runs(normal_words(item.question), shared_words)}
    return [
        item
        for item in train
        if item.question not in questions
        and key(item) not in equal
        and runs.isdisjoint(_runs(normal_words(item.question), shared_words))
    ]


def _runs(words: tuple[str, ...], length: int) -> set[tuple[str, ...]]:
    return {words[start : start + length] for start in range(len(words) - length + 1)} if length else set()


def _shuffled(items: Sequence[Item], seed: int) -> list[Item]:
    mixed = list(items)
    Random(seed).shuffle(mixed)
    return mixed
