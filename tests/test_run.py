"""A run as an object: begun and resumed from Python and from the command line, with parts handed in, and watched."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from command_line import jsonl, start, wait_for_lines
from command_line import rltf as command
from test_run_dir import LOCKER, first_line

import rltf
from rltf.objectives import Context, Term
from rltf.objectives.policy_gradient import PolicyGradient
from rltf.runs.build import build_engine
from rltf.runs.directory import RunDir
from rltf.tasks import SimpleTask
from rltf.types import Problem, Score, Turn

SETTINGS: dict[str, Any] = {
    "objective.name": "rltf_sd_fm",
    "trainer.steps": 3,
    "trainer.groups_per_batch": 2,
    "trainer.group_size": 2,
    "trainer.warmup_steps": 1,
    "trainer.schedule": "constant",
    "trainer.save_every": 1,
    "trainer.keep_checkpoints": 9,
    "evaluation.problems": 2,
    "evaluation.samples": 1,
    "evaluation.every": 2,
    "rollout.max_new_tokens": 8,
    "task.train_size": 30,
    "task.validation_size": 4,
    "task.test_size": 4,
    "engine.device": "cpu",
}
BITS = ("metrics.jsonl", "rollouts.jsonl", "evaluations.jsonl", "model/model.safetensors")


def settings(model: Path, **more: Any) -> rltf.RunConfig:
    """The settings above; `a__b` of `more` stands for `a.b`, and None removes one."""
    changes = SETTINGS | {"engine.model": str(model)} | {name.replace("__", "."): value for name, value in more.items()}
    return rltf.configure(changes={name: value for name, value in changes.items() if value is not None})


def on_the_command_line(model: Path, **more: Any) -> list[str]:
    """The same as arguments."""
    changes = SETTINGS | {"engine.model": model} | {name.replace("__", "."): value for name, value in more.items()}
    return [f"{name}={value}" for name, value in changes.items()]


def bits(run: Path, names: Sequence[str] = BITS) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in names}


def as_if_killed_after(step: int, run: Path) -> None:
    """Takes from a finished run what it did not have yet after `step`, but for lines of records that were written."""
    (run / "summary.json").unlink()
    shutil.rmtree(run / "model")
    for number, path in RunDir(run).checkpoints():
        if number > step:
            shutil.rmtree(path)


@pytest.fixture(scope="module")
def whole(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that Python began and nothing interrupted."""
    path = tmp_path_factory.mktemp("whole") / "run"
    with rltf.Run.begin(settings(tiny_model), path) as run:
        summary = run.train()
        assert (summary, run.summary) == (summary, summary)
    return path


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """That run, to be changed."""
    return shutil.copytree(whole, tmp_path / "copy")


def test_a_run_learns_and_is_read_as_tables_and_records(whole: Path) -> None:
    run = rltf.Run.open(whole)
    table = run.metrics()
    assert next(iter(table)) == "step"
    assert table["step"] == [1, 2, 3]
    assert {len(column) for column in table.values()} == {3}
    # Figures that some step does not have are None there, not left out.
    raw = jsonl(whole / "metrics.jsonl")
    assert table == {name: [row.get(name) for row in raw] for name in table}
    assert set(table) == {name for row in raw for name in row}
    assert all(tokens for tokens in table["tokens/feedback"])
    rollouts = list(run.rollouts())
    assert [rollout.step for rollout in rollouts] == [1] * 4 + [2] * 4 + [3] * 4
    assert [rollout.to_json() for rollout in rollouts] == jsonl(whole / "rollouts.jsonl")
    evaluations = [(record.step, record.split) for record in run.evaluations()]
    assert evaluations == [(0, "test"), (2, "validation"), (3, "test")]
    assert [record.to_json() for record in run.evaluations()] == jsonl(whole / "evaluations.jsonl")
    assert [timing.step for timing in run.timings()] == [0, 1, 2, 2, 3, 3]
    assert run.summary is not None
    assert run.summary.to_json() == json.loads((whole / "summary.json").read_text())
    assert (run.summary.steps, run.summary.rollouts, run.summary.method) == (3, 12, "rltf_sd_fm")
    assert (run.model / "model.safetensors").is_file()
    assert run.task.name == "binary_matrix"


