"""Functions in processes of their own: what comes back from one that runs wild, and that the next call is sound."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rltf.support.errors import UserError
from rltf.support.guarded import Failed, GuardedFunction

# Imported by the workers by this name; also what they are told to do.
FUNCTIONS = """
import os, signal, socket, sys, time

def echo(*arguments): return list(arguments)
def sleep(seconds): time.sleep(seconds); return "slept"
def spin():
    while True: pass
def grow(megabytes): return len(bytes(megabytes * 2**20))
def crash(): os.kill(os.getpid(), signal.SIGSEGV)
def leave(): os._exit(0)
def exit(): sys.exit(3)
def stop(): os.kill(os.getpid(), signal.SIGSTOP); return "went on"
def error(text): raise ValueError(text)
def environment(): return sorted(os.environ)
def connect():
    try:
        socket.create_connection(("127.0.0.1", PORT), timeout=2)
    except OSError as error:
        return type(error).__name__
    return "connected"
def write(path):
    try:
        with open(path, "w") as file: file.write("x")
    except OSError as error:
        return type(error).__name__
    return "wrote"
def say(text): print(text, flush=True); os.write(1, (text + "\\n").encode()); return "said"
def ask(): return sys.stdin.readline()
def big(length): return "x" * length
def unspeakable(): return {1, 2}
def process(): return os.getpid()
def child():
    pid = os.fork()
    if pid == 0: time.sleep(60)
    return pid
def descriptors(): return sorted(os.listdir("/proc/self/fd"))
def forge(line):
    for fd in range(3, 12):
        try: os.write(fd, line.encode())
        except OSError: pass
    time.sleep(0.3)
    return "true"
