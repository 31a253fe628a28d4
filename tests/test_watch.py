"""The live page: its data grow with the run, it keeps what is being read, and feedback is written from it."""

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
from pathlib import Path
from typing import Any

import pytest
from report_runs import fill_run, make_run
from test_report_page import all_of, complaints, text_of, until

from rltf.cli.watch import Annotation, watch_command
from rltf.feedback.logged import read_log
from rltf.report.live import Live
from rltf.report.server import WatchServer
from rltf.support.errors import UserError


@contextmanager
def serving(run: Path, log: Path) -> Iterator[WatchServer]:
    annotation = Annotation(log)
    server = WatchServer(Live([run]), 0, annotation)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        annotation.close()
        server.shutdown()
        server.server_close()


def get(url: str, **headers: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def growing(path: Path, steps: int = 12) -> tuple[Path, dict[str, list[str]]]:
    """A run that is finished elsewhere, and its lines, to be given to it bit by bit."""
    whole = fill_run(make_run(path.with_name("whole"), steps=steps), steps=steps)
    rows = {file.name: file.read_text().splitlines(keepends=True) for file in whole.glob("*.jsonl")}
    return make_run(path, steps=steps), rows


def give(run: Path, rows: dict[str, list[str]], done: int) -> None:
    for name, lines in rows.items():
        (run / name).write_text("".join(line for line in lines if json.loads(line)["step"] <= done))


def test_data_come_when_something_is_new(tmp_path: Path) -> None:
    run, rows = growing(tmp_path / "run")
    live = Live([run])
    version, text = live.data(0)
    assert json.loads(text or "")["runs"][0]["done"] == 0
    assert live.data(version) == (version, None)
    give(run, rows, 5)
    later, text = live.data(version)
    assert later == version + 1
    assert json.loads(text or "")["runs"][0]["done"] == 5
    # A page that was opened later gets it all at once.
    assert live.data(0) == (later, text)
    # Resumed from a checkpoint before, the run is read anew.
    give(run, rows, 3)
    assert json.loads(live.data(later)[1] or "")["runs"][0]["done"] == 3
    give(run, rows, 12)
    assert json.loads(live.data(0)[1] or "")["runs"][0]["tally"]["rollouts"] == 96
    with pytest.raises(UserError, match="is no run directory"):
        Live([tmp_path / "none"])


def test_a_damaged_run_is_told_before_a_page_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def served(*_: Any) -> None:
        raise AssertionError("a page was served")

    monkeypatch.setattr("rltf.cli.watch.WatchServer", served)
    run = fill_run(make_run(tmp_path / "run", steps=3), steps=3)
    (run / "rollouts.jsonl").write_text("no JSON\n")
    with pytest.raises(UserError, match=r"rollouts\.jsonl, line 1: is no record"):
        watch_command([run], 0)


def test_requests_without_the_token_or_from_another_host_are_refused(tmp_path: Path) -> None:
    run = fill_run(make_run(tmp_path / "run", steps=3), steps=3)
    with serving(run, tmp_path / "log.jsonl") as server:
        assert server.server_address[0] == "127.0.0.1"
        base, query = server.url.split("?")[0], f"?token={server.token}"
        for path in ("", "data", "annotate", "data?token=wrong"):
            assert get(base + path)[0] == 403
        assert get(f"{base}data{query}", Host="evil.example")[0] == 403
        assert get(f"{base}data{query}")[0] == 200
        assert get(f"{base}else{query}")[0] == 404
        for place in ("", "&run=0&step=9&group=0&rollout=0", "&run=7&step=1&group=0&rollout=0", "&run=x&step=²"):
            assert get(f"{base}annotate{query}{place.replace('²', '%C2%B2')}")[0] == 404


def test_a_run_is_followed_and_feedback_written_on_what_is_in_view(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

    run, rows = growing(tmp_path / "run")
    give(run, rows, 4)
    log = tmp_path / "log.jsonl"
    with serving(run, log) as server:
        browser.get(server.url)
        assert "4 of 12 steps, 32 rollouts" in text_of(browser, "#status")
        Select(all_of(browser, "#f-outcome")[0]).select_by_value("wrong")
        until(browser, lambda: "✗✗" in text_of(browser, ".list"))
        reading = text_of(browser, ".detail h3")
        found = int(text_of(browser, "#tally").split()[0])
        give(run, rows, 12)
        until(browser, lambda: "12 of 12 steps, 96 rollouts" in text_of(browser, "#status"))
        # What is being read stays, and so does the filter.
        assert text_of(browser, ".detail h3") == reading
        assert int(text_of(browser, "#tally").split()[0]) > found
        assert all_of(browser, "#f-outcome")[0].get_attribute("value") == "wrong"
        page = browser.current_window_handle
        (write,) = [button for button in all_of(browser, ".detail button") if button.text == "Write feedback"]
        attempt = all_of(browser, ".detail .turn.wrong pre")[0].text
        write.send_keys(Keys.ENTER)
        until(browser, lambda: len(browser.window_handles) == 2)
        browser.switch_to.window(next(handle for handle in browser.window_handles if handle != page))
        until(browser, lambda: bool(browser.find_elements(By.ID, "name")))
        browser.find_element(By.ID, "name").send_keys("Ann", Keys.ENTER)
        until(browser, lambda: browser.find_element(By.ID, "response").text == attempt)
        browser.find_element(By.ID, "feedback").send_keys("Count again.", Keys.CONTROL, Keys.ENTER)
        until(browser, lambda: browser.find_element(By.ID, "done").is_displayed())
        browser.close()
        browser.switch_to.window(page)
        assert complaints(browser) == []
    (entry,) = read_log(log)
    assert (entry.response, entry.feedback) == (attempt, "Count again.")


def test_the_command_serves_until_it_is_stopped_and_the_page_says_so(browser: Any, tmp_path: Path) -> None:
    fill_run(make_run(tmp_path / "run", steps=3), steps=3)
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "rltf", "watch", "run"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url = process.stdout.readline().split()[1]
    browser.get(url)
    assert "3 of 3 steps" in text_of(browser, "#status")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
    until(browser, lambda: "Is rltf watch running?" in text_of(browser, "#live"))
    assert text_of(browser, ".detail h3").startswith("Step 1, toy problem")
    assert not (tmp_path / "run-feedback.jsonl").exists(), "nobody asked to write"
