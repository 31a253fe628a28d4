"""Several tasks in one run: what is drawn, who scores and criticises it, figures by task, feedback by task."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from command_line import SMALL, jsonl, rltf
from helpers import ScriptedJudge, make_rollout, make_turn
from judge_server import Reply, judge_server

from rltf.config import JudgeConfig, MixtureConfig
from rltf.config.load import (
    apply_override,
    config_from_json,
    config_to_json,
    load_config,
    task_files,
    validate_config,
    with_absolute_paths,
)
from rltf.feedback import Breaker, ByTaskSource, GuardedSource, OtherProblemSource
from rltf.feedback.llm import Endpoints, LLMSource
from rltf.feedback.logged import LogEntry
from rltf.feedback.logged.entries import ProblemPlace
from rltf.feedback.logged.task import problem_of_entry
from rltf.rollouts.evaluate import summarize
from rltf.rollouts.metrics import rollout_metrics
from rltf.runs.build import build_task
from rltf.support.errors import UserError
from rltf.tasks import BinaryMatrix, Mixture, SimpleTask
from rltf.tasks.base import Family, score_all
from rltf.tasks.mixture import parts_of
from rltf.types import FeedbackRequest, Message, Problem, RolloutGroup

SMALL_RUN = [setting for setting in SMALL if not setting.startswith("task.")]
SMALL_MATRIX = {"name": "binary_matrix", "train_size": 20, "validation_size": 4, "test_size": 4}


class Echo(SimpleTask):
    """Says a word back; the complaint bears the task's mark."""

    mark = "echo"
    family: Family = "general"

    def generate(self, rng: Random) -> tuple[str, str]:
        word = f"{self.mark}{rng.randrange(10**6)}"
        return f"Say {word}.", word

    def check(self, answer: str, problem: Problem) -> str | None:
        # The part knows its problems by its own name, whatever it is called in the mixture.
        assert problem.task == "echo"
        return None if answer == problem.answer else f"The {self.mark} is another."


def echo(mark: str, train: int, test: int, family: Family = "general") -> Echo:
    task = Echo(mark=mark, train_size=train, validation_size=2, test_size=test)
    task.family = family
    return task


def mixture() -> Mixture:
    return Mixture({"a": (echo("alpha", 30, 6), 3.0), "b": (echo("beta", 5, 3), 1.0)})


def config_of(*tasks: dict[str, Any], **others: Any) -> Any:
    return validate_config({"task": {"tasks": list(tasks)}, **others})


def test_training_draws_by_weight_and_leaves_no_problem_out() -> None:
    task = mixture()
    problems = [task.problem("train", i) for i in range(task.size("train"))]
    assert Counter(problem.task for problem in problems) == {"a": 30, "b": 10}
    assert Counter(p.prompt for p in problems if p.task == "b").most_common()[-1][1] == 2
    assert {p.index for p in problems if p.task == "a"} == set(range(30))
    assert {p.index for p in problems if p.task == "b"} == set(range(5))
    assert problems == [mixture().problem("train", i) for i in range(40)]


def test_the_test_split_holds_each_problem_once_and_begins_with_all_parts() -> None:
    task = mixture()
    problems = [task.problem("test", i) for i in range(task.size("test"))]
    assert Counter(problem.task for problem in problems) == {"a": 6, "b": 3}
    assert [problem.task for problem in problems[:3]] == ["a", "b", "a"]
    assert len({problem.prompt for problem in problems}) == 9
    for index in (-1, 9):
        with pytest.raises(IndexError):
            task.problem("test", index)
    with pytest.raises(IndexError):
        task.problem("train", 40)


