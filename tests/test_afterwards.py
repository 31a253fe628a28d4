"""What a run leaves behind for others: tables, and a model with a card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pandas
import polars
import pyarrow
import pytest
from command_line import SMALL, rltf
from helpers import make_accuracies, make_summary
from pyarrow import parquet
from report_runs import append, attempt, fill_run, make_run, rollout

from rltf.cli import share
from rltf.cli.share import push_command
from rltf.config.load import load_config
from rltf.rollouts.records import BestRecord, FeedbackRecord, RolloutRecord
from rltf.runs.card import card, licence_of
from rltf.runs.directory import RunDir
from rltf.runs.run import Run
from rltf.runs.tables import COLUMNS, attempt_rows, columns, export
from rltf.support.errors import UserError

OLD_RUN = Path(__file__).parent / "data" / "version_0_1"


def test_a_row_per_attempt_has_what_was_said_and_how_it_was_trained() -> None:
    failed = FeedbackRecord(source="llm", cause="timeout", failure="late")
    record = rollout(
        3, 1, 0,
        attempt("half \ud83d", 0.0, prompt="Why?", feedback="Too large.", weights={"policy": -0.5}),
        attempt("4", 0.0, prompt="Too large.", feedback=failed, weights={"policy": 0.5, "distillation": 1.0}),
    )  # fmt: skip
    unscored = RolloutRecord(
        task="toy", split="train", problem=0, status="score_failed", turns=(), step=3, turn=0, text="5", failure=failed
    )
    table = columns(attempt_rows([record, unscored]))
    assert list(table)[: len(COLUMNS)] == list(COLUMNS)
    assert table["turn"] == [0, 1, 0]
    assert table["prompt"] == ["Why?", "Too large.", None]
    assert table["attempt"] == ["half ?", "4", "5"]
    assert table["feedback"] == ["Too large.", None, None]
    assert table["failure_cause"] == [None, "timeout", "timeout"]
    assert table["reward"] == [0.0, 0.0, None]
    assert table["weight/policy"] == [-0.5, 0.5, None]
    assert table["weight/distillation"] == [None, 1.0, None]
    for library in (pandas.DataFrame, polars.DataFrame, pyarrow.table):
        assert len(library(table)) == 3


def test_tables_are_data_frames_in_a_line(tmp_path: Path) -> None:
    run = Run.open(fill_run(make_run(tmp_path / "run")))
    frame = pandas.DataFrame(run.attempts())
    assert len(frame) == pyarrow.table(run.attempts()).num_rows == polars.DataFrame(run.attempts()).height > 80
    assert set(frame["turn"]) == {0, 1}
    assert len(pandas.DataFrame(run.metrics())) == polars.DataFrame(run.metrics()).height == 10
    by_turn = polars.DataFrame(run.attempts()).group_by("turn").agg(polars.col("correct").mean())
    assert dict(by_turn.iter_rows()) == pytest.approx(frame.groupby("turn")["correct"].mean().to_dict())
    assert frame[frame["turn"] == 0]["correct"].mean() == pytest.approx(
        sum(r.turns[0].score.correct for r in run.rollouts()) / 80
    )


@pytest.mark.parametrize("old", [False, True], ids=["today", "version 0.1"])
def test_parquet_files_hold_the_same_tables(old: bool, tmp_path: Path) -> None:
    path = OLD_RUN if old else fill_run(make_run(tmp_path / "run"))
    files = export(RunDir.open(path), tmp_path / "tables")
    assert [file.name for file in files] == ["attempts.parquet", "metrics.parquet", "evaluations.parquet"]
    run = Run.open(path)
    read = parquet.read_table(files[0]).to_pydict()
    expected = run.attempts()
    assert {name: read[name] for name in expected if name in read} == {n: v for n, v in expected.items() if n in read}
    assert set(expected) - set(read) <= {"weight/policy", "weight/distillation"}
    assert parquet.read_table(files[1]).to_pydict() == run.metrics()
    assert parquet.read_table(files[2])["first_turn"].to_pylist() == [e.first_turn for e in run.evaluations()]


def test_an_export_that_fails_half_way_leaves_the_earlier_tables_alone(tmp_path: Path) -> None:
    run = fill_run(make_run(tmp_path / "run"))
    before = {file.name: file.read_bytes() for file in export(RunDir.open(run), tmp_path / "tables")}
    with (run / "rollouts.jsonl").open("a") as file:
        file.write("no JSON\n")
    with pytest.raises(UserError, match="is no record of a run"):
        export(RunDir.open(run), tmp_path / "tables")
    assert {file.name: file.read_bytes() for file in (tmp_path / "tables").iterdir()} == before


def test_a_run_without_a_step_is_exported_too(tmp_path: Path) -> None:
    files = export(RunDir.open(make_run(tmp_path / "run")), tmp_path / "tables")
    assert [parquet.read_table(file).num_rows for file in files] == [0, 0, 0]


def front_matter(text: str) -> dict[str, Any]:
    _, front, _ = text.split("---\n", 2)
    return {key: json.loads(value) for key, _, value in (line.partition(": ") for line in front.splitlines())}


def test_a_card_says_method_data_figures_feedback_and_licence() -> None:
    summary = make_summary(make_accuracies(0.1, 0.2), make_accuracies(0.9, None))
    text = card(load_config([], []), summary)
    assert front_matter(text)["license"] == "apache-2.0"
    assert "base_model" not in front_matter(text), "the built-in model is on no hub"
    for part in ("`grpo`", "256 rollouts", "feedback from `rules`", "asked for 10 times", "| 10.0", "| 90.0", "| - |"):
        assert part in text, part
    hub = card(load_config([], ["engine.model=owner/name"]), summary)
    assert front_matter(hub)["base_model"] == "owner/name"
    assert "license" not in front_matter(hub)
    assert "whose files name none" in hub


def test_a_card_holds_no_path_and_no_name_breaks_it(tmp_path: Path) -> None:
    model = tmp_path / "a`|b<c>"
    model.mkdir()
    summary = make_summary(make_accuracies(0.1), make_accuracies(0.9))
    text = card(
        load_config([], []).model_copy(
            update={"engine": load_config([], []).engine.model_copy(update={"model": str(model)})}
        ),
        summary,
    )
    assert str(tmp_path) not in text
    assert "`abc`" in text
    assert licence_of(str(model)) is None
    (model / "README.md").write_text('---\ntags: ["x"]\nlicense: llama3.2\n---\n# A model\n')
    assert licence_of(str(model)) == "llama3.2"
    (model / "README.md").write_text("license: mit, says the text\n")
    assert licence_of(str(model)) is None


def test_the_best_model_s_card_says_whose_figures_stand_there() -> None:
    from dataclasses import replace

    best = BestRecord(step=50, validation_first_turn=0.75)
    summary = replace(make_summary(make_accuracies(0.1), make_accuracies(0.9)), best=best)
    text = card(load_config([], []), summary, best=True)
    assert "The model after step 50" in text
    assert "75.0 % of its first attempts were right" in text
    assert "after, last model" in text


def test_a_trained_model_has_its_card_and_is_exported_and_pushed(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rltf("train", *SMALL, f"engine.model={tiny_model}", "evaluation.every=1", "--run-dir", "run", cwd=tmp_path)
    run = tmp_path / "run"
    for name in ("model", "best"):
        assert "# tiny, trained on binary_matrix from text feedback" in (run / name / "README.md").read_text()
    assert "wrote run/tables/attempts.parquet" in rltf("export", "run", cwd=tmp_path).stdout
    assert "is no name on the hub" in rltf("push", "run", "name", cwd=tmp_path, status=2).stderr
    with pytest.raises(UserError, match=r"evaluation\.every"):
        push_command(fill_run(make_run(tmp_path / "other")), "owner/name", best=True, public=False)
    with pytest.raises(UserError, match="finish it with rltf train --resume"):
        push_command(tmp_path / "other", "owner/name", best=False, public=False)
    calls: list[tuple[str, Any]] = []

    class Hub:
        def create_repo(self, name: str, **settings: Any) -> str:
            calls.append((name, settings))
            return f"https://hub.example/{name}"

        def upload_folder(self, **settings: Any) -> None:
            calls.append(("upload", settings["folder_path"]))
            if settings["repo_id"] == "owner/full":
                raise OSError("no room\nthere")

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(share, "reachable", lambda: True)
    push_command(run, "owner/name", best=True, public=False)
    assert calls == [("owner/name", {"private": True, "exist_ok": True}), ("upload", run / "best")]
    assert "https://hub.example/owner/name" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"^owner/full: not pushed: no room$"):
        push_command(run, "owner/full", best=False, public=True)
    monkeypatch.setattr(share, "reachable", lambda: False)
    with pytest.raises(UserError, match="cannot be reached"):
        push_command(run, "owner/name", best=False, public=False)


def test_surprising_texts_are_exported(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=1)
    append(run / "rollouts.jsonl", [rollout(1, 0, 0, attempt("a\x00b\ud83d", 0.0, prompt="語"))])
    files = export(RunDir.open(run), tmp_path / "tables")
    assert parquet.read_table(files[0])["attempt"].to_pylist() == ["a\x00b?"]
