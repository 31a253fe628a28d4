"""Groups that go on by themselves, while others are still sampled or judged: the same run, sooner."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from judge_server import JudgeServer, Reply, judge_server
from transformers import AutoTokenizer
from vllm_server import StandIn, make_model, vllm_server

from rltf import Run
from rltf.builtin import builtin_directory
from rltf.config import RunConfig
from rltf.config.load import configure
from rltf.engines.vllm.sampler import VllmSampler
from rltf.runs.build import build_task
from rltf.runs.trainer import Interrupted
from rltf.support.errors import UserError
from rltf.support.side_by_side import DaemonThreads, in_calling_thread, side_by_side, wait_for
from rltf.tasks.base import Task
from rltf.text.prompts import Prompts
from rltf.text.renderer import Renderer
from rltf.types import Problem

PAUSE = 0.4


def pieces_left() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("rltf-side-by-side")]


def test_one_piece_computes_while_all_may_wait() -> None:
    computing: list[int] = []
    most: list[int] = []

    def piece(number: int) -> int:
        for _ in range(3):
            computing.append(number)
            time.sleep(0.005)
            most.append(len(computing))
            computing.remove(number)
            wait_for([pool.submit(time.sleep, 0.2)])
        return number

    with ThreadPoolExecutor(8) as pool:
        begun = time.perf_counter()
        assert side_by_side([partial(piece, i) for i in range(8)]) == list(range(8))
        taken = time.perf_counter() - begun
    assert max(most) == 1
    assert taken < 2.4, f"{taken:.2f} s: 8 pieces wait 0.6 s each"
    assert side_by_side([]) == []


def test_what_must_not_leave_the_calling_thread_is_done_there() -> None:
    threads = side_by_side([lambda: (threading.get_ident(), in_calling_thread(threading.get_ident))] * 3)
    assert {there for _, there in threads} == {threading.get_ident()} == {in_calling_thread(threading.get_ident)}
    assert threading.get_ident() not in {here for here, _ in threads}

    def wrong() -> None:
        raise ValueError("of the call")

    with pytest.raises(ValueError, match="of the call"):
        side_by_side([lambda: in_calling_thread(wrong)])


def test_the_first_that_fails_ends_those_that_wait_and_those_that_have_not_begun() -> None:
    never: Future[None] = Future()
    ended: list[str] = []

    def waits() -> None:
        try:
            wait_for([never])
        except BaseException as error:
            ended.append(type(error).__name__)
            raise

    def fails() -> None:
        wait_for([])
        raise UserError("no more")

    with pytest.raises(UserError, match="no more"):
        side_by_side([waits, waits, fails, *[waits] * 500])
    assert set(ended) <= {"GivenUp"}
    assert not pieces_left()


def test_an_interrupt_ends_all() -> None:
    never: Future[None] = Future()
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        side_by_side([lambda: wait_for([never])] * 4)
    assert not pieces_left()


def test_threads_that_wait_for_a_server_make_so_many_calls_at_once_and_end() -> None:
    under_way: list[int] = []
    most: list[int] = []

    def call(number: int) -> int:
        under_way.append(number)
        time.sleep(0.01)
        most.append(len(under_way))
        under_way.remove(number)
        if number == 3:
            raise UserError("of a call")
        return number

    threads = DaemonThreads(2, "rltf-tried")
    futures = [threads.submit(partial(call, i)) for i in range(6)]
    threads.close()
    with pytest.raises(UserError, match="of a call"):
        futures[3].result(5)
    assert [futures[i].result(5) for i in (0, 1, 2, 4, 5)] == [0, 1, 2, 4, 5]
    assert max(most) == 2
    for thread in [thread for thread in threading.enumerate() if thread.name == "rltf-tried"]:
        thread.join(5)
        assert not thread.is_alive()


# Whole runs, with a stand-in for a vLLM server and one for a judge.


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def server(model: Path) -> Iterator[StandIn]:
    with vllm_server(model) as found:
        yield found


def config_of(server: StandIn, judge: JudgeServer, **changes: Any) -> RunConfig:
    plain = {
        "engine.model": str(server.base), "engine.device": "cpu", "engine.sampler": "vllm", "sampler.url": server.url,
        "feedback.source": "llm", "judge.base_url": judge.url, "judge.model": "judge", "judge.key_env": None,
        "judge.retries": 0, "trainer.steps": 2, "trainer.groups_per_batch": 6, "trainer.group_size": 2,
        "task.train_size": 6, "objective.name": "rltf_fm", "trainer.learning_rate": 0.01,
        "evaluation.problems": 2, "evaluation.samples": 1, "rollout.max_new_tokens": 4,
    }  # fmt: skip
    return configure(changes=plain | changes)


def train(config: RunConfig, path: Path) -> Path:
    with Run.begin(config, path) as run:
        run.train()
    return path


def outcome(run: Path) -> dict[str, bytes]:
    names = ("metrics.jsonl", "rollouts.jsonl", "samples.jsonl", "evaluations.jsonl", "model/model.safetensors")
    return {name: (run / name).read_bytes() for name in names}


def seconds(run: Path) -> float:
    """Those of the steps' rollouts."""
    lines = [json.loads(line) for line in (run / "timings.jsonl").read_text().splitlines()]
    return sum(float(line.get("seconds/rollout", 0.0)) for line in lines)