def test_each_problem_is_scored_and_criticised_by_its_own_part() -> None:
    task = mixture()
    first, second = task.problem("test", 0), task.problem("test", 1)
    attempts = [(second, "<answer>x</answer>"), (first, task.write_answer(first.answer)), (second, "?")]
    assert [score.correct for score in score_all(task, attempts)] == [False, True, False]
    for problem, mark in ((first, "alpha"), (second, "beta")):
        score = task.score(problem, "<answer>x</answer>")
        assert task.feedback(problem, "<answer>x</answer>", score, "located") == f"The {mark} is another."
        assert task.reveals_answer(problem, f"It is {problem.answer}.")
        assert not task.reveals_answer(problem, f"The {mark} is another.")
        near = list(task.perturbations(problem, Random(0)))
        assert near
        assert not any(task.score(problem, text).correct for text in near)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "task: tasks is empty; list tasks"),
        ([{"name": "mixture"}], "task.tasks.0: a mixture within a mixture; list its tasks themselves"),
        ([{"tasks": []}], "task.tasks.0: a mixture within a mixture"),
        ([{"weight": 1.0}], "task.tasks.0: names no task; set name or path"),
        ([{"name": "binary_matrix", "weight": 0.0}], "task.tasks.0.weight=0.0: input should be greater than 0"),
        ([{"name": "binary_matrix", "weight": -1.0}], "task.tasks.0.weight=-1.0: input should be greater than 0"),
        ([{"name": "binary_matrix", "label": "a b"}], "task.tasks.0.label='a b': string should match pattern"),
        ([{"name": "binary_matrix"}] * 2, "task: two tasks are called binary_matrix; give one of them another label"),
        ([{"path": "a/x.py"}, {"path": "b/x.jsonl"}], "task: two tasks are called x; give one of them another label"),
        ([{"name": "binary_matrx"}], "task.tasks.0.name='binary_matrx': unknown; did you mean binary_matrix?"),
        ([{"name": "binary_matrix", "min_sid": 3}], "task.tasks.0.min_sid: unknown setting; did you mean min_side?"),
        (
            [{"path": "x.py"}, {"name": "binary_matrix", "people": 3}],
            "task.tasks.1.people: is no setting of task.tasks.1.name=binary_matrix, but of knights_and_knaves",
        ),
        ([{"name": "binary_matrix", "min_side": "3"}], "task.tasks.0.min_side='3': input should be a valid integer"),
        ([3], "task.tasks.0=3: input should be"),
        (
            [{"path": "hub:foo"}, {"name": "binary_matrix"}],
            "task.tasks.0: path='hub:foo' is no .jsonl or .parquet file",
        ),
    ],
)
def test_an_impossible_mixture_is_refused_in_one_line(tasks: list[Any], message: str) -> None:
    with pytest.raises(UserError) as raised:
        config_of(*tasks)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_settings_survive_json_and_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "mixed.toml"
    recipe.write_text(
        '[[task.tasks]]\nname = "binary_matrix"\nweight = 2.0\nmin_side = 3\n'
        '[[task.tasks]]\npath = "my.py"\nlabel = "mine"\nsettings.n = 3\n'
        '[feedback.per_task]\nmine = "constant"\n'
    )
    config = with_absolute_paths(load_config([recipe], []))
    assert isinstance(config.task, MixtureConfig)
    assert config.task.labels == ["binary_matrix", "mine"]
    assert [part.weight for part in config.task.tasks] == [2.0, 1.0]
    assert config.task.tasks[0].task.min_side == 3  # type: ignore[union-attr]
    assert task_files(config.task) == [str(tmp_path / "my.py")]
    assert config_from_json(config_to_json(config)) == config
    assert isinstance(hash(config), int)
    assert config.feedback.asked == {"rules", "constant"}


def test_a_label_from_a_file_s_name_survives_json() -> None:
    config = config_of({"path": "my rows (2).jsonl"}, {"name": "binary_matrix"})
    assert config.task.labels == ["my_rows__2_", "binary_matrix"]
    assert config_from_json(config_to_json(config)) == config


def test_a_weight_that_asks_for_an_endless_pass_is_refused() -> None:
    task = Mixture({"a": (echo("alpha", 30, 6), 1.0), "b": (echo("beta", 5, 3), 1e-12)})
    with pytest.raises(UserError, match=r"a pass over all parts takes 5e[+]12 problems; raise the smallest weight"):
        task.size("train")


def test_the_weight_of_a_part_decides_its_share_of_training() -> None:
    task = build_task(config_of({**SMALL_MATRIX, "label": "often", "weight": 3.0}, SMALL_MATRIX).task)
    drawn = Counter(task.problem("train", i).task for i in range(task.size("train")))
    assert drawn["often"] == 3 * drawn["binary_matrix"] > 0


def test_settings_of_a_part_reach_it() -> None:
    task = build_task(config_of({**SMALL_MATRIX, "min_side": 3, "max_side": 3, "label": "small"}, SMALL_MATRIX).task)
    sides = {name: len(part.problem("test", 0).metadata["matrix"]) for name, part in parts_of(task).items()}
    assert sides == {"small": 3, "binary_matrix": 4}
    assert isinstance(parts_of(task)["small"], BinaryMatrix)
    problem = task.problem("test", 0)
    assert problem.task == "small"
    assert task.score(problem, task.write_answer(problem.answer)).correct


