"""Reads a run's settings from TOML and from `section.field=value`, and says in one line what is wrong with them."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rltf.config import (
    JudgeConfig,
    MixtureConfig,
    PartConfig,
    RunConfig,
    SingleTaskConfig,
    TaskConfig,
    UserMethodConfig,
    single_tasks,
)
from rltf.config.engines import BUILTIN, SMOLLM2, TorchEngineConfig
from rltf.config.variants import CHOSEN_BY_NAME, members, variants
from rltf.support.errors import UserError
from rltf.support.rows import HUB

_SOURCE = re.compile(r"(?P<form>[a-z0-9_]+:)?(?P<path>.*)", re.DOTALL)


def load_config(recipes: Sequence[Path], overrides: Sequence[str]) -> RunConfig:
    """The defaults with recipes laid over them, one over the other, and the overrides over all."""
    data: dict[str, Any] = {}
    for recipe in recipes:
        data = overlay(data, read_recipe(recipe))
    for override in overrides:
        apply_override(data, override)
    return validate_config(data)


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Settings laid over others, section by section.

    A section that names another task, objective or engine than the one below replaces it whole; the word none removes
    it.
    """
    merged = dict(below)
    for key, value in above.items():
        inner = merged.get(key)
        if isinstance(inner, dict) and isinstance(value, Mapping) and _same_kind(inner, value):
            merged[key] = overlay(inner, value)
        elif isinstance(inner, dict) and value == "none":
            del merged[key]
        else:
            merged[key] = value
    return merged


