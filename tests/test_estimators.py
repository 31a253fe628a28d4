"""Each estimator's expectation, by enumeration of every outcome, against the gradient of what it estimates.

The world: a vocabulary of two tokens, answers of two tokens (axis A), and a softmax policy given by a table of
logits. Context 0 is the question x0; context 1 + a is x1 after the first attempt a, as feedback here is a
function of the attempt. All contexts share a part of their logits, so a gradient that takes the wrong context
shows. The real objectives turn every possible group into samples, the real losses turn these into a gradient,
and the sum over groups times their probability is the exact expectation, up to the float32 of the records.

Rewards are those that training sees: answer 0 is malformed and pays `format_penalty`; answer 3 is correct.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from math import comb, factorial, prod
from typing import Any

import pytest
import torch
from helpers import PROMPTS, floats, make_group, make_rollout, make_turn, objective_config
from torch import Tensor

from rltf.engines.losses import TokenBatch, token_loss
from rltf.objectives import build_objective
from rltf.text.renderer import Renderer
from rltf.types import Answer, LossName, Query, Rollout, Turn

ANSWERS = ((0, 0), (0, 1), (1, 0), (1, 1))
REWARDS = (0.0, 0.25, 0.6, 1.0)
CORRECT = 3
FORMAT_PENALTY = 0.1
SHAPED = torch.tensor([-FORMAT_PENALTY, 0.25, 0.6, 1.0], dtype=torch.float64)
FIRST = 0


def theta(seed: int) -> Tensor:
    """Row 0 is shared by all contexts; then one row per context. Columns: first token, second token given it."""
    return torch.randn(6, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def token_logprobs(parameters: Tensor) -> Tensor:
    """log pi of each token of each answer in each context, shape `[context, answer, token]`."""
    logits = parameters[0] + parameters[1:]
    first = torch.log_softmax(logits[:, :2], dim=-1).repeat_interleave(2, dim=1)
    second = torch.log_softmax(logits[:, 2:].reshape(5, 2, 2), dim=-1).reshape(5, 4)
    return torch.stack([first, second], dim=-1)


POLICY = theta(1)
INITIAL = theta(2)
TABLE = token_logprobs(POLICY)
INITIAL_TABLE = token_logprobs(INITIAL)
PROBABILITIES = TABLE.sum(-1).exp()
FIRST_PROBABILITIES, REVISION_PROBABILITIES = PROBABILITIES[0], PROBABILITIES[1:]
VALUE = (FIRST_PROBABILITIES * SHAPED).sum()
WRONG = 1.0 - FIRST_PROBABILITIES[CORRECT]


def make_attempt(context: int, answer: int) -> Turn:
    return make_turn(
        REWARDS[answer],
        well_formed=answer != 0,
        prompt=(context,),
        tokens=ANSWERS[answer],
        logprobs=TABLE[context, answer],
    )


def answer(query: Query) -> Answer:
    """What an engine with this policy answers."""
    table = INITIAL_TABLE if query.policy == "initial" else TABLE
    spelled = ANSWERS.index((query.completion_tokens[0], query.completion_tokens[1]))
    return Answer(logprobs_T=floats(table[query.prompt_tokens[0], spelled]))


def episodes(*, horizon: int, early_termination: bool) -> Iterator[tuple[float, Rollout]]:
    """Every possible rollout with its probability."""
    for y0, y1 in product(range(4), range(4)):
        attempt = make_attempt(FIRST, y0)
        if horizon == 1 or (early_termination and y0 == CORRECT):
            if y1 == 0:
                yield float(FIRST_PROBABILITIES[y0]), make_rollout(attempt)
        else:
            probability = float(FIRST_PROBABILITIES[y0] * REVISION_PROBABILITIES[y0, y1])
            yield probability, make_rollout(attempt, make_attempt(1 + y0, y1))


@dataclass(frozen=True, kw_only=True)
class Episodes:
    horizon: int = 2
    early_termination: bool = False

    def expected_update(self, renderer: Renderer, group_size: int, name: str, **settings: Any) -> Tensor:
        """The exact expectation of the direction in which a step on one group moves the parameters."""
        objective = build_objective(
            objective_config(name, **{"format_penalty": FORMAT_PENALTY, "gamma": 0.0, **settings}), renderer, PROMPTS
        )
        rollouts = list(episodes(horizon=self.horizon, early_termination=self.early_termination))
        assert sum(probability for probability, _ in rollouts) == pytest.approx(1.0)
        rows: dict[tuple[LossName, tuple[float, float]], list[tuple[Any, ...]]] = {}
        # The order of siblings does not matter (test_objectives proves it), so each multiset is met once.
        for chosen in combinations_with_replacement(range(len(rollouts)), group_size):
            orders = factorial(group_size) // prod(map(factorial, Counter(chosen).values()))
            probability = orders * prod(rollouts[i][0] for i in chosen)
            group = make_group(*(rollouts[i][1] for i in chosen))
            answers = {query: answer(query) for query in objective.queries(group)}
            for sample in objective.samples(group, 0.0, answers):
                assert sample.entropy_weight == 0.0
                place = ANSWERS.index((sample.completion_tokens[0], sample.completion_tokens[1]))
                old = floats([0.0, 0.0]) if sample.old_logprobs is None else sample.old_logprobs
                row = (sample.prompt_tokens[0], place, sample.weights, old, probability)
                rows.setdefault((sample.loss, sample.clip), []).append(row)
        parameters = POLICY.clone().requires_grad_()
        table = token_logprobs(parameters)
        loss = torch.zeros((), dtype=torch.float64)
        for (loss_name, clip), members_of_loss in rows.items():
            contexts, spelled, weights, olds, probabilities = zip(*members_of_loss, strict=True)
            batch = TokenBatch(
                logprobs_BT=table[list(contexts), list(spelled)],
                weights_BT=as_tensor(weights),
                old_logprobs_BT=as_tensor(olds),
                clip=clip,
            )
            losses = token_loss(loss_name, batch)
            loss = loss + (losses.sum(-1) * torch.tensor(probabilities, dtype=torch.float64)).sum() / group_size
        return -torch.autograd.grad(loss, parameters)[0]


def as_tensor(rows: Any) -> Tensor:
    return torch.stack([torch.from_numpy(row).double() for row in rows])


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-7)


ONE_TURN = Episodes(horizon=1)
TWO_TURNS = Episodes()
TWO_TURNS_IF_WRONG = Episodes(early_termination=True)


def gradient_of(value: Any) -> Tensor:
    """The gradient at POLICY of a function of the table of answers' log-probabilities, `[context, answer]`."""
    parameters = POLICY.clone().requires_grad_()
    return torch.autograd.grad(value(token_logprobs(parameters).sum(-1)), parameters)[0]