def say(body: dict[str, Any], before: int) -> Reply:
    """What it says depends on what it is asked; every third answer cannot be used at first."""
    text = json.dumps(body["messages"])
    number = sum(text.encode())
    return Reply(content="Hm." if number % 3 == 0 else f"<feedback>Look again, {number % 7}.</feedback>")


def together(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on all groups are sampled, then all are judged, and so on."""
    monkeypatch.setattr(VllmSampler, "side_by_side", False)


def test_groups_go_on_as_they_are_ready_and_the_run_is_the_same_to_the_last_bit(
    server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the problems are sampled slowly, the other half judged slowly."""
    with judge_server(say) as judge:
        config = config_of(server, judge)
        task, prompts = build_task(config.task), Prompts(config.prompts)
        tokenizer = AutoTokenizer.from_pretrained(builtin_directory())
        renderer = Renderer(tokenizer, [tokenizer.eos_token_id])
        problems = [task.problem("train", i) for i in range(6)]
        sampled = {renderer.prompt(prompts.first_turn(problem)) for problem in problems[::2]}
        judged = [problem.prompt for problem in problems[1::2]]

        def slowly(body: dict[str, Any], before: int) -> Reply:
            text = body["messages"][-1]["content"]
            pause = PAUSE if any(prompt in text for prompt in judged) else 0.0
            return Reply(content=say(body, before).content, seconds=pause)

        server.slow = lambda body: PAUSE if tuple(body["prompt"]) in sampled else 0.0
        judge.script = slowly
        apart = train(config, tmp_path / "apart")
        asked, calls = len(server.requests), len(judge.requests)
        together(monkeypatch)
        one_by_one = train(config, tmp_path / "together")
    assert outcome(apart) == outcome(one_by_one)
    assert (asked, calls) == (len(server.requests) - asked, len(judge.requests) - calls)
    # Every third answer is asked for again, so that a slow judge takes up to two pauses.
    assert seconds(one_by_one) - seconds(apart) > PAUSE, f"{seconds(apart)} s in place of {seconds(one_by_one)} s"


def test_a_batch_that_has_a_problem_twice_is_the_same_too(
    server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same question is put to the judge by two groups at the same moment."""
    changes: dict[str, Any] = {
        "task.train_size": 2, "feedback.source": "mix", "feedback.sources": ["llm", "self", "rules"],
        "feedback.shares": [3.0, 1.0, 1.0], "feedback.self_max_tokens": 4,
    }  # fmt: skip
    with judge_server(say) as judge:
        apart = train(config_of(server, judge, **changes), tmp_path / "apart")
        calls = len(judge.requests)
        together(monkeypatch)
        one_by_one = train(config_of(server, judge, **changes), tmp_path / "together")
    assert outcome(apart) == outcome(one_by_one)
    assert calls == len(judge.requests) - calls


def test_equal_questions_of_two_groups_are_asked_once(server: StandIn, tmp_path: Path) -> None:
    twice: list[int] = []

    def note(body: dict[str, Any], before: int) -> Reply:
        twice.extend([before] * before)
        return Reply(seconds=0.2)

    # Attempts at one problem that are all but certain: the siblings of all groups agree.
    changes = {"task.train_size": 1, "rollout.temperature": 0.01, "trainer.steps": 1}
    with judge_server(note) as judge:
        run = train(config_of(server, judge, **changes), tmp_path / "run")
    attempts = [record["turns"][0]["text"] for record in lines(run)]
    assert len(attempts) == 12 and len(set(attempts)) < 6
    assert judge.requests and not twice


def test_feedback_about_other_attempts_waits_for_all_of_them(server: StandIn, tmp_path: Path) -> None:
    with judge_server(say) as judge:
        run = train(config_of(server, judge, **{"feedback.about": "other_problem"}), tmp_path / "run")
    sources = [t["feedback"] for r in lines(run) for t in r["turns"] if t["feedback"]]
    assert sources and all(found["source"].startswith("other_problem:") for found in sources)
    assert not any(found["cause"] == "no_other_problem" for found in sources)


def test_code_of_the_users_and_the_learner_stay_in_the_thread_of_the_run(
    server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such code may have opened a file or a database there, or want its signals."""
    file = tmp_path / "mine.py"
    file.write_text(
        "import signal, threading\n"
        "def say(problem, attempt, score, history):\n"
        "    signal.signal(signal.SIGALRM, signal.SIG_DFL)\n"
        "    return threading.current_thread().name\n"
    )
    synchronised: list[int] = []
    take = VllmSampler.take

    def noting(*arguments: Any) -> None:
        synchronised.append(threading.get_ident())
        take(*arguments)

    monkeypatch.setattr(VllmSampler, "take", noting)
    changes = {"feedback.source": "first_of", "feedback.sources": ["function", "llm"]}
    with judge_server(say) as judge:
        config = config_of(server, judge, **changes, **{"feedback.function": f"{file}:say"})
        run = train(config, tmp_path / "run")
    said = {turn["feedback"]["text"] for record in lines(run) for turn in record["turns"] if turn["feedback"]}
    assert said == {threading.main_thread().name}
    assert set(synchronised) == {threading.main_thread().ident} and len(synchronised) == 3


def test_a_task_that_was_handed_in_is_asked_in_the_thread_of_the_run(server: StandIn, tmp_path: Path) -> None:
    """Also whether a judge's feedback gives the answer away, and how a judge is to score."""
    asked: dict[str, set[str]] = {}

    class Mine:
        def __init__(self, inner: Task) -> None:
            self._inner = inner
            self.name, self.family = inner.name, inner.family

        def __getattr__(self, name: str) -> Any:
            asked.setdefault(name, set()).add(threading.current_thread().name)
            return getattr(self._inner, name)

        def rubric(self, problem: Problem) -> None:
            asked.setdefault("rubric", set()).add(threading.current_thread().name)

    with judge_server(say) as judge:
        config = config_of(server, judge, **{"trainer.steps": 1, "rollout.cut_attempts": "criticised"})
        with Run.begin(config, tmp_path / "run", task=Mine(build_task(config.task))) as run:
            run.train()
    assert asked.keys() >= {"problem", "score", "reveals_answer", "rubric"}
    assert set().union(*asked.values()) == {threading.main_thread().name}


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "rollouts.jsonl").read_text().splitlines()]


