"""From settings to objects: the one place that knows every task, source of feedback and engine by name."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from rltf.config import (
    TASK_SECTIONS,
    MixtureConfig,
    RunConfig,
    TaskConfig,
    TaskSection,
    UserMethodConfig,
)
from rltf.config.load import read_recipe
from rltf.engines.base import Engine
from rltf.feedback import (
    AnswerSource,
    Breaker,
    ByTaskSource,
    ConstantSource,
    FeedbackSource,
    FirstOfSource,
    FunctionSource,
    GuardedSource,
    MixedSource,
    OtherProblemSource,
    RuleSource,
    SelfSource,
    SharedSource,
    ShuffledSource,
    load_function,
)
from rltf.feedback.llm import Endpoints, LLMScorer, LLMSource
from rltf.feedback.logged.loading import LoadedLog, load_log
from rltf.feedback.logged.task import LoggedAnswers
from rltf.feedback.scoring import Scorer, TaskScorer
from rltf.objectives import Context, Objective, Term, build_objective
from rltf.objectives.user import checked_terms, load_method
from rltf.rollouts.collector import RolloutCollector
from rltf.rollouts.episodes import Episodes, LogEpisodes, Order, TaskEpisodes, load_fitting_log
from rltf.rollouts.samples import SampleRecorder
from rltf.runs.directory import RunDir
from rltf.runs.evaluations import Evaluations
from rltf.runs.launched import unused_parallel
from rltf.runs.observers import Observer
from rltf.runs.trainer import Trainer
from rltf.runs.user_engine import user_engine
from rltf.support.errors import UserError
from rltf.support.launched import process_count
from rltf.support.rows import HUB
from rltf.tasks import Mixture, Task
from rltf.tasks.mixture import parts_of
from rltf.text.prompts import Prompts
from rltf.types import SamplingParams

GivenObjective: TypeAlias = Objective | Callable[[Context], Sequence[Term]]
"""A method handed in from Python: an objective, or a function from a `Context` to terms."""
LOG = "log.json"
"""The file of a run's directory that says how many entries of its log are used, and why others are not."""
STORE = "judge.sqlite"
"""The file of a run's directory that records the calls to its LLM judge."""


def known_tasks() -> dict[str, type[TaskSection]]:
    """The settings of each task by its name; a name before a colon stands for a family of tasks."""
    return {"mixture": MixtureConfig, **TASK_SECTIONS}


def check_task_name(name: str) -> None:
    """Refuses a name that no task has."""
    if name.partition(":")[0] not in known_tasks():
        raise UserError(f"task {name!r} is unknown; known tasks: {', '.join(sorted(known_tasks()))}")


def task_settings(text: str) -> dict[str, Any]:
    """The settings, as a recipe has them, of a task by its name, its file, or a recipe with it."""
    if text.endswith((".toml", ".json")):
        return read_recipe(Path(text))
    if text.endswith((".py", ".jsonl", ".parquet")) or text.startswith(HUB):
        return {"task": {"path": text}}
    check_task_name(text)
    return {"task": {"name": text}}


def build_task(config: TaskConfig) -> Task:
    """The task that the settings describe."""
    if isinstance(config, MixtureConfig):
        return Mixture({str(part.label): (build_task(part.task), part.weight) for part in config.tasks})
    _, _, member = config.name.partition(":")
    module, _, name = type(config).implementation.partition(":")
    make: Callable[..., Task] = getattr(importlib.import_module(module), name)
    return make(**config.model_dump(exclude={"name"}), **({"dataset": member} if member else {}))


def open_endpoints(config: RunConfig, directory: Path | None) -> Endpoints:
    """What asks the LLM judges of a run; to be closed by whoever runs it.

    `directory` is the run's, where calls are recorded if the settings name no store; None: nowhere but in memory.
    """
    return Endpoints(directory and directory / STORE, config.feedback.stop_after_failures)


def build_source(
    config: RunConfig, task: Task, engine: Engine, endpoints: Endpoints, given: FeedbackSource | None = None
) -> FeedbackSource:
    """The source of feedback that the settings describe. Of the engine it gets what it may know: how to generate.

    `given` stands in for `feedback.source`; all else that the settings say of feedback holds for it too.
    """
    feedback = config.feedback
    plain = {name: _plain_source(name, config, task, engine, endpoints) for name in sorted(feedback.asked)}
    source: FeedbackSource
    match "given" if given is not None else feedback.source:
        case "given":
            assert given is not None
            source = given
        case "first_of":
            source = FirstOfSource([plain[name] for name in feedback.sources])
        case "mix":
            source = MixedSource(
                [plain[name] for name in feedback.sources], feedback.shares or (1.0,) * len(feedback.sources)
            )
        case name:
            source = plain[name]
    if feedback.per_task:
        source = ByTaskSource({label: plain[name] for label, name in feedback.per_task.items()}, source)
    source = GuardedSource(source, feedback.on_failure, Breaker(feedback.stop_after_failures))
    match feedback.about:
        case "shuffled":
            source = ShuffledSource(source)
        case "other_problem":
            source = OtherProblemSource(source)
        case "attempt":
            pass
    own = round(feedback.self_share * config.trainer.group_size)
    return SharedSource(_self_source(config, engine), source, own) if own else source


