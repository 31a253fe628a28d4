"""Verdicts on answers, by the real grader in real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rltf.support.errors import UserError
from rltf.support.guarded import Failed
from rltf.tasks.maths import verdicts as module
from rltf.tasks.maths.decide import decide
from rltf.tasks.maths.verdicts import Verdicts, check_installed

PAIRS = [
    tuple(line.split("\t")) for line in (Path(__file__).parent / "data" / "maths_pairs.tsv").read_text().splitlines()
]
# What asks for more time or memory than there is, or for more recursion.
GREEDY = (
    "9^{9^{9^9}}",
    "10000000!",
    "x^{100000}+1 + (x+1)^{3000}",
    "\\int_0^1 x^{x^{x^{x}}} dx",
    "\\left(" * 20 + "9^{9^{9}}" + "\\right)" * 20,
)
ODD = (
    "",
    " ",
    "\x00\x1b[31m\ud800",
    "(" * 5000,
    "{" * 300 + "1" + "}" * 300,
    "\\frac{" * 150,
    "\\begin{pmatrix}" * 50,
    "\\input{/etc/passwd}",
    "\\write18{touch /tmp/rltf_owned}",
    "__import__('os').system('touch /tmp/rltf_owned')",
    "lambda: 0",
    "\\" * 999,
    "^" * 999,
    "1" + ",1" * 400,
    "9" * 999,
    "-" * 999 + "1",
    "\u0661\u0662",
    "{{{}}}}}}",
    "\\boxed{\\boxed{",
    "%s %d {0} {answer}",
)


@pytest.fixture(scope="module")
def grader() -> Iterator[Verdicts]:
    # The limit is for machines that are busy: no pair of the table takes a second on a free one.
    verdicts = Verdicts(seconds=30.0)
    yield verdicts
    verdicts.close()


def test_the_table_of_answers(grader: Verdicts) -> None:
    assert len(PAIRS) > 370
    found = grader([(answer, gold) for gold, answer, _ in PAIRS])
    wrong = [
        (gold, answer, verdict)
        for (gold, answer, expected), verdict in zip(PAIRS, found, strict=True)
        if (verdict == "equal") != (expected == "right") or isinstance(verdict, Failed)
    ]
    assert not wrong


def test_hostile_answers_end_in_time_and_leave_no_process() -> None:
    verdicts = Verdicts(seconds=1.0)
    begun = time.monotonic()
    found = verdicts([(answer, "2\\sqrt{3}") for answer in (*GREEDY, *ODD)])
    # A killed process takes a second or two to be replaced, on a machine that is not busy.
    assert time.monotonic() - begun < 60
    assert "equal" not in found
    assert sum(isinstance(verdict, Failed) for verdict in found) >= 3
    assert any("longer than 1 seconds" in verdict.reason for verdict in found if isinstance(verdict, Failed))
    verdicts._compare._seconds = 30.0
    assert verdicts([("\\sqrt{12}", "2\\sqrt{3}")]) == ["equal"], "the next answer has a sound process"
    pids = [worker._process.pid for worker in verdicts._compare._workers if worker._process is not None]
    assert pids
    verdicts.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not Path("/tmp/rltf_owned").exists()


def test_a_run_that_is_killed_leaves_no_process_behind() -> None:
    code = (
        "import os\n"
        "from rltf.tasks.maths.verdicts import Verdicts\n"
        "verdicts = Verdicts()\n"
        "assert verdicts([('3/\\\\sqrt{3}', '\\\\sqrt{3}')]) == ['equal']\n"
        "print([w._process.pid for w in verdicts._compare._workers if w._process][0], flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    pid = int(done.stdout)
    deadline = time.monotonic() + 10
    while _is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _is_running(pid)


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_the_process_that_compares_knows_nothing_of_our_environment(grader: Verdicts) -> None:
    os.environ["SECRET_FOR_TEST"] = "1"
    try:
        fresh = Verdicts(workers=1, seconds=30.0)
        assert fresh([("\\sqrt{4}+\\sqrt{2}", "2+\\sqrt{2}")]) == ["equal"]
        (process,) = [worker._process for worker in fresh._compare._workers]
        assert process is not None
        assert b"SECRET_FOR_TEST" not in Path(f"/proc/{process.pid}/environ").read_bytes()
        fresh.close()
    finally:
        del os.environ["SECRET_FOR_TEST"]


def test_a_pair_is_compared_once_and_what_the_text_decides_never(
    grader: Verdicts, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []
    compare = grader._compare.map

    def count(pairs: list[tuple[str, str]]) -> list[object]:
        asked.extend(pairs)
        return compare(pairs)

    monkeypatch.setattr(grader._compare, "map", count)
    grader._known.clear()
    slow = ("\\sqrt{12}", "2\\sqrt{3}")
    pairs = [slow, ("7", "7"), ("7", "8"), ("\\frac12", "\\frac12"), ("17*24", "408"), ("0.5", "\\frac{1}{2}")]
    assert grader(pairs * 3) == ["equal", "equal", "different", "equal", "not worked out", "equal"] * 3
    assert grader(pairs[:1]) == ["equal"]
    assert asked == [slow]


def test_only_so_many_verdicts_are_kept(grader: Verdicts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", 2)
    grader._known.clear()
    grader([(f"\\sqrt{{{i}}}", "2\\sqrt{3}") for i in range(4)])
    assert [answer for answer, _ in grader._known] == ["\\sqrt{2}", "\\sqrt{3}"]


def test_a_comparison_that_failed_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", 2)
    verdicts, asked = Verdicts(), list[str]()

    def fail(pairs: list[tuple[str, str]]) -> list[object]:
        asked.extend(answer for answer, _ in pairs)
        return [Failed("it took longer than 5 seconds") for _ in pairs]

    monkeypatch.setattr(verdicts._compare, "map", fail)
    for answer in ("a!", "b!", "a!", "c!", "b!", "a!"):
        assert isinstance(verdicts([(answer, "2\\sqrt{3}")])[0], Failed)
    assert asked == ["a!", "b!", "c!", "a!"], "the oldest is forgotten like any verdict"


@pytest.mark.parametrize(
    ("answer", "gold", "verdict"),
    [
        ("5", "5", "equal"),
        (" 5 ", "5.", "equal"),
        ("$\\left(1,\\,2\\right)$", "(1, 2)", "equal"),
        ("\\dfrac{1}{2}", "\\frac{1}{2}", "equal"),
        ("007", "7", "equal"),
        ("8", "7", "different"),
        ("1 2", "12", "not worked out"),
        ("0.5", "\\frac{1}{2}", "equal"),
        ("2 1/4", "\\frac{9}{4}", "equal"),
        ("5 \\text{ million}", "5000000", "equal"),
        ("5\\%", "5", "different"),
        ("5 \\text{ cm}", "5 \\text{ m}", "different"),
        ("36\\pi \\text{ cm}", "36\\pi \\text{ m}", "different"),
        ("(1, 2)", "\\{1, 2\\}", "different"),
        ("(1, 2)", "1, 2", "equal"),
        ("(1, 2)", "2, 1", "different"),
        ("(1, \\sqrt{12})", "(1, 2\\sqrt{3})", None),
        ("1/0", "0.5", None),
        ("3+4", "7", "not worked out"),
        ("14/2", "7", "not worked out"),
        ("7/1", "\\frac{7}{1}", "equal"),
        ("[7, 7]", "7", "different"),
        ("(" * 40 + "7" + ")" * 40, "7", "unreadable"),
        ("\\text{seven}", "7", None),
        ("9" * 2000, "8" * 2000, None),
    ],
)
def test_what_the_text_alone_decides(answer: str, gold: str, verdict: str | None) -> None:
    assert decide(answer, gold) == verdict


def test_without_math_verify_the_task_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs math-verify: pip install .*\[maths\]") as error:
        check_installed()
    assert "\n" not in str(error.value)
