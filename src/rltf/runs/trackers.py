"""Trackers: a run's curves, settings, examples and outcome in TensorBoard, Trackio, Weights & Biases or MLflow as well.

Each is an observer over the tracker's own library. The run's directory is complete without them, so one that fails in
mid-run is left behind with a note, and the training goes on. A resumed run goes on in the same record: its id stands
in `trackers.json`. What it was told before a crash stays as it was told, though the run makes those steps again.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any
from uuid import uuid4

from rltf.config import RunConfig
from rltf.config.flat import flat_settings
from rltf.rollouts.records import EvaluationRecord, Summary, Timing
from rltf.runs.directory import RunDir
from rltf.runs.observers import Observer
from rltf.runs.tables import COLUMNS, attempt_rows
from rltf.runs.told import Once
from rltf.support.addresses import check_listens
from rltf.support.errors import UserError

IDS = "trackers.json"
PROJECT = "rltf"
_EXTRAS = {"tensorboard": "trackers", "trackio": "trackio", "wandb": "trackers", "mlflow": "trackers"}
_SHOWN = tuple(
    name for name in COLUMNS if name in ("task", "problem", "turn", "prompt", "attempt", "reward", "feedback")
)
_SECONDS = 15
"""So long a tracker's server may keep a run from its first step."""
_ADDRESS = "MLFLOW_TRACKING_URI"


def check_trackers(config: RunConfig) -> None:
    """Finds what a tracker lacks before any work; raises `UserError`."""
    for name in config.records.trackers:
        # MLflow keeps a store on this machine in a database.
        local = name == "mlflow" and not os.environ.get(_ADDRESS)
        if any(find_spec(package) is None for package in (name, *(("sqlalchemy", "alembic") if local else ()))):
            raise UserError(
                f"records.trackers={name}: is not installed; pip install -c constraints.txt '.[{_EXTRAS[name]}]', or "
                "remove it"
            )


def trackers(config: RunConfig, run: RunDir, note: Callable[[str], None]) -> list[Observer]:
    """The trackers that the settings name. `note` is told of one that fails."""
    kinds = {"trackio": Trackio, "wandb": WeightsAndBiases, "mlflow": MLflow}
    found: list[Observer] = []
    for name in config.records.trackers:
        # TensorBoard takes back what it was told of steps that are made again.
        tracker = TensorBoard(config, run) if name == "tensorboard" else Once(name, kinds[name](config, run), run)
        found.append(Guarded(name, tracker, note))
    return found


class Tracker(Observer):
    """What the trackers have in common: names, and one id for the whole run."""

    def __init__(self, config: RunConfig, run: RunDir) -> None:
        self.config, self.run = config, run
        self.settings = flat_settings(config)

    @property
    def title(self) -> str:
        """The run's name."""
        return self.run.path.resolve().name

    def known(self, tracker: str) -> str | None:
        """The id that the run had there before it was resumed."""
        ids: dict[str, str] = json.loads(self.run.read_text(IDS)) if self.run.has(IDS) else {}
        return ids.get(tracker)

    def remember(self, tracker: str, record: str) -> None:
        """Keeps the id for when the run is resumed."""
        ids = json.loads(self.run.read_text(IDS)) if self.run.has(IDS) else {}
        self.run.write_text(IDS, json.dumps({**ids, tracker: record}, indent=2) + "\n")


class Guarded(Observer):
    """A tracker that ends no run: the first time that it fails, that is told, and it is asked no more."""

    def __init__(self, name: str, tracker: Observer, note: Callable[[str], None]) -> None:
        self._name, self._tracker, self._note, self._works = name, tracker, note, True

    def _tell(self, call: Callable[[Observer], None]) -> None:
        if not self._works:
            return
        try:
            call(self._tracker)
        except Exception as error:
            self._works = False
            self._note(f"{self._name} failed, and the run goes on without it: {_first_line(error)}")

    def begin(self, step: int, steps: int) -> None:
        """Told to the tracker, which may have to find a server first."""
        self._note(f"opening {self._name}")
        self._tell(lambda tracker: tracker.begin(step, steps))

    def step(self, step: int, metrics: Mapping[str, float], timing: Timing) -> None:
        """Told to the tracker."""
        self._tell(lambda tracker: tracker.step(step, metrics, timing))

    def evaluation(self, record: EvaluationRecord) -> None:
        """Told to the tracker."""
        self._tell(lambda tracker: tracker.evaluation(record))

    def alarm(self, step: int, reason: str) -> None:
        """Told to the tracker."""
        self._tell(lambda tracker: tracker.alarm(step, reason))

    def end(self, summary: Summary | None) -> None:
        """Told to the tracker."""
        self._tell(lambda tracker: tracker.end(summary))