def test_a_finished_run_only_says_its_summary(copy: Path) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with rltf.Run.resume(copy) as run:
        assert run.train() == run.summary
    assert before == {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}


def test_what_python_began_and_stopped_the_command_line_ends_with_the_same_bits(
    whole: Path, tiny_model: Path, tmp_path: Path
) -> None:
    with rltf.Run.begin(settings(tiny_model), tmp_path / "run") as run, pytest.raises(rltf.Interrupted) as stopped:
        run.train(stop=lambda: True)
    # The first question comes in the evaluation before training; nothing is lost, nothing is done.
    assert stopped.value.step == 0
    with rltf.Run.resume(tmp_path / "run") as run, pytest.raises(rltf.Interrupted) as stopped:
        run.train(stop=lambda: len(run.metrics().get("step", [])) == 1)
    assert stopped.value.step == 1
    assert run.summary is None
    assert [step for step, _ in RunDir(tmp_path / "run").checkpoints()] == [1]
    shown = command("train", "--resume", "run", cwd=tmp_path).stdout
    assert "run directory run" in " ".join(shown.split())
    assert bits(tmp_path / "run") == bits(whole)


def test_what_the_command_line_began_python_ends_with_the_same_bits(
    whole: Path, tiny_model: Path, tmp_path: Path
) -> None:
    command("train", *on_the_command_line(tiny_model), "--run-dir", "run", cwd=tmp_path)
    assert bits(tmp_path / "run") == bits(whole)
    as_if_killed_after(2, tmp_path / "run")
    with rltf.Run.resume(tmp_path / "run") as run:
        summary = run.train()
    assert summary.steps == 3
    assert bits(tmp_path / "run") == bits(whole)
    command("eval", "run", "evaluation.problems=1", cwd=tmp_path)


def test_a_run_goes_on_in_the_object_that_was_stopped(whole: Path, tiny_model: Path, tmp_path: Path) -> None:
    with rltf.Run.begin(settings(tiny_model), tmp_path / "run") as run:
        for done in (1, 2):
            with pytest.raises(rltf.Interrupted):
                run.train(stop=lambda done=done: len(run.metrics().get("step", [])) == done)  # type: ignore[misc]
        run.train()
    assert bits(tmp_path / "run") == bits(whole)


@pytest.mark.parametrize("by", ["python", "command line"])
def test_a_finished_run_goes_on_for_more_steps(by: str, copy: Path, tiny_model: Path, tmp_path: Path) -> None:
    if by == "python":
        with rltf.Run.resume(copy, {"trainer.steps": 5}) as run:
            assert run.summary is None
            assert run.train().steps == 5
    else:
        command("train", "--resume", "copy", "trainer.steps=5", cwd=tmp_path)
    with rltf.Run.begin(settings(tiny_model, trainer__steps=5), tmp_path / "five") as five:
        five.train()
    names = ("metrics.jsonl", "rollouts.jsonl", "model/model.safetensors")
    assert bits(copy, names) == bits(tmp_path / "five", names)
    longer = rltf.Run.open(copy)
    assert longer.config.trainer.steps == 5
    assert longer.summary is not None
    assert longer.summary.rollouts == 20
    evaluated = [(record.step, record.split) for record in longer.evaluations()]
    assert evaluated == [(0, "test"), (2, "validation"), (3, "test"), (4, "validation"), (5, "test")]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"trainer.steps": 2}, r"trainer\.steps=2: the run has 3, 3 of them done; it can only be made longer"),
        ({"trainer.learning_rate": 1.0}, r"trainer\.learning_rate: a run is resumed exactly as it was started"),
        ({"trainer.step": 4}, r"trainer\.step: "),
        ({"trainer.steps": "many"}, r"trainer\.steps='many'"),
    ],
)
def test_a_change_that_a_run_cannot_take_leaves_it_as_it_was(
    changes: Mapping[str, Any], complaint: str, copy: Path
) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    with pytest.raises(rltf.UserError, match=complaint) as refused:
        rltf.Run.resume(copy, changes)
    assert "\n" not in str(refused.value)
    assert before == {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}


