"""The samples of every method on groups small enough to work out by hand."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from helpers import (
    PROMPTS,
    KnownTurn,
    answers_to,
    floats,
    make_context,
    make_group,
    make_rollout,
    make_turn,
    objective_config,
)

from rltf.config.load import validate_config
from rltf.objectives import build_objective
from rltf.text.renderer import Renderer
from rltf.types import (
    Answer,
    Completion,
    Feedback,
    FeedbackFailure,
    Finish,
    Message,
    Query,
    Rollout,
    RolloutGroup,
    RolloutStatus,
    TrainingSample,
)

X0 = (10, 11)
QUESTION = (Message(role="user", content="What?"),)
METHODS = ("grpo", "grpo_multi", "rltf_sd", "rltf_fm", "rltf_sd_fm", "rejection_sampling")
FAILURE = FeedbackFailure(cause="other", reason="no reply", source="test")

Weights = dict[tuple[str, int, int], float]


def mixed_group(order: tuple[int, ...] = (0, 1, 2, 3)) -> RolloutGroup:
    """Rollouts 0..3 in some order: solved at once; solved after feedback; malformed, then wrong; feedback failed."""
    solved = make_rollout(make_turn(1.0, prompt=X0, tokens=(20, 21)), status=RolloutStatus.SOLVED)
    learned = make_rollout(
        make_turn(0.0, prompt=X0, tokens=(30, 31), feedback="Row 1, column 1 should be larger.", text="first of 1"),
        make_turn(
            1.0,
            prompt=(*X0, 12),
            tokens=(32, 33, 34),
            logprobs=[-0.5, -0.5, -0.5],
            student=[-1.0, -6.0, -5.0],
            reference=[-0.5, -0.5, -0.5],
        ),
        status=RolloutStatus.SOLVED,
    )
    failed = make_rollout(
        make_turn(0.0, prompt=X0, tokens=(40,), well_formed=False, feedback="There is no answer.", text="first of 2"),
        make_turn(0.0, prompt=(*X0, 13), tokens=(42, 43), logprobs=[-0.5, -0.25], student=[-5.1, -0.1]),
    )
    dropped = make_rollout(
        make_turn(0.0, prompt=X0, tokens=(50, 51, 52), feedback=FAILURE), status=RolloutStatus.FEEDBACK_FAILED
    )
    rollouts = [solved, learned, failed, dropped]
    return make_group(*(rollouts[i] for i in order))


def first_turns(group: RolloutGroup) -> RolloutGroup:
    """The group as a single-turn method sees it."""
    return make_group(*(make_rollout(rollout.turns[0], status=rollout.status) for rollout in group.rollouts))


def samples_of(
    renderer: Renderer, name: str, group: RolloutGroup, progress: float = 0.0, **settings: Any
) -> list[TrainingSample]:
    objective = build_objective(objective_config(name, **settings), make_context(renderer))
    return objective.samples(group, progress, answers_to(objective, group))


def weights_of(samples: list[TrainingSample]) -> Weights:
    """The weight that the unmasked tokens of each sample share, by component, rollout and turn."""
    weights: Weights = {}
    for sample in samples:
        key = (sample.component, sample.rollout, sample.turn)
        live = sample.weights[sample.weights != 0]
        assert key not in weights
        assert len(sample.weights) == len(sample.completion_tokens)
        assert np.all(live == live[:1])
        weights[key] = float(live[0]) if len(live) else 0.0
    return weights


def by_component(samples: list[TrainingSample], component: str) -> list[TrainingSample]:
    return [sample for sample in samples if sample.component == component]


# With the default settings: gamma 0.1, a format penalty of 0.1, coefficients 1.0 (distillation) and 0.05 (feedback).
# First rewards 1, 0, -0.1, 0 (mean 0.225); second rewards 1, 0; returns 1, 0.1, -0.1, 0 (mean 0.25).
SINGLE_TURN: Weights = {
    ("policy", 0, 0): 0.775,
    ("policy", 1, 0): -0.225,
    ("policy", 2, 0): -0.325,
    ("policy", 3, 0): -0.225,
}
POLICY: Weights = {
    ("policy", 0, 0): 0.75,
    ("policy", 1, 0): -0.15,
    ("policy", 2, 0): -0.35,
    ("policy", 3, 0): -0.25,
    ("policy", 1, 1): 0.5,
    ("policy", 2, 1): -0.5,
}
DISTILLATION: Weights = {("distillation", 1, 1): 0.775, ("distillation", 2, 1): -0.225}
FEEDBACK: Weights = {("feedback", 1, 0): 0.05, ("feedback", 2, 0): 0.05}
EXPECTED: dict[str, Weights] = {
    "grpo_multi": POLICY,
    "rltf_sd": POLICY | DISTILLATION,
    "rltf_fm": POLICY | FEEDBACK,
    "rltf_sd_fm": POLICY | DISTILLATION | FEEDBACK,
    "rejection_sampling": POLICY | {("distillation", 1, 1): 1.0},
}


def test_grpo_weights_first_attempts_with_their_advantage(renderer: Renderer) -> None:
    samples = samples_of(renderer, "grpo", first_turns(mixed_group()))
    assert weights_of(samples) == pytest.approx(SINGLE_TURN)


@pytest.mark.parametrize("name", EXPECTED)
def test_each_method_gives_these_weights_by_hand(renderer: Renderer, name: str) -> None:
    assert weights_of(samples_of(renderer, name, mixed_group())) == pytest.approx(EXPECTED[name])


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("order", list(permutations(range(4)))[1::5])
def test_permuting_the_siblings_permutes_the_samples(renderer: Renderer, name: str, order: tuple[int, ...]) -> None:
    permuted = weights_of(samples_of(renderer, name, mixed_group(order)))
    original = weights_of(samples_of(renderer, name, mixed_group()))
    assert {(component, order[i], turn): w for (component, i, turn), w in permuted.items()} == pytest.approx(original)


@pytest.mark.parametrize("name", METHODS)
def test_samples_hold_the_records_of_their_turn(renderer: Renderer, name: str) -> None:
    group = first_turns(mixed_group()) if name == "grpo" else mixed_group()
    for sample in samples_of(renderer, name, group):
        turn = group.rollouts[sample.rollout].turns[sample.turn]
        if sample.component == "policy":
            assert (sample.prompt_tokens, sample.completion_tokens) == (turn.prompt_tokens, turn.completion.tokens)
            assert sample.old_logprobs is not None
            np.testing.assert_array_equal(sample.old_logprobs, turn.completion.logprobs)
        elif sample.component == "distillation":
            assert (sample.prompt_tokens, sample.completion_tokens) == (X0, turn.completion.tokens)
        else:
            assert sample.turn == 0


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_a_group_of_equal_single_attempts_has_nothing_to_learn(renderer: Renderer, name: str, reward: float) -> None:
    group = make_group(*(make_rollout(make_turn(reward)) for _ in range(4)))
    assert samples_of(renderer, name, group) == []


@pytest.mark.parametrize("size", [2, 3, 6, 8])
def test_a_group_of_malformed_attempts_has_nothing_to_learn(renderer: Renderer, size: int) -> None:
    group = make_group(*(make_rollout(make_turn(0.0, well_formed=False)) for _ in range(size)))
    assert samples_of(renderer, "grpo", group) == []


def test_gamma_credits_the_first_attempt_with_what_came_of_it(renderer: Renderer) -> None:
    weights = weights_of(samples_of(renderer, "grpo_multi", mixed_group(), gamma=1.0))
    # Returns 1, 1, -0.1, 0.
    assert weights[("policy", 1, 0)] == pytest.approx(1 - 1.9 / 4)
    assert weights[("policy", 1, 1)] == pytest.approx(0.5)


def test_normalize_std_divides_by_each_turns_deviation(renderer: Renderer) -> None:
    weights = weights_of(samples_of(renderer, "grpo_multi", mixed_group(), normalize_std=True))
    deviation = np.std([1, 0.1, -0.1, 0])
    for key, weight in POLICY.items():
        assert weights[key] == pytest.approx(weight / (deviation if key[2] == 0 else 0.5), rel=1e-4)


def test_normalize_std_leaves_the_distillation_advantages_alone(renderer: Renderer) -> None:
    weights = weights_of(samples_of(renderer, "rltf_sd", mixed_group(), normalize_std=True))
    assert {key: weights[key] for key in DISTILLATION} == pytest.approx(DISTILLATION)


def test_the_format_penalty_is_taken_from_malformed_attempts_everywhere(renderer: Renderer) -> None:
    weights = weights_of(samples_of(renderer, "rltf_sd", mixed_group(), gamma=0.0, format_penalty=1.0))
    # First rewards 1, 0, -1, 0 have the mean 0.
    assert weights == pytest.approx(
        {
            ("policy", 0, 0): 1.0,
            ("policy", 2, 0): -1.0,
            ("policy", 1, 1): 0.5,
            ("policy", 2, 1): -0.5,
            ("distillation", 1, 1): 1.0,
        }
    )


def test_the_policy_coefficient_multiplies_only_the_policy_gradient(renderer: Renderer) -> None:
    weights = weights_of(samples_of(renderer, "rltf_sd_fm", mixed_group(), policy_coefficient=2.0))
    assert weights == pytest.approx({key: 2.0 * w for key, w in POLICY.items()} | DISTILLATION | FEEDBACK)


def test_a_policy_coefficient_of_zero_leaves_the_other_terms(renderer: Renderer) -> None:
    weights = weights_of(samples_of(renderer, "rltf_sd_fm", mixed_group(), policy_coefficient=0.0))
    assert weights == pytest.approx(DISTILLATION | FEEDBACK)


@pytest.mark.parametrize("loss", ["importance_sampling", "ppo", "cispo"])
def test_the_policy_loss_and_its_clip_bounds_reach_the_samples(renderer: Renderer, loss: str) -> None:
    settings: dict[str, Any] = {"policy_loss": loss, "policy_clip_low": 0.5, "policy_clip_high": 3.0}
    policy = by_component(samples_of(renderer, "rltf_sd", mixed_group(), **settings), "policy")
    assert {(sample.loss, sample.clip) for sample in policy} == {(loss, (0.5, 3.0))}


def test_the_entropy_bonus_is_on_every_attempt_even_without_an_advantage(renderer: Renderer) -> None:
    group = make_group(*(make_rollout(make_turn(0.0)) for _ in range(3)))
    samples = samples_of(renderer, "rltf_sd", group, entropy_coefficient=0.01)
    assert [(sample.rollout, sample.turn, sample.entropy_weight) for sample in samples] == [
        (0, 0, 0.01),
        (1, 0, 0.01),
        (2, 0, 0.01),
    ]
    assert not any(sample.weights.any() for sample in samples)


def test_the_entropy_bonus_is_on_the_policy_gradient_alone(renderer: Renderer) -> None:
    samples = samples_of(renderer, "rltf_sd_fm", mixed_group(), entropy_coefficient=0.01)
    assert {(sample.component, sample.entropy_weight) for sample in samples} == {
        ("policy", 0.01),
        ("distillation", 0.0),
        ("feedback", 0.0),
    }


def test_the_kl_penalty_is_taken_from_the_reward_of_each_attempt(renderer: Renderer) -> None:
    group = make_group(
        make_rollout(make_turn(1.0, logprobs=[-1.0, -1.0, -1.0], reference=[-2.0, -1.5, -1.0])),
        make_rollout(make_turn(0.0, tokens=(5, 6, 7), logprobs=[-1.0, -1.0, -1.0], reference=[-0.5, -1.0, -1.0])),
    )
    # Log-ratios 1.5 and -0.5: rewards 1 - 0.3 and 0 + 0.1.
    weights = weights_of(samples_of(renderer, "grpo", group, kl_coefficient=0.2))
    assert weights == pytest.approx({("policy", 0, 0): 0.3, ("policy", 1, 0): -0.3})


def test_distillation_leaves_out_exactly_the_tokens_under_the_floor(renderer: Renderer) -> None:
    learned, failed = by_component(samples_of(renderer, "rltf_sd", mixed_group()), "distillation")
    np.testing.assert_allclose(learned.weights, floats([0.775, 0.0, 0.775]))
    np.testing.assert_allclose(failed.weights, floats([0.0, -0.225]))


@pytest.mark.parametrize(("floor", "live"), [(None, 3), (-6.0, 3), (-5.5, 2), (-1.0, 1), (-0.9, 0)])
def test_the_floor_can_be_moved_and_turned_off(renderer: Renderer, floor: float | None, live: int) -> None:
    samples = samples_of(renderer, "rltf_sd", mixed_group(), sd={"logprob_floor": floor})
    weights = [sample.weights for sample in samples if sample.component == "distillation" and sample.rollout == 1]
    assert sum(int((w != 0).sum()) for w in weights) == live
    assert len(weights) == (live > 0), "a sample without any weight is left out"


@pytest.mark.parametrize("name", ["rltf_sd", "rltf_sd_fm"])
def test_a_floor_for_negative_advantages_learns_all_that_a_good_revision_brings(renderer: Renderer, name: str) -> None:
    samples = samples_of(renderer, name, mixed_group(), sd={"floor_for": "negative"})
    learned, failed = by_component(samples, "distillation")
    np.testing.assert_allclose(learned.weights, floats([0.775, 0.775, 0.775]))
    np.testing.assert_allclose(failed.weights, floats([0.0, -0.225]))


@pytest.mark.parametrize(("floor", "live"), [(-0.4, 0), (-0.6, 1), (-4.6, 2), (-5.6, 3)])
def test_a_floor_on_the_ratio_masks_what_the_feedback_made_likely(renderer: Renderer, floor: float, live: int) -> None:
    """Student -1, -6, -5 less teacher -0.5 throughout: the log-ratios are -0.5, -5.5 and -4.5."""
    samples = samples_of(renderer, "rltf_sd", mixed_group(), sd={"floor_on": "ratio", "logprob_floor": floor})
    weights = [sample.weights for sample in samples if sample.component == "distillation" and sample.rollout == 1]
    assert sum(int((w != 0).sum()) for w in weights) == live


def test_a_token_that_is_unlikely_under_both_prompts_stays_with_a_floor_on_the_ratio(renderer: Renderer) -> None:
    group = make_group(
        make_rollout(
            make_turn(0.0, feedback="No."), make_turn(1.0, logprobs=[-9.0, -0.1, -0.1], student=[-9.5, -9.0, -0.1])
        )
    )
    for on, expected in (("logprob", [0.0, 0.0, 1.0]), ("ratio", [1.0, 0.0, 1.0])):
        (sample,) = by_component(samples_of(renderer, "rltf_sd", group, sd={"floor_on": on}), "distillation")
        np.testing.assert_allclose(sample.weights, floats(expected))


@pytest.mark.parametrize("name", ["rltf_sd", "rejection_sampling"])
@pytest.mark.parametrize(("progress", "floor"), [(0.0, -1.0), (0.5, -5.5), (1.0, -10.0)])
def test_a_floor_can_fall_over_the_run(renderer: Renderer, name: str, progress: float, floor: float) -> None:
    falling = {"initial_logprob_floor": -1.0, "logprob_floor": -10.0}
    one = samples_of(renderer, name, mixed_group(), progress, sd=falling)
    other = samples_of(renderer, name, mixed_group(), progress, sd={"logprob_floor": floor})
    masks = [[(s.component, s.rollout, (s.weights == 0).tolist()) for s in samples] for samples in (one, other)]
    assert masks[0] == masks[1]


@pytest.mark.parametrize("setting", [{"initial_logprob_floor": -3.0}, {"floor_on": "ratio"}, {"floor_for": "negative"}])
def test_settings_of_a_floor_that_is_off_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(setting))} is read where there is a floor; set logprob_floor"):
        objective_config("rltf_sd", sd={"logprob_floor": None, **setting})


def test_the_second_turn_baseline_compares_the_revisions_with_each_other(renderer: Renderer) -> None:
    samples = samples_of(renderer, "rltf_sd", mixed_group(), sd={"baseline": "second_turn"})
    weights = weights_of(by_component(samples, "distillation"))
    assert weights == pytest.approx({("distillation", 1, 1): 0.5, ("distillation", 2, 1): -0.5})


def test_the_distillation_coefficient_multiplies_only_the_distillation_term(renderer: Renderer) -> None:
    weights = weights_of(samples_of(renderer, "rltf_sd", mixed_group(), sd={"coefficient": 0.1}))
    assert weights == pytest.approx(POLICY | {key: 0.1 * w for key, w in DISTILLATION.items()})


@pytest.mark.parametrize(("progress", "expected"), [(0.0, 0.2), (0.5, 0.6), (1.0, 1.0)])
@pytest.mark.parametrize(("name", "section"), [("rltf_sd", "sd"), ("rejection_sampling", "sd"), ("rltf_fm", "fm")])
def test_a_coefficient_can_run_linearly_over_the_run(
    renderer: Renderer, name: str, section: str, progress: float, expected: float
) -> None:
    settings: dict[str, Any] = {section: {"initial_coefficient": 0.2, "coefficient": 1.0}}
    scheduled = weights_of(samples_of(renderer, name, mixed_group(), progress, **settings))
    constant = weights_of(samples_of(renderer, name, mixed_group(), 0.0, **{section: {"coefficient": expected}}))
    assert scheduled == pytest.approx(constant)
    assert len(constant) > len(POLICY)


@pytest.mark.parametrize(("name", "section"), [("rltf_sd", "sd"), ("rejection_sampling", "sd"), ("rltf_fm", "fm")])
def test_a_term_with_coefficient_zero_gives_no_samples(renderer: Renderer, name: str, section: str) -> None:
    settings: dict[str, Any] = {section: {"initial_coefficient": 0.0, "coefficient": 1.0}}
    assert weights_of(samples_of(renderer, name, mixed_group(), 0.0, **settings)) == pytest.approx(POLICY)


@pytest.mark.parametrize("ratio", ["ppo", "cispo"])
@pytest.mark.parametrize("denominator", ["student", "feedback_conditioned"])
def test_a_clipped_ratio_has_its_loss_its_bounds_and_its_denominator(
    renderer: Renderer, ratio: str, denominator: str
) -> None:
    sd = {"ratio": ratio, "ratio_denominator": denominator, "clip_low": 0.5, "clip_high": 3.0}
    group = mixed_group()
    samples = by_component(samples_of(renderer, "rltf_sd", group, sd=sd), "distillation")
    assert weights_of(samples) == pytest.approx(DISTILLATION)
    for sample in samples:
        turn = group.rollouts[sample.rollout].turns[1]
        assert isinstance(turn, KnownTurn)
        expected = turn.student if denominator == "student" else turn.completion.logprobs
        assert (sample.loss, sample.clip) == (ratio, (0.5, 3.0))
        assert expected is not None and sample.old_logprobs is not None
        np.testing.assert_array_equal(sample.old_logprobs, expected)


def test_the_full_ratio_multiplies_the_advantage(renderer: Renderer) -> None:
    sd = {"ratio": "full", "ratio_denominator": "feedback_conditioned", "logprob_floor": None}
    samples = by_component(samples_of(renderer, "rltf_sd", mixed_group(), sd=sd), "distillation")
    assert weights_of(samples) == pytest.approx(
        {
            ("distillation", 1, 1): 0.775 * np.exp(-12.0 + 1.5),
            ("distillation", 2, 1): -0.225 * np.exp(-5.2 + 0.75),
        },
        rel=1e-5,
    )
    assert {sample.loss for sample in samples} == {"cross_entropy"}


@pytest.mark.parametrize("sd", [{"baseline": "second_turn"}, {"coefficient": 0.0}])
def test_no_ratio_however_large_gives_weight_to_an_advantage_of_zero(renderer: Renderer, sd: dict[str, Any]) -> None:
    revision = make_turn(0.5, logprobs=[-900.0, -1.0, -1.0], student=[-1.0, -1.0, -1.0])
    group = make_group(*(make_rollout(make_turn(0.0, feedback="No."), revision) for _ in range(2)))
    full = {"ratio": "full", "ratio_denominator": "feedback_conditioned", "logprob_floor": None}
    samples = samples_of(renderer, "rltf_sd", group, policy_coefficient=0.0, sd={**full, **sd})
    assert samples == []


def test_a_recipe_can_name_every_ratio() -> None:
    for ratio in ("none", "ppo", "cispo"):
        config = validate_config({"objective": {"name": "rltf_sd", "sd": {"ratio": ratio}}})
        assert config.objective.model_dump()["sd"]["ratio"] == ratio


FULL = {"logprob_floor": None, "ratio": "full", "ratio_denominator": "feedback_conditioned"}
BY_TEACHER = {"logprob_floor": None, "ratio": "cispo", "ratio_denominator": "feedback_conditioned"}


@pytest.mark.parametrize(
    ("name", "settings", "student", "initial"),
    [
        ("grpo", {}, 0, 0),
        ("grpo_multi", {"kl_coefficient": 0.1}, 0, 6),
        ("rltf_fm", {}, 0, 0),
        ("rltf_sd", {}, 2, 0),
        ("rltf_sd", {"sd": {"logprob_floor": None}}, 0, 0),
        ("rltf_sd", {"sd": {"logprob_floor": None, "ratio": "ppo"}}, 2, 0),
        ("rltf_sd", {"sd": BY_TEACHER}, 0, 0),
        ("rltf_sd_fm", {"sd": FULL}, 2, 0),
        ("rejection_sampling", {"kl_coefficient": 0.1}, 2, 6),
    ],
)
def test_an_objective_asks_for_exactly_what_it_reads(
    renderer: Renderer, name: str, settings: dict[str, Any], student: int, initial: int
) -> None:
    objective = build_objective(objective_config(name, **settings), make_context(renderer))
    group = first_turns(mixed_group()) if name == "grpo" else mixed_group()
    queries = objective.queries(group)
    assert len(set(queries)) == len(queries), "terms that ask the same are answered once"
    later = {turn.completion.tokens for rollout in group.rollouts for turn in rollout.turns[1:]}
    mine = [query for query in queries if query.policy == "current"]
    assert len(mine) == student
    assert all(query.prompt_tokens == X0 and query.completion_tokens in later for query in mine)
    assert sum(query.policy == "initial" for query in queries) == initial
    read: set[Query] = set()

    class Noting(dict[Query, Answer]):
        def __getitem__(self, query: Query) -> Answer:
            read.add(query)
            return Answer(logprobs_T=np.full(len(query.completion_tokens), -1.0, dtype=np.float32))

    assert objective.samples(group, 0.0, Noting())
    assert read == set(queries)


def test_rejection_sampling_imitates_correct_revisions_and_not_those_that_merely_score(renderer: Renderer) -> None:
    group = make_group(
        make_rollout(make_turn(0.0, feedback="No."), make_turn(1.0, student=[-1.0] * 3)),
        make_rollout(make_turn(1.0, feedback="Yes."), make_turn(0.9, student=[-1.0] * 3)),
    )
    samples = by_component(samples_of(renderer, "rejection_sampling", group), "distillation")
    assert weights_of(samples) == pytest.approx({("distillation", 0, 1): 1.0})


def three_turns() -> RolloutGroup:
    def rollout(*rewards: float) -> Rollout:
        turns = [
            make_turn(
                reward,
                prompt=(*X0, *range(20, 20 + h)),
                messages=(*QUESTION, Message(role="user", content=f"turn {h}")),
                student=[-1.0] * 3,
                feedback=None if h == len(rewards) - 1 else f"feedback {h}",
            )
            for h, reward in enumerate(rewards)
        ]
        return make_rollout(*turns)

    return make_group(rollout(0.0, 0.0, 1.0), rollout(0.0, 0.5, 0.0), rollout(0.0, 1.0), rollout(1.0))


def test_at_a_horizon_of_three_returns_run_over_all_turns(renderer: Renderer) -> None:
    weights = weights_of(samples_of(renderer, "grpo_multi", three_turns(), gamma=0.5))
    # Returns (0.25, 0.5, 1), (0.25, 0.5, 0), (0.5, 1), (1): means 0.5, 2/3, 0.5.
    assert weights == pytest.approx(
        {
            ("policy", 0, 0): -0.25,
            ("policy", 1, 0): -0.25,
            ("policy", 3, 0): 0.5,
            ("policy", 0, 1): -1 / 6,
            ("policy", 1, 1): -1 / 6,
            ("policy", 2, 1): 1 / 3,
            ("policy", 0, 2): 0.5,
            ("policy", 1, 2): -0.5,
        }
    )


def test_at_a_horizon_of_three_every_later_attempt_is_taught_as_a_first_one(renderer: Renderer) -> None:
    samples = by_component(samples_of(renderer, "rltf_sd", three_turns()), "distillation")
    # First rewards have the mean 0.25.
    assert weights_of(samples) == pytest.approx(
        {
            ("distillation", 0, 1): -0.25,
            ("distillation", 1, 1): 0.25,
            ("distillation", 2, 1): 0.75,
            ("distillation", 0, 2): 0.75,
            ("distillation", 1, 2): -0.25,
        }
    )
    assert {sample.prompt_tokens for sample in samples} == {X0}


def test_at_a_horizon_of_three_every_feedback_is_predicted_from_its_own_turn(renderer: Renderer) -> None:
    samples = by_component(samples_of(renderer, "rltf_fm", three_turns()), "feedback")
    assert [(sample.rollout, sample.turn) for sample in samples] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    for sample in samples:
        assert renderer.text(sample.completion_tokens) == f"feedback {sample.turn}"
        asked = (*QUESTION, Message(role="user", content=f"turn {sample.turn}"))
        assert sample.prompt_tokens == renderer.prompt(PROMPTS.feedback_request(asked, "an attempt"))


def test_feedback_modelling_predicts_the_stored_feedback_from_the_attempt(renderer: Renderer) -> None:
    group = mixed_group()
    samples = by_component(samples_of(renderer, "rltf_fm", group), "feedback")
    assert [renderer.text(sample.completion_tokens) for sample in samples] == [
        "Row 1, column 1 should be larger.",
        "There is no answer.",
    ]
    for sample, attempt in zip(samples, ("first of 1", "first of 2"), strict=True):
        assert sample.prompt_tokens == renderer.prompt(PROMPTS.feedback_request(QUESTION, attempt))
        prompt = renderer.text(sample.prompt_tokens)
        assert attempt in prompt
        assert PROMPTS.texts.feedback_request in prompt
        assert (sample.loss, sample.old_logprobs) == ("cross_entropy", None)


def test_feedback_modelling_gives_weight_to_the_feedbacks_tokens_and_the_end_of_its_turn(renderer: Renderer) -> None:
    for sample in by_component(samples_of(renderer, "rltf_fm", mixed_group()), "feedback"):
        assert sample.completion_tokens[-1] in renderer.stop_tokens
        np.testing.assert_array_equal(sample.weights, np.full(len(sample.completion_tokens), 0.05, np.float32))


def test_feedback_modelling_can_weight_every_feedback_alike(renderer: Renderer) -> None:
    samples = samples_of(renderer, "rltf_fm", mixed_group(), fm={"normalize": "token_mean", "coefficient": 0.5})
    feedback = by_component(samples, "feedback")
    assert len({len(sample.weights) for sample in feedback}) == 2
    assert [sample.weights.sum() for sample in feedback] == pytest.approx([0.5, 0.5])


def test_feedback_as_a_lesson_is_predicted_from_the_question_alone(renderer: Renderer) -> None:
    given = {"given": "question", "normalize": "token_mean", "coefficient": 0.2}
    samples = by_component(samples_of(renderer, "rltf_fm", mixed_group(), fm=given), "feedback")
    asked = PROMPTS.texts.lesson_request.replace("{question}", "What?")
    assert [sample.prompt_tokens for sample in samples] == [renderer.prompt((Message(role="user", content=asked),))] * 2
    assert [renderer.text(sample.completion_tokens) for sample in samples] == [
        "Row 1, column 1 should be larger.",
        "There is no answer.",
    ]
    assert [sample.weights.sum() for sample in samples] == pytest.approx([0.2, 0.2])


def test_a_lesson_after_later_attempts_is_still_about_the_first_question(renderer: Renderer) -> None:
    samples = by_component(samples_of(renderer, "rltf_fm", three_turns(), fm={"given": "question"}), "feedback")
    prompts = {sample.prompt_tokens for sample in samples}
    first = three_turns().rollouts[0].turns[0].messages
    assert prompts == {renderer.prompt(PROMPTS.lesson_request(first))}


@pytest.mark.parametrize(("share", "predicted"), [(0.0, 0), (0.24, 0), (0.25, 2), (1.0, 2)])
def test_feedback_can_be_predicted_in_groups_alone_that_seldom_succeed(
    renderer: Renderer, share: float, predicted: int
) -> None:
    """One of the four first attempts is right."""
    samples = samples_of(renderer, "rltf_sd_fm", mixed_group(), fm={"most_solved": share})
    assert len(by_component(samples, "feedback")) == predicted
    assert weights_of([s for s in samples if s.component != "feedback"]) == pytest.approx(POLICY | DISTILLATION)


def test_sdpo_predicts_feedback_beside_only_if_asked(renderer: Renderer) -> None:
    def components(**settings: Any) -> list[str]:
        objective = build_objective(objective_config("sdpo", **settings), make_context(renderer))
        return [type(term).__name__ for term in objective.terms]

    assert components() == ["PolicyGradient", "SelfFeedback", "TokenDistillation"]
    assert components(fm={"coefficient": 0.2})[-1] == "FeedbackModelling"


def test_a_failed_feedback_is_never_predicted(renderer: Renderer) -> None:
    samples = by_component(samples_of(renderer, "rltf_fm", mixed_group()), "feedback")
    assert {sample.rollout for sample in samples} == {1, 2}


def test_feedback_that_spells_control_tokens_or_fields_is_predicted_as_it_stands(renderer: Renderer) -> None:
    spelled = "Do not write <|end|> or <|user|>, nor {feedback}."
    group = make_group(make_rollout(make_turn(0.0, feedback=spelled)), make_rollout(make_turn(0.0)))
    (sample,) = samples_of(renderer, "rltf_fm", group)
    assert renderer.text(sample.completion_tokens) == spelled
    assert sum(token in renderer.stop_tokens for token in sample.completion_tokens) == 1


# Feedback that the policy wrote itself


def own_feedback(text: str, tokens: tuple[int, ...], logprobs: list[float]) -> Feedback:
    completion = Completion(tokens=tokens, logprobs=floats(logprobs), finish=Finish.STOP)
    return Feedback(text=text, source="self", prompt_tokens=(7, 8), completion=completion)


def self_critical_group() -> RolloutGroup:
    """Rollouts 0 and 1 revise on the policy's own feedback, 2 on a source's, 3 on none."""
    return make_group(
        make_rollout(make_turn(0.0, feedback=own_feedback("a", (60, 61), [-1.0, -2.0])), make_turn(1.0, prompt=(1, 2))),
        make_rollout(make_turn(0.0, feedback=own_feedback("b", (62,), [-3.0])), make_turn(0.0, prompt=(1, 3))),
        make_rollout(make_turn(0.0, feedback="from elsewhere"), make_turn(1.0, prompt=(1, 4))),
        make_rollout(make_turn(0.0, feedback=FAILURE), status=RolloutStatus.FEEDBACK_FAILED),
    )


def test_own_feedback_is_trained_by_the_next_attempt_against_siblings_with_own_feedback(renderer: Renderer) -> None:
    samples = samples_of(renderer, "grpo_multi", self_critical_group(), self_feedback_coefficient=0.5)
    found = {(s.rollout, s.turn): s for s in samples if s.component == "self_feedback"}
    assert set(found) == {(0, 0), (1, 0)}
    # Returns of the next turn 1 and 0, their mean 1/2, times the coefficient.
    assert found[0, 0].weights.tolist() == [0.25, 0.25]
    assert found[1, 0].weights.tolist() == [-0.25]
    assert found[0, 0].prompt_tokens == (7, 8)
    assert found[0, 0].completion_tokens == (60, 61)
    assert found[0, 0].old_logprobs is not None
    assert found[0, 0].old_logprobs.tolist() == [-1.0, -2.0]
    assert found[0, 0].loss == "importance_sampling"


def test_without_a_coefficient_own_feedback_is_not_trained(renderer: Renderer) -> None:
    samples = samples_of(renderer, "grpo_multi", self_critical_group(), self_feedback_coefficient=0.0)
    assert not [s for s in samples if s.component == "self_feedback"]


def test_feedback_modelling_does_not_imitate_the_policys_own_feedback(renderer: Renderer) -> None:
    samples = samples_of(renderer, "rltf_fm", self_critical_group())
    assert [(s.rollout, s.turn) for s in samples if s.component == "feedback"] == [(2, 0)]
