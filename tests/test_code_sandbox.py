"""What attempts must not be able to do. The programs are in data/hostile_attempts.txt; each must fail `f(1) == 2`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rltf.tasks.code import confinement
from rltf.tasks.code.cases import Case
from rltf.tasks.code.sandbox import Raised, Run, Sandbox, Unreadable, Value
from rltf.tasks.code.verdict import Verdict, judge_function, judge_program

CHILD = Path(confinement.__file__).with_name("child.py")
CASES = (Case(expression="f(1)", accepted=(2,)), Case(expression="f(2)", accepted=(3,)))
BOX = Sandbox(cpu_seconds=1, seconds=3.0, megabytes=256, strict=True)
ATTEMPTS = {
    name: code
    for name, _, code in (
        part.partition("\n")
        for part in Path(__file__).with_name("data").joinpath("hostile_attempts.txt").read_text().split("### ")[1:]
    )
}
# What the explanation of some must say: that it failed for the reason for which it should.
REASONS = {
    "fork bomb": "PermissionError",
    "forks behind Python's back": "'refused'",
    "forks by a bare system call": "'refused'",
    "memory bomb": "the memory limit was reached",
    "one huge allocation": "the memory limit was reached",
    "infinite loop": "it took longer than",
    "infinite loop while it is loaded": "it took longer than",
    "sleeps for ever": "it took longer than 3 seconds.",
    "waits for input": "EOFError",
    "infinite output": "it took longer",
    "writes a file": "PermissionError",
    "writes beside itself": "PermissionError",
    "truncates a file": "PermissionError",
    "removes files": "PermissionError",
    "renames and links": "PermissionError",
    "makes a directory": "PermissionError",
    "changes permissions": "PermissionError",
    "reads the environment": "KeyError",
    "reads the parent's environment": "PermissionError",
    "reads the parent's memory": "PermissionError",
    "reads passwords": "PermissionError",
    "imports rltf": "ModuleNotFoundError",
    "imports an installed package": "ModuleNotFoundError",
    "opens a socket": "PermissionError",
    "socket pair": "PermissionError",
    "kills the parent": "PermissionError",
    "kills everything": "PermissionError",
    "sends the parent a signal by way of a pipe": "PermissionError",
    "sys.exit": "SystemExit",
    "os._exit": "it ended the process",
    "exits with SystemExit": "before any test, raised SystemExit",
    "equal to everything": "gave 2, expected 2",
    "a number that is equal to everything": "gave 7, expected 2",
    "a daemon": "PermissionError",
    "a daemon by subprocess": "PermissionError",
    "deletes its directory": "Error",
    "ignores all signals": "it took longer than",
    "recursion without end": "RecursionError",
    "a value that contains itself": "TooLarge",
    "an enormous text": "TooLarge",
    "raises its limits": "ValueError: not allowed to raise maximum limit",
    "System V memory that stays": "'refused'",
    "crashes the interpreter": "signal 11 ended it",
    "no code at all but nul": "syntax error",
}


def run(code: str, *expressions: str, box: Sandbox = BOX) -> Run:
    return box.evaluate(code, "", expressions or ("f(1)",))


def processes() -> set[str]:
    """Command lines of what an attempt may have left running, but for attempts of tests that run beside these."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if (str(CHILD) in line or "while True: pass" in line) and not beside(int(path.parent.name)):
            found.add(line)
    return found


