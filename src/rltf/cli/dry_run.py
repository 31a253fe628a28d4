"""`rltf train --dry-run`: settings, checks and prices of a run that is not begun."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from rich.console import Console
from rich.table import Table

from rltf.cli.ending import fail
from rltf.cli.inspect import print_left_out
from rltf.cli.plan import Gpus, print_plan
from rltf.config import JudgeConfig, RunConfig, TinkerEngineConfig, TorchEngineConfig
from rltf.config.load import config_to_json
from rltf.engines.tinker.connection import check_connection, check_listening
from rltf.engines.tinker.dialects import check_optimizer
from rltf.rollouts.collector import check_first_prompts
from rltf.rollouts.episodes import load_fitting_log
from rltf.runs.build import build_task, check_sources
from rltf.runs.defaults import settle, settle_without_model
from rltf.runs.estimate import CHARACTERS_PER_TOKEN, Calls, estimate
from rltf.runs.launched import unused_parallel
from rltf.runs.report import plain
from rltf.runs.user_engine import engine_function
from rltf.support.errors import UserError
from rltf.tasks import Task
from rltf.tasks.glance import glance
from rltf.text.prompts import Prompts
from rltf.types import Problem

_GUESSED = 1000
"""Characters of a question where there is none to look at."""


def dry_run(config: RunConfig, gpus: Gpus | None = None) -> None:
    """Prints the resolved settings, what can be checked without weights, and what the run will take at most, here and
    on the GPUs that are asked about."""
    console = Console()
    given = config
    settled = settle_without_model(config)
    task = _built(config)
    if not isinstance(task, str):
        with suppress(UserError):  # What is wrong with task or model is said below.
            settled = settle(config, task)
    config = settled.config
    print(config_to_json(config), end="")
    for default in settled.defaults:
        console.print(plain(str(default)), soft_wrap=True)
    problems, longest = _problems(task, console)
    checks: list[tuple[str, str]] = [("settings", "")]
    checks.append(("problems", problems if isinstance(problems, str) else ""))
    wrong = task if isinstance(task, str) else _complaint(lambda: check_sources(config, task))
    checks.append(("feedback", wrong))
    count = None if isinstance(problems, str) else problems
    question = _GUESSED if longest is None else len(longest.prompt) + len(config.prompts.system or "")
    prompt_tokens = max(1, question // CHARACTERS_PER_TOKEN)
    console.print(_prices(config, count, prompt_tokens))
    sound = not any(complaint for _, complaint in checks)
    # Of an engine of the user's no more can be said before it is made.
    if (place := config.engine.path) is not None:
        checks.append(("engine", _complaint(lambda: engine_function(place))))
    elif isinstance(config.engine, TinkerEngineConfig):
        checks += _server(console, config, config.engine, longest if sound else None)
    else:
        checks += _model(console, config, config.engine, prompt_tokens, longest if sound else None)
        if gpus is not None:
            checks.append((str(gpus), print_plan(console, given, gpus, prompt_tokens)))
    for name, complaint in checks:
        line = plain(f"{name}: {complaint}" if complaint else f"{name}: good", "red" if complaint else "green")
        console.print(line, soft_wrap=True)
    if any(complaint for _, complaint in checks):
        fail("the run cannot begin like this on this machine", 1)


def _built(config: RunConfig) -> Task | str:
    """The task, made once, as some draw their problems slowly; or what keeps it from being made."""
    try:
        return build_task(config.task)
    except UserError as error:
        return str(error)


def _model(
    console: Console, config: RunConfig, engine: TorchEngineConfig, prompt_tokens: int, longest: Problem | None
) -> list[tuple[str, str]]:
    """What is found of the model without its weights; `longest`: a problem, if nothing was found wrong before."""
    device = ("device", _complaint(lambda: _device(engine)))
    memory = _memory(console, config, engine, prompt_tokens)
    if (note := unused_parallel(config)) is not None:
        console.print(plain(note, "yellow"), soft_wrap=True)
    model = ("model", memory or _complaint(lambda: _try_out(console, engine)))
    checks = [device, model]
    if engine.sampler == "vllm":
        checks.append(("sampler", _complaint(lambda: _sampler(config, engine))))
    # Where these fail, the same would be said again.
    if longest is None or model[1]:
        return checks
    return [*checks, *_prompts(console, config, longest)]


def _sampler(config: RunConfig, engine: TorchEngineConfig) -> None:
    from rltf.engines.vllm.engine import check_server

    check_server(config.sampler, engine)


def _server(
    console: Console, config: RunConfig, engine: TinkerEngineConfig, longest: Problem | None
) -> list[tuple[str, str]]:
    """What is found of a server. One of the user's is asked whether it is there, the hosted one nothing."""

    def check() -> None:
        check_optimizer(engine, config.trainer)
        check_connection(engine)
        check_listening(engine)

    server = ("server", _complaint(check))
    if engine.base_url is None and not server[1]:
        console.print("server: not asked, as it is the hosted service")
        return [] if longest is None else _prompts(console, config, longest)
    return [server] if longest is None else [server, *_prompts(console, config, longest)]


