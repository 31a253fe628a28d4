from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from helpers import PROBLEM, ScriptedPolicy

from rltf.config import TorchEngineConfig
from rltf.config_load import load_config
from rltf.judges import AnswerJudge, ConstantJudge, OtherProblemJudge, SelfJudge, SharedJudge, ShuffledJudge
from rltf.prompts import feedback_request, first_turn
from rltf.registry import without_self_share
from rltf.renderer import Renderer
from rltf.types import Feedback, FeedbackFailure, FeedbackRequest, SamplingParams, Score

WRONG = Score(reward=0.0, correct=False, well_formed=True, answer="x", explanation="")


def make_request(problem: int = 0, sibling: int = 0, attempt: str = "y") -> FeedbackRequest:
    chosen = replace(PROBLEM, index=problem, answer=f"gold {problem}")
    return FeedbackRequest(problem=chosen, attempt=attempt, score=WRONG, messages=first_turn(chosen), sibling=sibling)


class Echo:
    """Says what it was asked about; fails on an empty attempt."""

    def feedback(self, requests: Sequence[FeedbackRequest], seed: int) -> list[Feedback | FeedbackFailure]:
        return [
            Feedback(text=f"{r.problem.index}.{r.sibling}", source="echo")
            if r.attempt
            else FeedbackFailure(reason="empty", source="echo")
            for r in requests
        ]


BATCH = [make_request(problem, sibling) for problem in range(3) for sibling in range(4)]


def texts(answers: list[Feedback | FeedbackFailure]) -> list[str]:
    assert all(isinstance(answer, Feedback) for answer in answers)
    return [answer.text for answer in answers if isinstance(answer, Feedback)]


def test_a_constant_is_said_of_every_attempt() -> None:
    assert texts(ConstantJudge("Try again.").feedback(BATCH, 0)) == ["Try again."] * 12


def test_the_answer_is_each_problems_own() -> None:
    assert texts(AnswerJudge().feedback(BATCH[3:5], 0)) == [
        "The right answer is:\ngold 0",
        "The right answer is:\ngold 1",
    ]


def test_shuffled_feedback_is_the_same_feedback_elsewhere_and_the_seed_decides_where() -> None:
    own = texts(Echo().feedback(BATCH, 0))
    shuffled = ShuffledJudge(Echo())
    answers = shuffled.feedback(BATCH, 5)
    assert Counter(texts(answers)) == Counter(own)
    assert texts(answers) != own
    assert answers == shuffled.feedback(BATCH, 5) != shuffled.feedback(BATCH, 6)
    assert {answer.source for answer in answers} == {"shuffled:echo"}


def test_feedback_of_another_problem_is_never_of_the_attempts_own() -> None:
    judge = OtherProblemJudge(Echo())
    for seed in range(20):
        answers = texts(judge.feedback(BATCH, seed))
        assert all(int(text[0]) != request.problem.index for text, request in zip(answers, BATCH, strict=True))
    assert judge.feedback(BATCH, 1) == judge.feedback(BATCH, 1) != judge.feedback(BATCH, 2)


def test_without_another_problem_there_is_a_recorded_failure() -> None:
    (answer,) = OtherProblemJudge(Echo()).feedback(BATCH[:1], 0)
    assert answer == FeedbackFailure(reason="no other problem in the batch", source="other_problem")


def test_a_failure_that_is_passed_on_stays_a_failure() -> None:
    batch = [make_request(0, attempt=""), make_request(1, attempt="")]
    for judge in (ShuffledJudge(Echo()), OtherProblemJudge(Echo())):
        assert all(
            isinstance(answer, FeedbackFailure) and answer.reason == "empty" for answer in judge.feedback(batch, 0)
        )


def test_the_policys_own_feedback_is_asked_for_as_feedback_modelling_trains_it(renderer: Renderer) -> None:
    policy = ScriptedPolicy(renderer=renderer, script=[[["too small"], ["  "]]])
    sampling = SamplingParams(max_tokens=16)
    requests = [make_request(0, attempt="one"), make_request(1, attempt="two")]
    good, empty = SelfJudge(policy, renderer, sampling, 1000).feedback(requests, 7)
    assert isinstance(good, Feedback)
    assert (good.text, good.source) == ("too small", "self")
    assert good.prompt_tokens == renderer.prompt(feedback_request(requests[0].messages, "one"))
    assert good.completion is not None
    assert good.completion.tokens == renderer.completion("too small")
    assert empty == FeedbackFailure(reason="the policy wrote nothing", source="self")
    ((prompts, n, used, seed),) = policy.calls
    assert (len(prompts), n, used, seed) == (2, 1, sampling, 7)


def test_a_request_that_exceeds_the_context_is_a_failure_and_the_others_are_asked(renderer: Renderer) -> None:
    policy = ScriptedPolicy(renderer=renderer, script=[[["fine"]]])
    long, short = make_request(0, attempt="far " * 200), make_request(0, attempt="y")
    context = len(renderer.prompt(feedback_request(short.messages, "y"))) + 16
    judge = SelfJudge(policy, renderer, SamplingParams(max_tokens=16), context)
    failure, answer = judge.feedback([long, short], 0)
    assert failure == FeedbackFailure(reason="the request exceeds the model's context", source="self")
    assert isinstance(answer, Feedback)
    assert judge.feedback([long], 0) == [failure]


def test_the_first_siblings_of_each_group_have_a_source_of_their_own() -> None:
    answers = texts(SharedJudge(ConstantJudge("mine"), Echo(), 2).feedback(BATCH, 0))
    assert answers == ["mine", "mine", "0.2", "0.3", "mine", "mine", "1.2", "1.3", "mine", "mine", "2.2", "2.3"]


def test_evaluation_leaves_the_policys_share_out() -> None:
    config = load_config(None, ["feedback.self_share=0.5", "feedback.level=count"])
    assert isinstance(config.engine, TorchEngineConfig)
    assert without_self_share(config).feedback.self_share == 0.0
    assert without_self_share(config).feedback.level == "count"


@pytest.mark.parametrize("value", ["-0.1", "1.1"])
def test_a_share_is_a_share(value: str) -> None:
    from rltf.errors import UserError

    with pytest.raises(UserError, match="self_share"):
        load_config(None, [f"feedback.self_share={value}"])
