from __future__ import annotations

from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rltf.tasks.gym.forms import counted, departs, differs, form_of, read_json, read_number, same_part, unmarked
from rltf.tasks.gym.leaks import stands_in
from rltf.tasks.gym.near import near_answers


@pytest.mark.parametrize(
    ("answer", "kind", "noun"),
    [
        ("7", "number", "entry"),
        ("-1,234.50", "number", "entry"),
        ("4.09e+19", "number", "entry"),
        ("[[1, 2], [3]]", "json", "entry"),
        ("['1.5', '2']", "json", "entry"),
        ('{"p": 7}', "json", "entry"),
        ("1 2\n3 4", "grid", "entry"),
        ("right up right", "row", "word"),
        ("SURE,SIRE,SIRS", "row", "word"),
        ("0 1 0 4", "row", "entry"),
        ("67 days, 14:47", "row", "entry"),
        ("33.69°", "word", "entry"),
        ("[not json", "row", "word"),
        ("moldy", "word", "entry"),
        ("13/20", "word", "entry"),
    ],
)
def test_the_form_is_read_off_the_answer(answer: str, kind: str, noun: str) -> None:
    form = form_of(answer)
    assert (form.kind, form.noun) == (kind, noun)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12.0),
        (" +12 ", 12.0),
        ("1,000.5", 1000.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("12 apples", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("9" * 400, None),
        ("", None),
        ("0x10", None),
    ],
)
def test_numbers(text: str, number: float | None) -> None:
    assert read_number(text) == number


@pytest.mark.parametrize(
    ("answer", "right", "sentence"),
    [
        ("ten", "10", "The answer must hold one whole number, and nothing beside it."),
        ("x = 10", "10.5", "The answer must hold one number, and nothing beside it."),
        ("3.7", "10", ""),
        ("1, 2", "[1, 2]", ""),
        ("one two", "[1, 2]", "The answer must hold a JSON value, and nothing beside it."),
        ('{"a": 1}', "[1, 2]", "The answer must hold a JSON list."),
        ("[1, 2]", '{"a": 1}', "The answer must hold a JSON object."),
        ("[1, 2]", "[[1], [2]]", "The answer must hold a JSON list of lists."),
        ("a b", "moldy", "The answer must hold one word or symbol, without spaces."),
        ("a\nb", "a b", "The answer must stand on one line."),
        ("anything", "1 2\n3 4", ""),
    ],
)
def test_where_the_form_departs(answer: str, right: str, sentence: str) -> None:
    assert departs(answer, right) == sentence


@pytest.mark.parametrize(
    ("answer", "right", "sentence"),
    [
        ("11", "10", "Your number is too large."),
        ("-11", "10", "Your number is too small."),
        (
            "10.0",
            "10",
            "No part of the answer is wrong, but it is not written as asked for. "
            "Look at spaces, capitals and punctuation.",
        ),
        ("mondy", "moldy", "Of five characters, one differs from the right answer; it stands at character 3."),
        ("manor", "moldy", "Of five characters, four differ from the right answer; the first of them stands at "
         "character 2."),
        (
            "moondy",
            "moldy",
            "The answer has six characters; it should have five. The first that differs from the right answer stands "
            "at character 3.",
        ),
        ("1 2\n3", "1 2\n3 4", "Row 2 of the answer has one entry; it should have two."),
        ("1 2", "1 2\n3 4", "The answer has one row; it should have two."),
        ("1 2\n4 4", "1 2\n3 4", "Of four entries, one differs from the right answer; it stands at row 2, entry 1."),
        ("[[1, 2], [3, 5]]", "[[1,2],[3,4]]", "Of four entries, one differs from the right answer; it stands at "
         "row 2, entry 2."),
        ("[3]", "[2]", "The only entry differs from the right answer."),
        ('{"a": 1, "b": 3}', '{"b": 2, "a": 1}', "Of two values, one differs from the right answer; it stands at "
         "value 1."),
        ('{"a": 1}', '{"b": 1}', "The JSON object has other keys than it should."),
        ("up up", "up down", "Of two words, one differs from the right answer; it stands at word 2."),
        ("❌✅\n❌❌", "❌✅\n❌✅", "Of four symbols, one differs from the right answer; it stands at "
         "row 2, symbol 2."),
        ("No", "Yes", "The answer has the right form, but another word would be right."),
        ("white", "red", "The answer has the right form, but another word would be right."),
    ],
)  # fmt: skip
def test_where_the_answer_differs(answer: str, right: str, sentence: str) -> None:
    assert differs(answer, right, "Is the top white, red or blue?") == sentence


def test_a_word_of_the_question_is_a_choice_and_its_length_is_not_told() -> None:
    assert "characters" not in differs("green", "red", "One of red, green and orange.")
    assert "characters" in differs("green", "red", "Which colour is it?")


@given(st.text(max_size=40), st.text(min_size=1, max_size=40))
@example("[1", "[1]")
@example("[[[[", "[[1]]")
@example("(" * 30, "[1, 2]")
@example("[[1], 2]", "[[1], [2]]")
@example('{"a": NaN}', '{"a": 1}')
@example("\ud800", "\ud800")
def test_no_text_makes_the_criticism_raise_or_fall_silent(answer: str, right: str) -> None:
    if not answer.strip() or not right.strip():
        return
    assert departs(answer, right) or differs(answer, right, "Why?")