def single_turn_value(logprobs: Tensor) -> Tensor:
    """J_single."""
    return (logprobs[FIRST].exp() * SHAPED).sum()


def revisions_value(logprobs: Tensor, first: Tensor, reached: Tensor) -> Tensor:
    """E r1: `first` are the probabilities of first attempts, `reached` is 0 for those that end the episode."""
    return ((first * reached)[:, None] * logprobs[1:].exp() * SHAPED).sum()


GOES_ON_ALWAYS = torch.ones(4, dtype=torch.float64)
GOES_ON_IF_WRONG = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64)


@pytest.mark.parametrize("group_size", [2, 3, 4])
@pytest.mark.parametrize("loss", ["importance_sampling", "ppo", "cispo"])
def test_single_turn_grpo_is_the_gradient_of_the_reward_times_n_minus_1_over_n(
    renderer: Renderer, group_size: int, loss: str
) -> None:
    """The mean takes the sample's own reward in, which costs exactly 1/N of the gradient."""
    update = ONE_TURN.expected_update(renderer, group_size, "grpo", policy_loss=loss)
    expected = (group_size - 1) / group_size * gradient_of(single_turn_value)
    assert_close(update, expected)
    assert update.norm() > 0.05


@pytest.mark.parametrize("group_size", [2, 3])
@pytest.mark.parametrize("coefficient", [0.1, 1.0])
def test_the_kl_penalty_is_the_gradient_of_the_divergence_to_the_initial_policy(
    renderer: Renderer, group_size: int, coefficient: float
) -> None:
    def penalised_value(logprobs: Tensor) -> Tensor:
        difference = logprobs[FIRST] - INITIAL_TABLE[FIRST].sum(-1)
        return single_turn_value(logprobs) - coefficient * (logprobs[FIRST].exp() * difference).sum()

    update = ONE_TURN.expected_update(renderer, group_size, "grpo", kl_coefficient=coefficient)
    expected = (group_size - 1) / group_size * gradient_of(penalised_value)
    assert_close(update, expected)
    assert (gradient_of(penalised_value) - gradient_of(single_turn_value)).norm() > 0.01


@pytest.mark.parametrize("group_size", [2, 3])
def test_multi_turn_grpo_is_the_gradient_of_the_sum_of_rewards_times_n_minus_1_over_n(
    renderer: Renderer, group_size: int
) -> None:
    """With gamma = 1 and every rollout at every turn, the objective is J_multi = E[r0 + r1]."""

    def multi_turn_value(logprobs: Tensor) -> Tensor:
        return single_turn_value(logprobs) + revisions_value(logprobs, logprobs[FIRST].exp(), GOES_ON_ALWAYS)

    update = TWO_TURNS.expected_update(renderer, group_size, "grpo_multi", gamma=1.0)
    assert_close(update, (group_size - 1) / group_size * gradient_of(multi_turn_value))


