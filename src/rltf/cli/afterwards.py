"""The commands for what a run has left behind: its page, its tables, its model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_commands(app: typer.Typer) -> None:
    """Adds them to the program."""

    @app.command()
    def report(
        runs: Annotated[
            list[Path], typer.Argument(metavar="RUN...", help="Runs that are laid over each other, or a comparison.")
        ],
        out: Annotated[
            Path | None, typer.Option(help="The file; by default report.html in the run, or here for several runs.")
        ] = None,
    ) -> None:
        """Make one HTML file of a run: what it learned, where feedback helped, and its rollouts token by token.

        It loads nothing from anywhere and opens from the disk. Several runs are laid over each other.
        """
        from rltf.cli.report import report_command

        report_command(runs, out)

    @app.command()
    def watch(
        runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs that are under way, or finished.")],
        port: Annotated[
            int, typer.Option(min=0, max=65535, help="Of the page, on this machine; by default a free one.")
        ] = 0,
    ) -> None:
        """Serve the same page on this machine, following a run that is under way; write feedback on what you see."""
        from rltf.cli.watch import watch_command

        watch_command(runs, port)

    @app.command()
    def export(
        run: Annotated[Path, typer.Argument(metavar="RUN")],
        out: Annotated[Path | None, typer.Option(help="The folder; by default tables in the run.")] = None,
    ) -> None:
        """Write a run's attempts, metrics and evaluations as Parquet files, for pandas, polars or a database."""
        from rltf.cli.share import export_command

        export_command(run, out)

    @app.command()
    def push(
        run: Annotated[Path, typer.Argument(metavar="RUN")],
        name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Where it goes on the Hugging Face hub.")],
        best: Annotated[
            bool, typer.Option("--best", help="The model that was best on the validation problems.")
        ] = False,
        public: Annotated[bool, typer.Option("--public", help="For everybody; by default for you alone.")] = False,
    ) -> None:
        """Put a run's trained model on the Hugging Face hub, with a card made from the run."""
        from rltf.cli.share import push_command

        push_command(run, name, best=best, public=public)
