"""Answers of LLM judges and of their endpoints, sent by a server on loopback and read by the package's own client.

A case says what the server does: `text`, what the judge writes (with `finish`, the reason why it ended); or `message`,
the whole of its message; or `body`, the whole of the body, a text or a value; with `status` and `headers`. `replies` is
a list of such, for one try after the other. `form` is the form that was asked for, tags unless it says otherwise; with
`scores`, so many numbers were asked for beside the feedback.

`right` is the `feedback`, with `mean` where there are scores; or `failure`, a cause, with a word that its reason
`tells`; or `stops`, a word of the line with which the run stops. `calls` is how often the server should be asked.
"""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, cast

from judge_server import JudgeServer, Reply, judge_server

from rltf.config import BinaryMatrixConfig, JudgeConfig
from rltf.feedback.llm import Endpoints, LLMScorer, LLMSource
from rltf.runs.build import build_task
from rltf.support.errors import FeedbackStopped
from rltf.tasks.base import Rubric, Task
from rltf.types import Feedback, FeedbackFailure, FeedbackRequest, Problem, Score

KEY_VARIABLE = "RLTF_WILD_JUDGE_KEY"
KEY = "sk-wild-0123456789"
PASSING = 9


class _Judged:
    """A task whose attempts a judge scores by so many criteria."""

    name, family = "writing", "general"

    def __init__(self, scores: int) -> None:
        self._criteria = tuple(f"Criterion {i}." for i in range(scores)) if scores > 1 else ()

    def rubric(self, problem: Problem) -> Rubric:
        return Rubric(criteria=self._criteria, passing=PASSING)

    def reveals_answer(self, problem: Problem, text: str) -> bool:
        return False


_OPEN = ExitStack()
atexit.register(_OPEN.close)


@cache
def _server() -> JudgeServer:
    return _OPEN.enter_context(judge_server())


@cache
def _puzzle() -> Task:
    return build_task(BinaryMatrixConfig(train_size=1, validation_size=1, test_size=1))


def reply(case: dict[str, Any]) -> Reply:
    """What the server does for a case."""
    status, headers = case.get("status", 200), case.get("headers", {})
    if "body" in case:
        body = case["body"]
        text = body if isinstance(body, str) else json.dumps(body)
        return Reply(status=status, headers=headers, body=text.encode("utf-8", "surrogatepass"))
    message = case.get("message", {"role": "assistant", "content": case.get("text")})
    choice = {"index": 0, "message": message, "finish_reason": case.get("finish", "stop")}
    completion = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    completion |= {"usage": case.get("usage", {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15})}
    return Reply(status=status, headers=headers, body=json.dumps(completion).encode())


def hold(case: dict[str, Any]) -> tuple[bool, str]:
    """Whether the package reads the case as is right, and what it read."""
    answer, calls = ask(case)
    right = case["right"]
    seen = f"{answer!r} ({calls} calls)"
    if calls != case.get("calls", calls):
        return False, seen
    if KEY.lower() in str(answer).lower():
        return False, seen
    if isinstance(answer, Feedback):
        return answer.text == right.get("feedback"), seen
    if isinstance(answer, Score):
        mean = Rubric(passing=PASSING).reward(right["mean"]) if "mean" in right else None
        return answer.criticism == right.get("feedback") and answer.reward == mean, seen
    if isinstance(answer, FeedbackFailure):
        return answer.cause == right.get("failure") and right.get("tells", "") in answer.reason, seen
    return right.get("stops", "\0") in str(answer), seen


@contextmanager
def serving(case: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """The address of a server that does what the case says, and how many tries its replies are for."""
    server = _server()
    replies = [reply({**case, **each}) for each in case.get("replies", [{}])]
    first = len(server.requests)
    server.script = lambda body, before: replies[min(len(server.requests) - first, len(replies)) - 1]
    yield server.url, len(replies)


def ask(case: dict[str, Any]) -> tuple[Feedback | Score | FeedbackFailure | FeedbackStopped, int]:
    """What a source or a scorer makes of the case, and how often the server was asked."""
    os.environ[KEY_VARIABLE] = KEY
    before = len(_server().requests)
    with serving(case) as (url, tries), Endpoints() as endpoints:
        config = JudgeConfig(
            base_url=url,
            model="m",
            key_env=KEY_VARIABLE,
            format=case.get("form", "tags"),
            retries=tries - 1,
            concurrency=1,
        )
        answer: Feedback | Score | FeedbackFailure | FeedbackStopped
        try:
            if "scores" in case:
                task = cast(Task, _Judged(case["scores"]))
                problem = Problem(task="writing", split="train", index=0, prompt="Write of a lamp.", answer="")
                (answer,) = LLMScorer(config, task, endpoints).scores([(problem, "A lamp.")], 0)
            else:
                problem = _puzzle().problem("train", 0)
                attempt = "<answer>\n1\n</answer>"
                request = FeedbackRequest(problem=problem, attempt=attempt, score=_puzzle().score(problem, attempt))
                (answer,) = LLMSource(config, _puzzle(), endpoints).feedback([request], 0)
        except FeedbackStopped as stopped:
            answer = stopped
    return answer, len(_server().requests) - before