def test_a_judge_that_stops_the_run_in_the_middle_of_a_step_loses_nothing(server: StandIn, tmp_path: Path) -> None:
    with judge_server(say) as judge:
        config = config_of(server, judge)
        whole = train(config, tmp_path / "whole")
        calls = len(judge.requests)
        stop_at = calls * 3 // 2  # in the middle of the second run

        def dies(body: dict[str, Any], before: int) -> Reply:
            return Reply(status=401, body=b"{}") if len(judge.requests) > stop_at else say(body, before)

        judge.script = dies
        with Run.begin(config, tmp_path / "run") as run, pytest.raises(Interrupted) as stopped:
            run.train()
        assert "does not take the key" in str(stopped.value.reason)
        assert not pieces_left()
        answered = len(judge.requests)
        judge.script = say
        with Run.resume(tmp_path / "run") as again:
            again.train()
        assert outcome(tmp_path / "run") == outcome(whole)
        assert len(judge.requests) - answered < calls, "what was answered is asked for again"


def test_a_server_that_fails_ends_the_run_in_a_line_and_stops_the_calls_under_way(
    server: StandIn, tmp_path: Path
) -> None:
    """The server breaks down while the judge is asked about what it wrote first."""
    begun: list[int] = []

    def pause(body: dict[str, Any]) -> float:
        if body["n"] != 1:  # It is compared with the learner.
            return 0.0
        begun.append(1)
        return 0.0 if len(begun) == 1 else 1.5

    with judge_server(lambda body, before: Reply(seconds=20.0)) as judge:
        server.slow = pause
        server.change = lambda answer: {"choices": []} if judge.requests else answer
        with Run.begin(config_of(server, judge), tmp_path / "run") as run:
            start = time.monotonic()
            with pytest.raises(UserError, match="the vLLM server gave 0 completions in place of 1"):
                run.train()
            assert time.monotonic() - start < 15, "the run waits for a judge whose answers nobody reads"
    assert not pieces_left()
    assert given_up(tmp_path / "run"), "calls that may cost money are not in the record"


