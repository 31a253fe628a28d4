from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from helpers import PROBLEM, PROMPTS, ScriptedPolicy

from rltf.config import TorchEngineConfig
from rltf.config.load import load_config
from rltf.feedback import (
    AnswerSource,
    Breaker,
    ConstantSource,
    FirstOfSource,
    FunctionSource,
    GuardedSource,
    MixedSource,
    OtherProblemSource,
    SelfSource,
    SharedSource,
    ShuffledSource,
    load_function,
)
from rltf.runs.build import without_self_share
from rltf.support.errors import FeedbackStopped, UserError
from rltf.text.renderer import Renderer
from rltf.types import Feedback, FeedbackFailure, FeedbackRequest, SamplingParams, Score

WRONG = Score(reward=0.0, correct=False, well_formed=True, answer="x", explanation="")


def make_request(problem: int = 0, sibling: int = 0, attempt: str = "y") -> FeedbackRequest:
    chosen = replace(PROBLEM, index=problem, answer=f"gold {problem}")
    return FeedbackRequest(
        problem=chosen, attempt=attempt, score=WRONG, messages=PROMPTS.first_turn(chosen), sibling=sibling
    )


class Echo:
    """Says what it was asked about; fails on an empty attempt."""

    def feedback(self, requests: Sequence[FeedbackRequest], seed: int) -> list[Feedback | FeedbackFailure]:
        return [
            Feedback(text=f"{r.problem.index}.{r.sibling}", source="echo")
            if r.attempt
            else FeedbackFailure(cause="empty", reason="empty", source="echo")
            for r in requests
        ]


BATCH = [make_request(problem, sibling) for problem in range(3) for sibling in range(4)]


def texts(answers: list[Feedback | FeedbackFailure]) -> list[str]:
    assert all(isinstance(answer, Feedback) for answer in answers)
    return [answer.text for answer in answers if isinstance(answer, Feedback)]


def test_a_constant_is_said_of_every_attempt() -> None:
    assert texts(ConstantSource("Try again.").feedback(BATCH, 0)) == ["Try again."] * 12


def test_the_answer_is_each_problems_own() -> None:
    assert texts(AnswerSource().feedback(BATCH[3:5], 0)) == [
        "The right answer is:\ngold 0",
        "The right answer is:\ngold 1",
    ]


def test_shuffled_feedback_is_the_same_feedback_elsewhere_and_the_seed_decides_where() -> None:
    own = texts(Echo().feedback(BATCH, 0))
    shuffled = ShuffledSource(Echo())
    answers = shuffled.feedback(BATCH, 5)
    assert Counter(texts(answers)) == Counter(own)
    assert texts(answers) != own
    assert answers == shuffled.feedback(BATCH, 5) != shuffled.feedback(BATCH, 6)
    assert {answer.source for answer in answers} == {"shuffled:echo"}


def test_feedback_of_another_problem_is_never_of_the_attempts_own() -> None:
    judge = OtherProblemSource(Echo())
    for seed in range(20):
        answers = texts(judge.feedback(BATCH, seed))
        assert all(int(text[0]) != request.problem.index for text, request in zip(answers, BATCH, strict=True))
    assert judge.feedback(BATCH, 1) == judge.feedback(BATCH, 1) != judge.feedback(BATCH, 2)


def test_without_another_problem_there_is_a_recorded_failure() -> None:
    (answer,) = OtherProblemSource(Echo()).feedback(BATCH[:1], 0)
    assert answer == FeedbackFailure(
        cause="no_other_problem", reason="no other problem in the batch", source="other_problem"
    )


def test_a_failure_that_is_passed_on_stays_a_failure() -> None:
    batch = [make_request(0, attempt=""), make_request(1, attempt="")]
    for judge in (ShuffledSource(Echo()), OtherProblemSource(Echo())):
        assert all(
            isinstance(answer, FeedbackFailure) and answer.reason == "empty" for answer in judge.feedback(batch, 0)
        )


