"""The LLM judge against a real HTTP server that answers, dawdles and breaks."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from judge_server import JudgeServer, Reply, judge_server

from rltf.config import BinaryMatrixConfig, JudgeConfig
from rltf.feedback.llm import CallStore, Endpoints, LLMSource
from rltf.runs.build import build_task
from rltf.support.errors import FeedbackStopped, UserError
from rltf.types import Feedback, FeedbackFailure, FeedbackRequest, Problem

KEY = "sk-secret-0123456789"
TASK = build_task(BinaryMatrixConfig(train_size=4, validation_size=1, test_size=1))
PROBLEM = TASK.problem("train", 0)
WRONG = "<answer>\n1\n</answer>"


def request(name: str = "a", problem: Problem = PROBLEM) -> FeedbackRequest:
    """A wrong attempt that carries a name, by which a script knows it."""
    attempt = f"attempt:{name}. {WRONG}"
    return FeedbackRequest(problem=problem, attempt=attempt, score=TASK.score(problem, attempt))


def name_in(body: dict[str, Any]) -> str:
    found = re.search(r"attempt:(\w+)\.", body["messages"][-1]["content"])
    assert found is not None
    return found[1]


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with judge_server() as running:
        yield running


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


class Judge:
    """A source of feedback that asks an LLM judge, with endpoints of its own."""

    def __init__(self, url: str, path: Path, breaker: int | None, settings: dict[str, Any]) -> None:
        config = JudgeConfig(base_url=url, model="judge", **settings)
        self.endpoints = Endpoints(path, breaker)
        self.source = LLMSource(config, TASK, self.endpoints)
        self.store: CallStore = self.endpoints.store(config)

    def feedback(self, requests: list[FeedbackRequest], seed: int) -> list[Feedback | FeedbackFailure]:
        return self.source.feedback(requests, seed)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    made: list[Judge] = []

    def judge(url: str, *, breaker: int | None = None, store: str = "judge.sqlite", **settings: Any) -> Judge:
        made.append(Judge(url, tmp_path / store, breaker, settings))
        return made[-1]

    yield judge
    for each in made:
        each.endpoints.close()


def causes(answers: list[Feedback | FeedbackFailure]) -> list[str]:
    return [answer.cause if isinstance(answer, FeedbackFailure) else "answered" for answer in answers]


def test_every_attempt_gets_its_own_answer_and_equal_attempts_are_asked_about_once(
    server: JudgeServer, make: Any
) -> None:
    server.script = lambda body, before: Reply(content=f"<feedback>Look at {name_in(body)} again.</feedback>")
    names = [str(i % 20) for i in range(50)]
    answers = make(server.url).feedback([request(name) for name in names], 0)
    assert answers == [Feedback(text=f"Look at {name} again.", source="llm:judge") for name in names]
    assert len(server.requests) == 20
    assert server.keys == {f"Bearer {KEY}"}


def test_the_judge_is_told_what_the_settings_say(server: JudgeServer, make: Any, tmp_path: Path) -> None:
    def asked(**settings: Any) -> tuple[str, dict[str, Any]]:
        judge = make(server.url, store=f"{len(server.requests)}.sqlite", **settings)
        judge.feedback([request()], 0)
        body = server.requests[-1]
        return "\n".join(message["content"] for message in body["messages"]), body

    plain, body = asked()
    assert PROBLEM.prompt in plain
    assert "checked: it is wrong" in plain
    assert "At most 50 words" in plain
    assert PROBLEM.answer not in plain
    assert (body["model"], body["max_completion_tokens"]) == ("judge", 4096)
    assert "temperature" not in body
    assert PROBLEM.answer in asked(show_answer=True)[0]
    assert "At most 7 words" in asked(max_words=7)[0]
    assert len({asked(tells=tells)[0] for tells in ("hint", "location", "correctness")}) == 3
    _, body = asked(temperature=0.5, max_tokens=9, limit_name="max_tokens")
    assert (body["temperature"], body["max_tokens"]) == (0.5, 9)
    own = tmp_path / "own.txt"
    own.write_text("{question} | {attempt} | {form} | {other braces} { }")
    with pytest.raises(UserError, match=r"holds no \{answer\}, so judge\.show_answer has no effect"):
        asked(prompt=str(own), show_answer=True)
    text, body = asked(prompt=str(own))
    assert len(body["messages"]) == 1
    assert text.endswith("{other braces} { }")


def test_structured_output_is_asked_for_and_read(server: JudgeServer, make: Any) -> None:
    server.script = lambda body, before: Reply(content='{"feedback": "Row 1 is wrong."}')
    (answer,) = make(server.url, format="json_schema").feedback([request()], 0)
    assert answer == Feedback(text="Row 1 is wrong.", source="llm:judge")
    form = server.requests[0]["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["schema"]["required"] == ["feedback"]


CHAOS: dict[str, tuple[Reply, str]] = {
    "hang": (Reply(seconds=1.5), "timeout"),
    "drip": (Reply(drip=0.2), "timeout"),
    "busy": (Reply(status=429, headers={"Retry-After": "0.05"}, body=b"{}"), "rate_limited"),
    "broken": (Reply(status=500, body=b"oops"), "server_error"),
    "cut": (Reply(body=b'{"id": "c", "choices": [{"mess'), "server_error"),
    "other": (Reply(body=b"[1, 2]"), "server_error"),
    "hollow": (Reply(body=b'{"id": "c", "choices": []}'), "server_error"),
    "unfit": (Reply(status=400, body=b'{"error": {"message": "too long"}}'), "refused"),
    "empty": (Reply(content=""), "empty"),
    "null": (Reply(content=None), "empty"),
    "chat": (Reply(content="Looks fine to me!"), "unparseable"),
    "twice": (Reply(content="<feedback>a</feedback><feedback>b</feedback>"), "unparseable"),
    "huge": (Reply(content="<feedback>" + "word " * 400_000 + "</feedback>"), "unparseable"),
    "long": (Reply(content="<feedback>" + "word " * 101 + "</feedback>"), "too_long"),
    "leak": (Reply(content=f"<feedback>Write\n{PROBLEM.answer}</feedback>"), "leak"),
    "foreign": (Reply(content="<feedback>Строка один неверна.</feedback>"), "language"),
    "good": (Reply(), "answered"),
}


def test_whatever_the_endpoint_does_is_feedback_or_a_failure_with_its_cause(server: JudgeServer, make: Any) -> None:
    server.script = lambda body, before: CHAOS[name_in(body)][0]
    judge = make(server.url, timeout=0.6, retries=1)
    answers = judge.feedback([request(name) for name in CHAOS], 0)
    assert dict(zip(CHAOS, causes(answers), strict=True)) == {name: cause for name, (_, cause) in CHAOS.items()}
    tried = Counter(name_in(body) for body in server.requests)
    # Once more after what may pass; a second chance after what cannot be used; a refusal is final.
    assert tried["hang"] == tried["broken"] == tried["cut"] == tried["leak"] == tried["empty"] == 2
    assert tried["unfit"] == tried["good"] == 1
    for answer in answers:
        assert KEY not in repr(answer)


def test_what_passes_does_no_harm(server: JudgeServer, make: Any) -> None:
    bad = [
        Reply(status=500, body=b""),
        Reply(status=429, headers={"Retry-After": "0.01"}, body=b"{}"),
        Reply(body=b"{"),
        Reply(status=503, body=b""),
    ]
    server.script = lambda body, before: [*bad, Reply()][before]
    # One more than the default allows.
    (answer,) = make(server.url, retries=4).feedback([request()], 0)
    assert isinstance(answer, Feedback)
    assert len(server.requests) == 5


def test_a_judge_that_leaks_is_told_so_and_may_answer_again(server: JudgeServer, make: Any) -> None:
    def script(body: dict[str, Any], before: int) -> Reply:
        told = "could not be used: the feedback gave the right answer away" in body["messages"][-1]["content"]
        return Reply() if told else CHAOS["leak"][0]

    server.script = script
    (answer,) = make(server.url).feedback([request()], 0)
    assert isinstance(answer, Feedback)
    (redacted,) = make(server.url, store="b", leak="redact").feedback([request()], 0)
    assert isinstance(redacted, Feedback)
    assert redacted.text == "Write\n[...]"
    (leaked,) = make(server.url, store="c", leak="allow").feedback([request()], 0)
    assert isinstance(leaked, Feedback)
    assert PROBLEM.answer in leaked.text


def test_a_pause_that_the_endpoint_asks_for_is_made(server: JudgeServer, make: Any) -> None:
    times: list[float] = []

    def script(body: dict[str, Any], before: int) -> Reply:
        times.append(time.monotonic())
        return Reply() if before else Reply(status=429, headers={"Retry-After": "0.9"}, body=b"{}")

    server.script = script
    make(server.url).feedback([request()], 0)
    assert 0.85 <= times[1] - times[0] <= 2.0


def test_calls_run_side_by_side_up_to_the_limit(server: JudgeServer, make: Any) -> None:
    server.script = lambda body, before: Reply(seconds=0.1)
    make(server.url, concurrency=8).feedback([request(str(i)) for i in range(32)], 0)
    assert server.most_at_once == 8


@pytest.mark.parametrize("limit", [{"requests_per_minute": 600}, {"tokens_per_minute": 480_000, "max_tokens": 512}])
def test_rates_are_kept_at_every_moment(server: JudgeServer, make: Any, limit: dict[str, int]) -> None:
    """Ten calls a second, or eight thousand tokens; a call is worth some 800."""
    times: list[float] = []

    def script(body: dict[str, Any], before: int) -> Reply:
        times.append(time.monotonic())
        return Reply()

    server.script = script
    make(server.url, **limit).feedback([request(str(i)) for i in range(30)], 0)
    times.sort()
    # A second's worth at once is allowed, and another in the second that follows.
    assert all(later - earlier > 0.5 for earlier, later in zip(times, times[18:], strict=False))
    assert 1.2 < times[-1] - times[0] < 8.0


def test_a_run_that_asks_again_gets_the_same_from_the_store(server: JudgeServer, make: Any) -> None:
    server.script = lambda body, before: CHAOS[name_in(body)][0]
    requests = [request(name) for name in ("good", "unfit", "chat")]
    first = make(server.url).feedback(requests, 5)
    asked = len(server.requests)
    again = make(server.url).feedback(requests, 5)
    assert again == first
    # What failed is asked again; what was answered, usable or not, is not.
    assert [name_in(body) for body in server.requests[asked:]] == ["unfit"]


def test_a_replay_meets_the_same_failures_at_the_same_places_without_a_network(make: Any) -> None:
    with judge_server(lambda body, before: CHAOS["good" if before else "unfit"][0]) as server:
        judge = make(server.url)
        recorded = [judge.feedback([request()], seed) for seed in (1, 2, 3)]
        url = server.url
    assert [causes(answers) for answers in recorded] == [["refused"], ["answered"], ["answered"]]
    replayed = make(url, replay="only", key_env=None)
    for seed in (3, 1, 2):
        assert replayed.feedback([request()], seed) == recorded[seed - 1]
    with pytest.raises(FeedbackStopped, match=r"holds no answer to 1 of 2 prompts"):
        replayed.feedback([request(), request("unseen")], 1)
    with pytest.raises(FeedbackStopped):
        make(url, replay="only", temperature=0.5).feedback([request()], 1)


def test_a_failure_is_that_of_all_who_ask_the_same_with_one_seed(server: JudgeServer, make: Any) -> None:
    """As groups that go on by themselves do, at once or one after the other."""
    server.script = lambda body, before: CHAOS["good" if before else "unfit"][0]
    judge = make(server.url)
    assert [causes(judge.feedback([request()], seed)) for seed in (1, 1, 2)] == [["refused"], ["refused"], ["answered"]]
    assert len(server.requests) == 2
    replayed = make(server.url, replay="only")
    assert [causes(replayed.feedback([request()], seed)) for seed in (1, 2)] == [["refused"], ["answered"]]


@pytest.mark.parametrize("limit", [{"max_dollars": 0.01}, {"max_total_tokens": 12_000}])
def test_the_budget_stops_the_run_before_it_is_passed(server: JudgeServer, make: Any, limit: dict[str, Any]) -> None:
    prices = {"dollars_per_million_in": 1.0, "dollars_per_million_out": 1.0} if "max_dollars" in limit else {}
    judge = make(server.url, **prices, **limit, max_tokens=512, concurrency=4)
    with pytest.raises(FeedbackStopped, match=next(iter(limit))):
        judge.feedback([request(str(i)) for i in range(500)], 0)
    dollars, tokens = judge.store.spent()
    assert dollars <= 0.01
    assert 5_000 < tokens <= 12_000
    # What was bought is not lost, and counts.
    asked = len(server.requests)
    with pytest.raises(FeedbackStopped):
        make(server.url, **prices, **limit, max_tokens=512).feedback([request(str(i)) for i in range(500)], 0)
    assert len(server.requests) - asked < 5


def test_what_an_endpoint_may_charge_for_counts_also_where_nothing_came(server: JudgeServer, make: Any) -> None:
    server.script = lambda body, before: CHAOS[name_in(body)][0]
    prices = {"dollars_per_million_in": 1.0, "dollars_per_million_out": 1.0}
    judge = make(server.url, **prices, timeout=0.3, retries=1, max_tokens=100)
    judge.feedback([request("unfit"), request("busy")], 0)
    store = judge.store
    assert store.spent() == (0.0, 0)
    judge.feedback([request("hang")], 0)
    dollars, tokens = store.spent()
    assert tokens > 2 * 100  # two tries, each with all that it may have written
    assert dollars == pytest.approx(tokens * 1e-6)


def test_two_judges_of_a_run_keep_to_one_budget(server: JudgeServer, make: Any) -> None:
    judges = [make(server.url, max_total_tokens=8_000, max_tokens=512) for _ in range(2)]
    with pytest.raises(FeedbackStopped, match="max_total_tokens"):
        for number in range(100):
            judges[number % 2].feedback([request(str(number))], 0)
    assert judges[0].store.spent()[1] <= 8_000


@pytest.mark.parametrize("key", ["sk-first\nsk-second", "two words", "schlüssel"])
def test_a_key_that_cannot_be_one_is_refused_unseen(key: str, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(UserError, match="holds no key") as refused:
        make("http://127.0.0.1:9/v1")
    assert "sk-" not in str(refused.value)


def test_half_a_character_and_absurd_counts_do_no_harm(server: JudgeServer, make: Any) -> None:
    body = (
        b'{"choices": [{"message": {"content": "<feedback>Row 1 \\ud83d is wrong.</feedback>"}}],'
        b' "usage": {"prompt_tokens": 1e999, "completion_tokens": -5}}'
    )
    server.script = lambda _, before: Reply(body=body if not before else body.replace(b"1e999", b"9" * 30))
    (answer,) = make(server.url, retries=1).feedback([request()], 0)
    assert isinstance(answer, Feedback)
    assert answer.text == "Row 1 ? is wrong."


def test_a_judge_that_is_down_stops_the_run_at_once(server: JudgeServer, make: Any) -> None:
    server.script = lambda body, before: Reply(status=500, body=b"")
    with pytest.raises(FeedbackStopped, match="failed 5 times in a row"):
        make(server.url, breaker=5, retries=0, concurrency=2).feedback([request(str(i)) for i in range(200)], 0)
    assert len(server.requests) < 12


@pytest.mark.parametrize(("status", "words"), [(401, "OPENAI_API_KEY"), (403, "OPENAI_API_KEY"), (404, "judge.model")])
def test_a_judge_that_no_call_can_reach_stops_the_run(server: JudgeServer, make: Any, status: int, words: str) -> None:
    server.script = lambda body, before: Reply(status=status, body=f'{{"error": "bad key {KEY}"}}'.encode())
    with pytest.raises(FeedbackStopped, match=words) as stopped:
        make(server.url).feedback([request(str(i)) for i in range(20)], 0)
    assert KEY not in str(stopped.value)


def test_nobody_at_the_address_is_a_failure_with_its_cause(make: Any) -> None:
    assert causes(make("http://127.0.0.1:9/v1", retries=0).feedback([request()], 0)) == ["connection"]


def test_no_key_is_found_before_any_call(server: JudgeServer, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UserError, match=r"judge\.key_env=OPENAI_API_KEY: this environment variable is not set"):
        make(server.url)
    make(server.url, key_env=None).feedback([request()], 0)
    assert KEY not in server.keys


def test_the_store_holds_every_call_but_no_key(server: JudgeServer, make: Any, tmp_path: Path) -> None:
    server.script = lambda body, before: Reply(status=400, body=f'{{"error": {{"message": "odd: {KEY}"}}}}'.encode())
    judge = make(server.url)
    (failure,) = judge.feedback([request()], 0)
    assert "[key]" in failure.reason
    judge.endpoints.close()
    assert KEY.encode() not in (tmp_path / "judge.sqlite").read_bytes()


def test_a_store_that_is_no_database_is_one_clear_line(server: JudgeServer, make: Any, tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("this is no database, and long enough to be taken for one" * 50)
    with pytest.raises(UserError, match=r"judge\.store .*bad: file is not a database"):
        make(server.url, store="bad").feedback([request()], 0)


def test_two_judges_share_a_store(server: JudgeServer, make: Any, tmp_path: Path) -> None:
    one, other = make(server.url), make(server.url)
    one.feedback([request("a")], 0)
    other.feedback([request("a"), request("b")], 0)
    one.feedback([request("b")], 0)
    assert len(server.requests) == 2
    with sqlite3.connect(tmp_path / "judge.sqlite") as connection:
        assert connection.execute("SELECT COUNT(*) FROM calls").fetchone() == (2,)


def test_a_judge_works_inside_a_running_event_loop(server: JudgeServer, make: Any) -> None:
    async def cell() -> list[Feedback | FeedbackFailure]:
        return make(server.url).feedback([request("a"), request("b")], 0)  # type: ignore[no-any-return]

    assert causes(asyncio.run(cell())) == ["answered", "answered"]


def test_closed_endpoints_leave_no_thread_and_no_open_file(server: JudgeServer, make: Any) -> None:
    judge = make(server.url)
    judge.feedback([request()], 0)
    assert "rltf-llm-judges" in {thread.name for thread in threading.enumerate()}
    judge.endpoints.close()
    assert "rltf-llm-judges" not in {thread.name for thread in threading.enumerate()}
    assert not [
        path for path in Path("/proc/self/fd").iterdir() if path.is_symlink() and "sqlite" in str(_target(path))
    ]
    # What was closed may be used again.
    assert causes(judge.feedback([request("b")], 0)) == ["answered"]


def _target(path: Path) -> Path | None:
    try:
        return path.readlink()
    except OSError:
        return None


def test_all_who_ask_an_endpoint_share_its_connection_its_strictest_limits_and_its_breaker(server: JudgeServer) -> None:
    server.script = lambda body, before: Reply(status=500, body=b"") if "bad" in name_in(body) else Reply(seconds=0.05)
    with Endpoints(None, stop_after_failures=3) as endpoints:
        wide = LLMSource(JudgeConfig(base_url=server.url, model="a", concurrency=32), TASK, endpoints)
        narrow = LLMSource(JudgeConfig(base_url=server.url, model="b", concurrency=3, retries=0), TASK, endpoints)
        assert len(endpoints._connections) == 1
        wide.feedback([request(str(i)) for i in range(12)], 0)
        assert server.most_at_once == 3
        # Two failures of one and one of the other are three in a row.
        narrow.feedback([request("bad1")], 0)
        narrow.feedback([request("bad2")], 0)
        other = LLMSource(JudgeConfig(base_url=server.url, model="c", retries=0), TASK, endpoints)
        with pytest.raises(FeedbackStopped, match="failed 3 times in a row"):
            other.feedback([request("bad3")], 0)


def test_without_a_file_calls_are_recorded_in_memory(server: JudgeServer, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with Endpoints() as endpoints:
        config = JudgeConfig(base_url=server.url, model="judge")
        source = LLMSource(config, TASK, endpoints)
        assert source.feedback([request()], 0) == source.feedback([request()], 0)
        assert len(server.requests) == 1
        assert endpoints.store(config).outcomes() == {"answered": 1}
    assert not list(tmp_path.iterdir())


def test_the_record_says_which_answers_could_not_be_used_and_why_tries_failed(server: JudgeServer, make: Any) -> None:
    busy = Reply(status=429, headers={"retry-after-ms": "1"}, body=b"{}")
    cut = Reply(body=b'{"choices": [')

    def script(body: dict[str, Any], before: int) -> Reply:
        name = name_in(body)
        if name == "slow":
            return [busy, cut, Reply()][before]
        if name == "once":
            return Reply() if "could not be used" in str(body) else CHAOS["leak"][0]
        return CHAOS[name][0]

    server.script = script
    judge = make(server.url, retries=2)
    judge.feedback([request(name) for name in ("good", "chat", "once", "slow")], 0)
    assert judge.store.outcomes() == {"answered": 3, "unparseable": 2, "leak": 1}
    assert judge.store.faults() == {"rate_limited": 1, "server_error": 1}
    # Whether an answer can be used is up to the settings that ask again.
    lenient = make(server.url, retries=2, leak="allow")
    lenient.feedback([request("once")], 0)
    assert lenient.store.outcomes() == {"answered": 4, "unparseable": 2}


def test_a_store_of_version_0_1_is_read_and_goes_on(server: JudgeServer, make: Any, tmp_path: Path) -> None:
    first = make(server.url)
    answers = first.feedback([request()], 0)
    first.endpoints.close()
    with sqlite3.connect(tmp_path / "judge.sqlite") as connection:
        for column in ("cut", "faults", "unusable"):
            connection.execute(f"ALTER TABLE calls DROP COLUMN {column}")
    old = CallStore(tmp_path / "judge.sqlite", to_read=True)
    assert (old.outcomes(), old.faults(), old.retries()) == ({"answered": 1}, {}, 0)
    old.close()
    again = make(server.url)
    assert again.feedback([request()], 0) == answers
    assert len(server.requests) == 1
    again.feedback([request("b")], 0)
    assert again.store.outcomes() == {"answered": 2}


def test_a_key_in_an_answer_reaches_neither_policy_nor_record(server: JudgeServer, make: Any, tmp_path: Path) -> None:
    server.script = lambda body, before: Reply(content=f"<feedback>Hello {KEY}, row 1 is wrong.</feedback>")
    judge = make(server.url)
    (answer,) = judge.feedback([request()], 0)
    assert answer == Feedback(text="Hello [key], row 1 is wrong.", source="llm:judge")
    assert judge.feedback([request()], 0) == [answer]
    judge.endpoints.close()
    for path in tmp_path.iterdir():
        assert KEY.encode() not in path.read_bytes()


def test_the_usage_that_is_not_counted_is_estimated(server: JudgeServer, make: Any) -> None:
    text = "<feedback>" + "Row 1 is wrong. " * 5 + "</feedback>"
    body = {"choices": [{"message": {"content": text}}], "usage": {"prompt_tokens": "300"}}
    server.script = lambda _, before: Reply(body=json.dumps(body).encode())
    judge = make(server.url)
    judge.feedback([request()], 0)
    assert judge.store.spent()[1] == 300 + len(text) // 4