def _plain_source(name: str, config: RunConfig, task: Task, engine: Engine, endpoints: Endpoints) -> FeedbackSource:
    feedback = config.feedback
    match name:
        case "rules":
            return RuleSource(task, feedback.level)
        case "constant":
            return ConstantSource(feedback.constant_text)
        case "answer":
            return AnswerSource()
        case "self":
            return _self_source(config, engine)
        case "function":
            assert feedback.function is not None
            return FunctionSource(load_function(feedback.function), feedback.function.rpartition(":")[2])
        case "llm":
            return LLMSource(config.judge, task, endpoints)
    raise AssertionError(name)


def build_scorer(config: RunConfig, task: Task, endpoints: Endpoints) -> Scorer:
    """Who scores attempts at the task: itself, and the LLM judge where it has no verifier."""
    judged = config.log.score == "judge" if isinstance(task, LoggedAnswers) else config.task.judged
    return TaskScorer(task, LLMScorer(config.judge, task, endpoints) if judged else None)


def check_sources(config: RunConfig, task: Task, directory: Path | None = None) -> None:
    """Finds what would keep a run from learning, before there is one: no library, key, file, method or sound log."""
    with open_endpoints(config, directory) as endpoints:
        if config.asks_judge:
            if config.judge.store is None and config.judge.replay == "only" and directory is None:
                raise UserError(
                    "judge.replay=only needs judge.store, the record of the run to repeat: RUN/judge.sqlite"
                )
            LLMSource(config.judge, task, endpoints)
            build_scorer(config, task, endpoints)
            if config.judge.store is not None:
                endpoints.store(config.judge).spent()
        other = config.evaluation.judge
        if other is not None:
            LLMScorer(other, task, endpoints)
            if other.store is not None:
                endpoints.store(other).spent()
        if config.feedback.function is not None:
            load_function(config.feedback.function)
        if isinstance(config.objective, UserMethodConfig):
            load_method(config.objective)
        python = config.sampler.python
        if python is not None and not os.access(python, os.X_OK):
            raise UserError(f"sampler.python={python}: is no program; name the python of an environment with vLLM")
        if config.log.path is not None:
            build_scorer(config, load_log(config.log, task, config.seed).about, endpoints)


def _self_source(config: RunConfig, engine: Engine) -> SelfSource:
    # At the temperature that is trained, so that the log-probabilities are those of the policy.
    sampling = SamplingParams(max_tokens=config.feedback.self_max_tokens, temperature=config.rollout.temperature)
    return SelfSource(engine.generate, engine.renderer, Prompts(config.prompts), sampling, engine.max_tokens)


def build_engine(config: RunConfig) -> Engine:
    """The engine that the settings describe, with its model loaded."""
    if config.engine.path is not None:
        return user_engine(config, config.engine.path)
    # Imported here: torch and transformers take seconds to import, and settings are checked without them.
    if process_count() > 1:
        return _shared_engine(config)
    if config.engine.name == "tinker":
        from rltf.engines.tinker.engine import tinker_engine

        return tinker_engine(config.engine, config.trainer, config.prompts, config.seed)
    from rltf.engines.torch.engine import torch_engine

    settings = (config.engine, config.trainer, config.rollout.temperature, config.prompts, config.seed)
    if config.engine.sampler == "vllm":
        from rltf.engines.vllm.engine import vllm_engine

        engine = vllm_engine(config.sampler, *settings)
    else:
        engine = torch_engine(*settings)
    if (note := unused_parallel(config)) is not None:
        engine.notes.append(note)
    return engine


def _shared_engine(config: RunConfig) -> Engine:
    """That of process 0, where several processes share a run."""
    from rltf.engines.torch.several import several_engine

    if config.engine.name == "torch" and config.engine.sampler == "vllm":
        from rltf.engines.vllm.engine import check_client, with_server

        check_client()
        return with_server(several_engine(config), config.sampler, config.engine, config.rollout.temperature)
    return several_engine(config)


def build_objective_of(config: RunConfig, engine: Engine, given: GivenObjective | None = None) -> Objective:
    """The method that the settings name, or the one handed in."""
    context = Context(
        renderer=engine.renderer,
        prompts=Prompts(config.prompts),
        conversation=config.rollout.conversation,
        max_tokens=engine.max_tokens,
    )
    if given is None:
        return build_objective(config.objective, context)
    return given if isinstance(given, Objective) else Objective(terms=checked_terms(given(context), "objective="))