def _prompts(console: Console, config: RunConfig, longest: Problem) -> list[tuple[str, str]]:
    checks = [("prompts", _complaint(lambda: _check_prompts(config, longest)))]
    if config.log.path is not None:
        checks.append(("log", _complaint(lambda: _log(console, config))))
    return checks


def _problems(task: Task | str, console: Console) -> tuple[int | str, Problem | None]:
    """How many test problems there are, and one with a long question; a complaint and None where there are none."""
    if isinstance(task, str):
        return task, None
    try:
        print_left_out(console, task)
        longest = max(glance(task), key=lambda problem: len(problem.prompt))
        return max(task.size("test"), task.size("validation")), longest
    except UserError as error:
        return str(error), None


def _check_prompts(config: RunConfig, longest: Problem) -> None:
    """Finds what the model's chat template refuses in the settings, and questions that leave no room for an attempt."""
    from rltf.engines.tinker.local import load_prompts

    renderer, max_tokens = load_prompts(config.engine, config.prompts)
    if config.log.path is None:
        prompt = renderer.prompt(Prompts(config.prompts).first_turn(longest))
        check_first_prompts([longest], [prompt], config.rollout.max_new_tokens, max_tokens)


def _device(engine: TorchEngineConfig) -> None:
    from rltf.engines.torch.model import pick_device
    from rltf.engines.torch.quantized import check_quantization

    check_quantization(engine, pick_device(engine.device))


def _log(console: Console, config: RunConfig) -> None:
    """Reads the log as the run will, with the model's own chat template and its context."""
    from rltf.engines.tinker.local import load_prompts

    log = load_fitting_log(config, build_task(config.task), *load_prompts(config.engine, config.prompts))
    for line in (f"log: {len(log.entries):,} entries to train on", *log.told()):
        console.print(plain(line), soft_wrap=True)


def _complaint(check: Callable[[], object]) -> str:
    try:
        check()
    except UserError as error:
        return str(error)
    return ""


def _try_out(console: Console, engine: TorchEngineConfig) -> None:
    from rltf.engines.torch.architecture import try_architecture
    from rltf.engines.torch.model import check_weights

    check_weights(engine)
    for note in try_architecture(engine):
        console.print(plain(f"model: {note}", "yellow"))


def _prices(config: RunConfig, problems: int | None, question_tokens: int) -> Table:
    price = estimate(config, problems=problems, question_tokens=question_tokens)
    table = Table(title="at most", title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("rollouts", f"{price.rollouts:,}")
    table.add_row("attempts in them", f"{price.attempts:,}")
    table.add_row("attempts in evaluations", f"{price.evaluation_attempts:,}")
    table.add_row("tokens sampled", f"{price.sampled_tokens:,}")
    table.add_row("feedback texts in training", f"{price.feedback:,}")
    _add_judge(table, "judge", config.judge, price.judge)
    if config.evaluation.judge is not None:
        _add_judge(table, "second judge", config.evaluation.judge, price.second_judge)
    return table


def _add_judge(table: Table, name: str, judge: JudgeConfig, calls: Calls | None) -> None:
    if calls is None:
        return
    table.add_row(f"calls to the {name}", f"{calls.calls:,}")
    table.add_row(f"tokens of the {name}, in and out", f"{calls.prompt_tokens:,} + {calls.completion_tokens:,}")
    priced = judge.dollars_per_million_in or judge.dollars_per_million_out
    table.add_row(f"dollars for the {name}", f"{calls.dollars:,.2f}" if priced else "no prices set")


def _memory(console: Console, config: RunConfig, engine: TorchEngineConfig, prompt_tokens: int) -> str:
    from rltf.engines.torch.memory import GIB, memory

    try:
        needed = memory(config, prompt_tokens)
    except UserError as error:
        return str(error)
    table = Table(title="memory, GiB, roughly", title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    share = f"{needed.parameters:,} parameters, {needed.trained:,} trained"
    for name, size in (
        ("libraries", needed.process),
        (f"weights ({share})", needed.weights),
        ("gradients", needed.gradients),
        ("optimiser", needed.optimizer),
        ("further policies (reference, teacher)", needed.reference),
        (f"sampling ({engine.decode_batch} sequences at once)", needed.sampling),
        ("training (one micro-batch)", needed.training),
        ("kept by the allocator", needed.heap),
        ("at the peak", needed.peak),
    ):
        if size:
            table.add_row(name, f"{size / GIB:.2f}")
    console.print(table)
    return ""