def test_a_source_of_feedback_per_task() -> None:
    task = mixture()
    requests = [request(task, i) for i in range(4)]
    others, mine = ScriptedJudge(script=["o1", "o2", "o3"]), ScriptedJudge(script=["m1"])
    answers = ByTaskSource({"b": mine}, others).feedback(requests, seed=0)
    assert [r.problem.task for r in requests] == ["a", "b", "a", "a"]
    assert [answer.text for answer in answers] == ["o1", "m1", "o2", "o3"]  # type: ignore[union-attr]
    assert (others.calls, mine.calls) == (1, 1)
    shared = ScriptedJudge(script=list("wxyz"))
    ByTaskSource({"b": shared}, shared).feedback(requests, seed=0)
    assert shared.calls == 1


def request(task: Mixture, index: int, attempt: str = "x") -> FeedbackRequest:
    problem = task.problem("test", index)
    return FeedbackRequest(problem=problem, attempt=attempt, score=task.score(problem, attempt))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "feedback.per_task is for task.name=mixture; set feedback.source instead"),
        (
            {"task": {"tasks": [{"name": "binary_matrix"}, {"path": "y.py"}]}},
            "feedback.per_task.x: the mixture has no such task, but binary_matrix, y",
        ),
    ],
)
def test_a_source_for_a_task_that_is_not_there_is_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as raised:
        validate_config({**data, "feedback": {"per_task": {"x": "rules"}}})
    assert str(raised.value) == message
    with pytest.raises(UserError, match=r"feedback.per_task.x='nobody': input should be 'rules', 'constant'"):
        validate_config({**data, "feedback": {"per_task": {"x": "nobody"}}})


def test_a_judge_that_only_one_task_asks_must_be_named() -> None:
    tasks = [{"name": "binary_matrix"}, {"name": "shortest_path"}]
    with pytest.raises(UserError, match=r"judge.model is not set"):
        config_of(*tasks, feedback={"per_task": {"shortest_path": "llm"}})
    config = config_of(*tasks, feedback={"per_task": {"shortest_path": "llm"}}, judge={"model": "m"})
    assert config.feedback.asked == {"rules", "llm"}


def test_hints_are_for_mixtures_that_have_them() -> None:
    assert config_of({"name": "knights_and_knaves"}, {"name": "binary_matrix"}, feedback={"level": "hint"})
    with pytest.raises(UserError, match=r"feedback.level=hint: mixture gives no hints"):
        config_of({"name": "binary_matrix"}, feedback={"level": "hint"})


def test_problems_of_different_parts_with_one_index_are_not_taken_for_one() -> None:
    task = mixture()
    # Both are problem 0 of their part, with the same attempt.
    pair = [request(task, 0), request(task, 1)]
    assert [r.problem.index for r in pair] == [0, 0]
    judge = GuardedSource(ScriptedJudge(script=[None, None]), "skip", Breaker(2))
    with pytest.raises(UserError, match="failed 2 times in a row"):
        judge.feedback(pair, seed=0)
    swapped = OtherProblemSource(ScriptedJudge(script=["about a", "about b"])).feedback(pair, seed=0)
    assert [answer.text for answer in swapped] == ["about b", "about a"]  # type: ignore[union-attr]


def test_the_judges_prompt_is_that_of_the_problems_own_family() -> None:
    task = Mixture({"a": (echo("alpha", 5, 5, "maths"), 1.0), "b": (echo("beta", 5, 5, "code"), 1.0)})
    with judge_server(lambda body, before: Reply(content="<feedback>No.</feedback>")) as server:
        config = JudgeConfig(model="m", base_url=server.url, key_env=None)
        with Endpoints() as endpoints:
            LLMSource(config, task, endpoints).feedback([request(task, 0), request(task, 1)], seed=0)
        asked = {body["messages"][0]["content"].splitlines()[0] for body in server.requests}
    prompts = Path(__file__).parent.parent / "src" / "rltf" / "feedback" / "llm" / "prompts"
    assert asked == {(prompts / f"{family}.txt").read_text().splitlines()[0] for family in ("maths", "code")}


def group(task: str, *rewards: float) -> RolloutGroup:
    problem = Problem(task=task, split="test", index=0, prompt="?", answer="!")
    rollouts = [make_rollout(make_turn(reward=reward)) for reward in rewards]
    return RolloutGroup(problem=problem, rollouts=rollouts)


def test_figures_by_task() -> None:
    groups = [group("a", 1.0, 0.0), group("b", 0.0, 0.0), group("a", 1.0, 1.0)]
    figures = summarize(groups, "test", 2, 1.0)
    assert {name: (each["problems"], each["first_turn"]) for name, each in figures.by_task.items()} == {
        "a": (2, 0.75),
        "b": (1, 0.0),
    }
    assert figures.to_json()["by_task"]["a"]["second_turn"] is None
    assert summarize(groups[:1], "test", 2, 1.0).by_task == {}
    metrics = rollout_metrics(groups, by_task=True)
    assert metrics["accuracy/first_turn"] == 0.5
    assert metrics["accuracy/first_turn/a"] == 0.75
    assert metrics["accuracy/first_turn/b"] == 0.0
    assert not [name for name in rollout_metrics(groups) if name.count("/") > 1]