@given(st.recursive(st.integers() | st.booleans() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=4)))
def test_json_survives_python_notation(value: object) -> None:
    if isinstance(value, list):
        assert read_json(repr(value)) == value


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [("Up", "up", True), ("2.0", "2", True), ("1,000", "1000", True), ("2", "3", False), ("a", "b", False)],
)
def test_parts_are_compared_by_value_and_without_case(left: str, right: str, same: bool) -> None:
    assert same_part(left, right) is same


def test_counts_up_to_twenty_are_words() -> None:
    assert counted(0, "entry") == "no entries"
    assert counted(1, "row") == "one row"
    assert counted(20, "character") == "twenty characters"
    assert counted(21, "entry") == "21 entries"


KNOWN = ("There is no answer between <answer> and </answer>.",)


@pytest.mark.parametrize(
    ("answer", "text", "reveals"),
    [
        ("2", "Line 2 is wrong.", False),
        ("2", "Of five entries, one differs; it stands at entry 2.", False),
        ("2", "It has 2 rows, look at rows 2 and 2.", False),
        ("2", "The answer is 2.", True),
        ("2", "Try 2.0 instead.", True),
        ("12", "Not 120 and not 1.2", False),
        ("-5", "It should be -5", True),
        ("1000", "about 1,000, I think", True),
        ("no", "There is no answer between <answer> and </answer>.", False),
        ("No", "No, that is wrong: think about the second premise.", False),
        ("No", "The answer should be no.", True),
        ("No", 'You should have written "no".', True),
        ("True", "It is true", True),
        ("True", "Not true to the rules", False),
        ("a", "There is a mistake in the first part", True),  # "is a": read as the answer, to be on the safe side
        ("a", "You made a mistake", False),
        ("moldy", "The output is MOLDY!", True),
        ("moldy", "The output is not right", False),
        ("differs", "Of two words, one differs from the right answer.", False),
        ("differs", "The word is differs.", True),
        ("1 2\n3 4", "row 1: 1 2, row 2: 3 4", False),
        ("1 2\n3 4", "It is 1 2 / 3 4", True),
        ("[[1, 2], [3, 4]]", "1,2,3,4", True),
        ("right up", "Go Right, up.", True),
        ("right up", "Go up, right.", False),
        ("❌✅\n❌❌", "it is ❌✅ ❌❌", True),
        ("❌✅\n❌❌", "it is ❌❌ ❌❌", False),
    ],
)
def test_what_gives_an_answer_away(answer: str, text: str, reveals: bool) -> None:
    assert stands_in(answer, text, KNOWN, "one differs from the right answer") is reveals


@given(st.text(min_size=1, max_size=30), st.text(max_size=60))
def test_looking_for_leaks_never_raises_and_finds_a_plain_statement(answer: str, text: str) -> None:
    assert stands_in(answer, text, KNOWN, "") in (True, False)
    if answer.strip().isalpha() and answer.isascii():
        assert stands_in(answer, f"The answer is {answer.strip()}.", (), "")


@pytest.mark.parametrize(
    "right",
    ["7", "True", "moldy", "right up left", "1 2\n3 4", "[[1, 2], [3]]", "['1.5', '2']", "33.69°", "❌✅\n❌❌"],
)
def test_near_answers_are_distinct_and_none_is_the_answer(right: str) -> None:
    for seed in range(20):
        near = list(near_answers(right, Random(seed)))
        assert near
        assert len(set(near)) == len(near)
        assert right not in near
        assert all(not same_part(text, right) for text in near)


def test_near_answers_change_one_thing() -> None:
    near = {text for seed in range(60) for text in near_answers("40 7", Random(seed))}
    assert {"41 7", "39 7", "40 6", "40 8", "7 40", "40", "40 7 7"} <= near
    assert set(near_answers("yes", Random(0))) == {"No"}


@given(st.text(max_size=40), st.integers())
def test_any_answer_has_near_ones_without_an_exception(right: str, seed: int) -> None:
    if not right.strip():
        return  # No gold answer is empty: the generator's problem is left out.
    for text in near_answers(right, Random(seed)):
        assert text.strip() != right.strip()


@pytest.mark.parametrize(
    ("answer", "gold", "bare"),
    [
        ("**354**", "354", "354"),
        ("**`3`**", "3", "3"),
        ("\\(3\\)", "3", "3"),
        ("$ 3 $", "3", "3"),
        ('"a"', '"b"', '"a"'),
        ("'a', 'b'", "a", "'a', 'b'"),
        ("**a** or **b**", "a", "**a** or **b**"),
        ("2*3*", "6", "2*3*"),
        ("****", "3", "****"),
        ("$3", "3", "$3"),
        ("", "3", ""),
    ],
)
def test_marks_around_the_whole_answer_are_no_part_of_it(answer: str, gold: str, bare: str) -> None:
    assert unmarked(answer, gold) == bare
