"""Whole runs whose feedback comes from an LLM judge, as a user starts them: real processes, a real HTTP server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from command_line import SMALL, jsonl, rltf
from judge_server import Reply, judge_server

KEY = "sk-secret-0123456789"
JUDGED = (
    *SMALL,
    "trainer.groups_per_batch=4",
    "trainer.group_size=4",
    "trainer.learning_rate=0.01",
    "feedback.source=llm",
    "judge.model=judge",
    "judge.timeout=2",
    "judge.retries=1",
    "judge.max_tokens=512",
)
PROMPT = "{question}\n\n<attempt>\n{attempt}\n</attempt>\n\n{form}"
SAYS = ("Row 1, column 1 should be larger.", "Row 2, column 2 should be smaller.", "2 cells are wrong.")


def fate(body: dict[str, Any]) -> int:
    """A number below 100 that the attempt decides, whatever its wording came to."""
    text = body["messages"][-1]["content"]
    return zlib.crc32(text[text.index("<attempt>") : text.index("</attempt>")].encode()) % 100


def good(body: dict[str, Any], before: int) -> Reply:
    return Reply(content=f"<feedback>{SAYS[fate(body) % 3]}</feedback>")


def bad(body: dict[str, Any], before: int) -> Reply:
    """One in ten hangs; others are busy at first, broken, cut, empty, huge or chatty."""
    number = fate(body)
    if number < 10:
        return Reply(seconds=4.0)
    if number < 20:
        busy = Reply(status=429, headers={"Retry-After": "0.05"}, body=b"{}")
        return good(body, before) if before else busy
    replies = {
        2: Reply(status=500, body=b"oops"),
        3: Reply(body=b'{"id": "c", "choices": [{"mess'),
        4: Reply(content=""),
        5: Reply(content="<feedback>" + "x " * 1_000_000 + "</feedback>"),
        6: Reply(content="I like it."),
    }
    return replies.get(number // 10, good(body, before))


CAUSES = {"timeout", "server_error", "empty", "unparseable"}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def outcome(run: Path) -> dict[str, bytes]:
    names = ("metrics.jsonl", "rollouts.jsonl", "evaluations.jsonl", "model/model.safetensors")
    return {name: (run / name).read_bytes() for name in names}


def test_a_run_survives_a_bad_judge_and_its_replay_is_the_same_to_the_last_bit(
    tiny_model: Path, tmp_path: Path
) -> None:
    model = f"engine.model={tiny_model}"
    with judge_server(bad) as server:
        settings = (*JUDGED, model, f"judge.base_url={server.url}")
        rltf("train", *settings, "--run-dir", "run", cwd=tmp_path)
        assert server.keys == {f"Bearer {KEY}"}
    run = tmp_path / "run"
    turns = [turn for record in jsonl(run / "rollouts.jsonl") for turn in record["turns"]]
    failures = [turn["feedback"] for turn in turns if turn["feedback"] and turn["feedback"]["failure"]]
    assert {failure["cause"] for failure in failures} >= CAUSES
    # Every failure is counted with its cause, and none is a reward or a text.
    counted: Counter[str] = Counter()
    for metrics in jsonl(run / "metrics.jsonl"):
        causes = {name: value for name, value in metrics.items() if name.startswith("feedback/failed_")}
        assert sum(causes.values()) == metrics["feedback/failed"]
        counted.update({name.removeprefix("feedback/failed_"): int(value) for name, value in causes.items()})
    assert counted == Counter(failure["cause"] for failure in failures)
    for record in jsonl(run / "rollouts.jsonl"):
        failed = bool((record["turns"][-1]["feedback"] or {}).get("failure"))
        assert (record["status"] == "feedback_failed") == failed
        for turn in record["turns"]:
            assert turn["score"]["reward"] == float(turn["score"]["correct"])
    # The address is dead now.
    store = f"judge.store={run / 'judge.sqlite'}"
    rltf("train", *settings, store, "judge.replay=only", "judge.key_env=none", "--run-dir", "again", cwd=tmp_path)
    assert outcome(tmp_path / "again") == outcome(run)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()
    shown = rltf("judge", "stats", "run", cwd=tmp_path).stdout
    assert "answered" in shown
    assert "timeout" in shown
    nothing = rltf("train", *settings, "judge.replay=only", "--run-dir", "no", cwd=tmp_path, status=2)
    assert "judge.replay=only needs judge.store" in nothing.stderr
    unseen = rltf(
        "train", *settings, store, "judge.replay=only", "seed=1", "--run-dir", "other", cwd=tmp_path, status=3
    )
    assert "holds no answer" in unseen.stderr


def test_a_judge_that_goes_down_stops_the_run_which_goes_on_as_if_it_had_not(tiny_model: Path, tmp_path: Path) -> None:
    broken = {"from": 10**9}

    def script(body: dict[str, Any], before: int) -> Reply:
        return good(body, before) if len(server.requests) < broken["from"] else Reply(status=500, body=b"")

    steps = ("trainer.steps=4", "feedback.stop_after_failures=1", "judge.retries=0", f"engine.model={tiny_model}")
    with judge_server(script) as server:
        prompt = tmp_path / "prompt.txt"
        prompt.write_text(PROMPT)
        settings = (*JUDGED, *steps, f"judge.base_url={server.url}", "judge.prompt=prompt.txt")
        rltf("train", *settings, "--run-dir", "whole", cwd=tmp_path)
        asked = len(server.requests)
        broken["from"] = asked + asked // 2
        stopped = rltf("train", *settings, "--run-dir", "run", cwd=tmp_path, status=3)
        assert "failed 1 times in a row" in stopped.stderr
        assert "go on with: rltf train --resume run" in stopped.stderr
        assert not (tmp_path / "run" / "summary.json").exists()
        broken["from"] = 10**9
        prompt.write_text(prompt.read_text() + "\nBe kind.")
        refused = rltf("train", "--resume", "run", cwd=tmp_path, status=2)
        assert "prompt.txt has changed since run began" in refused.stderr
        prompt.write_text(PROMPT)
        refused = rltf("train", "--resume", "run", "judge.temperature=1.0", cwd=tmp_path, status=2)
        assert "judge.max_dollars" in refused.stderr
        rltf("train", "--resume", "run", "judge.retries=2", cwd=tmp_path)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_budget_stops_the_run_and_more_money_lets_it_go_on(tiny_model: Path, tmp_path: Path) -> None:
    prices = ("judge.dollars_per_million_in=1.0", "judge.dollars_per_million_out=1.0", "judge.max_dollars=0.004")
    with judge_server(good) as server:
        settings = (*JUDGED, *prices, f"judge.base_url={server.url}", f"engine.model={tiny_model}")
        stopped = rltf("train", *settings, "--run-dir", "run", cwd=tmp_path, status=3)
        assert "judge.max_dollars=0.004 could be passed" in stopped.stderr
        assert len(server.requests) * 110e-6 <= 0.004
        rltf("train", "--resume", "run", "judge.max_dollars=1.0", cwd=tmp_path)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 2


def test_fallback_says_that_it_is_one_and_stop_stops(tiny_model: Path, tmp_path: Path) -> None:
    with judge_server(bad) as server:
        settings = (*JUDGED, f"judge.base_url={server.url}", f"engine.model={tiny_model}")
        rltf("train", *settings, "feedback.on_failure=fallback", "--run-dir", "run", cwd=tmp_path)
        rltf("train", *settings, "feedback.on_failure=stop", "--run-dir", "stopped", cwd=tmp_path, status=3)
    records = jsonl(tmp_path / "run" / "rollouts.jsonl")
    feedback = [turn["feedback"] for record in records for turn in record["turns"] if turn["feedback"]]
    replaced = [f for f in feedback if f["source"] == "fallback:llm:judge"]
    assert replaced
    assert {f["text"] for f in replaced} == {"Your previous answer was incorrect."}
    assert {f["cause"] for f in replaced} >= CAUSES - {"empty"}
    assert not any(record["status"] == "feedback_failed" for record in records)
    metrics = jsonl(tmp_path / "run" / "metrics.jsonl")
    assert sum(m["feedback/replaced"] for m in metrics) == len(replaced) == sum(m["feedback/failed"] for m in metrics)


def test_a_judge_is_tried_before_a_run_pays_for_it(tiny_model: Path, tmp_path: Path) -> None:
    with judge_server(lambda body, before: Reply(content="Nice." if fate(body) % 2 else None)) as server:
        shown = rltf(
            "judge", "try", "binary_matrix", "judge.model=judge", f"judge.base_url={server.url}",
            f"engine.model={tiny_model}", "engine.device=cpu", "task.train_size=5", cwd=tmp_path,
        ).stdout  # fmt: skip
        assert len(server.requests) == 10
        assert not list(tmp_path.iterdir())
    assert shown.count("feedback failed (llm:judge):") == 5
    assert "calls" in shown


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["feedback.source=llm", "judge.model=x", "judge.key_env=NO_SUCH_KEY"], "NO_SUCH_KEY"),
        (["feedback.source=llm", "judge.model=x", "judge.prompt=nowhere.txt"], "nowhere.txt"),
        (["feedback.source=function", "feedback.function=nowhere.py:f"], "nowhere.py"),
    ],
)
def test_a_source_that_cannot_work_leaves_no_run_behind(tmp_path: Path, settings: list[str], complaint: str) -> None:
    refused = rltf("train", *SMALL, *settings, "--run-dir", "run", cwd=tmp_path, status=2)
    assert complaint in refused.stderr
    assert not list(tmp_path.iterdir())


def test_the_example_of_a_judge_says_what_the_rules_say(tiny_model: Path, tmp_path: Path) -> None:
    example = Path(__file__).parent.parent / "examples" / "rule_judge.py"
    process = subprocess.Popen([sys.executable, str(example), "0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = process.stdout.readline().split()[-1]
    common = ("evaluation.problems=1", f"engine.model={tiny_model}", "feedback.on_failure=stop", "judge.max_words=100")
    judged = ("feedback.source=llm", f"judge.base_url={url}", "judge.model=rules", "judge.key_env=none", *common)
    try:
        rltf("train", *SMALL, *judged, "--run-dir", "judged", cwd=tmp_path)
    finally:
        process.kill()
    for record in jsonl(tmp_path / "judged" / "rollouts.jsonl"):
        feedback = record["turns"][0]["feedback"]
        assert feedback["source"] == "llm:rules"
        assert feedback["text"] != "This is no question of Binary Matrix."


def test_ctrl_c_ends_a_command_that_waits_for_its_judge(tiny_model: Path, tmp_path: Path) -> None:
    with judge_server(lambda body, before: Reply(seconds=90.0)) as server:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "rltf", "judge", "try", "binary_matrix", "judge.model=judge",
                f"judge.base_url={server.url}", f"engine.model={tiny_model}", "engine.device=cpu", "task.train_size=5",
            ],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while not server.requests and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        out, error = process.communicate(timeout=60)
        assert time.monotonic() - start < 60  # the judge takes longer
    assert process.returncode == 130, out + error
    assert "Traceback" not in out + error


def test_evaluating_with_a_judge_writes_nothing_where_one_stands(tiny_model: Path, tmp_path: Path) -> None:
    with judge_server(good) as server:
        asked = ("feedback.source=llm", "judge.model=judge", f"judge.base_url={server.url}", "evaluation.problems=4")
        small = ("engine.device=cpu", "task.test_size=4", "rollout.max_new_tokens=8")
        rltf("eval", str(tiny_model), *asked, *small, cwd=tmp_path)
        assert server.requests
        assert not list(tmp_path.iterdir())
        rltf("eval", str(tiny_model), *asked, *small, "judge.store=kept.sqlite", cwd=tmp_path)
    assert "answered" in rltf("judge", "stats", "kept.sqlite", cwd=tmp_path).stdout
