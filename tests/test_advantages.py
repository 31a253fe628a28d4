from __future__ import annotations

import math
from itertools import product
from typing import Literal

import numpy as np
import pytest
from helpers import floats
from hypothesis import given
from hypothesis import strategies as st

from rltf.objectives.advantages import (
    Float64Array,
    centred,
    distillation_advantages,
    linear_schedule,
    returns,
    sequence_ratio,
)

REWARDS = st.lists(st.floats(-2, 2), min_size=1, max_size=9).map(np.array)


def array(*values: float) -> Float64Array:
    return np.array(values, dtype=np.float64)


def test_returns_discount_what_comes_after() -> None:
    np.testing.assert_allclose(returns(array(1.0, 2.0, 4.0), 0.5), [1 + 0.5 * (2 + 0.5 * 4), 2 + 0.5 * 4, 4])


def test_returns_of_a_single_turn_are_its_reward() -> None:
    np.testing.assert_array_equal(returns(array(0.7), 0.9), [0.7])


def test_returns_without_discount_factor_are_the_rewards() -> None:
    np.testing.assert_array_equal(returns(array(0.1, 0.2, 0.3), 0.0), [0.1, 0.2, 0.3])


def test_returns_leave_their_argument_alone() -> None:
    rewards_H = array(1.0, 1.0)
    returns(rewards_H, 1.0)
    np.testing.assert_array_equal(rewards_H, [1.0, 1.0])


@given(REWARDS, st.floats(0, 1))
def test_returns_obey_their_recursion(rewards_H: Float64Array, gamma: float) -> None:
    returns_H = returns(rewards_H, gamma)
    assert returns_H[-1] == rewards_H[-1]
    np.testing.assert_allclose(returns_H[:-1], rewards_H[:-1] + gamma * returns_H[1:])


def test_centred_subtracts_the_mean() -> None:
    np.testing.assert_allclose(centred(array(1.0, 0.0, 0.0, 1.0, 0.5)), [0.5, -0.5, -0.5, 0.5, 0.0])


def test_centred_divides_by_the_population_standard_deviation_where_asked() -> None:
    np.testing.assert_allclose(centred(array(0.0, 0.0, 1.0, 1.0), normalize_std=True), [-1, -1, 1, 1], rtol=1e-5)
    np.testing.assert_allclose(centred(array(0.0, 2.0), normalize_std=True, epsilon=1.0), [-0.5, 0.5])


@given(REWARDS)
def test_centred_sums_to_zero(values_G: Float64Array) -> None:
    assert centred(values_G).sum() == pytest.approx(0.0, abs=1e-12)


@given(REWARDS, st.floats(-5, 5), st.booleans())
def test_centred_is_invariant_to_a_shift(values_G: Float64Array, shift: float, normalize_std: bool) -> None:
    # The epsilon of 0.1 keeps rounding errors of nearly equal values from being blown up.
    plain = centred(values_G, normalize_std=normalize_std, epsilon=0.1)
    np.testing.assert_allclose(centred(values_G + shift, normalize_std=normalize_std, epsilon=0.1), plain, atol=1e-12)


@given(REWARDS, st.floats(0, 5))
def test_centred_scales_with_its_values(values_G: Float64Array, scale: float) -> None:
    np.testing.assert_allclose(centred(scale * values_G), scale * centred(values_G), atol=1e-12)


@given(REWARDS, st.integers(0, 1000))
def test_permuting_siblings_permutes_their_advantages(values_G: Float64Array, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(values_G))
    first_N = np.concatenate([values_G, [0.0]])
    np.testing.assert_allclose(centred(values_G[order]), centred(values_G)[order], atol=1e-12)
    np.testing.assert_allclose(
        distillation_advantages(values_G[order], first_N[::-1], "first_turn"),
        distillation_advantages(values_G, first_N, "first_turn")[order],
        atol=1e-12,
    )


@pytest.mark.parametrize("normalize_std", [False, True])
@given(value=st.sampled_from([0.0, 0.1, -0.1, 0.3, 1 / 3, 1.0]), size=st.integers(1, 32))
def test_equal_values_have_exactly_no_advantage(value: float, size: int, normalize_std: bool) -> None:
    assert not centred(np.full(size, value), normalize_std=normalize_std).any()


