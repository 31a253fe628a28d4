"""Truncated importance sampling, by enumeration of every group: a sampler that is not the policy that is trained.

The world: one question, answers of one token out of four. The sampler draws from `mu`, the trainer's policy is `pi`.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from helpers import floats, make_context, make_group, make_rollout, make_turn, objective_config
from torch import Tensor

from rltf.engines.losses import TokenBatch, token_loss
from rltf.objectives import build_objective
from rltf.objectives.sampler_ratio import truncated_ratio
from rltf.text.renderer import Renderer
from rltf.types import Answer, Completion, Feedback, Finish, Query

REWARDS = torch.tensor([0.0, 0.3, 0.6, 1.0], dtype=torch.float64)
LOGITS = torch.tensor([0.2, -0.4, 0.9, -0.1], dtype=torch.float64)
PI = torch.log_softmax(LOGITS, -1)
MU = torch.log_softmax(torch.tensor([0.6, 0.5, 0.1, -0.9], dtype=torch.float64), -1)
RATIOS = (PI - MU).exp()


def expected_update(renderer: Renderer, group_size: int, **settings: Any) -> Tensor:
    """The exact expectation of a step's direction on the logits of `pi`, over groups drawn from `mu`."""
    objective = build_objective(
        objective_config("grpo", format_penalty=0.0, gamma=0.0, **settings), make_context(renderer)
    )
    logits = LOGITS.clone().requires_grad_()
    logprobs = torch.log_softmax(logits, -1)
    loss = torch.zeros((), dtype=torch.float64)
    for drawn in product(range(4), repeat=group_size):
        probability = float(prod(MU[token].exp() for token in drawn))
        turns = [make_turn(float(REWARDS[t]), prompt=(7,), tokens=(t,), logprobs=[float(MU[t])]) for t in drawn]
        group = make_group(*map(make_rollout, turns))
        answers = {query: answer(query) for query in objective.queries(group)}
        for sample in objective.samples(group, 0.0, answers):
            assert sample.old_logprobs is not None
            batch = TokenBatch(
                logprobs_BT=logprobs[list(sample.completion_tokens)][None],
                weights_BT=torch.from_numpy(sample.weights).double()[None],
                old_logprobs_BT=torch.from_numpy(sample.old_logprobs).double()[None],
                clip=sample.clip,
            )
            loss = loss + probability * token_loss(sample.loss, batch).sum() / group_size
    return -torch.autograd.grad(loss, logits)[0]


def answer(query: Query) -> Answer:
    """The trainer's log-probabilities."""
    return Answer(logprobs_T=floats(PI[list(query.completion_tokens)]))


def gradient_of(value: Any) -> Tensor:
    logits = LOGITS.clone().requires_grad_()
    return torch.autograd.grad(value(torch.log_softmax(logits, -1)), logits)[0]


def reward(logprobs: Tensor) -> Tensor:
    return (logprobs.exp() * REWARDS).sum()


@pytest.mark.parametrize("group_size", [2, 3])
@pytest.mark.parametrize("loss", ["importance_sampling", "ppo", "cispo"])
def test_below_the_cap_the_update_is_the_gradient_of_the_trained_policys_reward(
    renderer: Renderer, group_size: int, loss: str
) -> None:
    update = expected_update(renderer, group_size, policy_loss=loss, sampler_ratio_cap=10.0)
    expected = (group_size - 1) / group_size * gradient_of(reward)
    torch.testing.assert_close(update, expected, rtol=1e-5, atol=1e-7)
    assert update.norm() > 0.02


def test_without_it_a_clipped_loss_takes_the_samplers_gap_for_progress(renderer: Renderer) -> None:
    """As it is without the correction: tokens that the sampler finds less likely than the trainer are clipped away."""
    update = expected_update(renderer, 2, policy_loss="ppo")
    assert (update - 0.5 * gradient_of(reward)).norm() > 0.2 * gradient_of(reward).norm()


@pytest.mark.parametrize("cap", [0.5, 1.0, 1.4])
def test_beyond_the_cap_a_token_counts_as_much_as_the_cap(renderer: Renderer, cap: float) -> None:
    """E of (r - mean) w grad log pi, where w is the truncated ratio and the mean has the token's own reward in it."""
    weights = (RATIOS.clamp(max=cap) * MU.exp()).detach()
    assert float(RATIOS.max()) > cap
    baseline = (MU.exp() * REWARDS).sum()
    expected = 0.5 * gradient_of(lambda logprobs: (weights * (REWARDS - baseline) * logprobs).sum())
    torch.testing.assert_close(expected_update(renderer, 2, sampler_ratio_cap=cap), expected, rtol=1e-5, atol=1e-7)


def test_a_token_that_is_far_off_neither_overflows_nor_passes_the_cap() -> None:
    far = truncated_ratio(floats([0.0, -200.0, -1.0]), floats([-500.0, -1.0, -1.0]), 2.0)
    np.testing.assert_allclose(far, [2.0, 0.0, 1.0], rtol=1e-6)


def test_where_sampler_and_trainer_agree_nothing_changes(renderer: Renderer) -> None:
    config = objective_config("grpo", sampler_ratio_cap=2.0)
    group = make_group(
        *(make_rollout(make_turn(float(r), tokens=(t,), logprobs=[float(PI[t])])) for t, r in enumerate(REWARDS))
    )
    corrected, plain = (build_objective(c, make_context(renderer)) for c in (config, objective_config("grpo")))
    answers = {query: answer(query) for query in corrected.queries(group)}
    for one, other in zip(corrected.samples(group, 0.0, answers), plain.samples(group, 0.0, {}), strict=True):
        np.testing.assert_allclose(one.weights, other.weights, rtol=1e-6)
    figures = corrected.figures(group, answers)["policy/sampler_ratio"]
    np.testing.assert_allclose(np.concatenate(figures), 1.0, rtol=1e-6)


def test_the_policys_own_feedback_is_corrected_too(renderer: Renderer) -> None:
    off = 0.4
    own = Completion(tokens=(2, 3), logprobs=floats([float(PI[2]) - off, float(PI[3]) + off]), finish=Finish.STOP)
    written = Feedback(text="Wrong.", source="self", prompt_tokens=(9,), completion=own)
    said: dict[str, Any] = {"tokens": (1,), "logprobs": [float(PI[1])]}
    turns = [(make_turn(0.0, feedback=written, **said), make_turn(reward, **said)) for reward in (0.0, 1.0)]
    group = make_group(*(make_rollout(*pair) for pair in turns))
    objective = build_objective(objective_config("grpo_multi", sampler_ratio_cap=1.2), make_context(renderer))
    answers = {query: answer(query) for query in objective.queries(group)}
    samples = [s for s in objective.samples(group, 0.0, answers) if s.component == "self_feedback"]
    for sample, advantage in zip(samples, (-0.5, 0.5), strict=True):
        np.testing.assert_allclose(sample.weights, [advantage * 1.2, advantage * np.exp(-off)], rtol=1e-5)
        assert sample.old_logprobs is not None
        np.testing.assert_allclose(sample.old_logprobs, floats(PI[[2, 3]]), rtol=1e-6)