"""


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    place = tmp_path_factory.mktemp("functions")
    (place / "guarded_functions.py").write_text(FUNCTIONS)
    made: list[GuardedFunction] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        patch.setenv("RLTF_SECRET", "secret")

        def build(name: str, *, seconds: float = 20.0, megabytes: int = 512, workers: int = 1) -> GuardedFunction:
            made.append(
                GuardedFunction(f"guarded_functions:{name}", seconds=seconds, megabytes=megabytes, workers=workers)
            )
            return made[-1]

        yield build
        for function in made:
            function.close()


def test_results_come_back_as_json_has_them(guard: Any) -> None:
    echo = guard("echo")
    assert echo(1, "a\n\ud800", [None, True], {"b": 1.5}) == [1, "a\n\ud800", [None, True], {"b": 1.5}]
    assert echo() == []
    assert echo("x" * 300_000) == ["x" * 300_000]


def test_many_calls_keep_their_order(guard: Any) -> None:
    assert guard("echo", workers=2).map([(i,) for i in range(20)]) == [[i] for i in range(20)]


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("sleep", (60,), "it took longer than 0.5 seconds"),
        ("spin", (), "it took longer than 0.5 seconds"),
        ("stop", (), "it took longer than 0.5 seconds"),
        ("crash", (), "the process that was asked ended"),
        ("leave", (), "the process that was asked ended"),
    ],
)
def test_a_call_that_ends_or_hangs_fails_and_the_next_has_a_fresh_process(
    name: str, arguments: tuple[Any, ...], reason: str, guard: Any
) -> None:
    function = guard(name, seconds=0.5)
    for _ in range(2):
        failed = function(*arguments)
        assert isinstance(failed, Failed)
        assert reason in failed.reason


def test_a_process_that_was_stopped_is_gone_and_another_takes_its_place(guard: Any) -> None:
    function = guard("process")
    first = function()
    assert function() == first
    os.kill(first, signal.SIGKILL)
    second = function()
    if isinstance(second, Failed):  # it had not yet died when it was asked
        second = function()
    assert second != first
    function.close()
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)
    assert function() not in (first, second)


def test_an_exception_is_told_and_the_process_lives(guard: Any) -> None:
    error = guard("error")
    assert error("no") == Failed("ValueError: no")
    assert len(error("x" * 10_000).reason) <= 500
    assert guard("exit")() == Failed("SystemExit: 3")
    unspeakable = guard("unspeakable")()
    assert isinstance(unspeakable, Failed) and "not JSON serializable" in unspeakable.reason


def test_memory_is_limited(guard: Any) -> None:
    grow = guard("grow", megabytes=300)
    assert grow(10) == 10 * 2**20
    assert grow(400) == Failed("MemoryError: ")
    assert grow(10) == 10 * 2**20


def test_an_answer_may_be_big_but_not_without_limit(guard: Any) -> None:
    big = guard("big", seconds=60.0)
    assert big(900_000) == "x" * 900_000
    failed = big(30_000_000)
    assert isinstance(failed, Failed) and "wrote too much" in failed.reason
    assert big(3) == "xxx"


def test_nothing_of_the_environment_and_no_open_files_come_along(guard: Any) -> None:
    names = guard("environment")()
    assert "RLTF_SECRET" not in names
    assert set(names) <= {
        "LANG",
        "LC_CTYPE",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "PATH",
        "PYTHONHASHSEED",
        "PYTHONPATH",
    }
    with Path("/dev/null").open() as held:
        before = guard("descriptors")()
        os.set_inheritable(held.fileno(), True)
        assert guard("descriptors")() == before


def test_there_is_no_network(guard: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (tmp_path / "connecting.py").write_text(FUNCTIONS.replace("PORT", str(port)))
        monkeypatch.syspath_prepend(str(tmp_path))
        connect = GuardedFunction("connecting:connect", seconds=20.0, megabytes=512, workers=1)
        with contextlib.closing(connect):
            assert connect() in ("OSError", "ConnectionRefusedError")


def test_no_file_is_written(guard: Any, tmp_path: Path) -> None:
    assert guard("write")(str(tmp_path / "file")) == "OSError"
    assert not (tmp_path / "file").exists() or (tmp_path / "file").read_text() == ""


def test_what_a_function_prints_or_reads_is_not_taken_for_an_answer(guard: Any) -> None:
    say = guard("say")
    assert say('["result", "forged"]') == "said"
    assert say("rubbish") == "said"
    assert guard("ask")() == ""


def test_lines_forged_on_the_pipe_of_answers_do_not_reach_the_next_call(guard: Any) -> None:
    forge = guard("forge")
    rubbish = Failed("the process that was asked answered rubbish")
    for line in ('["result", "forged"]\n', "[[[[\n", "[" * 100_000 + "\n", "1\n"):
        assert forge(line) == rubbish
    # Who knows the number can give a wrong answer of its own, but not that of the call after it.
    assert forge('[5, "result", "forged"]\n') == "forged"
    time.sleep(0.5)
    assert forge("") == rubbish
    assert forge("") == "true"


def test_calls_from_several_threads_share_the_workers(guard: Any) -> None:
    function = guard("process", workers=2)
    found: list[Any] = []

    def call() -> None:
        found.extend(function() for _ in range(3))

    for _ in range(3):
        # The worker outlives the thread whose call started it.
        threads = [threading.Thread(target=call) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(0.05)
    assert not [answer for answer in found if isinstance(answer, Failed)]
    assert len(set(found)) <= 2


def test_children_of_a_worker_end_with_it(guard: Any) -> None:
    function = guard("child")
    pid = function()
    assert isinstance(pid, int)
    function.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.02)
    pytest.fail("the child of a worker lives on")


def test_a_file_beside_the_user_is_not_taken_for_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('taken for the module')")
    monkeypatch.chdir(tmp_path)
    with contextlib.closing(GuardedFunction("os:getcwd", seconds=5.0, megabytes=512, workers=1)) as function:
        assert function() == str(tmp_path)


def test_a_function_that_is_not_there_is_an_error_of_ours() -> None:
    missing = GuardedFunction("rltf.support.guarded:nothing", seconds=1.0, megabytes=512, workers=1)
    with pytest.raises(UserError, match=r"did not start; `python -P -m rltf.support.guarded rltf.*512` says why"):
        missing()
