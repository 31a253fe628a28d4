"""Logged feedback: reading, converting, and training from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from command_line import SMALL, jsonl, rltf
from hypothesis import given
from hypothesis import strategies as st

from rltf.config import BinaryMatrixConfig, PromptsConfig
from rltf.config.load import load_config
from rltf.config.log import LogConfig
from rltf.feedback.logged import LogEntry, read_log, write_log
from rltf.feedback.logged.convert import from_chats, to_pair
from rltf.feedback.logged.entries import ProblemPlace
from rltf.feedback.logged.loading import LoadedLog, load_log
from rltf.feedback.logged.messages import messages_of
from rltf.feedback.logged.tally import Tally
from rltf.feedback.logged.task import LoggedAnswers, problem_of_entry
from rltf.rollouts.as_log import from_rollouts
from rltf.runs.build import build_task
from rltf.runs.run import Run
from rltf.support.errors import UserError
from rltf.text.prompts import Prompts
from rltf.types import Message, Split

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
    with pytest.raises(UserError, match="line 1: has neither a conversation"):
        list(from_chats(written(tmp_path / "other.jsonl", {"text": "x"})))


def test_a_log_is_scored_by_its_task_or_by_its_answers() -> None:
    entries = [entry(0), entry(7)]
    assert [problem_of_entry(one, TASK) for one in entries] == [TASK.problem("train", 0), TASK.problem("train", 7)]
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
        problem_of_entry(entry(1, **fields), TASK)


def loaded(tmp_path: Path, entries: list[LogEntry], **settings: Any) -> LoadedLog:
    write_log(tmp_path / "log.jsonl", entries)
    return load_log(LogConfig(path=str(tmp_path / "log.jsonl"), **settings), TASK, 0)


@pytest.mark.parametrize(
    ("settings", "bad", "complaint"),
    [
        ({"score": "answer"}, entry(1, answer=None), "entry 2 of the log: log.score=answer: it has no answer"),
        ({"score": "all"}, entry(1, revision=" "), "entry 2 of the log: log.score=all: it has no revision"),
        ({"score": "task"}, entry(1, problem=None), "entry 2 of the log: it names no problem of binary_matrix"),
    ],
)
def test_entries_without_what_the_score_asks_for_are_left_out_up_to_a_share(
    tmp_path: Path, settings: dict[str, Any], bad: LogEntry, complaint: str
) -> None:
    good = [entry(0, revision="x"), entry(2, revision="x"), entry(3, revision="x")]
    entries = [good[0], bad, *good[1:]]
    with pytest.raises(UserError, match=complaint):
        loaded(tmp_path, entries, **settings)
    log = loaded(tmp_path, entries, max_unusable=0.25, **settings)
    assert (list(log.entries), list(log.numbers), len(log.problems)) == (good, [1, 3, 4], 3)
    assert log.told()[1].endswith(log.tally.record()["left_out"][0]["reason"])
    assert log.record()["unusable"] == 1
    with pytest.raises(UserError, match=r"allows a share of 0\.25"):
        loaded(tmp_path, [good[0], bad, bad, good[1]], max_unusable=0.25, **settings)


def own(index: int, **fields: Any) -> LogEntry:
    """An entry about a question that no task has."""
    said = (
        Message(role="user", content="Hello."),
        Message(role="assistant", content="Hello!"),
        Message(role="user", content=f"What is {index} + 1?"),
    )
    known: dict[str, Any] = {"response": "5", "feedback": "Too large.", "answer": str(index + 1)}
    return LogEntry(messages=said, **{**known, **fields})


def test_a_log_of_ones_own_questions_holds_some_out_for_evaluation(tmp_path: Path) -> None:
    entries = [own(i % 20, response=str(i)) for i in range(40)]
    log = loaded(tmp_path, entries, score="answer")
    assert log.evaluated is log.about
    assert [log.about.size(split) for split in ("train", "validation", "test")] == [32, 2, 2]
    asked = {
        split: {log.about.problem(split, i).prompt for i in range(log.about.size(split))} for split in get_args(Split)
    }
    assert not asked["train"] & asked["test"]
    assert not asked["train"] & asked["validation"]
    assert not asked["validation"] & asked["test"]
    problem = log.about.problem("test", 0)
    assert [message.content for message in Prompts(PromptsConfig()).first_turn(problem)] == [
        "Hello.",
        "Hello!",
        problem.prompt,
    ]
    assert log.about.score(problem, problem.answer).correct
    more = loaded(tmp_path, entries, score="answer", held_out=0.25)
    assert [more.about.size(split) for split in ("train", "validation", "test")] == [20, 5, 5]
    on_task = loaded(tmp_path, entries, score="answer", evaluate_on="task")
    assert on_task.evaluated is TASK
    assert len(on_task.entries) == 40
    assert "evaluations are on binary_matrix" in on_task.told()[-1]
    # Entries about the task's problems are evaluated on the task, unless the settings say otherwise.
    assert loaded(tmp_path, [entry(0), entry(1)], score="answer").evaluated is TASK
    three = [entry(0), entry(1), entry(2)]
    assert loaded(tmp_path, three, score="answer", evaluate_on="log").evaluated.name == "log"
    with pytest.raises(UserError, match="none are left to train on"):
        loaded(tmp_path, [own(0), own(1)], score="answer")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["log.evaluate_on=log"], r"log\.score=task is about the task's own problems"),
        (["log.held_out=0.2"], r"set log\.evaluate_on=log"),
        (["log.path=none", "log.max_unusable=0.5"], r"log\.max_unusable without log\.path has no effect"),
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


def test_a_run_on_a_log_of_ones_own_questions_is_evaluated_on_them(tiny_model: Path, tmp_path: Path) -> None:
    entries = [own(i) for i in range(12)]
    write_log(tmp_path / "log.jsonl", entries)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write(json.dumps(ROW) + "\n")  # has no answer
    settings = (f"engine.model={tiny_model}", "log.path=log.jsonl", "log.score=answer", "log.max_unusable=0.1")
    shown = rltf("train", *SMALL, *settings, "--run-dir", "run", cwd=tmp_path).stdout
    assert "1 of 13 rows cannot be used and are left out" in shown
    assert "evaluations are on questions of the log that no step trains on: 1 for validation, 1 for test" in shown
    record = json.loads((tmp_path / "run" / "log.json").read_text())
    assert {name: record[name] for name in ("entries", "rows", "unusable", "evaluated_on")} == {
        "entries": 10, "rows": 13, "unusable": 1, "evaluated_on": "log",
    }  # fmt: skip
    before, after = jsonl(tmp_path / "run" / "evaluations.jsonl")
    asked = [example["turns"][0]["prompt"] for example in (*before["examples"], *after["examples"])]
    assert all([m["content"] for m in prompt[:2]] == ["Hello.", "Hello!"] for prompt in asked)
    trained = {r["turns"][0]["prompt"][-1]["content"] for r in jsonl(tmp_path / "run" / "rollouts.jsonl")}
    assert not trained & {prompt[-1]["content"] for prompt in asked}
    for task in ("log", "binary_matrix"):
        other = ("--task", task, "evaluation.problems=1") if task != "log" else ()
        assert json.loads(rltf("eval", "run", "--json", *other, cwd=tmp_path).stdout)["task"] == task


def test_a_check_names_what_a_model_cannot_take(tiny_model: Path, tmp_path: Path) -> None:
    written(tmp_path / "log.jsonl", *[ROW] * 38, ROW | {"feedback": "x" * 9000}, ROW | {"reward": 2})
    alone = rltf("log", "check", "log.jsonl", cwd=tmp_path).stdout
    assert "39 entries" in alone
    assert "line 40: reward: must be a number from 0 to 1" in alone
    by_model = rltf("log", "check", "log.jsonl", f"engine.model={tiny_model}", cwd=tmp_path).stdout
    assert "38 entries" in by_model
    assert "2 of 40 rows cannot be used" in by_model
    assert "entry 39 of the log: it needs" in by_model
    strict = rltf("log", "check", "log.jsonl", "log.max_unusable=0", cwd=tmp_path, status=2)
    assert "line 40: reward" in strict.stderr
    refused = rltf("log", "check", "log.jsonl", "seed=1", cwd=tmp_path, status=2)
    assert "engine.* and log.max_unusable alone" in refused.stderr


def test_chats_are_told_of_by_what_becomes_of_them(tmp_path: Path) -> None:
    say = [{"from": "human", "value": "Name a river."}, {"from": "gpt", "value": "Alps"}]
    pair = {"conversations": say[:1], "chosen": {"from": "gpt", "value": "Rhine"}, "rejected": say[1]}
    rows = [
        {"conversations": [*say, {"from": "human", "value": "A river!"}]},
        {"conversations": say},
        pair,
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
    ]
    written(tmp_path / "chats.jsonl", *rows)
    shown = rltf("log", "from-chats", "chats.jsonl", "log.jsonl", "--pair-feedback", "Not this.", cwd=tmp_path).stdout
    assert "wrote 2 entries" in shown
    assert "1 conversations hold no feedback" in shown
    assert "theirs is: Not this." in shown
    assert "line 4: messages[0].content[0]: holds image_url, which is no text" in shown
    assert [entry.feedback for entry in read_log(tmp_path / "log.jsonl")] == ["A river!", "Not this."]
    few = rltf("log", "from-chats", "chats.jsonl", "o.jsonl", "--max-unusable", "0.1", cwd=tmp_path, status=2)
    assert "line 4: messages[0].content[0]" in few.stderr
    assert not (tmp_path / "o.jsonl").exists()


WORDS = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)
FORMS: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "openai": lambda role, text: {"role": role, "content": text},
    "parts": lambda role, text: {"role": role, "content": [{"type": "text", "text": text}]},
    "sharegpt": lambda role, text: {"from": {"user": "human", "assistant": "gpt"}.get(role, role), "value": text},
    "gemini": lambda role, text: {"role": {"assistant": "model"}.get(role, role), "parts": [{"text": text}]},
    "wildfeedback": lambda role, text: {"Role": {"assistant": "Agent"}.get(role, role).title(), "Content": text},
}


@given(st.lists(WORDS, min_size=3, max_size=7), st.sampled_from(sorted(FORMS)), st.booleans())
def test_a_conversation_is_read_whatever_form_it_is_written_in(texts: list[str], form: str, system: bool) -> None:
    roles = [("user", "assistant")[i % 2] for i in range(len(texts))]
    if system:
        roles, texts = ["system", *roles], ["Be brief.", *texts]
    written_out = [FORMS[form](role, text) for role, text in zip(roles, texts, strict=True)]
    plain = tuple(Message(role=role, content=text) for role, text in zip(roles, texts, strict=True))  # type: ignore[arg-type]
    assert messages_of(written_out, "here") == plain
    assert messages_of(json.dumps(written_out), "here") == plain


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["role", "from", "content", "value", "parts", "text", "type", "messages", "conversations",
                         "feedback", "response", "prompt", "chosen", "rejected", "completions", "tool_calls", "history",
                         "UtteranceId", "user_feedback", "label", "input"]) | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.lists(JSON, min_size=1, max_size=4))
def test_junk_is_counted_by_a_reason_and_raises_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any]
) -> None:
    path = written(tmp_path_factory.mktemp("junk") / "junk.jsonl", *[json.dumps(row) for row in rows])
    for chats in (True, False):
        tally = Tally("junk", 1.0)
        entries = list(from_chats(path, tally)) if chats else read_log(path, tally)
        assert tally.unusable <= tally.rows <= len(rows)
        assert all(entry.response.strip() and entry.feedback.strip() for entry in entries)
        assert all(entry.messages[-1].role == "user" for entry in entries)
        assert bool(tally.unusable) == bool(tally.lines())


@given(st.builds(LogEntry, messages=st.tuples(st.builds(Message, role=st.just("user"), content=WORDS)),
                 response=WORDS, feedback=WORDS, revision=WORDS))  # fmt: skip
def test_pairs_for_others_are_read_back(tmp_path_factory: pytest.TempPathFactory, entry: LogEntry) -> None:
    path = written(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", dict(to_pair(entry) or {}))
    assert list(from_chats(path)) == [entry]


def test_a_runs_attempts_make_a_log_that_trains_and_pairs_for_others(tiny_model: Path, tmp_path: Path) -> None:
    model = f"engine.model={tiny_model}"
    rltf("train", *SMALL, model, "--run-dir", "run", cwd=tmp_path)
    assert "wrote 8 entries" in rltf("log", "from-run", "run", "log.jsonl", cwd=tmp_path).stdout
    entries = read_log(tmp_path / "log.jsonl")
    assert entries == list(from_rollouts(Run.open(tmp_path / "run").rollouts()))
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
    assert "entry 1 of the log: it needs" in refused.stderr
    refused = rltf("train", *SMALL, model, "log.path=bad.jsonl", "--run-dir", "bad", cwd=tmp_path, status=2)
    assert "line 1: feedback" in refused.stderr
    assert not (tmp_path / "bad").exists()
