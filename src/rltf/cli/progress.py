"""Progress of a run: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from rltf.rollouts.records import EvaluationRecord, Timing
from rltf.runs.observers import Observer
from rltf.runs.report import percent, plain

_SMOOTHING = 0.1
_PLAIN_LINES_SECONDS = 5.0


class RunProgress(Observer):
    """Shows what the trainer reports. Accuracies and loss are running means over about ten steps."""

    def __init__(self, console: Console, steps: int) -> None:
        self._console, self._steps = console, steps
        self._means: dict[str, float] = {}
        self._first_step: int | None = None
        self._step = 0
        self._spent = 0.0
        self._last_line = 0.0
        self._told = False
        self._phase = "loading"
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            auto_refresh=False,
        )
        self._task = self._bar.add_task("training", total=steps)
        self._live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keeps the live view on the screen, where there is one."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, get_renderable=self._view, refresh_per_second=4, transient=True) as self._live:
            yield

    def note(self, text: str) -> None:
        """Something that a person should know."""
        self._console.print(plain(text), soft_wrap=True)

    def phase(self, name: str) -> None:
        """Long work outside the steps begins."""
        self._phase = name
        if self._live is None:
            self._console.print(name, highlight=False)

    def step(self, step: int, metrics: Mapping[str, float], timing: Timing) -> None:
        """A step is done."""
        self._first_step = step - 1 if self._first_step is None else self._first_step
        self._step, self._spent = step, self._spent + timing.seconds
        self._phase = "training"
        loss = sum(value for name, value in metrics.items() if name.startswith("loss/"))
        shown = {
            "first": metrics.get("accuracy/first_turn"),
            "second": metrics.get("accuracy/second_turn"),
            "loss": loss,
            "tokens/s": timing.tokens_per_second,
        }
        for name, value in shown.items():
            if value is not None:
                old = self._means.get(name, value)
                self._means[name] = old + _SMOOTHING * (value - old)
        self._bar.update(self._task, completed=step)
        if self._live is None and (time.monotonic() - self._last_line > _PLAIN_LINES_SECONDS or step == self._steps):
            self._last_line = time.monotonic()
            if not self._told:
                self._console.print("Means of about the last ten steps: right attempts in %, tokens/s, time left.")
                self._told = True
            self._console.print(self._line(step), highlight=False, soft_wrap=True)

    def evaluation(self, record: EvaluationRecord) -> None:
        """An evaluation is done."""
        useful = record.usefulness
        self._console.print(
            f"{record.split} after step {record.step}: right first attempts "
            f"{percent(record.first_turn, record.first_turn_interval)}, "
            f"second {percent(record.second_turn, record.second_turn_interval)}",
            highlight=False,
            soft_wrap=True,
        )
        if useful is not None:
            self._console.print(
                f"  {100 * useful:+.1f} points of the second by what the feedback says", highlight=False
            )
        if record.fluency is not None:
            reads = record.fluency
            usual = "" if reads.initial_logprob is None else f"{reads.initial_logprob:.2f} nats a token, "
            self._console.print(
                f"  they read: {usual}{100 * reads.copies:.0f} % copies, "
                f"{100 * reads.echoes:.0f} % echo feedback, {record.tokens:.0f} tokens",
                highlight=False,
            )

    def alarm(self, step: int, reason: str) -> None:
        """The run seems to go wrong."""
        self._console.print(f"[bold red]alarm[/bold red] at step {step}: {reason}", highlight=False)

    def _line(self, step: int) -> str:
        """A step in 80 columns, also of a long run."""
        shares = [f"{name} {100 * self._means[name]:.1f}" for name in ("first", "second") if name in self._means]
        rest = [f"loss {self._means['loss']:.3g}", f"{self._means['tokens/s']:,.0f}/s", _duration(self._seconds_left())]
        return "  ".join([f"step {step}/{self._steps}", *shares, *rest]) + " left"

    def _figures(self) -> dict[str, str]:
        figures = {
            name: f"{100 * mean:.1f} %"
            if name in ("first", "second")
            else f"{mean:,.0f}"
            if name == "tokens/s"
            else f"{mean:.3f}"
            for name, mean in self._means.items()
        }
        return {**figures, "time left": _duration(self._seconds_left())}

    def _seconds_left(self) -> float:
        done = self._step - (self._first_step or 0)
        return self._spent / max(1, done) * (self._steps - self._step)

    def _view(self) -> Table:
        view = Table.grid(padding=(0, 3))
        if self._means:
            figures = self._figures()
            view.add_row(*figures.keys())
            view.add_row(*(f"[bold]{text}[/bold]" for text in figures.values()))
        outer = Table.grid()
        outer.add_row(self._bar if self._phase == "training" else self._phase + " ...")
        outer.add_row(view)
        return outer


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
