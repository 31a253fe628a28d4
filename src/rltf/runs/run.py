"""A run as an object: what the command line and a person's own Python begin, resume, open, train and read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any

from rltf.config import RunConfig
from rltf.config.load import begun_on, changed, config_from_json, config_to_json, with_absolute_paths
from rltf.engines.base import Engine
from rltf.feedback import FeedbackSource, FunctionSource
from rltf.feedback.function import Function
from rltf.rollouts.collector import check_first_prompts
from rltf.rollouts.records import FORMAT, EvaluationRecord, GroupSamples, RolloutRecord, Summary, Timing
from rltf.runs.build import GivenObjective, build_engine, build_task, build_trainer, check_sources, open_endpoints
from rltf.runs.card import write_cards
from rltf.runs.defaults import Settled, read_defaults, settle, write_defaults
from rltf.runs.directory import RunDir
from rltf.runs.inputs import CHANGED_INPUTS, check_inputs, input_digests, mark_of, write_inputs
from rltf.runs.launched import refuse_several_processes
from rltf.runs.observers import Observer, Observers
from rltf.runs.provenance import environment
from rltf.runs.tables import attempt_rows, columns
from rltf.runs.trackers import check_trackers, trackers
from rltf.support.errors import UserError
from rltf.tasks import Task
from rltf.tasks.mixture import parts_of
from rltf.text.prompts import Prompts

RUNS = Path("runs")
"""Where runs lie that were given no path."""
MAY_CHANGE = frozenset(
    {
        "judge.base_url",
        "judge.key_env",
        "judge.replay",
        "judge.store",
        "judge.timeout",
        "judge.retries",
        "judge.concurrency",
        "judge.requests_per_minute",
        "judge.tokens_per_minute",
        "judge.max_dollars",
        "judge.max_total_tokens",
        "engine.parallel",
        "engine.base_url",
        "engine.key_env",
        "engine.timeout",
        "feedback.stop_after_failures",
        "sampler.url",
        "sampler.python",
        "sampler.arguments",
        "sampler.log",
        "sampler.directory",
        "sampler.concurrency",
        "sampler.timeout",
        "sampler.start_timeout",
        "trainer.steps",
    }
)
"""What may be set anew when a run is resumed: how its judge and its server are reached, not what they are asked; how
processes share it; and how long it lasts."""


class Run:
    """One run: its directory, and what trains it.

    `begin`, `resume` and `open` make one. A run that is begun or resumed holds its directory and, while it trains, a
    model; `close`, or the end of a `with` block, gives both back.

        with rltf.Run.begin(rltf.configure("recipe.toml", {"trainer.steps": 50}), "runs/mine") as run:
            summary = run.train()
    """

    def __init__(
        self,
        directory: RunDir,
        config: RunConfig,
        *,
        task: Task | None = None,
        engine: Engine | None = None,
        objective: GivenObjective | None = None,
        feedback: FeedbackSource | None = None,
    ) -> None:
        """Use `begin`, `resume` or `open`."""
        self._directory, self.config = directory, config
        self._task, self._engine, self._objective, self._feedback = task, engine, objective, feedback
        self._own_engine = engine is None
        self._untouched = 0 if engine is None else engine.version
        """The version of an engine that has not been trained by this run."""

    @classmethod
    def begin(
        cls,
        config: RunConfig | None = None,
        path: Path | str | None = None,
        *,
        task: Task | None = None,
        engine: Engine | None = None,
        objective: GivenObjective | None = None,
        feedback: FeedbackSource | Function | None = None,
    ) -> Run:
        """A new run. All that can be checked is, and the model is loaded, before a directory is made.

        Args:
            config: its settings; the main job's by default. What of them is not set, and follows from the model, is
                settled here (docs/your_model.md); `Run.config` has the whole.
            path: its directory, which must not exist or be empty; by default a new one in `runs/`.
            task: stands in for what `task` of the settings names.
            engine: stands in for `engine`; it is not closed with the run.
            objective: stands in for `objective`: terms, or a function from a `Context` to terms.
            feedback: stands in for `feedback.source`: a source, or a function of problem, attempt, score and history.

        Raises:
            UserError: one line that names what is wrong, and the mend.
        """
        config = begun_on(with_absolute_paths(config or RunConfig()), date.today())
        refuse_several_processes(config, engine)
        given = {"task": task, "engine": engine, "objective": objective, "feedback": feedback}
        tried = build_task(config.task) if task is None else task
        check_task(tried)
        check_sources(config, tried)
        check_trackers(config)
        if path is not None:
            RunDir.check_free(Path(path))
        settled = Settled(config=config, defaults=())
        if engine is None:
            settled = settle(config, tried)
            config = settled.config
        # A model that cannot be loaded leaves no directory behind.
        loaded = build_engine(config) if engine is None else engine
        try:
            _check_prompt(config, tried, loaded)
        except UserError:
            if engine is None:
                loaded.close()
            raise
        machine, digests = {**environment(), "exact": loaded.exact}, input_digests(config)
        mark = mark_of(config, digests)
        names = {part: name_of(value) for part, value in given.items() if value is not None}
        name = f"{tried.name}-{names.get('objective', config.method)}-seed{config.seed}"
        directory = RunDir.create_unused(RUNS, name) if path is None else RunDir.create(Path(path))
        directory.write_text("run.json", json.dumps({"format": FORMAT, "given": names}, indent=2) + "\n")
        directory.write_text("environment.json", json.dumps(machine, indent=2) + "\n")
        write_inputs(directory, digests, mark)
        if settled.defaults:
            write_defaults(directory, settled)
        directory.write_text("config.json", config_to_json(config))
        run = cls(directory, config, task=tried, engine=loaded, objective=objective, feedback=source_of(feedback))
        run._own_engine = engine is None
        return run

    @classmethod
    def resume(
        cls,
        path: Path | str,
        changes: Mapping[str, Any] | None = None,
        *,
        accept_changed_files: bool = False,
        task: Task | None = None,
        engine: Engine | None = None,
        objective: GivenObjective | None = None,
        feedback: FeedbackSource | Function | None = None,
    ) -> Run:
        """An interrupted run, to go on to the last bit as it would have; or a finished one, to go on for more steps.

        Args:
            path: its directory.
            changes: settings of `MAY_CHANGE` to set anew. More `trainer.steps` lengthen the run: the schedules go on
                as those of a run of the new length; the warm-up stays as it was.
            accept_changed_files: go on although a file that the settings name was changed, or its code was never run
                on this machine.
            task: and the others: what `begin` was given, again.
        """
        changes = dict(changes or {})
        others = [name for name in changes if name.removeprefix("evaluation.") not in MAY_CHANGE]
        if others:
            raise UserError(
                f"{others[0]}: a run is resumed exactly as it was started; of the settings only "
                f"{', '.join(sorted(MAY_CHANGE))} may be set anew"
            )
        directory = RunDir.open(Path(path))
        refuse_without(directory, {"task": task, "engine": engine, "objective": objective, "feedback": feedback})
        directory.lock()
        try:
            config, task = cls._take_up(directory, changes, task, engine, accept_changed_files)
        except BaseException:
            directory.unlock()
            raise
        return cls(directory, config, task=task, engine=engine, objective=objective, feedback=source_of(feedback))

    @staticmethod
    def _take_up(
        directory: RunDir,
        changes: Mapping[str, Any],
        task: Task | None,
        engine: Engine | None,
        accept_changed_files: bool,
    ) -> tuple[RunConfig, Task]:
        """Checks all that resuming a run needs, and writes down what is set anew; returns its settings and its task."""
        began = config_from_json(directory.config_text(), str(directory.path / "config.json"))
        config = with_absolute_paths(changed(began, changes))
        refuse_several_processes(config, engine)
        done = max((step for step, _ in directory.checkpoints()), default=0)
        if config.trainer.steps < max(done, began.trainer.steps):
            raise UserError(
                f"trainer.steps={config.trainer.steps}: the run has {began.trainer.steps}, {done} of them done; it can "
                "only be made longer"
            )
        other_files = check_inputs(directory, config, accept=accept_changed_files)
        task = build_task(config.task) if task is None else task
        check_sources(config, task, directory.path)
        check_trackers(config)
        if other_files:
            rows = [{"step": done, "file": file, "was": was, "is": now} for file, (was, now) in other_files.items()]
            directory.append(CHANGED_INPUTS, rows)
        if other_files or accept_changed_files:
            digests = input_digests(config)
            write_inputs(directory, digests, mark_of(config, digests))
        if config.trainer.steps > began.trainer.steps:
            # First: settings of a longer run beside the outcome of a shorter one would say that it is finished.
            directory.remove("summary.json")
        if changes:
            directory.write_text("config.json", config_to_json(config))
        return config, task

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """A run to be read. Nothing of it is executed, and it may be under way elsewhere."""
        directory = RunDir.open(Path(path))
        directory.given()  # Refuses a later format.
        return cls(directory, config_from_json(directory.config_text(), str(directory.path / "config.json")))

    @property
    def path(self) -> Path:
        """Its directory."""
        return self._directory.path

    @property
    def model(self) -> Path:
        """Where the trained model is exported to, an ordinary Hugging Face directory; there once it is finished."""
        return self._directory.model

    @property
    def summary(self) -> Summary | None:
        """The outcome; None before the run is finished."""
        return self._directory.summary()

    @property
    def task(self) -> Task:
        """The task that it learns."""
        if self._task is None:
            refuse_without(self._directory, {})
            check_inputs(self._directory, self.config, accept=False)
            self._task = build_task(self.config.task)
        return self._task

    def metrics(self) -> dict[str, list[float | None]]:
        """A table with a row per step, as columns by name, which `pandas.DataFrame` and `polars.DataFrame` take.

        The column `step` comes first. A figure that a step does not have is None.
        """
        rows = self._directory.metrics()
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: [row.get(name) for row in rows] for name in names}

    def rollouts(self) -> Iterator[RolloutRecord]:
        """Every rollout of training, in order, read as it is asked for."""
        return self._directory.rollouts()

    def attempts(self) -> dict[str, list[Any]]:
        """A table with a row per attempt of training, as columns by name (`runs/tables.py`), as `metrics` is one."""
        return columns(attempt_rows(self.rollouts()))

    def samples(self) -> Iterator[GroupSamples]:
        """The training samples that were recorded token by token (`records.tokens`), a group at a time."""
        return self._directory.samples()

    def evaluations(self) -> list[EvaluationRecord]:
        """Every evaluation, in order."""
        return self._directory.evaluations()

    def timings(self) -> list[Timing]:
        """How long each step and evaluation took."""
        return self._directory.timings()

    def train(self, observers: Sequence[Observer] = (), stop: Callable[[], bool] = lambda: False) -> Summary:
        """Trains to the end, from the start or from the newest checkpoint; a finished run only says its summary.

        Args:
            observers: who is told what happens.
            stop: asked after each step; where it says yes, all is saved.

        Raises:
            Interrupted: once all is saved, where `stop` or a source of feedback asked for it.
        """
        done = self.summary
        if done is not None:
            return done
        self._directory.lock()
        self._start_clean()
        observer = Observers(observers)
        observer = Observers([*observers, *trackers(self.config, self._directory, observer.note)])
        if not self._directory.checkpoints():
            for default in read_defaults(self._directory):
                observer.note(str(default))
        try:
            with open_endpoints(self.config, self.path) as endpoints:
                trainer = build_trainer(
                    self.config,
                    run_dir=self._directory,
                    engine=self._loaded(),
                    task=self.task,
                    endpoints=endpoints,
                    observer=observer,
                    stop_requested=stop,
                    objective=self._objective,
                    feedback=self._feedback,
                )
                done = trainer.run()
            write_cards(self._directory, self.config, done)
            self._directory.write_text("summary.json", json.dumps(done.to_json(), indent=2) + "\n")
        finally:
            observer.end(done)
        return done

    def close(self) -> None:
        """Gives back the directory, and the model if the run loaded it."""
        if self._engine is not None and self._own_engine:
            self._engine.close()
            self._engine = None
        self._directory.unlock()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start_clean(self) -> None:
        """Without a checkpoint a run starts anew: not with what a call of `train` that failed made of the model."""
        if self._engine is None or self._directory.checkpoints() or self._engine.version == self._untouched:
            return
        if not self._own_engine:
            raise UserError(
                f"{self.path}: no checkpoint was saved and the engine that was handed in is trained already; hand in a "
                "fresh one, with rltf.Run.resume"
            )
        self._engine.close()
        self._engine = None

    def _loaded(self) -> Engine:
        if self._engine is None:
            self._engine = build_engine(self.config)
        return self._engine


def name_of(given: object) -> str:
    """What a part is called that was handed in: a function by its name, an object by its type."""
    name = getattr(given, "__name__", type(given).__name__)
    return re.sub(r"\W+", "_", name).strip("_") or "own"


def source_of(given: FeedbackSource | Function | None) -> FeedbackSource | None:
    """A function of problem, attempt, score and history as a source."""
    if given is None or hasattr(given, "feedback"):
        return given
    return FunctionSource(given, name_of(given))


def refuse_without(directory: RunDir, given: Mapping[str, Any]) -> None:
    """Raises `UserError` unless what was handed in when the run began is `given` again, as its settings do not tell."""
    for part, name in directory.given().items():
        if given.get(part) is None:
            raise UserError(
                f"{directory.path} was begun from Python with {part}= of its own ({name}); go on from there, with "
                f'rltf.Run.resume("{directory.path}", {part}=...)'
            )


def check_task(task: Task) -> None:
    """Finds settings that give too few problems before a model is loaded or a directory is made."""
    for part in parts_of(task).values():
        # The first step draws from all over the split, so that this makes no problem that would not be made anyway.
        part.problem("train", part.size("train") - 1)


def _check_prompt(config: RunConfig, task: Task, engine: Engine) -> None:
    """Finds an attempt's limit that the model's context cannot hold before a directory is made."""
    problem = task.problem("test", 0)
    prompt = engine.renderer.prompt(Prompts(config.prompts).first_turn(problem))
    check_first_prompts([problem], [prompt], config.rollout.max_new_tokens, engine.max_tokens)