def test_the_policys_own_feedback_is_asked_for_as_feedback_modelling_trains_it(renderer: Renderer) -> None:
    policy = ScriptedPolicy(renderer=renderer, script=[[["too small"], ["  "]]])
    sampling = SamplingParams(max_tokens=16)
    requests = [make_request(0, attempt="one"), make_request(1, attempt="two")]
    good, empty = SelfSource(policy, renderer, PROMPTS, sampling, 1000).feedback(requests, 7)
    assert isinstance(good, Feedback)
    assert (good.text, good.source) == ("too small", "self")
    assert good.prompt_tokens == renderer.prompt(PROMPTS.feedback_request(requests[0].messages, "one"))
    assert good.completion is not None
    assert good.completion.tokens == renderer.completion("too small")
    assert empty == FeedbackFailure(cause="empty", reason="the policy wrote nothing", source="self")
    ((prompts, n, used, seeds),) = policy.calls
    assert (len(prompts), n, used) == (2, 1, sampling)
    assert len(set(seeds)) == 2


def test_which_other_requests_are_made_does_not_change_what_the_policys_own_feedback_draws(renderer: Renderer) -> None:
    def seeds(*requests: FeedbackRequest) -> list[int]:
        policy = ScriptedPolicy(renderer=renderer, script=[[["no"]] * len(requests)])
        SelfSource(policy, renderer, PROMPTS, SamplingParams(max_tokens=16), 1000).feedback(requests, 7)
        return policy.calls[0][3]

    one, two = make_request(0, attempt="one"), make_request(1, attempt="two")
    assert seeds(one, two)[1:] == seeds(two)
    # A small task may pose one problem to two groups of a batch.
    assert len(set(seeds(one, replace(one, repeat=1)))) == 2


def test_a_request_that_exceeds_the_context_is_a_failure_and_the_others_are_asked(renderer: Renderer) -> None:
    policy = ScriptedPolicy(renderer=renderer, script=[[["fine"]]])
    long, short = make_request(0, attempt="far " * 200), make_request(0, attempt="y")
    context = len(renderer.prompt(PROMPTS.feedback_request(short.messages, "y"))) + 16
    judge = SelfSource(policy, renderer, PROMPTS, SamplingParams(max_tokens=16), context)
    failure, answer = judge.feedback([long, short], 0)
    assert failure == FeedbackFailure(cause="context", reason="the request exceeds the model's context", source="self")
    assert isinstance(answer, Feedback)
    assert judge.feedback([long], 0) == [failure]


def test_the_first_siblings_of_each_group_have_a_source_of_their_own() -> None:
    answers = texts(SharedSource(ConstantSource("mine"), Echo(), 2).feedback(BATCH, 0))
    assert answers == ["mine", "mine", "0.2", "0.3", "mine", "mine", "1.2", "1.3", "mine", "mine", "2.2", "2.3"]


def test_evaluation_leaves_the_policys_share_out() -> None:
    config = load_config([], ["feedback.self_share=0.5", "feedback.level=count"])
    assert isinstance(config.engine, TorchEngineConfig)
    assert without_self_share(config).feedback.self_share == 0.0
    assert without_self_share(config).feedback.level == "count"


@pytest.mark.parametrize("value", ["-0.1", "1.1"])
def test_a_share_is_a_share(value: str) -> None:
    from rltf.support.errors import UserError

    with pytest.raises(UserError, match="self_share"):
        load_config([], [f"feedback.self_share={value}"])


RIGHT = Score(reward=1.0, correct=True, well_formed=True, answer="x", explanation="")
EVERY_SECOND = [make_request(i, attempt="y" if i % 2 else "") for i in range(6)]


def test_a_failure_is_skipped_replaced_or_stops_the_run_but_is_never_lost() -> None:
    skipped = GuardedSource(Echo(), "skip", Breaker(None)).feedback(EVERY_SECOND, 0)
    assert [isinstance(answer, FeedbackFailure) for answer in skipped] == [True, False] * 3
    solved = [replace(EVERY_SECOND[0], score=RIGHT), *EVERY_SECOND[1:3]]
    replaced = GuardedSource(Echo(), "fallback", Breaker(None)).feedback(solved, 0)
    assert texts(replaced) == ["Your previous answer was correct.", "1.0", "Your previous answer was incorrect."]
    stands_for = FeedbackFailure(cause="empty", reason="empty", source="echo")
    assert [answer.stands_for for answer in replaced if isinstance(answer, Feedback)] == [stands_for, None, stands_for]
    assert replaced[0].source == "fallback:echo"
    with pytest.raises(FeedbackStopped, match="on_failure=stop"):
        GuardedSource(Echo(), "stop", Breaker(None)).feedback(EVERY_SECOND, 0)


