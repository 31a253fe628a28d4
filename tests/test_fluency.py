"""How first attempts read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from helpers import PROBLEM, floats, make_evaluation, make_rollout, make_turn

from rltf.rollouts.fluency import fluency
from rltf.rollouts.records import EvaluationRecord, Fluency
from rltf.types import Answer, Query, RolloutGroup


def group(*attempts: str, prompt: str = "What?", feedback: str | None = None) -> RolloutGroup:
    rollouts = [make_rollout(make_turn(0.0, text=text, feedback=feedback), make_turn(1.0)) for text in attempts]
    return RolloutGroup(problem=replace(PROBLEM, prompt=prompt), rollouts=rollouts)


def answer(queries: Sequence[Query]) -> list[Answer]:
    assert {query.policy for query in queries} <= {"initial"}
    return [Answer(logprobs_T=floats([-0.5, -1.0, -3.0])[: len(query.completion_tokens)]) for query in queries]


def test_first_attempts_are_read_by_the_policy_before_training() -> None:
    short = RolloutGroup(problem=PROBLEM, rollouts=[make_rollout(make_turn(0.0, tokens=(2,)))])
    figures = fluency([group("a", "b"), short], answer, max_tokens=100)
    assert figures.initial_logprob == pytest.approx(np.mean([-0.5, -1.0, -3.0, -0.5, -1.0, -3.0, -0.5]))
    assert fluency([group("a")], answer, max_tokens=3).initial_logprob is None


def test_a_copy_is_an_answer_given_to_another_problem_too() -> None:
    groups = [group("Dear team, please!", "Hello."), group("dear team please", "Hi."), group("Bye.", "Bye.")]
    assert fluency(groups, answer, max_tokens=100).copies == pytest.approx(2 / 6)


def test_an_echo_holds_three_words_of_feedback_that_no_question_holds() -> None:
    told = "Every answer must use the word team."
    groups = [
        group("Every answer must go.", "The word team.", "An answer.", prompt="Must use the kettle?", feedback=told),
        group("It must use the kettle.", "every, ANSWER must", "team", prompt="Go on"),
    ]
    # "must use the" stands in a question.
    assert fluency(groups, answer, max_tokens=100).echoes == pytest.approx(3 / 6)


def test_without_feedback_nothing_is_an_echo() -> None:
    figures = fluency([group("a b c d")], answer, max_tokens=100)
    assert (figures.copies, figures.echoes) == (0.0, 0.0)


def test_a_record_with_the_figures_is_read_again() -> None:
    figures = Fluency(initial_logprob=-1.5, copies=0.25, echoes=0.0)
    record = replace(make_evaluation(0, "test", 0.5), fluency=figures)
    assert EvaluationRecord.from_json(record.to_json()).fluency == figures
