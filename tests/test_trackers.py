"""Trackers are told of a run by their own libraries, go on with it after a resume, and end none."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Never

import pytest
from command_line import SMALL, rltf
from helpers import make_evaluation
from report_runs import attempt, make_run, rollout

from rltf.config.load import load_config
from rltf.rollouts.records import Timing
from rltf.runs import trackers
from rltf.runs.directory import RunDir
from rltf.runs.observers import Observer
from rltf.runs.run import Run
from rltf.runs.trackers import Guarded, TensorBoard
from rltf.runs.trainer import Interrupted
from rltf.support.errors import UserError


def stopped_and_resumed(path: Path, model: Path, setting: str) -> Run:
    """A run of four steps with a setting, stopped after two and resumed."""
    config = load_config([], [*SMALL, f"engine.model={model}", "trainer.steps=4", setting])
    with Run.begin(config, path) as run, pytest.raises(Interrupted):
        run.train(stop=lambda: len(run.metrics().get("step", [])) == 2)
    with Run.resume(path) as run:
        run.train()
    return run


def test_curves_settings_and_outcome_go_to_tensorboard_and_go_on_after_a_resume(
    tiny_model: Path, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = stopped_and_resumed(tmp_path / "run", tiny_model, 'records.trackers=["tensorboard"]')
    read: Any = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    read.Reload()
    curve = [(event.step, event.value) for event in read.Scalars("accuracy/first_turn")]
    told = run.metrics()
    assert curve == list(zip(told["step"], told["accuracy/first_turn"], strict=True))
    assert [event.step for event in read.Scalars("test/first_turn")] == [0, 4]
    texts = {tag: read.Tensors(tag)[-1].tensor_proto.string_val[0].decode() for tag in read.Tags()["tensors"]}
    assert "| trainer.steps | `4` |" in texts["settings/text_summary"]
    assert "Given a square matrix" in texts["test/examples/text_summary"]
    assert '"method": "rltf_sd"' in texts["summary/text_summary"]


def unload(name: str) -> None:
    """Forgets a package, so that it is imported anew."""
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        del sys.modules[module]


def asked_of_trackio(store: Path, *words: str) -> Any:
    """What `trackio` says of its store, from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", "from trackio.cli import main; main()", *words, "--project", "rltf", "--json"],
        env={**os.environ, "TRACKIO_DIR": str(store)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(done.stdout)


def test_trackio_has_one_record_on_this_machine_without_a_network_or_a_word(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object, **named: object) -> Never:
        raise OSError("no network")

    store = tmp_path / "store"
    monkeypatch.setenv("TRACKIO_DIR", str(store))  # which it reads when it is imported
    for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    unload("trackio")
    try:
        run = stopped_and_resumed(tmp_path / "run", tiny_model, 'records.trackers=["trackio"]')
        # One more of the same name is another record.
        stopped_and_resumed(tmp_path / "other" / "run", tiny_model, 'records.trackers=["trackio"]')
    finally:
        unload("trackio")
    assert "rackio" not in capfd.readouterr().out
    monkeypatch.undo()
    records = asked_of_trackio(store, "list", "runs")["runs"]
    record = json.loads((tmp_path / "run" / "trackers.json").read_text())["trackio"]
    assert len(records) == 2
    assert record in records
    values = asked_of_trackio(store, "get", "metric", "--run", record, "--metric", "accuracy/first_turn")["values"]
    told = run.metrics()
    assert [(each["step"], each["value"]) for each in values] == list(
        zip(told["step"], told["accuracy/first_turn"], strict=True)
    )
    known = asked_of_trackio(store, "get", "run", "--run", record)
    assert known["config"]["trainer.steps"] == "4"
    examples = asked_of_trackio(store, "get", "metric", "--run", record, "--metric", "test/examples")["values"]
    assert [each["step"] for each in examples] == [0, 4]
    assert "Given a square matrix" in examples[0]["value"]["_value"][0]["prompt"]
    (report,) = asked_of_trackio(store, "list", "reports", "--run", record)["reports"]
    assert '"method": "rltf_sd"' in report["content"]


@pytest.mark.parametrize("mode", ["offline", None])
def test_weights_and_biases_keeps_a_record_of_one_id_without_a_network_or_a_question(
    mode: str | None,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    for name in ("NETRC", "WANDB_CONFIG_DIR"):  # where a key of this machine's user would be found
        monkeypatch.setenv(name, str(tmp_path / name))
    if mode is None:
        monkeypatch.delenv("WANDB_MODE", raising=False)
    else:
        monkeypatch.setenv("WANDB_MODE", mode)
    stopped_and_resumed(tmp_path / "run", tiny_model, 'records.trackers=["wandb"]')
    assert "wandb:" not in capfd.readouterr().err
    files = sorted((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))
    # offline-run-DATE-ID, and a number behind it where two begin in one second.
    names = {file.parent.name.split("-")[3] for file in files}
    assert len(names) == 1, "before and after the resume it is one record"
    # The library's own process writes the last of it after the run has ended.
    latest = time.monotonic() + 30
    while b"feedback_calls" not in files[-1].read_bytes() and time.monotonic() < latest:
        time.sleep(0.1)
    whole = b"".join(file.read_bytes() for file in files)
    for part in (b"accuracy/first_turn", b"test/first_turn", b"objective.name", b"test/examples", b"feedback_calls"):
        assert part in whole, part


@pytest.mark.parametrize("place", ["run", "address"])
def test_mlflow_has_one_run_with_every_step_once(
    place: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient

    if place == "run":
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        address = f"sqlite:///{tmp_path}/run/mlflow/mlflow.db"
    else:
        address = f"file:{tmp_path}/store"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    run = stopped_and_resumed(tmp_path / "run", tiny_model, 'records.trackers=["mlflow"]')
    assert (tmp_path / "run" / "mlflow").exists() == (place == "run")
    assert "mlflow" not in capfd.readouterr().err
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name("rltf")
    assert experiment is not None
    (record,) = client.search_runs([experiment.experiment_id])
    assert (record.info.run_name, record.info.status) == ("run", "FINISHED")
    assert record.data.params["trainer.steps"] == "4"
    curve = [(m.step, m.value) for m in client.get_metric_history(record.info.run_id, "accuracy/first_turn")]
    told = run.metrics()
    assert sorted(curve) == list(zip(told["step"], told["accuracy/first_turn"], strict=True))
    assert {file.path for file in client.list_artifacts(record.info.run_id)} == {"examples", "summary.json"}


class Crash(Observer):
    """Ends the run at once after a step, whose checkpoint is not made yet."""

    def __init__(self, step: int) -> None:
        self._step = step

    def step(self, step: int, metrics: Mapping[str, float], timing: Timing) -> None:
        if step == self._step:
            raise RuntimeError("crash")


def test_a_run_that_goes_on_after_a_crash_tells_no_step_twice(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    settings = ["trainer.steps=5", "trainer.save_every=2", "evaluation.every=3", 'records.trackers=["mlflow"]']
    config = load_config([], [*SMALL, f"engine.model={tiny_model}", *settings])
    with Run.begin(config, tmp_path / "run") as run, pytest.raises(RuntimeError, match="crash"):
        run.train([Crash(4)])  # Steps 1 to 3 are told, the checkpoint is of step 2.
    with (tmp_path / "run" / "told.jsonl").open("a") as told:
        told.write('{"step": 4, "tra')  # As a kill would leave it.
    with Run.resume(tmp_path / "run") as run:
        run.train()
    client = MlflowClient(f"sqlite:///{tmp_path}/run/mlflow/mlflow.db")
    ((record,),) = [client.search_runs([e.experiment_id]) for e in client.search_experiments() if e.name == "rltf"]
    for name, steps in (
        ("accuracy/first_turn", [1, 2, 3, 4, 5]),
        ("validation/first_turn", [3]),
        ("test/tokens", [0, 5]),
    ):
        assert sorted(m.step for m in client.get_metric_history(record.info.run_id, name)) == steps, name


def test_what_a_tracker_lacks_is_one_line_before_any_work(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [*SMALL, f"engine.model={tiny_model}", "--run-dir", "run"]
    for value, message in (
        ('["wandb", "wandb"]', "a tracker stands twice"),
        ('["other"]', "records.trackers"),
    ):
        done = rltf("train", *settings, f"records.trackers={value}", cwd=tmp_path, status=2)
        assert message in done.stderr
    assert not (tmp_path / "run").exists()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name, lacking, extra in (
        ("tensorboard", "tensorboard", "trackers"),
        ("trackio", "trackio", "trackio"),
        ("mlflow", "sqlalchemy", "trackers"),
    ):
        monkeypatch.setattr(
            trackers, "find_spec", lambda package, lacking=lacking: None if package == lacking else True
        )
        with pytest.raises(UserError, match=rf"records\.trackers={name}: is not installed; pip install .*\[{extra}\]"):
            trackers.check_trackers(load_config([], [f'records.trackers=["{name}"]']))
    # A server keeps the database itself.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    trackers.check_trackers(load_config([], ['records.trackers=["mlflow"]']))


def test_a_tracker_that_fails_is_told_of_once_and_ends_no_run() -> None:
    class Broken(Observer):
        calls = 0

        def step(self, step: int, metrics: Mapping[str, float], timing: Timing) -> None:
            self.calls += 1
            raise ConnectionError("no network\nat all")

    notes: list[str] = []
    broken = Broken()
    guarded = Guarded("wandb", broken, notes.append)
    guarded.begin(0, 2)
    for step in (1, 2):
        guarded.step(step, {}, Timing(step=step, seconds=1.0, phases={}, tokens_per_second=1.0))
    guarded.end(None)
    assert notes == ["opening wandb", "wandb failed, and the run goes on without it: ConnectionError: no network"]
    assert broken.calls == 1


def begun(name: str, path: Path) -> tuple[list[str], float]:
    """What a tracker of a run says when it is begun, and its seconds."""
    import wandb

    wandb.teardown()  # In this process it may have found no key before.
    notes: list[str] = []
    config = load_config([], [f'records.trackers=["{name}"]'])
    (tracker,) = trackers.trackers(config, RunDir.open(make_run(path, steps=1)), notes.append)
    before = time.monotonic()
    tracker.begin(0, 1)
    return notes, time.monotonic() - before


@pytest.mark.parametrize(("name", "variable"), [("mlflow", "MLFLOW_TRACKING_URI"), ("wandb", "WANDB_BASE_URL")])
def test_a_tracker_whose_server_is_not_there_is_left_behind_at_once(
    name: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    notes, seconds = begun(name, tmp_path / "run")
    assert seconds < 30
    assert notes[0] == f"opening {name}"
    told = f"nobody listens at http://127.0.0.1:9 (Connection refused): start the server, or mend {variable}"
    assert notes[1] == f"{name} failed, and the run goes on without it: {told}"


@pytest.mark.parametrize(("name", "variable"), [("mlflow", "MLFLOW_TRACKING_URI"), ("wandb", "WANDB_BASE_URL")])
def test_a_tracker_whose_server_never_answers_is_soon_left_behind(
    name: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "_SECONDS", 2)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as listening:  # It takes connections, and says nothing.
        monkeypatch.setenv(variable, f"http://127.0.0.1:{listening.getsockname()[1]}")
        notes, seconds = begun(name, tmp_path / "run")
    assert seconds < 30
    assert f"{name} failed, and the run goes on without it" in notes[1]
    assert not any(name.startswith("MLFLOW_HTTP_REQUEST") for name in os.environ), "later calls have their own patience"


def test_texts_of_models_are_no_markup_in_a_tracker(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = make_run(tmp_path / "run", steps=2)
    board = TensorBoard(load_config([], []), RunDir.open(run))
    board.begin(0, 2)
    hostile = rollout(0, None, 0, attempt("`<script>` | a\n| b |", 0.0))
    board.evaluation(replace(make_evaluation(0, "test", 0.5), examples=(hostile,)))
    board.alarm(1, "it collapsed")
    board.end(None)
    read: Any = EventAccumulator(str(run / "tensorboard"))
    read.Reload()
    text = read.Tensors("test/examples/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "`'<script>' ¦ a`<br>`¦ b ¦`" in text
    assert read.Tensors("alarm/text_summary")