def test_failures_in_a_row_stop_the_run_also_across_calls() -> None:
    judge = GuardedSource(Echo(), "skip", Breaker(3))
    failing = [make_request(problem, attempt="") for problem in range(4)]
    # Siblings that say the same are one call.
    judge.feedback([failing[0]] * 5, 0)
    judge.feedback([failing[1], make_request(9), failing[2]], 0)
    judge.feedback([failing[3]], 1)
    with pytest.raises(FeedbackStopped, match="failed 3 times in a row, last with: empty"):
        judge.feedback([failing[0]], 2)


def test_nothing_to_say_is_no_failure_of_the_source() -> None:
    silent = FunctionSource(lambda problem, attempt, score, history: None, "silent")
    for on_failure in ("skip", "fallback", "stop"):
        answers = GuardedSource(silent, on_failure, Breaker(2)).feedback(BATCH, 0)
        assert {answer.cause for answer in answers if isinstance(answer, FeedbackFailure)} == {"nothing_to_say"}


def test_the_first_source_that_answers_is_heard() -> None:
    judge = FirstOfSource([Echo(), ConstantSource("Second.")])
    assert texts(judge.feedback(EVERY_SECOND, 0)) == ["Second.", "1.0", "Second.", "3.0", "Second.", "5.0"]
    stood_for = [a.stands_for for a in judge.feedback(EVERY_SECOND, 0) if isinstance(a, Feedback)]
    assert [failure is None for failure in stood_for] == [False, True] * 3
    (failure,) = FirstOfSource([Echo(), Echo()]).feedback([make_request(attempt="")], 0)
    assert isinstance(failure, FeedbackFailure)


def test_a_mix_asks_each_source_by_its_share_and_the_seed_decides() -> None:
    requests = [make_request(i) for i in range(400)]
    judge = MixedSource([ConstantSource("a"), ConstantSource("b")], [3.0, 1.0])
    drawn = texts(judge.feedback(requests, 0))
    assert 0.68 < drawn.count("a") / 400 < 0.82
    assert texts(judge.feedback(requests, 0)) == drawn != texts(judge.feedback(requests, 1))
    assert texts(judge.feedback(requests[300:], 0)) == drawn[300:], "others decide who is asked"
    again = texts(judge.feedback([replace(request, repeat=1) for request in requests], 0))
    assert again != drawn, "a problem that is posed twice is asked about by the same source each time"


FUNCTION = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Unused:
    count: int = 0

def criticise(problem, attempt, score, history):
    if attempt == "raise":
        raise RuntimeError("no idea")
    if attempt == "number":
        return 3
    return f"{problem.index}: {attempt}, {score.reward:g}, {len(history)}" if attempt else None