@pytest.mark.parametrize("baseline", ["first_turn", "second_turn"])
@given(value=st.sampled_from([0.0, 0.1, -0.1, 0.3, 1 / 3, 1.0]), size=st.integers(1, 32))
def test_revisions_that_equal_all_they_are_compared_with_have_exactly_no_advantage(
    baseline: Literal["first_turn", "second_turn"], value: float, size: int
) -> None:
    values_G = np.full(size, value)
    assert not distillation_advantages(values_G, values_G, baseline).any()


def test_distillation_compares_with_the_whole_groups_first_attempts() -> None:
    revisions_G, first_N = array(1.0, 0.0), array(1.0, 0.0, 0.0, 0.0)
    np.testing.assert_allclose(distillation_advantages(revisions_G, first_N, "first_turn"), [0.75, -0.25])


def test_distillation_may_compare_with_the_revisions_themselves() -> None:
    revisions_G, first_N = array(1.0, 0.0), array(1.0, 0.0, 0.0, 0.0)
    np.testing.assert_allclose(distillation_advantages(revisions_G, first_N, "second_turn"), [0.5, -0.5])


@pytest.mark.parametrize("size", [2, 4, 8])
@pytest.mark.parametrize("p", [0.05, 0.5, 0.9, 0.99])
def test_the_second_turn_baseline_vanishes_with_probability_p_n_plus_q_n(p: float, size: int) -> None:
    vanished = sum(
        p ** sum(outcome) * (1 - p) ** (size - sum(outcome))
        for outcome in product((0, 1), repeat=size)
        if not distillation_advantages(array(*outcome), np.zeros(size), "second_turn").any()
    )
    assert vanished == pytest.approx(p**size + (1 - p) ** size, rel=1e-12)


@pytest.mark.parametrize("size", [2, 4, 8])
@pytest.mark.parametrize("p", [0.05, 0.5, 0.9, 0.99])
def test_the_first_turn_baseline_vanishes_only_where_no_revision_succeeds(p: float, size: int) -> None:
    vanished = sum(
        p ** sum(outcome) * (1 - p) ** (size - sum(outcome))
        for outcome in product((0, 1), repeat=size)
        if not distillation_advantages(array(*outcome), np.zeros(size), "first_turn").any()
    )
    assert vanished == pytest.approx((1 - p) ** size, rel=1e-12)


def test_a_teacher_that_always_succeeds_teaches_only_over_the_first_turn_baseline() -> None:
    revisions_G, first_N = np.ones(4), array(0.0, 0.0, 0.0, 1.0)
    np.testing.assert_allclose(distillation_advantages(revisions_G, first_N, "first_turn"), [0.75] * 4)
    np.testing.assert_array_equal(distillation_advantages(revisions_G, first_N, "second_turn"), [0.0] * 4)


def test_the_sequence_ratio_is_the_quotient_of_the_answers_probabilities() -> None:
    student_T, teacher_T = floats(np.log([0.5, 0.1])), floats(np.log([0.25, 0.8]))
    assert sequence_ratio(student_T, teacher_T) == pytest.approx(0.5 * 0.1 / (0.25 * 0.8), rel=1e-6)


def test_the_sequence_ratio_of_a_policy_to_itself_is_one() -> None:
    logprobs_T = floats([-1.0, -20.0, -0.3])
    assert sequence_ratio(logprobs_T, logprobs_T) == 1.0


def test_a_sequence_ratio_out_of_range_is_zero_or_infinite() -> None:
    likely_T, unlikely_T = floats([-1.0]), floats([-2000.0])
    assert sequence_ratio(unlikely_T, likely_T) == 0.0
    assert sequence_ratio(likely_T, unlikely_T) == math.inf


def test_the_schedule_is_a_line_from_start_to_end() -> None:
    assert [linear_schedule(2.0, 4.0, progress) for progress in (0.0, 0.25, 1.0)] == [2.0, 2.5, 4.0]
    assert linear_schedule(None, 4.0, 0.25) == 4.0


@given(st.floats(0, 10), st.floats(0, 1))
def test_a_schedule_from_a_value_to_itself_is_constant(value: float, progress: float) -> None:
    assert linear_schedule(value, value, progress) == value