def test_a_program_ends_though_a_server_has_not_answered(server: StandIn) -> None:
    answers = threading.Event()
    server.slow = lambda body: 0.0 if answers.wait(60) else 1.0
    program = (
        "from rltf.engines.vllm.client import Client\n"
        "from rltf.support.side_by_side import side_by_side, wait_for\n"
        "from rltf.types import SamplingParams\n"
        f"client = Client({server.url!r}, 60.0, 2)\n"
        "def waits():\n"
        "    client.complete('base', [(5, 6)] * 4, 1, SamplingParams(max_tokens=2), [1, 2, 3, 4], [])\n"
        "def fails():\n"
        "    wait_for([])\n"
        "    raise SystemExit(4)\n"
        "try:\n"
        "    side_by_side([waits, fails])\n"
        "finally:\n"
        "    client.close()\n"
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=90, check=False)
    answers.set()
    assert (done.returncode, done.stderr) == (4, "")
    assert time.monotonic() - begun < 30, "the program waits for an answer that nobody reads"


def given_up(run: Path) -> int:
    with sqlite3.connect(run / "judge.sqlite") as store:
        (count,) = store.execute("SELECT COUNT(*) FROM calls WHERE reason LIKE 'given up%'").fetchone()
    return int(count)


def test_an_interrupt_ends_a_run_that_waits_for_its_judge(server: StandIn, tmp_path: Path) -> None:
    with (
        judge_server(lambda body, before: Reply(seconds=30.0)) as judge,
        Run.begin(config_of(server, judge), tmp_path / "run") as run,
    ):
        after(lambda: bool(judge.requests), lambda: os.kill(os.getpid(), signal.SIGINT))
        begun = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            run.train()
        assert time.monotonic() - begun < 20
    assert not pieces_left()
    assert given_up(tmp_path / "run")


def after(condition: Callable[[], bool], act: Callable[[], None]) -> None:
    def watch() -> None:
        while not condition():
            time.sleep(0.05)
        act()

    threading.Thread(target=watch, daemon=True).start()
