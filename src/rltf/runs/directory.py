"""A run's directory: what is in it, and writing it so that a kill at any moment leaves it resumable.

run.json            the format of the directory, and what was handed in from Python in place of a setting
config.json         the resolved settings
environment.json    versions, git revision, machine
defaults.json       what was settled of the settings that nobody set, and why; where anything was
inputs.json         SHA-256 of the files of the user's that the settings name; inputs.mark: made on this machine
changed_inputs.jsonl  which of them had changed when the run was resumed
metrics.jsonl       one object per step, a function of settings and seed alone
timings.jsonl       seconds and tokens per second of each step, which no two runs share
rollouts.jsonl      one object per rollout, every turn in it
samples.jsonl       the training samples of some groups of each step, token by token (`records.tokens`)
evaluations.jsonl   one object per evaluation
checkpoints/        step-N: what training goes on from
model/              the trained policy in the Hugging Face format
best/               the policy that was best on the validation split, where it was evaluated on the way
summary.json        the outcome; its presence says that the run is finished
log.json            how many entries of a log are used, and why others are not, where the run learns from one
trackers.json       the run's ids in other trackers (`records.trackers`); tensorboard/, wandb/, mlflow/: kept here
told.jsonl          what those trackers were told, which they are not told again by a run that goes on after a crash
judge.sqlite        the calls to an LLM judge, unless judge.store names another file; `rltf eval` adds its own
.lock               held by the process that works here

The types of what is in the files are in `rollouts/records.py`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, TypeVar

from rltf.rollouts.records import (
    FORMAT,
    EvaluationRecord,
    GroupSamples,
    RolloutRecord,
    Summary,
    Timing,
    metrics_from_json,
)
from rltf.support.errors import UserError
from rltf.support.texts import values_of

R = TypeVar("R")
_UNFINISHED = ".tmp"
_CHECKPOINT = re.compile(r"step-(\d+)")
_FULL = 1 << 16
"""Free bytes under which a failed write is put down to the disk."""


class RunDir:
    """Reads and writes one run's directory. Steps count from 1; checkpoint N holds the state after step N."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: TextIO | None = None

    @classmethod
    def create(cls, path: Path) -> RunDir:
        """A new run; refuses a directory that holds anything."""
        cls.check_free(path)
        path.mkdir(parents=True, exist_ok=True)
        run = cls(path)
        run.lock()
        return run

    @classmethod
    def create_unused(cls, parent: Path, name: str) -> RunDir:
        """A new run in `parent/name`, or in `parent/name-2` and so on where that is taken."""
        parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            path = parent / (name if number == 1 else f"{name}-{number}")
            # mkdir claims the name: another run that starts at this moment gets the next one.
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                return cls.create(path)
        raise AssertionError

    @staticmethod
    def check_free(path: Path) -> None:
        """Refuses a path that a new run would not have to itself."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            mend = "name another directory for a new run"
            if (path / "config.json").is_file():
                mend += f", or go on with the run there: rltf train --resume {path}, or rltf.Run.resume in Python"
            raise UserError(f"{path}: exists already; {mend}")

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """An existing run."""
        if not (path / "config.json").is_file():
            raise UserError(f"{path}: is no run directory (no config.json); give the directory that rltf train made")
        return cls(path)

    def lock(self) -> None:
        """Claims the run for this process until it ends, however it ends."""
        self._lock = (self.path / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"{self.path}: another process is working here; wait for it or stop it") from error

    def unlock(self) -> None:
        """Gives the claim back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def model(self) -> Path:
        """Where the trained policy is exported to."""
        return self.path / "model"

    def write_text(self, name: str, text: str) -> None:
        """Replaces a file in one step."""
        partial = self.path / (name + _UNFINISHED)
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path / name)

    def read_text(self, name: str) -> str:
        """A file's text."""
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{self.path / name}: is damaged: it is no text") from error

    def _object(self, name: str, key: str) -> dict[str, Any]:
        """A JSON file that must hold an object with a key."""
        text = self.read_text(name)
        try:
            found: dict[str, Any] = values_of(text)
            found[key]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.path / name}: is damaged: it is not what a run writes there") from error
        return found

    def config(self) -> dict[str, Any]:
        """The settings as plain values."""
        return self._object("config.json", "objective")

    def config_text(self) -> str:
        """The settings as they stand in the file, which is no other object."""
        self.config()
        return self.read_text("config.json")

    def given(self) -> dict[str, str]:
        """What was handed in from Python in place of a setting: by what it is for, what it was."""
        about: dict[str, Any] = self._object("run.json", "format") if self.has("run.json") else {"format": 1}
        version, given = about["format"], about.get("given", {})
        if not isinstance(version, int) or not isinstance(given, dict):
            raise UserError(f"{self.path / 'run.json'}: is damaged: it is not what a run writes there")
        if version > FORMAT:
            raise UserError(f"{self.path}: was made by a later version of rltf; install that version to open it")
        return given

    def summary(self) -> Summary | None:
        """The outcome; None before the run is finished."""
        if not self.has("summary.json"):
            return None
        return self._sound("summary.json", lambda: Summary.from_json(self._object("summary.json", "after")))

    def rollouts(self) -> Iterator[RolloutRecord]:
        """Every rollout of training, in order."""
        return self._records("rollouts.jsonl", RolloutRecord.from_json)

    def samples(self) -> Iterator[GroupSamples]:
        """The recorded training samples, in order; none in runs that recorded none."""
        return self._records("samples.jsonl", GroupSamples.from_json)

    def evaluations(self) -> list[EvaluationRecord]:
        """Every evaluation, in order."""
        return list(self._records("evaluations.jsonl", EvaluationRecord.from_json))

    def metrics(self) -> list[dict[str, float]]:
        """A row per step: its number as `step`, and each metric of that step."""
        return list(self._records("metrics.jsonl", metrics_from_json))

    def timings(self) -> list[Timing]:
        """How long each step and evaluation took."""
        return list(self._records("timings.jsonl", Timing.from_json))

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def has(self, name: str) -> bool:
        """Whether a file is there."""
        return (self.path / name).is_file()

    def append(self, name: str, records: Iterable[Mapping[str, Any]]) -> None:
        """Adds lines to a JSONL file."""
        text = "".join(json.dumps(record, ensure_ascii=True, allow_nan=False) + "\n" for record in records)
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(text)

    def records(self, name: str) -> list[dict[str, Any]]:
        """The lines of a JSONL file as plain values."""
        return list(self._records(name, lambda data: data))

    def _records(self, name: str, read: Callable[[dict[str, Any]], R]) -> Iterator[R]:
        """The complete lines of a JSONL file; a line that a kill cut short is left out."""
        if not self.has(name):
            return
        with (self.path / name).open(encoding="utf-8", errors="replace") as file:
            lines = self._parsed(name, (line for line in file if line.endswith("\n")))
            for number, data in enumerate(lines, start=1):
                yield self._sound(f"{name}, line {number}", lambda data=data: read(data))  # type: ignore[misc]

    def _sound(self, place: str, read: Callable[[], R]) -> R:
        try:
            return read()
        except UserError:  # Says by itself what is wrong, and where.
            raise
        except ValueError as error:
            raise UserError(f"{self.path / place}: is damaged: {error}") from error

    def cut_after(self, name: str, step: int) -> None:
        """Removes lines of later steps, and a line cut short, so that a resumed run writes them once."""
        path = self.path / name
        if not path.is_file():
            return
        partial = path.with_name(name + _UNFINISHED)
        with path.open(encoding="utf-8", errors="replace") as old, partial.open("w", encoding="utf-8") as new:
            lines, again = itertools.tee(line for line in old if line.endswith("\n"))
            records = self._parsed(name, again)
            new.writelines(line for line, record in zip(lines, records, strict=True) if record["step"] <= step)
        partial.replace(path)

    def _parsed(self, name: str, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(lines, start=1):
            try:
                record = values_of(line)
                record["step"]
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"{self.path / name}, line {number}: is no record of a run; the file was changed or damaged: "
                    "remove the line to go on"
                ) from error
            yield record

    @contextlib.contextmanager
    def new_checkpoint(self, step: int, keep: int) -> Iterator[Path]:
        """A path to write the state after `step` to: it becomes a checkpoint only when it is complete.

        Afterwards only the newest `keep` checkpoints remain.
        """
        final = self._checkpoints / f"step-{step:06d}"
        partial = final.with_name(final.name + _UNFINISHED)
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(exist_ok=True)
        with self.naming_a_full_disk():
            yield partial
        for file in partial.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        if final.exists():
            shutil.rmtree(final)
        partial.replace(final)
        for _, old in self.checkpoints()[:-keep]:
            shutil.rmtree(old)

    @contextlib.contextmanager
    def naming_a_full_disk(self) -> Iterator[None]:
        """Libraries that write weights report a full disk in ways of their own; here it becomes an OSError."""
        try:
            yield
        except OSError:
            raise
        except Exception as error:
            if "No space left" in str(error) or shutil.disk_usage(self.path).free < _FULL:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path)) from error
            raise

    @contextlib.contextmanager
    def new_model(self, name: str) -> Iterator[Path]:
        """A path to export a policy to: it becomes the directory `name` only when it is complete."""
        final, partial = self.path / name, self.path / (name + _UNFINISHED)
        shutil.rmtree(partial, ignore_errors=True)
        with self.naming_a_full_disk():
            yield partial
        shutil.rmtree(final, ignore_errors=True)
        partial.replace(final)

    def checkpoints(self) -> list[tuple[int, Path]]:
        """Complete checkpoints as (step, path), oldest first."""
        if not self._checkpoints.is_dir():
            return []
        matches = [(_CHECKPOINT.fullmatch(path.name), path) for path in self._checkpoints.iterdir()]
        return sorted((int(match.group(1)), path) for match, path in matches if match)

    @property
    def _checkpoints(self) -> Path:
        return self.path / "checkpoints"