def beside(process: int) -> bool:
    """Whether a process descends from another worker of these tests, which runs tests of its own."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return False
    while process > 1 and process != os.getpid():
        try:
            parent = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
        if parent == os.getppid():
            return True
        process = parent
    return False


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Verdict, float]]:
    """The verdict on each, and how many seconds it took; checks that nothing of it is left."""
    place = tmp_path_factory.mktemp("hostile")
    (place / "rltf_victim").write_text("whole")
    (place / "rltf_victims").mkdir()
    os.environ["RLTF_SECRET"] = "secret"
    before = {path.name for path in Path("/dev/shm").glob("*rltf*")}
    found: dict[str, tuple[Verdict, float]] = {}

    def judge(names: list[str]) -> None:
        for name in names:
            start = time.monotonic()
            verdict = judge_function(BOX, ATTEMPTS[name].replace("/tmp/", f"{place}/"), "", CASES)
            found[name] = verdict, time.monotonic() - start

    names = list(ATTEMPTS)
    threads = [threading.Thread(target=judge, args=(names[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    del os.environ["RLTF_SECRET"]
    assert sorted(path.name for path in place.iterdir()) == ["rltf_victim", "rltf_victims"]
    assert (place / "rltf_victim").read_text() == "whole"
    assert (place / "rltf_victim").stat().st_mode & 0o777 != 0o777
    assert {path.name for path in Path("/dev/shm").glob("*rltf*")} == before
    assert not Path("/rltf_hostile").exists()
    assert processes() == set()
    return found


@pytest.mark.parametrize("name", ATTEMPTS)
def test_a_hostile_attempt_is_wrong_within_the_limit(name: str, verdicts: dict[str, tuple[Verdict, float]]) -> None:
    verdict, seconds = verdicts[name]
    assert not verdict.correct
    assert verdict.passed == 0
    assert verdict.failure
    # The limit on the clock, the interpreter's start and a busy machine.
    assert seconds < 15
    assert REASONS.get(name, "") in verdict.failure
    text = verdict.located(ATTEMPTS[name])
    assert len(text) < 1200
    assert "\x1b" not in text and str(CHILD.parent) not in text
    text.encode()


def test_every_reason_is_of_an_attempt() -> None:
    assert set(REASONS) <= set(ATTEMPTS)
    assert len(ATTEMPTS) > 60


def test_right_attempts_are_not_hindered() -> None:
    code = """
import bisect, collections, copy, dataclasses, datetime, decimal, fractions, functools, hashlib, heapq, itertools, json
import math, operator, random, re, statistics, string, threading, typing, unicodedata, zoneinfo
def f(x):
    found = []
    thread = threading.Thread(target=lambda: found.append(x))
    thread.start(); thread.join()
    print("this may be printed")
    assert json.loads(json.dumps(found)) == [x]
    assert hashlib.sha256(b"").hexdigest().startswith("e3b0")
    assert datetime.datetime.now().year > 2000 and random.random() < 1
    assert zoneinfo.ZoneInfo("UTC").key == "UTC"
    return found[0] + 1
