"""Whatever a task's file does to end its process, or to keep it from ending, is told in one line and never passes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import SMALL, rltf, start

from rltf.support.errors import TaskFailed
from rltf.tasks import load_task

TASK = """
import atexit, ctypes, os, posix, signal, sys, threading, time
from rltf.tasks import SimpleTask

class Backwards(SimpleTask):
    train_size = validation_size = test_size = 5

    def generate(self, rng):
        word = "".join(rng.choices("abcdefgh", k=5))
        return f"Write {word} backwards.", word[::-1]

    def check(self, answer, problem):
        if problem.split == "train":
            pass
        return None if answer == problem.answer else "It is not the word backwards."
"""


def save(tmp_path: Path, in_check: str = "", at_load: str = "") -> Path:
    file = tmp_path / "my_task.py"
    text = TASK.replace("            pass", f"            {in_check}") if in_check else TASK
    file.write_text(f"{text}\n{at_load}\n")
    return file


def validate_fails(tmp_path: Path, *settings: str) -> str:
    # A new process: how one ends is what is tried here.
    process = start("validate", "my_task.py", "--problems", "2", *settings, cwd=tmp_path)
    said, complaint = process.communicate(timeout=120)
    assert process.returncode == 2, said + complaint
    (line,) = complaint.splitlines()
    return line


RAISING = [
    "os._exit(0)",
    "posix._exit(0)",
    "os.execv('/bin/true', ['true'])",
    "os.execlp('true', 'true')",
    "posix.execv('/bin/true', ['true'])",
    "sys.exit(0)",
]


@pytest.mark.parametrize("leave", RAISING)
def test_a_call_that_would_end_the_program_is_a_bug_with_its_line(leave: str, tmp_path: Path) -> None:
    task = load_task(str(save(tmp_path, leave)), {})
    with pytest.raises(TaskFailed, match=r"score of the task backwards, on train .*raised SystemExit: .* \(line 14\)"):
        task.score(task.problem("train", 0), "<answer>x</answer>")


ENDING = {
    "threading.Thread(target=os._exit, args=(0,)).start(); time.sleep(20)": r"by os\._exit\(0\) during .*my_task",
    "threading.Timer(0.0, os._exit, (0,)).start(); time.sleep(20)": r"by os\._exit\(0\) during .*score of the task",
    "threading.Thread(target=posix._exit, args=(0,)).start(); time.sleep(20)": r"by os\._exit\(0\) during .*score",
    "threading.Thread(target=os.execv, args=('/bin/true', ['true'])).start(); time.sleep(20)": r"by os\.execv",
    "ctypes.CDLL(None)._exit(0)": r"with status 0 during .*score of the task backwards, on train problem 0",
    "ctypes.CDLL(None).exit(0)": r"with status 0 during .*score of the task backwards, on train problem 0",
    "ctypes.string_at(0)": r"by SIGSEGV during .*score of the task backwards, on train problem 0",
    "raise KeyboardInterrupt": r"by a KeyboardInterrupt before all was checked",
    "os.closerange(3, 99)": r"with status 0 during .*score of the task backwards, on train problem 0",
    "os.abort()": r"by SIGABRT during .*score of the task backwards, on train problem 0",
    "os.kill(os.getpid(), signal.SIGKILL)": r"by SIGKILL during .*score of the task backwards, on train problem 0",
    "os.kill(os.getpid(), signal.SIGINT)": r"by SIGINT during .*score of the task backwards, on train problem 0",
    "signal.raise_signal(signal.SIGTERM)": r"by SIGTERM during .*score of the task backwards, on train problem 0",
}


@pytest.mark.parametrize("leave", ENDING)
def test_validate_fails_however_the_process_is_ended(leave: str, tmp_path: Path) -> None:
    save(tmp_path, leave)
    said = validate_fails(tmp_path)
    assert re.search(f"my_task.py: the process was ended {ENDING[leave]}", said), said


@pytest.mark.parametrize("valid", [True, False])
@pytest.mark.parametrize(
    ("leave", "how"),
    [
        ("atexit.register(os._exit, 0)", r"by os\._exit\(0\)"),
        ("atexit.register(ctypes.CDLL(None)._exit, 0)", "with status 0"),
        ("threading.Thread(target=lambda: (time.sleep(4), os._exit(0))).start()", r"by os\._exit\(0\)"),
    ],
)
def test_no_end_after_the_checks_changes_what_they_say(leave: str, how: str, valid: bool, tmp_path: Path) -> None:
    save(tmp_path, "" if valid else "return None", leave)
    said = validate_fails(tmp_path)
    assert re.search(f"the process was ended {how} (as it was ending|before all was checked)", said), said


HANGING = {
    "the thread": ("", "threading.Thread(target=time.sleep, args=(600,)).start()", "the process did not end within"),
    "atexit": ("", "atexit.register(time.sleep, 600)", "the process did not end within 2 seconds"),
    "C": ("ctypes.PyDLL(None).sleep(600)", "", "score of the task backwards, on train problem 0 .*took longer than 2"),
    "stopped": ("os.kill(os.getpid(), signal.SIGSTOP)", "", "score of the task .*took longer than 2 seconds"),
    "blocked": (
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM]); time.sleep(600)",
        "",
        "score of the task .*took longer than 2 seconds",
    ),
    "swallowed": (
        "hang()",
        "def hang():\n  while True:\n    try:\n      hang()\n    except BaseException: pass",
        "took",
    ),
}


@pytest.mark.parametrize("kind", HANGING)
def test_what_cannot_be_interrupted_is_ended_with_one_line(kind: str, tmp_path: Path) -> None:
    in_check, at_load, expected = HANGING[kind]
    save(tmp_path, in_check, at_load)
    begun = time.monotonic()
    said = validate_fails(tmp_path, "--seconds", "2")
    assert re.search(expected, said), said
    assert said.endswith("; --seconds allows more than 2")
    assert time.monotonic() - begun < 30


def test_validate_prints_where_nobody_listens(tmp_path: Path) -> None:
    save(tmp_path)
    shell = f"{sys.executable} -m rltf validate my_task.py --problems 2"
    for command, status in {
        f"set -o pipefail; {shell} | true": (0, 1),
        f"{shell} >&-": (0,),
        f"{shell} > /dev/full": (2,),
    }.items():
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode in status, done
        assert "Traceback" not in done.stderr
        assert "must never end" not in done.stderr


def test_a_task_that_asks_on_standard_input_is_told_that_there_is_none(tmp_path: Path) -> None:
    save(tmp_path, "input()")
    assert "raised EOFError: EOF when reading a line (line 14)" in validate_fails(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_with_validate_all_that_it_began_ends(number: signal.Signals, tmp_path: Path) -> None:
    save(tmp_path, "open('pid', 'w').write(str(os.getpid())); time.sleep(600)")
    process = start("validate", "my_task.py", cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not ((tmp_path / "pid").is_file() and (tmp_path / "pid").read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == ((130, "rltf: stopped\n") if number == signal.SIGINT else (-9, ""))
    child = int((tmp_path / "pid").read_text())
    while time.monotonic() < deadline:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("the child lives on")


NO_WORD = "UserError: it: the process was ended {} before all was checked; a task must never end the program"
OUTCOMES = {
    "print(watched(lambda: {'a': [1, None]}, 5, 'it'))": "{'a': [1, None]}",
    "watched(lambda: int('x'), 5, 'it')": NO_WORD.format("with status 1"),
    "watched(lambda: open('/none'), 5, 'it')": "FileNotFoundError: [Errno 2] No such file or directory: '/none'",
    "watched(lambda: load_module(Path('none.py'), 'task'), 5, 'it')": "UserError: task: there is no file",
    "watched(lambda: call_user_code(lambda: sys.exit(0)), 5, 'it')": NO_WORD.format("by a SystemExit"),
}


@pytest.mark.parametrize("call", OUTCOMES)
def test_what_the_work_returns_and_raises_comes_back(call: str) -> None:
    lines = [
        "import sys",
        "from pathlib import Path",
        "from rltf.support.errors import UserError",
        "from rltf.support.user_code import call_user_code",
        "from rltf.support.user_modules import load_module",
        "from rltf.support.watched import watched",
        f"try: {call}",
        "except (UserError, OSError) as error: print(f'{type(error).__name__}: {error}')",
    ]
    # In a program of its own: the child of a fork goes on as its parent does.
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith(OUTCOMES[call]), done


ENDS_TRAINING = {
    "from a thread": "    threading.Thread(target=os._exit, args=(0,)).start(); time.sleep(20)",
    "by atexit": "    atexit.register(os._exit, 0)",
}


@pytest.mark.parametrize("how", ENDS_TRAINING)
def test_a_run_that_the_users_code_ends_says_so_and_has_no_status_of_success(how: str, tmp_path: Path) -> None:
    text = f"import atexit, os, threading, time\ndef say(*given):\n{ENDS_TRAINING[how]}\n    return 'Look again.'\n"
    (tmp_path / "say.py").write_text(text)
    settings = ("trainer.steps=1", "feedback.source=function", "feedback.function=say.py:say")
    done = rltf("train", *SMALL, *settings, cwd=tmp_path, status=3)
    assert re.search(r"^rltf: os\.(_exit|execv)\(.*\) ended the program", done.stderr, re.MULTILINE), done.stderr