@pytest.mark.parametrize("group_size", [2, 3])
@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
def test_multi_turn_grpo_with_early_termination_scales_the_second_turn_by_who_is_left(
    renderer: Renderer, group_size: int, gamma: float
) -> None:
    """The first turn sees (N-1)/N of the gradient of E[r0 + gamma r1] by the first attempt's distribution.

    At the second turn, a rollout that got there is compared with the mean of the M that got there, which costs
    1/M of its gradient. Given that it got there, M - 1 is binomial with N - 1 draws of probability q = P(wrong),
    whatever the rollout itself did; E[1/M] is (1 - (1 - q)^N) / (N q). The second turn's own reward is not
    discounted: gamma only says how much of it the first attempt is credited with.
    """

    def first_turn_value(logprobs: Tensor) -> Tensor:
        credited = revisions_value(logprobs.detach(), logprobs[FIRST].exp(), GOES_ON_IF_WRONG)
        return single_turn_value(logprobs) + gamma * credited

    def second_turn_value(logprobs: Tensor) -> Tensor:
        return revisions_value(logprobs, FIRST_PROBABILITIES, GOES_ON_IF_WRONG)

    q = float(WRONG)
    one_over_m = sum(
        comb(group_size - 1, others) * q**others * (1 - q) ** (group_size - 1 - others) / (1 + others)
        for others in range(group_size)
    )
    assert one_over_m == pytest.approx((1 - (1 - q) ** group_size) / (group_size * q))
    first = (group_size - 1) / group_size * gradient_of(first_turn_value)
    second = (1 - one_over_m) * gradient_of(second_turn_value)
    update = TWO_TURNS_IF_WRONG.expected_update(renderer, group_size, "grpo_multi", gamma=gamma)
    assert_close(update, first + second)
    assert first.norm() > 0.05
    assert second.norm() > 0.05


def distillation(ratio: str, **settings: Any) -> dict[str, Any]:
    """Self distillation without a policy gradient and without a floor."""
    denominator = "feedback_conditioned" if ratio == "full" else "student"
    sd = {"ratio": ratio, "ratio_denominator": denominator, "logprob_floor": None, **settings}
    return {"policy_coefficient": 0.0, "sd": sd}


@pytest.mark.parametrize("group_size", [2, 3])
@pytest.mark.parametrize("coefficient", [1.0, 0.1])
def test_fully_weighted_distillation_is_exactly_the_single_turn_gradient(
    renderer: Renderer, group_size: int, coefficient: float
) -> None:
    """Not even the factor (N-1)/N is lost: the baseline is of first attempts, and y1 is none of them."""
    settings = distillation("full", coefficient=coefficient)
    update = TWO_TURNS.expected_update(renderer, group_size, "rltf_sd", **settings)
    assert_close(update, coefficient * gradient_of(single_turn_value))


@pytest.mark.parametrize("group_size", [2, 3])
def test_fully_weighted_distillation_with_early_termination_is_scaled_by_the_share_that_goes_on(
    renderer: Renderer, group_size: int
) -> None:
    """The baseline knows who goes on, but any baseline times a score of y1 ~ pi(.|x0) has expectation 0."""
    update = TWO_TURNS_IF_WRONG.expected_update(renderer, group_size, "rltf_sd", **distillation("full"))
    assert_close(update, WRONG * gradient_of(single_turn_value))


@pytest.mark.parametrize("group_size", [2, 3])
def test_fully_weighted_distillation_over_the_second_turn_baseline_loses_the_samples_own_share(
    renderer: Renderer, group_size: int
) -> None:
    """1/N of the gradient; with early termination P(wrong) (1 - E[1/M]), M as in the multi-turn test."""
    settings = distillation("full", baseline="second_turn")
    always = TWO_TURNS.expected_update(renderer, group_size, "rltf_sd", **settings)
    assert_close(always, (group_size - 1) / group_size * gradient_of(single_turn_value))
    if_wrong = TWO_TURNS_IF_WRONG.expected_update(renderer, group_size, "rltf_sd", **settings)
    kept = WRONG - (1 - (1 - WRONG) ** group_size) / group_size
    assert_close(if_wrong, kept * gradient_of(single_turn_value))