def test_figures_by_kind() -> None:
    kinds: list[tuple[str, ...]] = [("words", "case"), ("words",), ("case", "case"), ()]
    groups = [
        replace(each, problem=replace(each.problem, kinds=mine))
        for each, mine in zip(
            [group("a", 1.0, 0.0), group("a", 0.0, 0.0), group("a", 1.0, 1.0), group("a", 0.0, 1.0)], kinds, strict=True
        )
    ]
    figures = summarize(groups, "test", 2, 1.0)
    assert {name: (each["problems"], each["first_turn"]) for name, each in figures.by_kind.items()} == {
        "case": (2, 0.75),
        "words": (2, 0.25),
    }
    assert figures.by_kind["words"]["first_turn_interval"] is not None
    # Where all problems are of the same kinds, these say nothing that the whole does not.
    alike = [replace(each, problem=replace(each.problem, kinds=("words", "case"))) for each in groups]
    assert summarize(alike, "test", 2, 1.0).by_kind == {}
    assert summarize([group("a", 1.0)], "test", 1, 1.0).by_kind == {}


def entry(problem: Problem, **place: Any) -> LogEntry:
    named = {"task": problem.task, "split": problem.split, "index": problem.index, **place}
    return LogEntry(
        messages=(Message(role="user", content=problem.prompt),),
        response="x",
        feedback="No.",
        problem=ProblemPlace(**named),
    )


def test_log_entries_name_the_problems_of_a_mixture_as_its_record_does() -> None:
    task = mixture()
    problems = [task.problem("train", 3), task.problem("train", 33)]
    assert [problem.task for problem in problems] == ["a", "b"]
    assert [problem_of_entry(entry(problem), task) for problem in problems] == problems
    # A log of a run on the part alone fits as well, under the part's label.
    alone = echo("beta", 5, 3).problem("train", 2)
    found = problem_of_entry(entry(alone, task="b"), task)
    assert (found.task, found.index, found.prompt) == ("b", 2, alone.prompt)
    for place, message in (
        ({"task": "c"}, "names no problem of a or b"),
        ({"index": 99}, "a has no train problem 99"),
        ({"index": 4}, "holds another question than train problem 4 of a"),
    ):
        with pytest.raises(UserError, match=message):
            problem_of_entry(entry(problems[0], **place), task)


def test_a_run_on_a_mixture(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "sums.jsonl").write_text(
        "".join(json.dumps({"question": f"{n} + {n}?", "answer": str(2 * n)}) + "\n" for n in range(30))
    )
    (tmp_path / "mixed.toml").write_text(
        '[[task.tasks]]\nname = "binary_matrix"\ntrain_size = 20\nvalidation_size = 4\ntest_size = 4\n'
        '[[task.tasks]]\npath = "sums.jsonl"\nscorer = "numeric"\n'
        '[feedback.per_task]\nsums = "constant"\n'
    )
    checked = rltf("validate", "mixed.toml", cwd=tmp_path).stdout
    assert "binary_matrix\nholds" in checked
    assert "sums\nholds" in checked
    rltf(
        "train", "mixed.toml", *SMALL_RUN, f"engine.model={tiny_model}", "trainer.groups_per_batch=6",
        "--run-dir", "run", cwd=tmp_path,
    )  # fmt: skip
    records = jsonl(tmp_path / "run" / "rollouts.jsonl")
    assert {record["task"] for record in records} == {"binary_matrix", "sums"}
    sources = {(r["task"], turn["feedback"]["source"]) for r in records for turn in r["turns"] if turn["feedback"]}
    assert sources == {("binary_matrix", "rules:located"), ("sums", "constant")}
    names = {name for record in jsonl(tmp_path / "run" / "metrics.jsonl") for name in record}
    assert {"accuracy/first_turn", "accuracy/first_turn/sums", "accuracy/first_turn/binary_matrix"} <= names
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["task"] == "mixture"
    assert set(summary["after"]["by_task"]) == {"binary_matrix", "sums"}
    shown = rltf("eval", "run", "-k", "1", cwd=tmp_path).stdout
    assert "first attempts that are right, sums" in shown


def test_overrides_can_name_a_source_for_a_task() -> None:
    data: dict[str, Any] = {"task": {"tasks": [{"name": "binary_matrix"}]}}
    apply_override(data, "feedback.per_task.binary_matrix=constant")
    assert validate_config(data).feedback.per_task == {"binary_matrix": "constant"}
