"""Where maths problems come from: sets known by name, and rows of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rltf.support.errors import UserError
from rltf.support.rows import field_of, load_rows, text_of
from rltf.tasks.maths.golds import normal_answer

BUILTIN = "builtin"
_BUILTIN_FILE = Path(__file__).with_name("problems.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowForm:
    """How rows hold a question and its answer."""

    question: str
    """Name of the question's field."""
    answer: str
    """Name of the answer's field."""
    before: str = ""
    """Words before the question that are no part of it; taken off where they stand."""
    after: str = ""
    """Words after the question that are no part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSet:
    """A published set."""

    source: str
    """As `rltf.support.rows.load_rows` takes it."""
    form: RowForm


KNOWN: Mapping[str, KnownSet] = {
    "dapo": KnownSet(
        source="hub:BytedTsinghua-SIA/DAPO-Math-17k@train",
        form=RowForm(
            question="prompt.0.content",
            answer="reward_model.ground_truth",
            before=(
                "Solve the following math problem step by step. The last line of your response should be of the form "
                "Answer: $Answer (without quotes) where $Answer is the answer to the problem."
            ),
            after='Remember to put your answer on its own line after "Answer:".',
        ),
    ),
    "deepmath": KnownSet(
        source="hub:zwhe99/DeepMath-103K@train", form=RowForm(question="question", answer="final_answer")
    ),
    "math500": KnownSet(source="hub:HuggingFaceH4/MATH-500@test", form=RowForm(question="problem", answer="answer")),
    "aime24": KnownSet(source="hub:HuggingFaceH4/aime_2024@train", form=RowForm(question="problem", answer="answer")),
}
"""The sets that a name selects, beside `builtin`."""


def is_own(name: str) -> bool:
    """Whether `name` leads to rows of the user's own, whose fields the settings name."""
    return name.partition(":")[0] not in (BUILTIN, *KNOWN)


def read_problems(name: str, half: str, own: RowForm) -> Iterator[tuple[str, str]]:
    """Question and answer of each row.

    Args:
        name: a known set, `SET:SOURCE`, or a source of rows of one's own.
        half: which problems of `builtin` are meant, `train` or `test`.
        own: the form of rows of one's own.

    Raises `UserError` that names the source, and the row where there is one.
    """
    known, separator, elsewhere = name.partition(":")
    if known == BUILTIN:
        if separator:
            raise UserError(f"{name}: builtin is a set of this package; to read a file, name the file alone")
        yield from _builtin(half)
    elif known in KNOWN:
        if separator and not elsewhere:
            raise UserError(f"{name}: no source after the colon; write {known} or {known}:FILE")
        yield from _rows(elsewhere or KNOWN[known].source, KNOWN[known].form)
    else:
        yield from _rows(name, own)


def _builtin(half: str) -> Iterator[tuple[str, str]]:
    for place, row in load_rows(str(_BUILTIN_FILE)):
        if text_of(row, "split", place) == half:
            yield text_of(row, "question", place), text_of(row, "answer", place)


def _rows(source: str, form: RowForm) -> Iterator[tuple[str, str]]:
    for place, row in load_rows(source):
        question = text_of(row, form.question, place).strip()
        question = question.removeprefix(form.before).removesuffix(form.after).strip()
        answer = _answer(row, form.answer, place)
        if not question:
            raise UserError(f"{place}: {form.question}: holds no question")
        yield question, answer


def _answer(row: Mapping[str, Any], field: str, place: str) -> str:
    value = field_of(row, field, place)
    # Some publish a list of answers that all are right: a problem has one, and to choose would be to guess.
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return normal_answer(text_of({field: value}, field, place))