class TensorBoard(Tracker):
    """Curves and texts in `tensorboard/` of the run's directory."""

    def begin(self, step: int, steps: int) -> None:
        """Goes on after `step`; what was written after it before a resume is no longer shown."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(self.run.path / "tensorboard", purge_step=step + 1 if step else None)
        if not step:
            rows = "\n".join(f"| {name} | {_cell(value)} |" for name, value in self.settings.items())
            self._writer.add_text("settings", f"| setting | value |\n|---|---|\n{rows}", 0)

    def step(self, step: int, metrics: Mapping[str, float], timing: Timing) -> None:
        """Every metric of the step."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def evaluation(self, record: EvaluationRecord) -> None:
        """Its figures, and the examples as a table."""
        for name, value in evaluation_figures(record).items():
            self._writer.add_scalar(name, value, record.step)
        rows = "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in example_rows(record))
        head = " | ".join(_SHOWN)
        self._writer.add_text(f"{record.split}/examples", f"| {head} |\n{'|---' * len(_SHOWN)}|\n{rows}", record.step)

    def alarm(self, step: int, reason: str) -> None:
        """As a text."""
        self._writer.add_text("alarm", reason, step)

    def end(self, summary: Summary | None) -> None:
        """The outcome, and all is on the disk."""
        if summary is not None:
            self._writer.add_text("summary", f"```\n{json.dumps(summary.to_json(), indent=2)}\n```", summary.steps)
        self._writer.close()


class Trackio(Tracker):
    """A run in the project `rltf` of Trackio's store on this machine, for `trackio show`; or where Trackio's own
    variables, such as `TRACKIO_DIR` or `TRACKIO_SPACE_ID`, say."""

    def begin(self, step: int, steps: int) -> None:
        """Begins the record, or goes on with it."""
        import trackio

        # Trackio goes on with the newest record of a name, so the name has to be this run's alone.
        record = self.known("trackio") or f"{self.title}-{uuid4().hex[:8]}"
        self._library: Any = trackio
        with _unheard():
            self._run: Any = trackio.init(
                project=PROJECT,
                name=record,
                resume="allow",
                config=self.settings,
                embed=False,
                # Not what this machine is doing.
                auto_log_cpu=False,
                auto_log_gpu=False,
            )
        self.remember("trackio", record)

    def step(self, step: int, metrics: Mapping[str, float], timing: Timing) -> None:
        """Every metric of the step."""
        self._run.log(dict(metrics), step=step)

    def evaluation(self, record: EvaluationRecord) -> None:
        """Its figures, and the examples as a table."""
        examples = self._library.Table(columns=list(_SHOWN), data=[list(map(str, row)) for row in example_rows(record)])
        self._run.log({**evaluation_figures(record), f"{record.split}/examples": examples}, step=record.step)

    def alarm(self, step: int, reason: str) -> None:
        """As an alert."""
        with _unheard():
            self._run.alert(title=f"alarm at step {step}", text=reason, step=step)

    def end(self, summary: Summary | None) -> None:
        """The outcome, as a report."""
        if summary is not None:
            outcome = f"```json\n{json.dumps(summary.to_json(), indent=2)}\n```"
            self._run.log({"summary": self._library.Markdown(outcome)}, step=summary.steps)
        with _unheard():
            self._library.finish()


class WeightsAndBiases(Tracker):
    """A run in the project `rltf`, or the one of `WANDB_PROJECT`. Without a key, or with `WANDB_MODE=offline`, it lies
    in `wandb/` of the run's directory, for `wandb sync`."""

    def begin(self, step: int, steps: int) -> None:
        """Begins the record, or goes on with it."""
        import wandb

        # The library would ask for a key on standard input, and say where it has found one.
        wandb.setup(settings=wandb.Settings(silent=True))
        keyed = wandb.login(prompt=False, verify=False)
        mode: Any = os.environ.get("WANDB_MODE") or ("online" if keyed else "offline")
        record = self.known("wandb") or uuid4().hex[:8]
        if mode == "online" and (address := os.environ.get("WANDB_BASE_URL")):
            check_listens(address, "WANDB_BASE_URL", by_proxy=True)
        limit: dict[str, Any] = {} if os.environ.get("WANDB_INIT_TIMEOUT") else {"init_timeout": _SECONDS}
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            id=record,
            resume="allow",
            name=self.title,
            dir=self.run.path,
            config=self.settings,
            mode=mode,
            # Neither this machine, nor its code, nor what is printed.
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                x_disable_meta=True,
                **limit,
            ),
        )
        self._table = wandb.Table
        self.remember("wandb", record)
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def step(self, step: int, metrics: Mapping[str, float], timing: Timing) -> None:
        """Every metric of the step."""
        self._run.log({"step": step, **metrics})

    def evaluation(self, record: EvaluationRecord) -> None:
        """Its figures, and the examples as a table."""
        examples = self._table(columns=list(_SHOWN), data=[list(map(str, row)) for row in example_rows(record)])
        self._run.log({"step": record.step, **evaluation_figures(record), f"{record.split}/examples": examples})

    def alarm(self, step: int, reason: str) -> None:
        """As an alert."""
        self._run.alert(title=f"alarm at step {step}", text=reason)

    def end(self, summary: Summary | None) -> None:
        """The outcome."""
        if summary is not None:
            self._run.summary.update({"outcome": summary.to_json()})
        self._run.finish(exit_code=0 if summary is not None else 1)


