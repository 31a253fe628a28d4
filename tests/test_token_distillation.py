"""SDPO and SDFT: who is asked what, which samples come of it, and what they expect by exact enumeration."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from helpers import PROMPTS, make_context, make_group, make_rollout, make_turn, objective_config

from rltf.engines.losses import TokenBatch, token_loss
from rltf.objectives import Objective, build_objective
from rltf.text.renderer import Renderer
from rltf.types import Answer, FeedbackFailure, LossName, Message, Query, RolloutGroup, TokenDistributions

FAILURE = FeedbackFailure(cause="other", reason="no reply", source="test")
DIVERGENCES: tuple[LossName, ...] = ("forward_kl", "reverse_kl", "jensen_shannon")


def group() -> RolloutGroup:
    return make_group(
        make_rollout(make_turn(1.0, prompt=(1, 2), tokens=(5, 6))),
        make_rollout(make_turn(0.0, prompt=(1, 2), tokens=(7, 8, 9), feedback="The first is too small.", text="seven")),
        make_rollout(make_turn(0.0, prompt=(1, 2), tokens=(7,), feedback=FAILURE)),
    )


def answer(query: Query) -> Answer:
    shape = (len(query.completion_tokens), query.top)
    tokens = np.tile(np.arange(query.top), (shape[0], 1))
    top = TokenDistributions(tokens_TK=tokens, logprobs_TK=np.full(shape, -3.0, dtype=np.float32))
    return Answer(logprobs_T=np.full(shape[0], -1.0, dtype=np.float32), top=top)


def answers_to(objective: Objective, asked: RolloutGroup) -> dict[Query, Answer]:
    return {query: answer(query) for query in objective.queries(asked)}


def test_sdpo_asks_how_the_attempt_looks_behind_its_feedback(renderer: Renderer) -> None:
    config = objective_config("sdpo", distil={"teacher": "average", "top": 4})
    (query,) = build_objective(config, make_context(renderer)).queries(group())
    asked = PROMPTS.next_turn(
        group().problem,
        (Message(role="user", content="What?"),),
        "seven",
        "The first is too small.",
        "continued",
    )
    assert query == Query(prompt_tokens=renderer.prompt(asked), completion_tokens=(7, 8, 9), policy="average", top=4)


def test_sdpo_teaches_the_attempt_itself_where_feedback_came(renderer: Renderer) -> None:
    objective = build_objective(objective_config("sdpo"), make_context(renderer))
    (sample,) = objective.samples(group(), 0.0, answers_to(objective, group()))
    assert (sample.rollout, sample.turn, sample.component) == (1, 0, "token_distillation")
    assert (sample.prompt_tokens, sample.completion_tokens) == ((1, 2), (7, 8, 9))
    assert sample.loss == "jensen_shannon"
    assert sample.weights.sum() == pytest.approx(1.0)
    assert sample.targets is not None
    assert sample.targets.tokens_TK.shape == (3, 20)


def test_sdft_asks_behind_the_tasks_own_answer_about_every_attempt(renderer: Renderer) -> None:
    config = objective_config("sdft", demonstration="{question} It is {answer}.", distil={"normalize": "token_sum"})
    objective = build_objective(config, make_context(renderer))
    queries = objective.queries(group())
    shown = renderer.prompt((Message(role="user", content="What? It is that."),))
    assert [(query.prompt_tokens, query.completion_tokens) for query in queries] == [
        (shown, (5, 6)),
        (shown, (7, 8, 9)),
        (shown, (7,)),
    ]
    samples = objective.samples(group(), 0.0, answers_to(objective, group()))
    assert [sample.weights.tolist() for sample in samples] == [[1.0] * 2, [1.0] * 3, [1.0]]


def test_an_attempt_that_the_teacher_cannot_read_again_is_left_out(renderer: Renderer) -> None:
    context = make_context(renderer)
    length = len(build_objective(objective_config("sdpo"), context).queries(group())[0].prompt_tokens) + 3
    for limit, asked in ((length, 1), (length - 1, 0)):
        narrow = dataclasses.replace(context, max_tokens=limit)
        assert len(build_objective(objective_config("sdpo"), narrow).queries(group())) == asked


def test_a_policy_gradient_can_stand_beside(renderer: Renderer) -> None:
    objective = build_objective(objective_config("sdpo", policy_coefficient=1.0), make_context(renderer))
    samples = objective.samples(group(), 0.0, answers_to(objective, group()))
    assert {sample.component for sample in samples} == {"policy", "token_distillation"}


# Exact enumeration: a vocabulary of two tokens, answers of two, and a teacher that the feedback has changed.

VOCABULARY = ((0, 0), (0, 1), (1, 0), (1, 1))


def table(seed: int) -> torch.Tensor:
    """Logits of the first token, and of the second given each first: rows 0, 1 + first."""
    return torch.randn(3, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_the_expected_step_of_sdpo_is_the_gradient_of_the_divergence_along_the_policys_own_attempts(
    renderer: Renderer, divergence: LossName
) -> None:
    """E over attempts y ~ pi of the sum over tokens of D(teacher(y), pi), the attempts held fixed."""
    policy, teacher = table(1), {y: table(10 + i) for i, y in enumerate(VOCABULARY)}

    def rows(logits: torch.Tensor, attempt: tuple[int, int]) -> torch.Tensor:
        return torch.log_softmax(torch.stack([logits[0], logits[1 + attempt[0]]]), dim=-1)

    def answered(query: Query) -> Answer:
        y = (query.completion_tokens[0], query.completion_tokens[1])
        logprobs = rows(teacher[y], y).numpy()
        top = TokenDistributions(tokens_TK=np.array([[0, 1]] * 2), logprobs_TK=logprobs)
        return Answer(logprobs_T=logprobs[[0, 1], list(y)], top=top)

    distil = {"divergence": divergence, "normalize": "token_sum", "top": 2}
    objective = build_objective(objective_config("sdpo", distil=distil), make_context(renderer))
    leaf = policy.clone().requires_grad_()
    estimate = torch.zeros((), dtype=torch.float64)
    for y in VOCABULARY:
        probability = rows(policy, y)[[0, 1], list(y)].sum().exp()
        attempt = make_group(make_rollout(make_turn(0.0, prompt=(1,), tokens=y, feedback=f"not {y}")))
        answers = {query: answered(query) for query in objective.queries(attempt)}
        (sample,) = objective.samples(attempt, 0.0, answers)
        assert sample.targets is not None
        logprobs = rows(leaf, y)
        batch = TokenBatch(
            logprobs_BT=logprobs[[0, 1], list(y)][None],
            weights_BT=torch.from_numpy(sample.weights).double()[None],
            target_logprobs_BTK=torch.from_numpy(sample.targets.logprobs_TK)[None],
            policy_logprobs_BTK=logprobs.gather(1, torch.from_numpy(sample.targets.tokens_TK))[None],
        )
        estimate = estimate + probability * token_loss(sample.loss, batch).sum()

    again = policy.clone().requires_grad_()
    truth = torch.zeros((), dtype=torch.float64)
    for y in VOCABULARY:
        probability = rows(policy, y)[[0, 1], list(y)].sum().exp()
        p, q = rows(teacher[y], y).exp(), rows(again, y).exp()
        m = (p + q) / 2
        truth = (
            truth
            + probability
            * {
                "forward_kl": (p * (p / q).log()).sum(),
                "reverse_kl": (q * (q / p).log()).sum(),
                "jensen_shannon": ((p * (p / m).log()).sum() + (q * (q / m).log()).sum()) / 2,
            }[divergence]
        )
    torch.testing.assert_close(estimate, truth, rtol=1e-6, atol=1e-9)
    gradients = [torch.autograd.grad(loss, x)[0] for loss, x in ((estimate, leaf), (truth, again))]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-6, atol=1e-9)
    assert gradients[1].norm() > 0.01
