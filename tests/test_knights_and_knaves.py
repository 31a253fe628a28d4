from __future__ import annotations

import itertools
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rltf.config import KnightsAndKnavesConfig
from rltf.tasks import FeedbackLevel, KnightsAndKnaves
from rltf.tasks.knights_and_knaves import Statement, contradictions, extract_roles, is_true, write_roles
from rltf.tasks.puzzle import tag_answer
from rltf.types import Problem, Score, Split

SPLITS: tuple[Split, ...] = get_args(Split)
NAMES, TERMS = ("Ava", "Noah", "Zoey"), ("angel", "devil")
# Ava: Noah is a devil. Noah: Ava and Zoey are devils. Zoey: Ava is an angel. The solution is angel, devil, angel.
STATEMENTS: tuple[Statement, ...] = (
    ("lying", 1),
    ("and", ("lying", 0), ("lying", 2)),
    ("telling-truth", 0),
)


def make_task(**settings: Any) -> KnightsAndKnaves:
    sizes = {"name": "knights_and_knaves", "train_size": 40, "validation_size": 20, "test_size": 20}
    return KnightsAndKnaves(**KnightsAndKnavesConfig(**{**sizes, **settings}).model_dump(exclude={"name"}))


TASK = make_task()
PROBLEM = Problem(
    task="knights_and_knaves",
    split="test",
    index=0,
    prompt="Who is who?",
    answer="Ava is an angel, Noah is a devil, and Zoey is an angel.",
    metadata={"names": NAMES, "terms": TERMS, "roles": (True, False, True), "statements": STATEMENTS},
)


def score(answer: str) -> Score:
    return TASK.score(PROBLEM, tag_answer(answer))


def feedback(answer: str, level: FeedbackLevel = "located") -> str:
    text = tag_answer(answer)
    return TASK.feedback(PROBLEM, text, TASK.score(PROBLEM, text), level)


@pytest.mark.parametrize("settings", [{}, {"people": 4, "depth": 3, "width": 3}])
def test_the_solution_is_the_only_assignment_without_contradictions(settings: dict[str, Any]) -> None:
    task = make_task(**settings)
    for index in range(40):
        facts = task.problem("train", index).metadata
        every = itertools.product((True, False), repeat=len(facts["names"]))
        consistent = [roles for roles in every if not contradictions(facts["statements"], roles)]
        assert consistent == [facts["roles"]]


def test_the_answer_is_reasoning_gyms_own() -> None:
    from reasoning_gym.logic.knights_knaves import KnightsKnavesConfig, KnightsKnavesDataset

    for entry in KnightsKnavesDataset(KnightsKnavesConfig(n_people=3, seed=3, size=20)):
        facts = entry["metadata"]
        terms = (facts["knight_knave_terms"]["knight"], facts["knight_knave_terms"]["knave"])
        assert write_roles(facts["names"], terms, facts["solution"]) == entry["answer"]


@pytest.mark.parametrize(
    ("statement", "truths"),
    [
        (("telling-truth", 0), "1100"),
        (("lying", 1), "0101"),
        (("not", ("lying", 0)), "1100"),
        (("and", ("telling-truth", 0), ("telling-truth", 1)), "1000"),
        (("or", ("telling-truth", 0), ("telling-truth", 1)), "1110"),
        (("->", ("telling-truth", 0), ("telling-truth", 1)), "1011"),
        (("<=>", ("telling-truth", 0), ("telling-truth", 1)), "1001"),
    ],
)
def test_the_truth_table_of_each_operator(statement: Statement, truths: str) -> None:
    table = [is_true(statement, roles) for roles in itertools.product((True, False), repeat=2)]
    assert table == [truth == "1" for truth in truths]


def test_an_unknown_operator_is_an_error() -> None:
    with pytest.raises(ValueError, match="xor"):
        is_true(("xor", ("lying", 0)), (True,))


@pytest.mark.parametrize(
    "answer",
    [
        PROBLEM.answer,
        "ava is an angel, noah is a devil, and zoey is an angel",
        "Zoey is an angel\nNoah is a devil\nAva is an angel",
        "Ava is a angel; Noah is devil. Zoey  is an  angel.",
        "Ava is an angel, Ava is an angel, Noah is a devil, Zoey is an angel",
    ],
)
def test_the_right_roles_count_however_they_are_put(answer: str) -> None:
    assert score(answer).correct
    assert score(answer).answer == PROBLEM.answer


@pytest.mark.parametrize(
    ("answer", "explanation"),
    [
        ("", "The answer is empty."),
        (" .,; ", "The answer is empty."),
        ("Ava is an angel, Noah is a devil", "The answer does not say who Zoey is."),
        ("Ava is an angel, Ava is a devil", "The answer says two things about Ava."),
        ("Ava is a knight", "Part 1 of the answer does not say who somebody is."),
        ("Ava is an angel, Liam is a devil", "Part 2 of the answer does not say who somebody is."),
        ("Ava is not an angel", "Part 1 of the answer does not say who somebody is."),
        ("angel, devil, angel", "Part 1 of the answer does not say who somebody is."),
        ("Ava is an angel, " * 300, "The answer is too long."),
    ],
)
def test_what_names_no_roles_is_malformed_and_says_why(answer: str, explanation: str) -> None:
    verdict = score(answer)
    assert (verdict.reward, verdict.well_formed, verdict.explanation) == (0.0, False, explanation)
    assert feedback(answer) == explanation


def test_feedback_names_those_whose_statement_does_not_fit_or_counts_them_or_denies() -> None:
    wrong = "Ava is a devil, Noah is a devil, and Zoey is a devil."
    # Ava, a devil, says that Noah is a devil: true. Noah, a devil, says that both are: true. Zoey lies, as she should.
    assert feedback(wrong) == (
        "You say Ava is a devil, but then what Ava said is true.\n"
        "You say Noah is a devil, but then what Noah said is true."
    )
    # The first role that is wrong is ruled out.
    assert feedback(wrong, "hint") == feedback(wrong) + "\nAva cannot be a devil."
    assert feedback(wrong, "count") == "2 statements contradict your answer."
    assert feedback(wrong, "correctness") == "Your previous answer was incorrect."
    assert feedback(PROBLEM.answer) == "Your previous answer was correct."
    another = "Ava is an angel, Noah is an angel, and Zoey is an angel."
    assert feedback(another).startswith("You say Ava is an angel, but then what Ava said is false.")


def test_every_wrong_assignment_gets_located_feedback_that_does_not_hold_the_answer() -> None:
    for split in SPLITS:
        for index in range(20):
            problem = TASK.problem(split, index)
            facts = problem.metadata
            for roles in itertools.product((True, False), repeat=3):
                text = tag_answer(write_roles(facts["names"], facts["terms"], roles))
                verdict = TASK.score(problem, text)
                said = TASK.feedback(problem, text, verdict, "located")
                assert verdict.correct == (roles == facts["roles"])
                assert verdict.correct or said.startswith("You say ")
                assert not TASK.reveals_answer(problem, said)


def test_the_answer_is_found_out_in_any_text() -> None:
    assert TASK.reveals_answer(PROBLEM, "Surely Zoey is an angel, as Ava is an ANGEL, and Noah is a devil!")
    assert not TASK.reveals_answer(PROBLEM, "Ava is an angel. Noah is an angel. Zoey is an angel.")


@given(st.lists(st.booleans(), min_size=3, max_size=3))
def test_what_is_written_is_read_back(roles: list[bool]) -> None:
    assert extract_roles(tag_answer(write_roles(NAMES, TERMS, roles)), NAMES, TERMS) == tuple(roles)
