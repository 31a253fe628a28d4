from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rltf.engines.losses import TokenBatch, entropy, token_loss
from rltf.types import LossName

LOSSES: tuple[LossName, ...] = ("cross_entropy", "importance_sampling", "ppo", "cispo")
CLIP = (0.8, 1.2)
# Log-probabilities, old log-probabilities and weights: ratios 0.5, 0.9, 1, 1.1 and 2 with weights of both signs.
RATIOS = torch.tensor([0.5, 0.9, 1.0, 1.1, 2.0], dtype=torch.float64)
LOGPROBS = torch.tensor([[-0.7, -1.3, -0.2, -2.0, -0.9]] * 2, dtype=torch.float64)
OLD = LOGPROBS - RATIOS.log()
WEIGHTS = torch.tensor([[1.5] * 5, [-0.5] * 5], dtype=torch.float64)


def tensor(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def loss_and_gradient(
    name: LossName, logprobs: Tensor, weights: Tensor, old: Tensor, clip: tuple[float, float] = CLIP
) -> tuple[Tensor, Tensor]:
    """The loss of each token, and the gradient of the sum by the log-probabilities."""
    leaf = logprobs.clone().requires_grad_()
    loss = token_loss(name, TokenBatch(logprobs_BT=leaf, weights_BT=weights, old_logprobs_BT=old, clip=clip))
    return loss.detach(), torch.autograd.grad(loss.sum(), leaf)[0]


@pytest.mark.parametrize(
    ("name", "ratio", "weight", "expected"),
    [
        ("cross_entropy", 2.0, 3.0, 3 * math.log(2)),
        ("cross_entropy", 2.0, -3.0, -3 * math.log(2)),
        ("importance_sampling", 2.0, 3.0, -6.0),
        ("importance_sampling", 0.5, -3.0, 1.5),
        ("ppo", 2.0, 3.0, -3.6),
        ("ppo", 2.0, -3.0, 6.0),
        ("ppo", 0.5, 3.0, -1.5),
        ("ppo", 0.5, -3.0, 2.4),
        ("ppo", 1.1, 3.0, -3.3),
        ("cispo", 2.0, 3.0, 3 * 1.2 * math.log(2)),
        ("cispo", 0.5, 3.0, 3 * 0.8 * math.log(2)),
        ("cispo", 1.1, -3.0, -3 * 1.1 * math.log(2)),
    ],
)
def test_losses_have_these_values_at_probability_one_half(
    name: LossName, ratio: float, weight: float, expected: float
) -> None:
    logprob = tensor(math.log(0.5))
    loss, _ = loss_and_gradient(name, logprob, tensor(weight), logprob - math.log(ratio))
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_the_gradient_of_cross_entropy_is_the_negative_weight() -> None:
    _, gradient = loss_and_gradient("cross_entropy", LOGPROBS, WEIGHTS, OLD)
    torch.testing.assert_close(gradient, -WEIGHTS)


@pytest.mark.parametrize("name", LOSSES)
def test_on_policy_every_loss_has_the_gradient_of_cross_entropy(name: LossName) -> None:
    _, gradient = loss_and_gradient(name, LOGPROBS, WEIGHTS, LOGPROBS)
    torch.testing.assert_close(gradient, -WEIGHTS)


def test_the_gradient_of_importance_sampling_is_weighted_with_the_ratio() -> None:
    _, gradient = loss_and_gradient("importance_sampling", LOGPROBS, WEIGHTS, OLD)
    torch.testing.assert_close(gradient, -WEIGHTS * RATIOS)


def test_the_gradient_of_cispo_is_weighted_with_the_clipped_ratio() -> None:
    _, gradient = loss_and_gradient("cispo", LOGPROBS, WEIGHTS, OLD)
    torch.testing.assert_close(gradient, -WEIGHTS * torch.tensor([0.8, 0.9, 1.0, 1.1, 1.2], dtype=torch.float64))


def test_ppo_has_no_gradient_where_the_ratio_has_gone_far_enough_in_the_weights_direction() -> None:
    _, gradient = loss_and_gradient("ppo", LOGPROBS, WEIGHTS, OLD)
    unclipped_if_positive = torch.tensor([0.5, 0.9, 1.0, 1.1, 0.0], dtype=torch.float64)
    unclipped_if_negative = torch.tensor([0.0, 0.9, 1.0, 1.1, 2.0], dtype=torch.float64)
    torch.testing.assert_close(gradient, -WEIGHTS * torch.stack([unclipped_if_positive, unclipped_if_negative]))


@pytest.mark.parametrize("name", ["ppo", "cispo"])
def test_the_clip_bounds_are_absolute_and_apart(name: LossName) -> None:
    low, _ = loss_and_gradient(name, tensor(-1.0), tensor(-1.0), tensor(-1.0 - math.log(0.1)), (0.3, 5.0))
    high, _ = loss_and_gradient(name, tensor(-1.0), tensor(1.0), tensor(-1.0 - math.log(9.0)), (0.3, 5.0))
    scale = {"ppo": 1.0, "cispo": -1.0}[name]
    assert (low.item(), high.item()) == pytest.approx((scale * 0.3, -scale * 5.0))


def test_the_ratio_of_cispo_passes_no_gradient() -> None:
    old = OLD.clone().requires_grad_()
    batch = TokenBatch(
        logprobs_BT=LOGPROBS.clone().requires_grad_(), weights_BT=WEIGHTS, old_logprobs_BT=old, clip=CLIP
    )
    loss = token_loss("cispo", batch).sum()
    assert torch.autograd.grad(loss, old, allow_unused=True)[0] is None


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("logprob", [0.0, -1.0, -1e4, -1e30])
@pytest.mark.parametrize("old", [0.0, -1e4, -math.inf])
def test_a_masked_token_has_no_loss_and_no_gradient_whatever_its_ratio(
    name: LossName, logprob: float, old: float
) -> None:
    loss, gradient = loss_and_gradient(name, tensor(logprob, -1.0), tensor(0.0, 2.0), tensor(old, -1.0))
    assert loss[0, 0] == 0.0
    assert gradient[0, 0] == 0.0
    assert gradient[0, 1] == -2.0


@pytest.mark.parametrize("name", LOSSES)
def test_a_masked_token_that_the_policy_rules_out_has_no_loss_and_no_gradient(name: LossName) -> None:
    loss, gradient = loss_and_gradient(name, tensor(-math.inf, -1.0), tensor(0.0, 2.0), tensor(-1.0, -1.0))
    assert loss[0, 0] == 0.0
    assert gradient[0, 0] == 0.0
    assert gradient[0, 1] == -2.0


@pytest.mark.parametrize("name", LOSSES)
def test_a_masked_token_leaves_its_neighbours_untouched(name: LossName) -> None:
    alone, gradient_alone = loss_and_gradient(name, tensor(-1.0, -0.5), tensor(1.0, -2.0), tensor(-1.1, -0.4))
    beside, gradient_beside = loss_and_gradient(
        name, tensor(-1.0, -7.0, -0.5), tensor(1.0, 0.0, -2.0), tensor(-1.1, -math.inf, -0.4)
    )
    torch.testing.assert_close(beside[:, ::2], alone, rtol=0, atol=0)
    torch.testing.assert_close(gradient_beside[:, ::2], gradient_alone, rtol=0, atol=0)


def test_entropy_is_that_of_the_distribution_in_nats() -> None:
    probabilities = torch.tensor([[[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 1e-30, 1e-30], [0.7, 0.1, 0.1, 0.1]]])
    expected = [math.log(4), math.log(2), -(0.7 * math.log(0.7) + 0.3 * math.log(0.1))]
    assert entropy(probabilities.log())[0].tolist() == pytest.approx(expected, rel=1e-6)


def test_entropy_does_not_depend_on_the_level_of_the_logits() -> None:
    logits = torch.tensor([[[1.0, -2.0, 0.5]]], dtype=torch.float64)
    torch.testing.assert_close(entropy(logits + 100.0), entropy(logits))


def test_entropy_is_zero_where_only_one_token_is_possible() -> None:
    logits = torch.tensor([[[0.0, -math.inf, -math.inf]]])
    assert entropy(logits).item() == 0.0


def test_the_gradient_of_entropy_is_that_of_the_formula() -> None:
    logits = torch.tensor([[[1.0, -2.0, 0.5]]], dtype=torch.float64, requires_grad=True)
    gradient = torch.autograd.grad(entropy(logits).sum(), logits)[0]
    p = torch.softmax(logits.detach(), dim=-1)
    h = -(p * p.log()).sum()
    torch.testing.assert_close(gradient, -p * (p.log() + h))


# Distributions over five tokens, of which the target names the first three.
DIVERGENCES: tuple[LossName, ...] = ("forward_kl", "reverse_kl", "jensen_shannon")
TARGET = torch.tensor([0.5, 0.2, 0.1, 0.15, 0.05], dtype=torch.float64)
POLICY_LOGITS = torch.tensor([0.3, -0.2, 0.9, 0.1, -1.0], dtype=torch.float64)


def divergence(name: LossName, logits: Tensor, target: Tensor, named: int, weight: float = 1.0) -> Tensor:
    logprobs = torch.log_softmax(logits, -1)
    batch = TokenBatch(
        logprobs_BT=logprobs[None, :1],
        weights_BT=tensor(weight),
        target_logprobs_BTK=target.log()[None, None, :named],
        policy_logprobs_BTK=logprobs[None, None, :named],
    )
    return token_loss(name, batch).sum()


def by_hand(name: LossName, p: Tensor, q: Tensor) -> float:
    """Of two lists of probabilities: target and policy."""

    def kl(a: Tensor, b: Tensor) -> float:
        return math.fsum(x * math.log(x / y) for x, y in zip(a.tolist(), b.tolist(), strict=True))

    if name == "jensen_shannon":
        return 0.5 * kl(p, (p + q) / 2) + 0.5 * kl(q, (p + q) / 2)
    return kl(p, q) if name == "forward_kl" else kl(q, p)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_divergence_is_that_of_the_named_tokens_and_the_rest_together(name: LossName) -> None:
    policy = torch.softmax(POLICY_LOGITS, -1)
    together = [torch.cat([d[:3], d[3:].sum(0, keepdim=True)]) for d in (TARGET, policy)]
    assert divergence(name, POLICY_LOGITS, TARGET, 3).item() == pytest.approx(by_hand(name, *together), rel=1e-9)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_with_every_token_named_the_gradient_is_that_of_the_whole_divergence(name: LossName) -> None:
    leaf = POLICY_LOGITS.clone().requires_grad_()
    found = torch.autograd.grad(divergence(name, leaf, TARGET, 5), leaf)[0]
    again = POLICY_LOGITS.clone().requires_grad_()
    p, q = TARGET, torch.softmax(again, -1)
    m = (p + q) / 2
    whole = {
        "forward_kl": (p * (p / q).log()).sum(),
        "reverse_kl": (q * (q / p).log()).sum(),
        "jensen_shannon": 0.5 * (p * (p / m).log()).sum() + 0.5 * (q * (q / m).log()).sum(),
    }[name]
    torch.testing.assert_close(found, torch.autograd.grad(whole, again)[0], atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("named", [1, 3, 5])
def test_a_policy_at_its_target_has_no_loss_and_no_gradient(name: LossName, named: int) -> None:
    leaf = TARGET.log().requires_grad_()
    loss = divergence(name, leaf, TARGET, named)
    assert loss.item() == pytest.approx(0.0, abs=1e-9)
    torch.testing.assert_close(
        torch.autograd.grad(loss, leaf)[0], torch.zeros(5, dtype=torch.float64), atol=1e-8, rtol=0
    )


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_divergence_of_a_masked_token_is_nothing_whatever_stands_there(name: LossName) -> None:
    leaf = torch.tensor([0.0, -math.inf, -3.0], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    loss = divergence(name, leaf, target, 2, weight=0.0)
    assert loss.item() == 0.0
    gradient = torch.autograd.grad(loss, leaf)[0]
    assert not gradient[torch.isfinite(leaf)].any()


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_divergence_stays_finite_where_one_side_is_sure(name: LossName) -> None:
    logits = torch.tensor([60.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float32, requires_grad=True)
    loss = divergence(name, logits, TARGET.float(), 3)
    assert torch.isfinite(loss)
    assert torch.isfinite(torch.autograd.grad(loss, logits)[0]).all()