class MLflow(Tracker):
    """A run in the experiment `rltf`, in a database in `mlflow/` of the run's directory; or where `MLFLOW_TRACKING_URI`
    says."""

    def begin(self, step: int, steps: int) -> None:
        """Begins the record, or goes on with it."""
        address = os.environ.get(_ADDRESS, "")
        if address.startswith(("http://", "https://")):
            check_listens(address, _ADDRESS, by_proxy=True)
        with _in_haste():
            self._open()

    def _open(self) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        folder = None if os.environ.get(_ADDRESS) else self.run.path.resolve() / "mlflow"
        if folder is None:
            self._client: Any = MlflowClient()
        else:
            folder.mkdir(exist_ok=True)
            logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
            self._client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
        record = self.known("mlflow")
        if record is None:
            known = self._client.get_experiment_by_name(PROJECT)
            artifacts = None if folder is None else (folder / "artifacts").as_uri()
            experiment = known.experiment_id if known else self._client.create_experiment(PROJECT, artifacts)
            record = self._client.create_run(experiment, run_name=self.title).info.run_id
            # A value may have no more signs than these, and a call no more values.
            parameters = [Param(name, value[:6000]) for name, value in self.settings.items()]
            for start in range(0, len(parameters), 100):
                self._client.log_batch(record, params=parameters[start : start + 100])
            self.remember("mlflow", record)
        self._record = record
        self._client.set_terminated(record, "RUNNING")

    def _log(self, figures: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(name, value, 0, step) for name, value in figures.items()]
        self._client.log_batch(self._record, metrics=metrics)

    def step(self, step: int, metrics: Mapping[str, float], timing: Timing) -> None:
        """Every metric of the step."""
        self._log(metrics, step)

    def evaluation(self, record: EvaluationRecord) -> None:
        """Its figures, and the examples as a table."""
        self._log(evaluation_figures(record), record.step)
        rows = [dict(zip(_SHOWN, map(str, row), strict=True)) for row in example_rows(record)]
        self._client.log_dict(self._record, {"rows": rows}, f"examples/{record.split}-step-{record.step}.json")

    def alarm(self, step: int, reason: str) -> None:
        """As a tag."""
        self._client.set_tag(self._record, f"alarm at step {step}", reason)

    def end(self, summary: Summary | None) -> None:
        """The outcome."""
        if summary is not None:
            self._client.log_dict(self._record, summary.to_json(), "summary.json")
        self._client.set_terminated(self._record, "FINISHED" if summary is not None else "KILLED")


@contextlib.contextmanager
def _in_haste() -> Iterator[None]:
    """Has MLflow ask a server twice at most while a run waits for its first step, where its user says nothing else:
    by itself it tries for minutes."""
    wanted = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(_SECONDS // 2)}
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _unheard() -> contextlib.AbstractContextManager[Any]:
    """Lets nothing of what a library prints into the terminal, where the run's progress stands."""
    return contextlib.redirect_stdout(io.StringIO())


def evaluation_figures(record: EvaluationRecord) -> dict[str, float]:
    """The figures of an evaluation by name, such as `test/first_turn`."""
    values = {name: value for name, value in record.to_json().items() if isinstance(value, int | float)}
    return {f"{record.split}/{name}": float(value) for name, value in values.items() if name != "step"}


def example_rows(record: EvaluationRecord) -> list[list[Any]]:
    """The examples of an evaluation, a row per attempt with `_SHOWN`."""
    return [[row[name] for name in _SHOWN] for row in attempt_rows(record.examples)]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    if isinstance(error, UserError) and lines:
        return lines[0]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _cell(value: object) -> str:
    """Untrusted text in a cell of a table of Markdown, as code: no markup is read."""
    text = str("" if value is None else value).replace("|", "¦").replace("`", "'")
    lines: Sequence[str] = text.splitlines() or [""]
    return "<br>".join(f"`{line}`" if line.strip() else "" for line in lines)
