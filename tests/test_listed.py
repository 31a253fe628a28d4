"""Problems from files: distinct, in three splits that share nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rltf.support.errors import UserError
from rltf.tasks.listed import Item, LeftOut, normal_words, split_items
from rltf.types import Split

SPLITS: tuple[Split, ...] = get_args(Split)
SIZES = {"train": 10, "validation": 4, "test": 5}
ALL: dict[str, int | None] = {"train": None, "validation": None, "test": None}
LONG = "a farmer has seven fields and in each field there are eleven sheep and"


def items(*questions: str) -> list[Item]:
    return [Item(prompt=f"{question}?", question=question, answer=str(i)) for i, question in enumerate(questions)]


def split(
    train: Sequence[str],
    test: Sequence[str] | None,
    sizes: dict[str, int] | None = None,
    seed: int = 0,
    words: int = 13,
) -> tuple[dict[Split, list[str]], LeftOut]:
    given = None if test is None else items(*test)
    found, left_out = split_items(items(*train), given, ALL | (sizes or {}), seed, words)
    return {name: [item.question for item in found[name]] for name in SPLITS}, left_out


def test_the_test_file_keeps_its_order_and_a_tenth_of_the_rest_is_for_validation() -> None:
    found, left_out = split([f"question {i}" for i in range(40)], ["b", "a", "c"])
    assert found["test"] == ["b", "a", "c"]
    assert (len(found["train"]), len(found["validation"])) == (36, 4)
    assert sorted(found["train"] + found["validation"]) == sorted(f"question {i}" for i in range(40))
    assert found["train"] != sorted(found["train"]), "the order is drawn"
    assert left_out == LeftOut(repeated=0, contaminated=0)


def test_without_a_test_file_a_fifth_is_taken_for_it() -> None:
    found, _ = split([f"question {i}" for i in range(40)], None)
    assert {name: len(found[name]) for name in SPLITS} == {"train": 29, "validation": 3, "test": 8}
    assert len({question for questions in found.values() for question in questions}) == 40


def test_sizes_are_kept_and_the_seed_draws_other_problems() -> None:
    questions = [f"question {i}" for i in range(40)]
    first, _ = split(questions, None, SIZES)
    again, _ = split(questions, None, SIZES)
    other, _ = split(questions, None, SIZES, seed=1)
    assert {name: len(first[name]) for name in SPLITS} == SIZES
    assert first == again
    assert first["test"] != other["test"]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("What is 3 + 4?", "what  is 3 + 4"),
        ("What is 3 + 4?", "WHAT IS 3+4 ?!"),
        ("The well known case.", "The well known case"),
        ("\uff37hat is \uff13?", "What is 3?"),  # full width
    ],
)
def test_the_same_question_written_otherwise_counts_once(one: str, two: str) -> None:
    found, left_out = split([one, two, *(f"question {i}" for i in range(9))], ["other"])
    assert left_out.repeated == 1
    assert two not in found["train"] + found["validation"]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("What is 3 + 4?", "What is 3 - 4?"),
        ("What is 3 * 4?", "What is 3 / 4?"),
        ("What is 5! ?", "What is 5?"),
        ("Is $x < 2$?", "Is $x > 2$?"),
        ("Solve $x^2 = 4$.", "Solve $x2 = 4$."),
        ("What is -3?", "What is 3?"),
        ("What is 15?", "What is 1.5?"),
    ],
)
def test_a_sign_makes_another_question(one: str, two: str) -> None:
    found, left_out = split([one, two, *(f"question {i}" for i in range(9))], ["other"])
    assert left_out == LeftOut(repeated=0, contaminated=0)
    assert {one, two} <= set(found["train"] + found["validation"])


def test_training_problems_that_a_test_problem_holds_are_left_out() -> None:
    fine = f"{' '.join(LONG.split()[:12])} no more"
    train = [f"{LONG} a dog, how many legs?", fine, "a test question", *(f"question {i}" for i in range(9))]
    found, left_out = split(train, [f"Once {LONG} so on", "A test question!"])
    assert left_out == LeftOut(repeated=0, contaminated=2)
    assert fine in found["train"] + found["validation"], "twelve words in a row are not thirteen"
    found, left_out = split(train, [f"Once {LONG} so on", "A test question!"], words=0)
    assert left_out.contaminated == 1
    found, left_out = split(train, [f"Once {LONG} so on", "A test question!"], words=12)
    assert left_out.contaminated == 3


def test_test_problems_that_are_not_used_stay_out_of_training() -> None:
    train = [f"question {i}" for i in range(10)]
    found, left_out = split([*train, "unused"], ["used", "unused"], {"test": 1})
    assert found["test"] == ["used"]
    assert left_out.contaminated == 1
    assert "unused" not in found["train"] + found["validation"]


@pytest.mark.parametrize(
    ("train", "test", "sizes", "field"),
    [
        (["a", "b"], ["c"], {"test": 2}, "lower task.test_size=2"),
        (["a", "b"], ["c"], {"train": 2}, "lower task.train_size=2"),
        (["a", "b", "d"], ["c"], {"validation": 4}, "lower task.validation_size=4"),
        (["a"], ["a"], {}, "too few validation problems.*give more"),
        (["a", "a", "a"], None, {}, "too few .* problems.*give more"),
    ],
)
def test_too_few_problems_are_refused_with_the_field_and_what_was_left_out(
    train: list[str], test: list[str] | None, sizes: dict[str, int], field: str
) -> None:
    with pytest.raises(UserError, match=field) as error:
        split(train, test, sizes)
    assert "\n" not in str(error.value)


words = st.lists(st.sampled_from(["one", "two", "plus", "minus", "cat", "3"]), min_size=1, max_size=8).map(" ".join)


@given(st.lists(words, max_size=30), st.lists(words, min_size=1, max_size=8), st.integers(1, 5), st.integers(0, 3))
def test_no_question_is_in_two_splits_nor_twice_in_one_and_no_run_of_words_is_shared(
    train: list[str], test: list[str], length: int, seed: int
) -> None:
    try:
        found, left_out = split(train, test, seed=seed, words=length)
    except UserError:
        return
    kept = [normal_words(question) for name in SPLITS for question in found[name]]
    assert len(set(kept)) == len(kept)
    assert len(kept) + left_out.repeated + left_out.contaminated == len(train) + len(test)
    held = {run for question in found["test"] for run in runs(question, length)}
    for question in found["train"] + found["validation"]:
        assert not held & runs(question, length)


def runs(question: str, length: int) -> set[str]:
    parts = question.split()
    return {" ".join(parts[i : i + length]) for i in range(len(parts) - length + 1)}