def build_trainer(
    config: RunConfig,
    *,
    run_dir: RunDir,
    engine: Engine,
    task: Task,
    endpoints: Endpoints,
    observer: Observer,
    stop_requested: Callable[[], bool] = lambda: False,
    objective: GivenObjective | None = None,
    feedback: FeedbackSource | None = None,
) -> Trainer:
    """A run's trainer with all that it works with. `objective` and `feedback` stand in for what the settings name."""
    for line in engine.notes:
        observer.note(line)
    log = build_log(config, task, engine)
    if log is not None:
        run_dir.write_text(LOG, json.dumps(log.record(), indent=2) + "\n")
        for line in log.told():
            observer.note(line)
    evaluated = task if log is None else log.evaluated
    return Trainer(
        config=config,
        task=evaluated.name,
        by_task=len(parts_of(evaluated)) > 1,
        run_dir=run_dir,
        engine=engine,
        episodes=build_episodes(config, task, engine, endpoints, log, feedback),
        objective=build_objective_of(config, engine, objective),
        recorder=SampleRecorder(config.seed, config.records.tokens, engine.renderer, engine.answer, engine.max_tokens),
        evaluations=Evaluations(
            config=config,
            run_dir=run_dir,
            engine=engine,
            collector=build_evaluation_collector(config, task, engine, endpoints, log=log, feedback=feedback),
            second_opinion=build_second_opinion(config, evaluated, endpoints),
            stop_requested=stop_requested,
        ),
        observer=observer,
        stop_requested=stop_requested,
    )


def build_collector(
    config: RunConfig,
    task: Task,
    source: FeedbackSource,
    engine: Engine,
    horizon: int,
    endpoints: Endpoints,
    *,
    given: bool = False,
) -> RolloutCollector:
    """What collects rollouts with an engine. It gets to know of the engine how to generate.

    `given`: the source asks one that was handed in from Python, which is promised all attempts of a turn at once.
    """
    # Feedback about another attempt is drawn from that of all groups.
    by_group = config.feedback.about == "attempt" and not given
    return RolloutCollector(
        task=task,
        scorer=build_scorer(config, task, endpoints),
        source=source,
        renderer=engine.renderer,
        prompts=Prompts(config.prompts),
        generate=engine.generate,
        max_tokens=engine.max_tokens,
        config=config.rollout,
        horizon=horizon,
        each_by_itself=by_group and getattr(engine, "side_by_side", False),
    )


def build_evaluation_collector(
    config: RunConfig,
    task: Task,
    engine: Engine,
    endpoints: Endpoints,
    horizon: int | None = None,
    log: LoadedLog | None = None,
    feedback: FeedbackSource | None = None,
) -> RolloutCollector:
    """What collects the rollouts of an evaluation, where all later attempts follow the same kind of feedback.

    Unless a horizon is given, an evaluation has at least two turns, also for single-turn methods. The problems are the
    task's, or those of the log of the settings that are held out.
    """
    log = log or build_log(config, task, engine)
    task = task if log is None else log.evaluated
    # Nothing reads feedback on an evaluation's last attempts, whatever the objective does in training.
    config = config.model_copy(update={"rollout": config.rollout.model_copy(update={"feedback_on_last": False})})
    source = build_source(without_self_share(config), task, engine, endpoints, feedback)
    return build_collector(
        config, task, source, engine, horizon or max(2, config.horizon), endpoints, given=feedback is not None
    )


def build_second_opinion(config: RunConfig, task: Task, endpoints: Endpoints) -> Scorer | None:
    """The other LLM judge that scores first attempts in evaluations, if there is one."""
    other = config.evaluation.judge
    return None if other is None else LLMScorer(other, task, endpoints)


def build_log(config: RunConfig, task: Task, engine: Engine) -> LoadedLog | None:
    """The run's log, if it has one, with the entries that the model can take."""
    if config.log.path is None:
        return None
    return load_fitting_log(config, task, engine.renderer, engine.max_tokens)


def build_episodes(
    config: RunConfig,
    task: Task,
    engine: Engine,
    endpoints: Endpoints,
    log: LoadedLog | None = None,
    feedback: FeedbackSource | None = None,
) -> Episodes:
    """What the steps of a run learn from: a log, where there is one."""
    log = log or build_log(config, task, engine)
    if log is None:
        source = build_source(config, task, engine, endpoints, feedback)
        collector = build_collector(config, task, source, engine, config.horizon, endpoints, given=feedback is not None)
        return TaskEpisodes(config, collector, Order(task.size("train"), config.seed))
    source = build_source(config, log.about, engine, endpoints, feedback)
    collector = build_collector(
        config, log.about, source, engine, config.horizon, endpoints, given=feedback is not None
    )
    return LogEpisodes(config, collector, Order(len(log.entries), config.seed), log, engine.answer)


def without_self_share(config: RunConfig) -> RunConfig:
    """For evaluation: later attempts are to follow one kind of feedback."""
    return config.model_copy(update={"feedback": config.feedback.model_copy(update={"self_share": 0.0})})
