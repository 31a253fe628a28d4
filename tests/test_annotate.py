"""The page where people write feedback: its desk, its server, and the page itself in a real browser."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import SMALL, jsonl, rltf
from helpers import PROBLEM, make_rollout, make_turn

from rltf.annotate.items import LEASE_SECONDS, Desk, items_of_file, items_of_run
from rltf.annotate.server import AnnotationServer
from rltf.feedback.logged import read_log
from rltf.rollouts.recording import rollout_record
from rltf.rollouts.records import RolloutRecord
from rltf.support.errors import UserError

HOSTILE = '<img src=x onerror="document.title=1"></pre><script>document.title=1</script> & "quotes" \u202e'
ROWS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": f"What is {i} + 1?"}], "response": f"{i + 2}", "answer": str(i + 1)}
    for i in range(3)
]


def make_file(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(items_of_file(make_file(tmp_path / "in.jsonl")), tmp_path / "out.jsonl")


def key_of(desk: Desk, annotator: str) -> str:
    item = desk.next(annotator)
    assert item is not None
    return item.key


def test_nobody_gets_what_another_has_or_has_done(desk: Desk, tmp_path: Path) -> None:
    first, second = key_of(desk, "Ann"), key_of(desk, "Bob")
    assert first != second
    assert key_of(desk, "Ann") == first
    desk.save("Ann", first, "Too large.")
    with pytest.raises(KeyError):
        desk.save("Ann", second, "Not mine.")
    third = key_of(desk, "Ann")
    assert third not in (first, second)
    desk.save("Ann", third, "Too large.")
    assert desk.next("Ann") is None
    desk.save("Bob", second, "Less.")
    assert desk.progress("Ann") == {"items": 3, "done": 3, "mine": 2}
    assert [entry.feedback for entry in read_log(tmp_path / "out.jsonl")] == ["Too large.", "Too large.", "Less."]
    assert [line["annotator"] for line in jsonl(tmp_path / "out.jsonl")] == ["Ann", "Ann", "Bob"]
    assert [entry.answer for entry in read_log(tmp_path / "out.jsonl")] == ["1", "3", "2"]


def test_what_somebody_leaves_lying_comes_free(tmp_path: Path) -> None:
    now = [0.0]
    desk = Desk(items_of_file(make_file(tmp_path / "in.jsonl", ROWS[:1])), tmp_path / "out.jsonl", lambda: now[0])
    key = key_of(desk, "Ann")
    assert desk.next("Bob") is None
    now[0] = LEASE_SECONDS + 1
    assert key_of(desk, "Bob") == key
    with pytest.raises(KeyError):
        desk.save("Ann", key, "Too late.")
    desk.save("Bob", key, "In time.")
    with pytest.raises(KeyError):
        desk.save("Ann", key, "Too late.")


def test_skipped_items_come_last_and_a_new_desk_goes_on(desk: Desk, tmp_path: Path) -> None:
    first = key_of(desk, "Ann")
    desk.skip("Ann", first)
    second = key_of(desk, "Ann")
    desk.save("Ann", second, "x")
    third = key_of(desk, "Ann")
    desk.save("Ann", third, "y")
    assert key_of(desk, "Ann") == first
    with pytest.raises(UserError, match="another rltf annotate writes there"):
        Desk(items_of_file(tmp_path / "in.jsonl"), tmp_path / "out.jsonl")
    desk.close()
    again = Desk(items_of_file(tmp_path / "in.jsonl"), tmp_path / "out.jsonl")
    assert again.progress("Ann") == {"items": 3, "done": 2, "mine": 2}
    assert key_of(again, "Ann") == first


def test_undo_takes_ones_own_newest_entry_back(desk: Desk, tmp_path: Path) -> None:
    assert desk.undo("Ann") is None
    for annotator in ("Ann", "Bob"):
        desk.save(annotator, key_of(desk, annotator), f"by {annotator}")
    undone = desk.undo("Ann")
    assert undone is not None
    item, text = undone
    assert text == "by Ann"
    assert key_of(desk, "Ann") == item.key
    assert [line["annotator"] for line in jsonl(tmp_path / "out.jsonl")] == ["Bob"]


def test_a_last_line_that_was_cut_goes_and_one_without_its_end_gets_it(desk: Desk, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    for number in range(2):
        desk.save("Ann", key_of(desk, "Ann"), f"text {number}")
    desk.close()
    whole = out.read_bytes()
    for damaged, left in ((whole[:-40], 1), (whole[:-1], 2), (whole + b'{"item": "', 2)):
        out.write_bytes(damaged)
        again = Desk(items_of_file(tmp_path / "in.jsonl"), out)
        assert again.progress("Ann")["done"] == left
        again.save("Ann", key_of(again, "Ann"), "more")
        again.close()
        assert len(read_log(out)) == left + 1


def test_what_could_not_be_written_can_be_sent_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = key_of(desk, "Ann")

    def full(line: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(desk, "_append", full)
        desk.save("Ann", key, "x")
    desk.save("Ann", key, "x \ud83d")
    assert [entry.feedback for entry in read_log(tmp_path / "out.jsonl")] == ["x ?"]


def test_another_file_is_not_written_into(tmp_path: Path) -> None:
    source = make_file(tmp_path / "in.jsonl")
    with pytest.raises(UserError, match="line 1: was not written by rltf annotate"):
        Desk(items_of_file(source), source)
    with pytest.raises(UserError, match="line 1: response"):
        items_of_file(make_file(tmp_path / "bad.jsonl", [{"messages": ROWS[0]["messages"]}]))
    with pytest.raises(UserError, match="line 1: reward"):
        items_of_file(make_file(tmp_path / "bad.jsonl", [ROWS[0] | {"reward": "good"}]))


def test_a_run_gives_its_distinct_wrong_first_attempts() -> None:
    def record(text: str, *, correct: bool) -> RolloutRecord:
        rollout = make_rollout(make_turn(float(correct), text=text))
        return rollout_record(rollout)

    records = [
        record("5", correct=False),
        record("4", correct=True),
        record("5", correct=False),
        record("6", correct=False),
        replace(record("7", correct=False), turns=(), text="7"),  # no judge gave a score
    ]
    items = items_of_run(records)
    assert [item.entry.response for item in items] == ["5", "6"]
    assert items[0].score.startswith("reward 0: ")
    assert items[0].entry.problem is not None
    assert (items[0].entry.problem.task, items[0].entry.problem.index) == (PROBLEM.task, PROBLEM.index)


@contextmanager
def serving(desk: Desk) -> Iterator[AnnotationServer]:
    server = AnnotationServer(desk, 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def send(url: str, body: object = None, **headers: str) -> tuple[int, Any]:
    data = None if body is None else (body if isinstance(body, bytes) else json.dumps(body).encode())
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=data, headers=headers), timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_requests_without_the_token_or_from_another_host_are_refused(desk: Desk) -> None:
    with serving(desk) as server:
        base = server.url.split("?")[0]
        token = server.token
        assert server.server_address[0] == "127.0.0.1"
        assert send(base)[0] == 403
        assert send(f"{base}item?annotator=Ann")[0] == 403
        assert send(f"{base}item?annotator=Ann&token=wrong")[0] == 403
        assert send(f"{base}item?annotator=Ann&token={token}")[0] == 200
        assert send(f"{base}item?annotator=Ann&token={token}", Host="evil.example")[0] == 403
        assert send(f"{base}save", {"annotator": "Ann"})[0] == 403


def test_broken_requests_are_told_so_and_change_nothing(desk: Desk, tmp_path: Path) -> None:
    with serving(desk) as server:
        base, headers = server.url.split("?")[0], {"X-Token": server.token}
        key = key_of(desk, "Ann")
        good = {"annotator": "Ann", "item": key, "feedback": "x"}
        for path, body, status in (
            ("save", b"{", 400), ("save", b"[]", 400), ("save", good | {"feedback": "  "}, 400),
            ("save", good | {"annotator": ""}, 400), ("save", good | {"annotator": "x" * 61}, 400),
            ("save", good | {"feedback": None}, 400), ("undo", good, 400),
            ("save", good | {"item": "no"}, 409), ("skip", good | {"annotator": "Bob"}, 409),
            ("save", good | {"feedback": "x" * 300_000}, 413), ("else", good, 404),
        ):  # fmt: skip
            assert send(base + path, body, **headers)[0] == status
        assert (tmp_path / "out.jsonl").read_bytes() == b""
        status, answer = send(base + "save", good, **headers)
        assert (status, answer["progress"]["done"]) == (200, 1)


def test_a_person_annotates_by_keyboard(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    rows = [ROWS[0] | {"response": HOSTILE}, *ROWS[1:]]
    out = tmp_path / "out.jsonl"
    desk = Desk(items_of_file(make_file(tmp_path / "in.jsonl", rows)), out)

    def at(name: str) -> Any:
        return browser.find_element(By.ID, name)

    def wait(text: str) -> None:
        WebDriverWait(browser, 10).until(lambda _: at("count").text == text)

    with serving(desk) as server:
        browser.get(server.url)
        browser.switch_to.active_element.send_keys("Ann", Keys.ENTER)
        wait("0 of 3 done, 0 by you")
        # Untrusted text is text.
        assert at("response").text.startswith('<img src=x onerror="document.title=1"></pre><script>')
        assert browser.title == "rltf annotate"
        assert browser.find_elements(By.TAG_NAME, "img") == []
        assert at("messages").text == "Question\nWhat is 0 + 1?"
        assert not at("answer").is_displayed()
        browser.switch_to.active_element.send_keys("It is no number.", Keys.CONTROL, Keys.ENTER)
        wait("1 of 3 done, 1 by you")
        assert at("response").text == "3"
        assert at("feedback").get_attribute("value") == ""
        browser.switch_to.active_element.send_keys(Keys.ALT, "s")
        WebDriverWait(browser, 10).until(lambda _: at("response").text == "4")
        browser.switch_to.active_element.send_keys("Too large.\nBy one.", Keys.CONTROL, Keys.ENTER)
        wait("2 of 3 done, 2 by you")
        browser.switch_to.active_element.send_keys(Keys.ALT, "z")
        wait("1 of 3 done, 1 by you")
        assert at("feedback").get_attribute("value") == "Too large.\nBy one."
        browser.switch_to.active_element.send_keys(" Or more?", Keys.CONTROL, Keys.ENTER)
        wait("2 of 3 done, 2 by you")
        assert at("response").text == "3"
        browser.switch_to.active_element.send_keys(Keys.CONTROL, Keys.ENTER)
        WebDriverWait(browser, 10).until(lambda _: "empty" in at("notice").text)
        browser.switch_to.active_element.send_keys("Less.", Keys.CONTROL, Keys.ENTER)
        wait("3 of 3 done, 3 by you")
        assert at("done").is_displayed()
    entries = read_log(out)
    assert [entry.feedback for entry in entries] == ["It is no number.", "Too large.\nBy one. Or more?", "Less."]
    assert entries[0].response == HOSTILE
    # Neither an error of the script nor anything that the policy of the page had to block.
    assert {line["source"] for line in browser.get_log("browser")} <= {"network"}


def test_a_run_is_annotated_and_what_was_written_trains(tiny_model: Path, tmp_path: Path) -> None:
    model = f"engine.model={tiny_model}"
    rltf("train", *SMALL, model, "--run-dir", "run", cwd=tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "rltf", "annotate", "run"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert "8 attempts, 0 done" in process.stdout.readline()
    url = process.stdout.readline().split()[1]
    base, token = url.split("?token=")
    for number in range(4):
        _, answer = send(f"{base}item?annotator=Ann&token={token}")
        body = {"annotator": "Ann", "item": answer["item"]["key"], "feedback": f"Row {number + 1} is wrong."}
        assert send(base + "save", body, **{"X-Token": token})[0] == 200
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
    assert "4 of 8 done; train with: log.path=run-feedback.jsonl" in process.stdout.read()
    rltf("train", *SMALL, model, "log.path=run-feedback.jsonl", "--run-dir", "taught", cwd=tmp_path)
    said = {turn["feedback"]["text"] for r in jsonl(tmp_path / "taught" / "rollouts.jsonl") for turn in r["turns"][:1]}
    assert said == {f"Row {number + 1} is wrong." for number in range(4)}