def _same_kind(below: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    return "name" not in above or "name" not in below or below["name"] == above["name"]


def read_recipe(path: Path) -> dict[str, Any]:
    """The settings in a TOML file, or in the `config.json` of a run."""
    if path.is_dir():
        raise UserError(f"{path}: is a directory; {_recipes_in(path)}")
    if path.suffix != ".json":
        return read_toml(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: holds no settings")
    return data


def _recipes_in(directory: Path) -> str:
    """Which files of a directory make a whole when they are laid over each other."""
    if (directory / "config.json").is_file():
        return f"the settings of the run there are {directory / 'config.json'}"
    common: list[str] = []
    tasks: list[str] = []
    methods: list[str] = []
    for path in sorted(directory.glob("*.toml")):
        try:
            data = read_toml(path)
        except UserError:  # It is said when the file itself is given.
            continue
        (tasks if "task" in data else methods if "objective" in data else common).append(path.stem)
    alone = tasks or methods
    if not common and not (tasks and methods):
        within = sorted({path.parent.name for path in directory.glob("*/*.toml")})
        if not alone and not within:
            return "give a recipe, which is a TOML file"
        deeper = f"recipes of a directory in it ({', '.join(within)})" if within else ""
        return "give " + ", or ".join(
            filter(None, [f"one of its recipes ({', '.join(alone)})" if alone else "", deeper])
        )
    parts = [f"{name}.toml" for name in common]
    parts += [f"one {what} ({', '.join(names)})" for what, names in (("task", tasks), ("method", methods)) if names]
    return f"give files of it, one after the other: {', then '.join(parts)}"


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as nested dictionaries. Some editors begin a file with a byte-order mark, which is passed over."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not valid TOML: {error}") from error


def configure(recipes: str | Path | Sequence[str | Path] = (), changes: Mapping[str, Any] | None = None) -> RunConfig:
    """The settings of a run: the defaults, recipes laid over them, and over all `changes` by `section.field`.

        rltf.configure("recipe.toml", {"trainer.steps": 50, "seed": 1})

    Raises `UserError`, one line that names the first wrong field and the mend.
    """
    files = [recipes] if isinstance(recipes, str | Path) else recipes
    data: dict[str, Any] = {}
    for recipe in files:
        data = overlay(data, read_recipe(Path(recipe)))
    for name, value in (changes or {}).items():
        set_value(data, name, value)
    return with_absolute_paths(validate_config(data))


def changed(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """Settings with some set anew by `section.field`."""
    data = config.model_dump(mode="json")
    for name, value in changes.items():
        set_value(data, name, value)
    return validate_config(data)


def apply_override(data: dict[str, Any], override: str) -> None:
    """Sets one `section.field=value` in place. The value is read as TOML, else as a string; `none` unsets."""
    set_value(data, *parse_override(override))


def parse_override(override: str) -> tuple[str, Any]:
    """The name and the value of `section.field=value`."""
    key, separator, text = override.partition("=")
    if not separator or not all(key.strip().split(".")):
        raise UserError(f"{override!r} is not of the form section.field=value, such as trainer.steps=100")
    return key.strip(), _parse_value(text.strip())


def set_value(data: dict[str, Any], name: str, value: Any) -> None:
    """Sets `section.field` in place."""
    path = name.split(".")
    here = data
    for depth, part in enumerate(path[:-1], start=1):
        inner = here.setdefault(part, {})
        if not isinstance(inner, dict):
            raise UserError(f"{name}={value!r}: {'.'.join(path[:depth])} is a value, not a section")
        here = inner
    here[path[-1]] = value


def validate_config(data: Mapping[str, Any]) -> RunConfig:
    """Checks everything; the error names the first wrong field and the mend."""
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        raise UserError(_explain(error.errors(include_url=False)[0])) from error


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """The settings with local paths written out, so that a run can be resumed from any working directory."""
    engine, feedback = config.engine, config.feedback
    # What a server calls its model stays as it is.
    fields = ("model", "chat_template") if isinstance(engine, TorchEngineConfig) else ("tokenizer", "chat_template")
    named = {name: _local_path(getattr(engine, name)) for name in fields}
    local = {name: str(path) for name, path in named.items() if path is not None}
    if engine.path is not None:
        file, _, function = engine.path.rpartition(":")
        local["path"] = f"{_absolute(file)}:{function}"
    file, _, function = (feedback.function or "").rpartition(":")
    own = {"function": f"{_absolute(file)}:{function}"} if file else {}
    objective = config.objective
    if isinstance(objective, UserMethodConfig):
        file, _, function = objective.path.rpartition(":")
        objective = objective.model_copy(update={"path": f"{_absolute(file)}:{function}"})
    logged = {"path": str(_absolute(config.log.path))} if config.log.path else {}
    return config.model_copy(
        update={
            "task": _task_with_absolute_paths(config.task),
            "log": config.log.model_copy(update=logged),
            "objective": objective,
            "engine": engine.model_copy(update=local),
            "judge": _with_absolute_files(config.judge),
            "evaluation": config.evaluation.model_copy(
                update={"judge": config.evaluation.judge and _with_absolute_files(config.evaluation.judge)}
            ),
            "feedback": feedback.model_copy(update=own),
        }
    )


def begun_on(config: RunConfig, day: date) -> RunConfig:
    """The settings of a run that begins on a day: chat templates show it to the run's end."""
    if config.prompts.date is not None:
        return config
    return config.model_copy(update={"prompts": config.prompts.model_copy(update={"date": day.isoformat()})})


def _with_absolute_files(judge: JudgeConfig) -> JudgeConfig:
    files = {name: str(_absolute(path)) for name in ("prompt", "store") if (path := getattr(judge, name))}
    return judge.model_copy(update=files)


def _task_with_absolute_paths(task: TaskConfig) -> TaskConfig:
    if isinstance(task, MixtureConfig):
        parts = [part.model_copy(update={"task": _single_with_absolute_paths(part.task)}) for part in task.tasks]
        return task.model_copy(update={"tasks": tuple(parts)})
    return _single_with_absolute_paths(task)


def _single_with_absolute_paths(task: SingleTaskConfig) -> SingleTaskConfig:
    files = {field: f"{known}{_absolute(path)}" for field, (known, path) in _local_files(task).items()}
    return task.model_copy(update=files)


def task_files(task: TaskConfig) -> list[str]:
    """The files of the user's that the problems come from."""
    return [path for single in single_tasks(task) for _, path in _local_files(single).values()]


def _local_files(task: SingleTaskConfig) -> dict[str, tuple[str, str]]:
    """By field, the path of each file on this machine that a task's settings name, in place of a hub or a known set.

    Before it stands what says whose form it has, such as `dapo:`, or nothing.
    """
    found: dict[str, tuple[str, str]] = {}
    for field in task.local_files:
        source = getattr(task, field)
        if source is None or source.startswith(HUB):
            continue
        match = _SOURCE.fullmatch(source)
        assert match is not None
        if Path(match["path"]).suffix:
            found[field] = (match["form"] or "", match["path"])
    return found


def _absolute(text: str) -> Path:
    path = Path(text)
    with suppress(RuntimeError):  # No such user: whoever opens the file will say so.
        path = path.expanduser()
    return path.resolve()


def _local_path(text: str | None) -> Path | None:
    """Where a setting points to on this machine; None for a hub name, `builtin`, `smollm2`, and what is not there."""
    if text is None or text in (BUILTIN, SMOLLM2):
        return None
    try:
        path = Path(text).expanduser()
    except RuntimeError:  # No such user: the engine will say so.
        return None
    return path.resolve() if path.exists() else None


def config_to_json(config: RunConfig) -> str:
    """The resolved settings, every field present, as JSON that `config_from_json` reads back."""
    return json.dumps(config.model_dump(mode="json"), indent=2) + "\n"


def config_from_json(text: str, place: str = "config.json of the run") -> RunConfig:
    """The settings of a finished or interrupted run; `place` is named where they are wrong.

    A judge without a model was never asked: what stands there are the defaults of the version that began the run, and
    today's take their place.
    """
    try:
        data = json.loads(text)
        if isinstance(data, dict) and isinstance(data.get("judge"), dict) and data["judge"].get("model") is None:
            text = json.dumps({name: value for name, value in data.items() if name != "judge"})
    except ValueError:
        pass  # Told below, as any other fault.
    try:
        return RunConfig.model_validate_json(text)
    except ValidationError as error:
        raise UserError(f"{place}: {_explain(error.errors(include_url=False)[0])}") from error


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        return text


def _explain(error: ErrorDetails) -> str:
    place = _written(error)
    name = ".".join(place)
    value = error.get("input")
    if error["type"] == "extra_forbidden":
        return f"{name}: {_unknown_setting(place, error)}"
    if name in CHOSEN_BY_NAME and isinstance(value, str):
        return f"{name}={value!r}: is a section; write {name}.name={value}"
    if error["type"] == "union_tag_invalid":
        known = sorted(variants(place[0]))
        close = difflib.get_close_matches(str(error["ctx"]["tag"]), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
        return f"{name}.name={error['ctx']['tag']!r}: unknown; {hint}"
    if error["type"] == "value_error":
        message = str(error["ctx"]["error"]) if "ctx" in error else error["msg"]
        return f"{name}: {message}" if name else message
    if error["type"] in ("tuple_type", "list_type") and isinstance(value, str):
        return f"{name}={value}: is a list; write '{name}={json.dumps([value])}'"
    if error["type"] in ("tuple_type", "list_type"):
        return f"{name}: is a list; write what it holds between [ and ]"
    message = error["msg"][0].lower() + error["msg"][1:]
    shown = "" if isinstance(value, Mapping) else f"={value!r}"
    return f"{name}{shown}: {message}"


def _unknown_setting(place: Sequence[str], error: ErrorDetails) -> str:
    known = _fields_beside(place)
    if place[-1] in known:
        known_to = variants(place[0])
        names = [name for name, variant in known_to.items() if place[-1] in variant.model_fields]
        chosen = [str(part) for part in error["loc"] if _is_tag(str(part), error)][-1]
        section = ".".join(place[:-1])
        if not names:  # It stands in a section of the variants, as `floor_for` in `objective.sd`.
            section, inner = place[0], place[-2]
            names = [name for name, variant in known_to.items() if place[-1] in _settings_in(variant, inner)]
        return f"is no setting of {section}.name={chosen}, but of {', '.join(names)}; remove one of the two"
    close = difflib.get_close_matches(place[-1], known, n=1)
    return f"unknown setting; did you mean {close[0]}?" if close else f"unknown setting; known here: {', '.join(known)}"


def _settings_in(variant: type[BaseModel], section: str) -> set[str]:
    """The settings of a section of a variant; none where it has no such section."""
    field = variant.model_fields.get(section)
    return {name for member in members(field.annotation) for name in member.model_fields} if field else set()


def _written(error: ErrorDetails) -> list[str]:
    """The place of an error as the user writes it."""
    place = [str(part) for part in error["loc"] if not _is_tag(str(part), error)]
    # A task of a mixture stands in one table with its weight and label.
    if place[:2] == ["task", "tasks"] and place[3:4] == ["task"]:
        del place[3]
    return place


def _is_tag(part: str, error: ErrorDetails) -> bool:
    """Pydantic puts the chosen member of a tagged union into the location: it is no part of the field's name."""
    return len(error["loc"]) > 1 and part in variants(str(error["loc"][0]))


def _fields_beside(place: Sequence[str]) -> list[str]:
    """The known settings of the section in which an unknown one was found, over all its variants."""
    sections: tuple[type[BaseModel], ...] = (RunConfig,)
    for part in place[:-1]:
        if part.isdigit():  # a task of a mixture: its settings stand beside those of its part
            sections += tuple(variants("task").values())
            continue
        fields = [section.model_fields[part] for section in sections if part in section.model_fields]
        sections = tuple(member for field in fields for member in members(field.annotation))
    hidden = {"task"} if PartConfig in sections else set()
    return sorted({name for section in sections for name in section.model_fields} - hidden)