def regressed_value(group_size: int, reached: Tensor) -> Any:
    """Advantage-weighted regression: E[(r1 - b) log pi(y1|x0)] with the sampling held fixed.

    The baseline b is the mean of N first rewards: the rollout's own, and N - 1 that are independent of it.
    """

    def value(logprobs: Tensor) -> Tensor:
        baseline_A = (SHAPED + (group_size - 1) * VALUE) / group_size
        weights_AA = (FIRST_PROBABILITIES * reached)[:, None] * REVISION_PROBABILITIES
        weights_AA = weights_AA * (SHAPED[None, :] - baseline_A[:, None])
        return (weights_AA * logprobs[FIRST]).sum()

    return value


@pytest.mark.parametrize("group_size", [2, 3])
@pytest.mark.parametrize(("who", "reached"), [(TWO_TURNS, GOES_ON_ALWAYS), (TWO_TURNS_IF_WRONG, GOES_ON_IF_WRONG)])
def test_distillation_without_a_ratio_is_advantage_weighted_regression(
    renderer: Renderer, group_size: int, who: Episodes, reached: Tensor
) -> None:
    update = who.expected_update(renderer, group_size, "rltf_sd", **distillation("none"))
    assert_close(update, gradient_of(regressed_value(group_size, reached)))


def test_distillation_without_a_ratio_is_biased_for_the_single_turn_objective(renderer: Renderer) -> None:
    """The price of dropping the ratio: in this world the update is off by a quarter of the gradient's length."""
    update = TWO_TURNS.expected_update(renderer, 2, "rltf_sd", **distillation("none"))
    gradient = gradient_of(single_turn_value)
    bias = gradient_of(lambda logprobs: regressed_value(2, GOES_ON_ALWAYS)(logprobs) - single_turn_value(logprobs))
    assert_close(update - gradient, bias)
    assert float(bias.norm() / gradient.norm()) == pytest.approx(0.25, abs=0.005)


@pytest.mark.parametrize("ratio", ["ppo", "cispo"])
def test_on_policy_a_clipped_ratio_to_the_student_changes_nothing(renderer: Renderer, ratio: str) -> None:
    update = TWO_TURNS_IF_WRONG.expected_update(renderer, 2, "rltf_sd", **distillation(ratio))
    plain = TWO_TURNS_IF_WRONG.expected_update(renderer, 2, "rltf_sd", **distillation("none"))
    assert_close(update, plain)


def test_an_unclipped_ratio_to_the_teacher_weights_each_token_with_its_own_ratio(renderer: Renderer) -> None:
    """Per token, so unlike `full` no unbiased estimate: E[A sum_t ratio_t grad log pi(token t|x0)]."""
    settings = distillation("cispo", ratio_denominator="feedback_conditioned", clip_low=0.0, clip_high=1e6)
    update = TWO_TURNS.expected_update(renderer, 2, "rltf_sd", **settings)
    baseline_A = (SHAPED + VALUE) / 2
    weights_AA = FIRST_PROBABILITIES[:, None] * REVISION_PROBABILITIES * (SHAPED[None, :] - baseline_A[:, None])
    ratios_AAT = (TABLE[FIRST] - TABLE[1:]).exp()
    parameters = POLICY.clone().requires_grad_()
    value = (weights_AA[..., None] * ratios_AAT * token_logprobs(parameters)[FIRST]).sum()
    assert_close(update, torch.autograd.grad(value, parameters)[0])
    assert (update - gradient_of(single_turn_value)).norm() > 0.01


@pytest.mark.parametrize(("who", "reached"), [(TWO_TURNS, GOES_ON_ALWAYS), (TWO_TURNS_IF_WRONG, GOES_ON_IF_WRONG)])
def test_rejection_sampling_is_the_likelihood_of_the_correct_revisions(
    renderer: Renderer, who: Episodes, reached: Tensor
) -> None:
    def likelihood(logprobs: Tensor) -> Tensor:
        correct = (FIRST_PROBABILITIES * reached * REVISION_PROBABILITIES[:, CORRECT]).sum()
        return correct * logprobs[FIRST, CORRECT]

    settings = {"policy_coefficient": 0.0, "sd": {"logprob_floor": None}}
    update = who.expected_update(renderer, 2, "rejection_sampling", **settings)
    assert_close(update, gradient_of(likelihood))


def test_the_whole_method_is_the_sum_of_its_terms(renderer: Renderer) -> None:
    settings = {"gamma": 0.1, "sd": {"coefficient": 0.5, "logprob_floor": None}}
    whole = TWO_TURNS_IF_WRONG.expected_update(renderer, 2, "rltf_sd", **settings)
    policy = TWO_TURNS_IF_WRONG.expected_update(renderer, 2, "grpo_multi", gamma=0.1)
    distilled = TWO_TURNS_IF_WRONG.expected_update(renderer, 2, "rltf_sd", **distillation("none", coefficient=0.5))
    assert_close(whole, policy + distilled)