"""
    assert judge_function(BOX, code, "", CASES) == Verdict(tests=2, passed=2)


def test_values_keep_their_types_on_the_way() -> None:
    result = run(
        "from collections import Counter, OrderedDict, namedtuple, deque\nP = namedtuple('P', 'x')",
        "[1, 2.5, True, None, 'a\\ud800']",
        "(1,), {2}, frozenset([3])",
        "{1: 'a', (2,): []}, Counter('aa'), P(4)",
        "2**70, -2**70, 1j, b'x', float('nan')",
        "deque([1]), range(2), object",
    )
    assert [value.encoded for value in result.results if isinstance(value, Value)][:3] == [
        ["list", 1, 2.5, True, None, "a\ud800"],
        ["tuple", ["tuple", 1], ["set", 2], ["set", 3]],
        ["tuple", ["dict", [1, "a"], [["tuple", 2], ["list"]]], ["dict", ["a", 2]], ["tuple", 4]],
    ]
    numbers, others = result.results[3:]
    assert isinstance(numbers, Value) and isinstance(others, Value)
    assert numbers.encoded[:5] == [
        "tuple",
        ["int", hex(2**70)],
        ["int", hex(-(2**70))],
        ["complex", 0.0, 1.0],
        ["bytes", "78"],
    ]
    assert others.encoded == ["tuple", ["other", "deque"], ["other", "range"], ["other", "type"]]


def test_errors_name_their_place_in_the_attempt_alone() -> None:
    (result,) = run("def g(x):\n    return x[3]\n\ndef f(x):\n    return g([x])").results
    assert result == Raised("IndexError", "list index out of range", ((5, "f"), (2, "g")), at_once=False)
    assert run("def f(x):\n    return (").results == (Unreadable(2, "'(' was never closed"),)
    assert run("x = 1 / 0").results == (
        Raised("ZeroDivisionError", "division by zero", ((1, "<module>"),), at_once=True),
    )


def test_computing_and_waiting_have_limits_of_their_own() -> None:
    patient = Sandbox(cpu_seconds=1, seconds=100.0, megabytes=256, strict=True)
    busy = run("import time\ndef f(x):\n    time.sleep(1.5)\n    while True: pass", box=patient)
    assert (busy.ending, busy.reason) == ("time", "it took longer than 1 second of computing")
    waiting = run(
        "import time\ndef f(x): time.sleep(100)", box=Sandbox(cpu_seconds=1, seconds=1.5, megabytes=256, strict=True)
    )
    assert (waiting.ending, waiting.reason) == ("time", "it took longer than 1.5 seconds")


def test_one_attempt_does_not_poison_the_next() -> None:
    assert run("import builtins, math\nbuiltins.x = math.pi = 3\ndef f(x): return math.pi").results == (Value(3, "3"),)
    assert run("import math\ndef f(x): return math.pi > 3, 'x' in dir(__builtins__)").results[0] == Value(
        ["tuple", True, False], "(True, False)"
    )


def test_hashes_have_one_order() -> None:
    code = "def f(x): return list({'a', 'b', 'c', 'd', 'e', 'f'})"
    assert run(code) == run(code)


def test_a_program_reads_its_input_and_its_output_is_what_it_wrote() -> None:
    done = BOX.execute("import sys\nn = int(input())\nprint(n * 2)\nprint(sys.stdin.read().split())", "4\na b\n")
    assert (done.ending, done.output) == ("finished", "8\n['a', 'b']\n")
    for ending in ("exit()", "quit()", "import sys; sys.exit()", "raise SystemExit(0)"):
        assert BOX.execute(f"print(1)\n{ending}\nprint(2)", "").output == "1\n"
    failed = BOX.execute("print(1)\nraise SystemExit(3)", "")
    assert failed.results == (Raised("SystemExit", "3", ((2, "<module>"),), at_once=True),)


PROGRAM = (Case(stdin="1\n", accepted=("2",)), Case(stdin="5\n", accepted=("6",)))


@pytest.mark.parametrize(
    ("code", "passed", "failure"),
    [
        ("print(int(input()) + 1)", 2, ""),
        ("if __name__ == '__main__':\n    print(f'{int(input()) + 1}.0 ')", 2, ""),
        ("print(2)", 1, "Test 2 of 2 fails: on the input '5\\n' the program wrote '2', expected '6'."),
        ("pass", 0, "Test 1 of 2 fails: on the input '1\\n' the program wrote nothing, expected '2'."),
        ("while True: print('2' * 10 ** 6)", 0, "did not come to its end: it wrote too much"),
        ("while True: pass", 0, "it took longer than"),
        ("print(2)\nimport os\nos._exit(0)", 0, "the program wrote nothing"),
        ("print(int(input()) + 1, flush=True)\nimport os\nos._exit(0)", 2, ""),
        ("print(2, flush=True)\nimport os\nos._exit(1)", 0, "it ended the process"),
        ("print(2)\nraise ValueError('no')", 0, "the program raised ValueError: no."),
        ("print(2", 0, "The code has a syntax error on line 1"),
        ("import os\nos.close(1)\nos.close(0)", 0, "Test 1 of 2 fails"),
    ],
)
def test_programs_are_judged_by_their_words(code: str, passed: int, failure: str) -> None:
    verdict = judge_program(BOX, code, PROGRAM)
    assert verdict.passed == passed
    assert failure in verdict.failure
    assert verdict.correct == (passed == 2)


def test_tests_after_the_one_that_ends_the_process_fail() -> None:
    code = "import os\ndef f(x):\n    if x == 2: os._exit(0)\n    return x + 1"
    verdict = judge_function(BOX, code, "", [*CASES, CASES[0]])
    assert (verdict.tests, verdict.passed) == (3, 1)
    assert verdict.failure == "Test 2 of 3 fails: f(2) did not come to its end: it ended the process."


def test_a_kernel_that_refuses_is_told_and_nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("rltf.tasks.code.sandbox.seccomp_program", lambda: None)
    refused = run("def f(x): return x + 1")
    assert (refused.ending, refused.reason, refused.results) == ("not started", "its kernel refuses seccomp", ())
    weak = run("def f(x): return x + 1", box=Sandbox(cpu_seconds=1, seconds=3.0, megabytes=256, strict=False))
    assert weak.results == (Value(2, "2"),)
    assert weak.protections == ("Landlock", "audit hook")
    verdict = judge_function(BOX, "def f(x): return x + 1", "", CASES)
    assert verdict.failure == "The tests could not be run: its kernel refuses seccomp."


def test_no_process_at_all_is_a_verdict_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert run("def f(x): return x + 1").ending == "not started"


def test_our_problems_and_installed_packages_cannot_be_read() -> None:
    allowed = [path for path, whole in confinement.readable_paths() if whole]
    for path in (CHILD, Path(pytest.__file__), Path.home(), Path("/etc/passwd"), Path("/proc/self/environ")):
        assert not any(path.is_relative_to(directory) for directory in allowed), path


def test_the_filter_is_whole() -> None:
    program = confinement.seccomp_program()
    assert program is not None
    assert len(program) % 8 == 0
    steps = [program[i : i + 8] for i in range(0, len(program), 8)]
    for place, step in enumerate(steps):
        code, true, false = step[0], step[2], step[3]
        if code != 0x06:
            # Every jump stays inside, and what follows the last step of a rule is a return.
            assert place + 1 + max(true, false) < len(steps)
    assert steps[-1] == steps[5]


@pytest.mark.parametrize(
    "line",
    [
        "open('{place}/new', 'w')",
        "open('/etc/passwd')",
        "os.remove('{place}/victim')",
        "os.rename('{place}/victim', '{place}/new')",
        "os.mkdir('{place}/new')",
        "os.open('{place}/new', os.O_CREAT | os.O_WRONLY)",
        "__import__('socket').socket()",
        "__import__('subprocess').run(['true'])",
        "os.fork()",
        "os.system('true')",
        "os.kill(1, 0)",
        "__import__('ctypes').CDLL(None)",
    ],
)
def test_the_audit_hook_alone_stops_what_is_careless(line: str, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("whole")
    code = (
        f"import runpy, sys, os, socket, subprocess, ctypes\nspace = runpy.run_path({str(CHILD)!r})\n"
        f"sys.addaudithook(space['_watch']([os.path.dirname(os.__file__)]))\n{line.format(place=tmp_path)}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert re.search(r"PermissionError: .* is not allowed", done.stderr), done.stderr
    assert (tmp_path / "victim").read_text() == "whole"
    assert not (tmp_path / "new").exists()


def test_an_attempt_ends_with_its_parent() -> None:
    script = (
        "from rltf.tasks.code.sandbox import Sandbox\n"
        "import os, threading, time\n"
        "box = Sandbox(cpu_seconds=60, seconds=60.0, megabytes=256, strict=True)\n"
        "threading.Thread(target=box.evaluate, args=('import time\\ntime.sleep(60)', '', ['1'])).start()\n"
        "time.sleep(1.5)\nos._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    deadline = time.monotonic() + 5
    while processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes() == set()