def test_a_run_is_read_while_another_process_works_on_it(copy: Path) -> None:
    locker = subprocess.Popen(
        [sys.executable, "-c", LOCKER, str(copy)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with locker as holder:
        assert first_line(holder) == "locked"
        run = rltf.Run.open(copy)
        assert run.metrics()["step"] == [1, 2, 3]
        assert run.summary is not None
        with pytest.raises(rltf.UserError, match="another process is working here"):
            rltf.Run.resume(copy)
        holder.communicate("")
    rltf.Run.resume(copy).close()


def test_a_closed_run_gives_its_directory_back(tiny_model: Path, tmp_path: Path) -> None:
    run = rltf.Run.begin(settings(tiny_model), tmp_path / "run")
    with pytest.raises(rltf.UserError, match="another process"):
        rltf.Run.resume(tmp_path / "run")
    run.close()
    run.close()
    rltf.Run.resume(tmp_path / "run").close()


def test_a_run_that_cannot_begin_leaves_no_directory(tiny_model: Path, tmp_path: Path) -> None:
    for more in ({"engine__model": "./missing"}, {"rollout__max_new_tokens": 5_000}):
        with pytest.raises(rltf.UserError):
            rltf.Run.begin(settings(tiny_model, **more), tmp_path / "run")
    assert not list(tmp_path.iterdir())
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("precious")
    with pytest.raises(rltf.UserError, match="exists already"):
        rltf.Run.begin(settings(tiny_model), tmp_path / "taken")
    with pytest.raises(rltf.UserError, match="is no run directory"):
        rltf.Run.open(tmp_path / "taken")


def test_runs_without_a_path_lie_beside_each_other_in_runs(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = []
    for _ in range(2):
        with rltf.Run.begin(settings(tiny_model, seed=4)) as run:
            names.append(str(run.path))
    assert names == ["runs/binary_matrix-rltf_sd_fm-seed4", "runs/binary_matrix-rltf_sd_fm-seed4-2"]


class Letters(SimpleTask):
    """Any text with an odd number of letters is right: a random model's is now and then."""

    name = "letters"

    def generate(self, rng: Random) -> tuple[str, str]:
        return f"Say {rng.randrange(10**9)}.", "x"

    def extract(self, text: str) -> str | None:
        return text

    def check(self, answer: str, problem: Problem) -> str | None:
        return None if len(answer) % 2 else "The answer has an even number of letters."


def criticise(problem: Problem, attempt: str, score: Score, history: tuple[Turn, ...]) -> str:
    return f"{len(attempt)} letters are no good."


def policy_alone(context: Context) -> Sequence[Term]:
    assert context.max_tokens == 2048
    return [PolicyGradient(rltf.RunConfig().objective)]


NO_TASK = {"task__train_size": None, "task__validation_size": None, "task__test_size": None}
GIVEN: dict[str, Callable[[rltf.RunConfig], Any]] = {
    "task": lambda config: Letters(),
    "engine": lambda config: talkative(config),
    "objective": lambda config: policy_alone,
    "feedback": lambda config: criticise,
}
TYPES = {"task": "Letters", "engine": "Joined", "objective": "policy_alone", "feedback": "criticise"}


def talkative(config: rltf.RunConfig) -> Any:
    """A model with random weights hardly ever ends an attempt, and a cut one is no answer: let more tokens end it."""
    engine = build_engine(config)
    engine.renderer.stop_tokens = (*engine.renderer.stop_tokens, *range(100, 250))
    return engine


def test_a_task_an_engine_a_method_and_feedback_are_handed_in(tiny_model: Path, tmp_path: Path) -> None:
    config = settings(tiny_model, **NO_TASK, trainer__minibatches=1)
    given = {part: make(config) for part, make in GIVEN.items()}
    with rltf.Run.begin(config, tmp_path / "whole", **given) as run:
        summary = run.train()
    assert (summary.task, summary.method) == ("letters", "policy_alone")
    assert json.loads((tmp_path / "whole" / "run.json").read_text())["given"] == TYPES
    turns = [turn for rollout in run.rollouts() for turn in rollout.turns]
    assert {turn.score.correct for turn in turns} == {True, False}
    asked = [(turn, turn.feedback) for turn in turns if turn.feedback is not None]
    assert asked
    for turn, feedback in asked:
        assert (feedback.text, feedback.source) == (f"{len(turn.text)} letters are no good.", "function:criticise")
    # The settings name a method with two terms; the one handed in has one.
    assert "samples/policy" in run.metrics()
    assert "samples/feedback" not in run.metrics()
    # The engine was handed in, so the run has not closed it.
    assert given["engine"].version > 0
    assert given["engine"].generate([(1, 2)], 1, _sampling(), [0])

    given["engine"] = talkative(config)
    with (
        rltf.Run.begin(config, tmp_path / "run", **given) as run,
        pytest.raises(rltf.Interrupted),
    ):
        run.train(stop=lambda: len(run.metrics().get("step", [])) == 1)
    given["engine"] = talkative(config)
    with rltf.Run.resume(tmp_path / "run", **given) as run:
        run.train()
    assert bits(tmp_path / "run") == bits(tmp_path / "whole")


def _sampling() -> Any:
    from rltf.types import SamplingParams

    return SamplingParams(max_tokens=2, temperature=1.0)


@pytest.mark.parametrize("part", GIVEN)
def test_a_run_with_a_part_of_pythons_goes_on_with_that_part_alone(part: str, tiny_model: Path, tmp_path: Path) -> None:
    config = settings(tiny_model, **NO_TASK, trainer__steps=1, evaluation__every=0)
    given = {part: GIVEN[part](config)}
    with rltf.Run.begin(config, tmp_path / "run", **given) as run:
        run.train()
    path = tmp_path / "run"
    again = f'rltf.Run.resume("{path}", {part}=...)'
    for refused in (
        lambda: rltf.Run.resume(tmp_path / "run"),
        lambda: rltf.Run.open(tmp_path / "run").task,
    ):
        with pytest.raises(rltf.UserError) as caught:
            refused()
        assert again in str(caught.value)
        assert f"{part}= of its own ({TYPES[part]})" in str(caught.value)
    done = command("train", "--resume", str(tmp_path / "run"), "trainer.steps=2", cwd=tmp_path, status=2)
    assert again in done.stderr
    assert done.stderr.count("\n") == 1
    if part == "task":
        evaluated = command("eval", str(tmp_path / "run"), "-k", "1", cwd=tmp_path, status=2)
        assert again in evaluated.stderr
        assert evaluated.stderr.count("\n") == 1
        assert rltf.evaluate(tmp_path / "run", task=Letters()).problems == 2
    elif part == "feedback":
        # Second attempts follow the run's feedback, or another that is asked for: never another without a word.
        with pytest.raises(rltf.UserError, match=r"feedback= of its own \(criticise\); name another source"):
            rltf.evaluate(tmp_path / "run")
        evaluated = command("eval", str(tmp_path / "run"), cwd=tmp_path, status=2)
        assert "feedback= of its own (criticise)" in evaluated.stderr
        assert rltf.evaluate(tmp_path / "run", {"feedback.source": "constant"}).problems == 2
        asked: list[str] = []

        def other(problem: Problem, attempt: str, score: Score, history: tuple[Turn, ...]) -> str:
            asked.append(attempt)
            return "Try again."

        evaluation = rltf.evaluate(tmp_path / "run", {"evaluation.samples": 1}, feedback=other)
        assert len(asked) == evaluation.problems == 2
    else:
        # A model can be looked at without what trained it; its problems are in the settings.
        assert rltf.evaluate(tmp_path / "run").problems == 2
    with rltf.Run.resume(tmp_path / "run", {"trainer.steps": 2}, **given) as run:
        assert run.train().steps == 2


def test_what_the_settings_say_of_feedback_holds_for_feedback_that_is_handed_in(
    tiny_model: Path, tmp_path: Path
) -> None:
    more = {"trainer__steps": 1, "feedback__self_share": 0.5, "rollout__feedback_on_correct": True}
    config = settings(tiny_model, **NO_TASK, **more)
    with rltf.Run.begin(config, tmp_path / "run", task=Letters(), engine=talkative(config), feedback=criticise) as run:
        run.train()
    given = [turn.feedback for rollout in run.rollouts() for turn in rollout.turns[:1] if turn.feedback is not None]
    assert {feedback.source for feedback in given} == {"self", "function:criticise"}


def test_a_method_that_returns_no_terms_is_one_clear_line(tiny_model: Path, tmp_path: Path) -> None:
    with (
        rltf.Run.begin(settings(tiny_model), tmp_path / "run", objective=lambda context: None) as run,  # type: ignore[arg-type, return-value]
        pytest.raises(rltf.UserError, match=r"objective=: the method returned None, not a list of rltf\.Term"),
    ):
        run.train()


class Diary(rltf.Observer):
    """Writes down what it is told, each entry with its own name, into a list shared with others."""

    def __init__(self, name: str, entries: list[tuple[Any, ...]], path: Path) -> None:
        self.name, self.entries, self.path = name, entries, path

    def _write(self, *entry: Any) -> None:
        self.entries.append((self.name, *entry))

    def begin(self, step: int, steps: int) -> None:
        self._write("begin", step, steps)

    def note(self, text: str) -> None:
        self._write("note", text)

    def phase(self, name: str) -> None:
        self._write("phase", name)

    def step(self, step: int, metrics: Mapping[str, float], timing: rltf.Timing) -> None:
        # What it tells of stands in the directory already.
        assert jsonl(self.path / "metrics.jsonl")[-1] == {"step": step, **metrics}
        assert timing.step == step
        self._write("step", step)

    def evaluation(self, record: rltf.EvaluationRecord) -> None:
        assert jsonl(self.path / "evaluations.jsonl")[-1] == record.to_json()
        self._write("evaluation", record.step, record.split)

    def alarm(self, step: int, reason: str) -> None:
        self._write("alarm", step, reason)

    def end(self, summary: rltf.Summary | None) -> None:
        self._write("end", summary)


def test_every_observer_is_told_everything_in_order(terse_model: Path, tmp_path: Path) -> None:
    entries: list[tuple[Any, ...]] = []
    path = tmp_path / "run"
    diaries = [Diary(name, entries, path) for name in ("first", "second")]
    # A random model's attempts are all malformed, an alarm after ten steps; not all are cut, an alarm at once.
    config = settings(
        terse_model, trainer__steps=10, evaluation__every=5, evaluation__problems=1, trainer__save_every=5
    )
    with rltf.Run.begin(config, path) as run:
        with pytest.raises(rltf.Interrupted):
            run.train([*diaries, rltf.Observer()], stop=lambda: len(run.metrics().get("step", [])) == 9)
        first, entries[:] = list(entries), []
        summary = run.train(diaries)
    alarm = ("alarm", 10, "100 % of the attempts of the last 10 steps are malformed")
    test, validation = ("phase", "evaluating on the test problems"), ("phase", "evaluating on the validation problems")
    told = [
        ("begin", 0, 10), test, ("evaluation", 0, "test"), *(("step", n) for n in range(1, 6)),
        validation, ("evaluation", 5, "validation"), *(("step", n) for n in range(6, 10)), ("end", None),
    ]  # fmt: skip
    after = [
        ("begin", 9, 10), ("step", 10), alarm, validation, ("evaluation", 10, "validation"),
        test, ("evaluation", 10, "test"), ("phase", "exporting the model"), ("end", summary),
    ]  # fmt: skip
    assert first == [(name, *entry) for entry in told for name in ("first", "second")]
    assert entries == [(name, *entry) for entry in after for name in ("first", "second")]


def test_what_an_observer_raises_ends_the_run_which_goes_on_as_if_it_had_not(
    whole: Path, tiny_model: Path, tmp_path: Path
) -> None:
    class Broken(rltf.Observer):
        def step(self, step: int, metrics: Mapping[str, float], timing: rltf.Timing) -> None:
            if step == 2:
                raise RuntimeError("my bug")

    entries: list[tuple[Any, ...]] = []
    diary = Diary("diary", entries, tmp_path / "run")
    with rltf.Run.begin(settings(tiny_model), tmp_path / "run") as run, pytest.raises(RuntimeError, match="my bug"):
        run.train([Broken(), diary])
    assert entries[-1] == ("diary", "end", None)
    with rltf.Run.resume(tmp_path / "run") as run:
        run.train()
    assert bits(tmp_path / "run") == bits(whole)


def test_a_run_is_read_while_the_command_line_trains_it(tiny_model: Path, tmp_path: Path) -> None:
    arguments = on_the_command_line(tiny_model, trainer__steps=10_000, trainer__save_every=0)
    process = start("train", *arguments, "--run-dir", "run", cwd=tmp_path)
    try:
        wait_for_lines(tmp_path / "run" / "metrics.jsonl", 2, process)
        run = rltf.Run.open(tmp_path / "run")
        assert run.metrics()["step"][:2] == [1, 2]
        assert run.summary is None
        assert not run.model.exists()
        with pytest.raises(rltf.UserError, match="no trained model yet"):
            rltf.evaluate(run)
    finally:
        process.kill()
        process.communicate()


def test_a_second_call_of_train_after_a_failure_starts_anew(tiny_model: Path, tmp_path: Path) -> None:
    class Failing(rltf.Observer):
        def step(self, step: int, metrics: Any, timing: Any) -> None:
            raise RuntimeError("enough")

    config = settings(tiny_model, trainer__save_every=0)
    with rltf.Run.begin(config, tmp_path / "whole") as whole:
        whole.train()
    run = rltf.Run.begin(config, tmp_path / "run")
    with pytest.raises(RuntimeError, match="enough"):
        run.train([Failing()])
    run.train()
    run.close()
    for name in ("metrics.jsonl", "rollouts.jsonl"):
        assert (run.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_a_resume_that_is_refused_lets_go_of_the_run(tiny_model: Path, tmp_path: Path) -> None:
    rltf.Run.begin(settings(tiny_model), tmp_path / "run").close()
    with pytest.raises(rltf.UserError, match="only be made longer") as refused:
        rltf.Run.resume(tmp_path / "run", {"trainer.steps": 1})
    assert refused.traceback
    rltf.Run.resume(tmp_path / "run").close()


def test_a_model_that_learned_from_a_logs_feedback_alone_is_evaluated(tiny_model: Path, tmp_path: Path) -> None:
    entry = {"messages": [{"role": "user", "content": "1?"}], "response": "2", "feedback": "Not so."}
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for _ in range(4)))
    log = {"log__path": str(tmp_path / "log.jsonl"), "log__score": "none", "rollout__horizon": 1}
    config = settings(tiny_model, objective__name="rltf_fm", **log)
    with rltf.Run.begin(config, tmp_path / "run") as run:
        run.train()
    assert 0.0 <= rltf.evaluate(run, {"evaluation.problems": 2}).first_turn <= 1.0
