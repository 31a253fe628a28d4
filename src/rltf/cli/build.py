"""`rltf build-builtin`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rltf.runs.report import plain
from rltf.support.errors import UserError
from rltf.workshops.schooling.build import DRAFTS, MARKS, Recipe, build, school_further


def build_command(out: Path, seed: int, steps: int | None, marks: bool, drafts: bool) -> None:
    """Builds the model into a new directory, or the shipped one schooled further in marks, and in drafts."""
    if out.exists():
        raise UserError(f"--out {out}: exists already; choose another directory or remove it")
    recipe = Recipe(seed=seed)
    further = DRAFTS if drafts else MARKS if marks else None
    if steps is not None:
        if further:
            further = replace(further, steps=steps)
        else:
            recipe = replace(recipe, phases=(replace(recipe.phases[0], steps=steps),))
    total = further.steps if further else sum(phase.steps for phase in recipe.phases)
    # The directory is there once the model is finished, not before.
    unfinished = out.with_name(out.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    console = Console()
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        job = bar.add_task("pretraining", total=total)

        def show(step: int, metrics: Mapping[str, float]) -> None:
            bar.update(job, completed=step + 1)
            if not console.is_terminal and (step + 1) % 50 == 0:
                figures = "  ".join(
                    f"{name} {value:.3f}" for name, value in metrics.items() if name.startswith("loss/")
                )
                console.print(f"step {step + 1}/{total}  {figures}", highlight=False, soft_wrap=True)

        if further:
            school_further(recipe, further, unfinished, show, drafts=drafts)
        else:
            build(recipe, unfinished, show)
    unfinished.rename(out)
    console.print(plain(f"wrote {out}"))
