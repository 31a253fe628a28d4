"""Logged feedback: reading, converting, and training from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cli import SMALL, jsonl, rltf

from rltf.config import BinaryMatrixConfig
from rltf.config.load import load_config
from rltf.feedback.logged import LogEntry, read_log, write_log
from rltf.feedback.logged.convert import from_chats, from_rollouts, to_pair
from rltf.feedback.logged.entries import ProblemPlace
from rltf.feedback.logged.task import LoggedAnswers, problems_of
from rltf.runs.build import build_task
from rltf.support.errors import UserError
from rltf.types import Message

ONE = ("trainer.group_size=1", "objective.policy_coefficient=0")
SIZES: dict[str, Any] = {"train_size": 50, "validation_size": 5, "test_size": 5}
TASK = build_task(BinaryMatrixConfig(**SIZES))
USER = {"role": "user", "content": "What is 2 + 2?"}
ROW: dict[str, Any] = {"messages": [USER], "response": "5", "feedback": "Too large."}


def entry(index: int, **fields: Any) -> LogEntry:
    problem = TASK.problem("train", index)
    wrong = TASK.write_answer(problem.answer.replace("1", "3"))
    place = ProblemPlace(task="binary_matrix", split="train", index=index)
    known: dict[str, Any] = {"response": wrong, "feedback": "Row 1, column 1 should be smaller.", "problem": place}
    known |= {"answer": problem.answer, **fields}
    return LogEntry(messages=(Message(role="user", content=problem.prompt),), **known)


def written(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


TEXT = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)


@given(st.lists(st.builds(
    LogEntry,
    messages=st.tuples(st.builds(Message, role=st.just("user"), content=st.text())),
    response=TEXT, feedback=TEXT, revision=st.none() | st.text(),
    reward=st.none() | st.floats(0, 1), answer=st.none() | st.text(),
    problem=st.none() | st.builds(ProblemPlace, task=st.text(), split=st.just("train"), index=st.integers()),
), min_size=1))  # fmt: skip
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, entries: list[LogEntry]) -> None:
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    assert write_log(path, entries) == len(entries)
    assert read_log(path) == entries


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("{", "line 2: is not valid JSON"),
        ("[1]", "line 2: is not an object"),
        (ROW | {"messages": []}, "line 2: messages: must be a list of messages"),
        (ROW | {"messages": [{"role": "me", "content": "x"}]}, r"line 2: messages\[0\]\.role: 'me' is none of"),
        (ROW | {"messages": [{"role": "user"}]}, r"line 2: messages\[0\]\.content: must be a text"),
        (ROW | {"messages": [USER, {"role": "assistant", "content": "4"}]}, "line 2: messages: must end with"),
        (ROW | {"response": ""}, "line 2: response: must be a text that is not empty"),
        ({"messages": [USER], "response": "5"}, "line 2: feedback: must be a text that is not empty"),
        (ROW | {"revision": 4}, "line 2: revision: must be a text"),
        (ROW | {"reward": 7}, "line 2: reward: must be a number from 0 to 1"),
        (ROW | {"reward": True}, "line 2: reward: must be a number from 0 to 1"),
        (ROW | {"reward": float("nan")}, "line 2: reward: must be a number from 0 to 1"),
        (ROW | {"problem": {"task": "binary_matrix"}}, "line 2: problem: must be"),
    ],
)
def test_a_malformed_entry_is_named_by_line_and_field(tmp_path: Path, row: object, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        read_log(written(tmp_path / "log.jsonl", ROW, row))


def test_a_file_that_is_no_log_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no entries"):
        read_log(written(tmp_path / "empty.jsonl", ""))
    with pytest.raises(UserError, match="cannot be read"):
        read_log(tmp_path / "none.jsonl")
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not UTF-8 text"):
        read_log(tmp_path / "bytes.jsonl")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(UserError, match="is no readable parquet file"):
        read_log(tmp_path / "x.parquet")


def test_parquet_is_read_like_jsonl(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [ROW | {"answer": "4", "reward": None}, ROW | {"answer": None, "reward": 0.5}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "log.parquet")
    assert read_log(tmp_path / "log.parquet") == read_log(written(tmp_path / "log.jsonl", *rows))


def test_chats_become_entries_of_each_answer_that_the_user_comes_back_to(tmp_path: Path) -> None:
    def say(role: str, content: str, **more: object) -> dict[str, object]:
        return {"role": role, "content": content, **more}

    chat = [
        say("system", "Be brief."), say("user", "2+2?"), say("assistant", "5"), say("user", "Too large."),
        say("assistant", "4"), say("user", "Thanks. And 3+3?", feedback=False), say("assistant", "6"),
    ]  # fmt: skip
    path = written(tmp_path / "chats.jsonl", {"messages": chat}, {"conversation": chat[1:4], "hash": "x"})
    first, second = from_chats(path)
    assert [m.content for m in first.messages] == ["Be brief.", "2+2?"]
    assert (first.response, first.feedback, first.revision) == ("5", "Too large.", "4")
    assert (second.response, second.feedback, second.revision) == ("5", "Too large.", None)
    assert to_pair(second) is None
    assert to_pair(first) == {
        "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}],
        "rejected": [{"role": "assistant", "content": "5"}],
        "feedback": "Too large.",
        "chosen": [{"role": "assistant", "content": "4"}],
    }
    with pytest.raises(UserError, match="line 1: has neither messages nor conversation"):
        list(from_chats(written(tmp_path / "other.jsonl", {"text": "x"})))


def test_a_log_is_scored_by_its_task_or_by_its_answers() -> None:
    entries = [entry(0), entry(7)]
    assert problems_of(entries, TASK) == [TASK.problem("train", 0), TASK.problem("train", 7)]
    logged = LoggedAnswers(entries, scored=True)
    problem = logged.problem("train", 1)
    gold = TASK.problem("train", 7).answer
    assert logged.score(problem, f"So: <answer>\n {gold.replace(' ', '  ')}</answer>").correct
    assert logged.score(problem, gold).correct
    assert not logged.score(problem, entries[1].response).correct
    assert logged.reveals_answer(problem, f"It is {gold}.")
    four = LoggedAnswers([entry(0, answer="4")], scored=True)
    assert four.reveals_answer(four.problem("train", 0), "It is 4.")
    assert not four.reveals_answer(four.problem("train", 0), "Line 14 is wrong.")
    assert not LoggedAnswers(entries, scored=False).score(problem, gold).correct


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"problem": None}, "names no problem of binary_matrix"),
        ({"problem": ProblemPlace(task="shortest_path", split="train", index=0)}, "names no problem of binary_matrix"),
        ({"problem": ProblemPlace(task="binary_matrix", split="test", index=0)}, "is about a test problem"),
        ({"problem": ProblemPlace(task="binary_matrix", split="train", index=50)}, "has no train problem 50"),
        ({"problem": ProblemPlace(task="binary_matrix", split="train", index=2)}, "holds another question"),
    ],
)
def test_an_entry_that_the_task_cannot_score_is_refused(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        problems_of([entry(1), entry(1, **fields)], TASK)


def test_without_an_answer_there_is_nothing_to_score_by() -> None:
    with pytest.raises(UserError, match="entry 2 of the log has no answer"):
        LoggedAnswers([entry(0), entry(1, answer=None)], scored=True)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["objective.name=grpo"], "learns nothing from"),
        (["rollout.horizon=1"], "leaves rltf_sd no revisions"),
        (["log.score=none"], "tells no good revision"),
        (["objective.name=rltf_fm", "log.score=none"], "tells no good revision"),
        (["log.score=all"], r"set trainer\.group_size=1"),
        (["log.score=likelihood", *ONE, "rollout.horizon=3"], r"rollout\.horizon=2"),
        (["log.score=all", *ONE, "objective.name=rejection_sampling"], "set objective.name=rltf_sd"),
        (["log.score=all", *ONE, "objective.sd.baseline=second_turn"], r"objective\.sd\.baseline=first_turn"),
        (["log.score=all", *ONE, "objective.sd.ratio=ppo"], r"set objective\.sd\.ratio=none"),
    ],
)
def test_settings_from_which_nothing_is_learned_are_refused(settings: list[str], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        load_config([], ["log.path=log.jsonl", *settings])


NO_FLOOR = "objective.sd.logprob_floor=none"  # a model with random weights finds every token less likely than -5


@pytest.mark.parametrize(
    ("method", "settings", "components"),
    [
        ("rltf_sd", ("log.score=task",), {"policy", "distillation"}),
        ("rltf_sd_fm", ("log.score=answer",), {"policy", "distillation", "feedback"}),
        ("rltf_sd", ("log.score=all", *ONE, NO_FLOOR), {"distillation"}),
        ("rltf_sd_fm", ("log.score=likelihood", *ONE, NO_FLOOR), {"distillation", "feedback"}),
        ("rltf_fm", ("log.score=none", "rollout.horizon=1", *ONE), {"feedback"}),
    ],
)
def test_training_from_a_log(
    tiny_model: Path, tmp_path: Path, method: str, settings: tuple[str, ...], components: set[str]
) -> None:
    write_log(tmp_path / "log.jsonl", [entry(i, revision=f"revision {i}") for i in range(6)])
    rltf(
        "train", *SMALL, f"engine.model={tiny_model}", f"objective.name={method}", "log.path=log.jsonl", *settings,
        "--run-dir", "run", cwd=tmp_path,
    )  # fmt: skip
    records = jsonl(tmp_path / "run" / "rollouts.jsonl")
    first = [record["turns"][0] for record in records]
    assert {turn["feedback"]["source"] for turn in first} == {"log"}
    assert {turn["text"] for turn in first} <= {entry(i).response for i in range(6)}
    # What is not the policy's has no policy gradient; its feedback may be learned.
    assert all("policy" not in turn["weights"] for turn in first)
    assert all(("feedback" in turn["weights"]) == ("feedback" in components) for turn in first)
    assert {name for record in records for turn in record["turns"] for name in turn["weights"]} <= components
    assert all(len(record["turns"]) == (1 if method == "rltf_fm" else 2) for record in records)
    metrics = jsonl(tmp_path / "run" / "metrics.jsonl")
    assert all("accuracy/first_turn" not in step for step in metrics)
    assert ("loss/feedback" in metrics[0]) == ("feedback" in components)
    if settings[0] in ("log.score=all", "log.score=likelihood"):
        for record in records:
            revision = record["turns"][1]
            assert revision["text"].startswith("revision ")
            assert revision["weights"]["distillation"]["weight"] == pytest.approx(revision["score"]["reward"])
            assert (revision["score"]["reward"] == 1.0) == (settings[0] == "log.score=all")
            assert 0.0 < revision["score"]["reward"] <= 1.0


def test_a_runs_attempts_make_a_log_that_trains_and_pairs_for_others(tiny_model: Path, tmp_path: Path) -> None:
    model = f"engine.model={tiny_model}"
    rltf("train", *SMALL, model, "--run-dir", "run", cwd=tmp_path)
    assert "wrote 8 entries" in rltf("log", "from-run", "run", "log.jsonl", cwd=tmp_path).stdout
    entries = read_log(tmp_path / "log.jsonl")
    assert entries == list(from_rollouts(jsonl(tmp_path / "run" / "rollouts.jsonl")))
    shown = rltf("log", "check", "log.jsonl", cwd=tmp_path).stdout
    assert "8 with a revision" in shown
    assert "8 with a problem" in shown
    rltf("log", "to-pairs", "log.jsonl", "pairs.jsonl", cwd=tmp_path)
    assert len(jsonl(tmp_path / "pairs.jsonl")) == 8
    assert "exists already" in rltf("log", "to-pairs", "log.jsonl", "pairs.jsonl", cwd=tmp_path, status=2).stderr
    rltf("train", *SMALL, model, "log.path=log.jsonl", "--run-dir", "again", cwd=tmp_path)
    written(tmp_path / "bad.jsonl", ROW | {"feedback": 3})
    written(tmp_path / "long.jsonl", ROW | {"feedback": "x" * 9000})
    refused = rltf("train", *SMALL, model, "log.path=long.jsonl", "log.score=none", "objective.name=rltf_fm",
                   "rollout.horizon=1", "--run-dir", "long", cwd=tmp_path, status=2)  # fmt: skip
    assert "entry 1 of the log has" in refused.stderr
    refused = rltf("train", *SMALL, model, "log.path=bad.jsonl", "--run-dir", "bad", cwd=tmp_path, status=2)
    assert "line 1: feedback" in refused.stderr
    assert not (tmp_path / "bad").exists()