"""


def test_a_function_of_the_users_sees_the_attempt_and_may_fail(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(FUNCTION)
    judge = FunctionSource(load_function(f"{path}:criticise"), "criticise")
    requests = [make_request(4, attempt=attempt) for attempt in ("y", "", "raise", "number")]
    said, *failures = judge.feedback(requests, 0)
    assert said == Feedback(text="4: y, 0, 0", source="function:criticise")
    assert [(f.cause, f.reason) for f in failures if isinstance(f, FeedbackFailure)] == [
        ("nothing_to_say", "the function had nothing to say"),
        ("raised", "the function raised RuntimeError: no idea"),
        ("raised", "the function returned int, not a text"),
    ]


def test_a_function_that_would_end_the_program_stops_the_run(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "import os, sys\ndef leave(*_): sys.exit(0)\ndef go(*_): os._exit(0)\ndef quits(*_): raise SystemExit\n"
    )
    for name, how in (("leave", "SystemExit: 0"), ("go", r"os\._exit\(0\)"), ("quits", "SystemExit: ")):
        judge = FunctionSource(load_function(f"{path}:{name}"), name)
        with pytest.raises(FeedbackStopped, match=f"feedback.function: {name} raised .*{how}.* on train problem 3; it"):
            judge.feedback([make_request(3)], 0)


@pytest.mark.parametrize(
    ("text", "name", "complaint"),
    [
        ("1 / 0", "f", "the file raised ZeroDivisionError"),
        ("x = 1", "f", "the file has no function f"),
        ("f = 1", "f", "the file has no function f"),
        (None, "f", "there is no file"),
    ],
)
def test_a_function_that_cannot_be_loaded_is_one_clear_line(
    tmp_path: Path, text: str | None, name: str, complaint: str
) -> None:
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=complaint):
        load_function(f"{path}:{name}")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["feedback.source=mix"], "needs two sources or more"),
        (["feedback.source=first_of", 'feedback.sources=["rules"]'], "needs two sources or more"),
        (["feedback.source=mix", 'feedback.sources=["rules", "rules"]'], "names one source twice"),
        (['feedback.sources=["rules", "self"]'], "is read by first_of and mix alone"),
        (["feedback.source=mix", 'feedback.sources=["rules", "self"]', "feedback.shares=[1.0]"], "as many numbers"),
        (["feedback.source=function"], "function and source=function belong together"),
        (["feedback.function=x.py:f"], "function and source=function belong together"),
        (["feedback.source=function", "feedback.function=x"], "is not path/to/file.py:name"),
        (["feedback.source=llm"], "judge.model is not set"),
        (["judge.model=x"], "never asks it"),
        (["feedback.level=hint"], "gives no hints"),
        (["feedback.level=marks", "task.name=shortest_path"], "gives no marks"),
        (["feedback.source=llm", "judge.model=x", "judge.key_env=sk-abc"], "not the name of an environment variable"),
        (
            ["feedback.source=llm", "judge.model=x", "judge.base_url=http://me:key@host/"],
            "no keys belong in the address",
        ),
        (["feedback.source=llm", "judge.model=x", "judge.base_url=host"], "begins with http"),
        (["feedback.source=llm", "judge.model=x", "judge.max_dollars=1.0"], "needs dollars_per_million_in"),
        (
            ["feedback.source=llm", "judge.model=x", "judge.max_dollars=1.0", "judge.dollars_per_million_in=1.0"],
            "both above 0",
        ),
        (["log.score=none"], "without log.path has no effect"),
        (["log.path=x.jsonl", "feedback.about=shuffled"], "on attempts of the policy; remove log.path"),
    ],
)
def test_sources_that_cannot_work_are_refused_in_one_line(settings: list[str], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as refused:
        load_config([], settings)
    assert "sk-abc" not in str(refused.value)
    assert "me:key" not in str(refused.value)


def test_each_source_that_draws_has_a_seed_of_its_own() -> None:
    """With one seed for all, whom a mix asks would say which problem's feedback an attempt is given."""
    seeds: list[int] = []

    class Noting:
        def feedback(self, requests: Sequence[FeedbackRequest], seed: int) -> list[Feedback | FeedbackFailure]:
            seeds.append(seed)
            return Echo().feedback(requests, seed)

    # Inside, each source gets the seed of the turn, under which an LLM judge's calls are recorded ...
    for source in (MixedSource([Noting()], [1.0]), ShuffledSource(Noting()), OtherProblemSource(Noting())):
        source.feedback(BATCH, 5)
    assert seeds == [5, 5, 5]
    # ... and what they draw themselves does not come from it alone.
    order = [f"{r.problem.index}.{r.sibling}" for r in BATCH]
    Random(5).shuffle(order)
    assert texts(ShuffledSource(Echo()).feedback(BATCH, 5)) != order
    # The policy asked twice, about its own share and as part of the rest, does not sample with the same numbers.
    SharedSource(Noting(), Noting(), 2).feedback(BATCH, 5)
    assert seeds[3] == 5 != seeds[4]
