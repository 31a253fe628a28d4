"""Every setting with its type, default and meaning, read off the models that check them."""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from rltf.config import RunConfig
from rltf.config.tasks.mixture import PartConfig
from rltf.config.variants import CHOSEN_BY_NAME, members, variants
from rltf.support.errors import UserError

_PLAIN = {int: "whole number", float: "number", bool: "true or false", str: "text", Any: "any value"}
_BOUNDS = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One field as a user sets it."""

    name: str
    """`section.field`, or the plain name of a setting that stands in no section."""
    type: str
    default: str
    """As in TOML; `none` where it is unset, empty where it must be set."""
    meaning: str
    of: tuple[str, ...] = ()
    """The names of the section (`objective.name`) that have this setting; empty: all of them."""
    repeated: bool = False
    """Whether it is described already, in a section of the same kind: `evaluation.judge.model` is as `judge.model`."""

    @property
    def section(self) -> str:
        """The section, or the setting itself where it stands in none."""
        return self.name.partition(".")[0]


def settings() -> list[Setting]:
    """Every setting of a run, in the order of the sections."""
    return [setting for name in RunConfig.model_fields for setting in _of_field(name)]


def sections() -> dict[str, str]:
    """What each section is for, by its name."""
    return {
        name: CHOSEN_BY_NAME[name][1] if name in CHOSEN_BY_NAME else _about(members(field.annotation)[0])
        for name, field in RunConfig.model_fields.items()
        if members(field.annotation)
    }


def choices(section: str) -> dict[str, str]:
    """What each name means that a section may have (`task.name`, `engine.name`); none for other sections."""
    return {name: _about(variant) for name, variant in variants(section).items()}


def find(name: str) -> list[Setting]:
    """The settings of a section, or of part of one, or the one of that name.

    Raises `UserError`, with a close match, where there is none.
    """
    known = settings()
    if name in sections():
        return [setting for setting in known if setting.section == name and not setting.repeated]
    found = [setting for setting in known if setting.name == name or setting.name.startswith(f"{name}.")]
    # The bare name of a field, wherever it stands.
    found = found or [setting for setting in known if setting.name.endswith(f".{name}") and not setting.repeated]
    if found:
        return found
    close = difflib.get_close_matches(name, [*sections(), *dict.fromkeys(setting.name for setting in known)], n=1)
    hint = f"did you mean {close[0]}?" if close else f"the sections are {', '.join(sections())}"
    raise UserError(f"{name}: no setting and no section is called that; {hint}")


def _of_field(name: str) -> Iterator[Setting]:
    field = RunConfig.model_fields[name]
    if named := variants(name):
        yield from _of_variants(name, named, field.get_default())
    elif inner := members(field.annotation):
        yield from _of_section(name, inner[0])
    else:
        yield _setting(name, field)


def _of_variants(section: str, named: Mapping[str, type[BaseModel]], default: Any) -> Iterator[Setting]:
    """The settings of all variants; what several have alike is said once."""
    yield Setting(
        name=f"{section}.name",
        type=_either([_quoted(n) for n in named]),
        default=_toml(default.name),
        meaning=CHOSEN_BY_NAME[section][0],
    )
    having: dict[Setting, list[str]] = {}
    for variant, model in named.items():
        for setting in _of_section(section, model):
            if setting.name != f"{section}.name":
                having.setdefault(setting, []).append(variant)
    for setting, of in having.items():
        yield replace(setting, of=() if len(of) == len(named) else tuple(of))


def _of_section(section: str, model: type[BaseModel]) -> Iterator[Setting]:
    top = {members(field.annotation): name for name, field in RunConfig.model_fields.items()}
    for name, field in model.model_fields.items():
        inner, full = members(field.annotation), f"{section}.{name}"
        if not inner:
            yield _setting(full, field)
            continue
        known = top.get(inner)
        optional = type(None) in get_args(field.annotation)
        if optional or field.description:
            kind = f"a section, as `{known}`" if known else "a list of tables" if PartConfig in inner else "a section"
            yield replace(_setting(full, field), type=f"{kind}, or none" if optional else kind)
        if inner == (PartConfig,):
            own = {key: PartConfig.model_fields[key] for key in ("weight", "label")}
            yield from (_setting(f"{full}.N.{key}", part) for key, part in own.items())
            continue
        for setting in _of_section(full, inner[0]):
            yield replace(setting, repeated=known is not None)


def _setting(name: str, field: FieldInfo) -> Setting:
    default = field.get_default(call_default_factory=True, validated_data={})
    return Setting(
        name=name,
        type=_described(field.annotation, field.metadata),
        default="" if default is PydanticUndefined else _toml(default),
        meaning=" ".join((field.description or "").split()),
    )


def _about(model: type[BaseModel]) -> str:
    return " ".join((inspect.getdoc(model) or "").split())


def _toml(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return json.dumps(dict(value)) if value else "{}"
    if isinstance(value, BaseModel):
        return ""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _described(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """A type in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        extra = [part for item in inner[1:] for part in (item.metadata if isinstance(item, FieldInfo) else [item])]
        return _described(inner[0], [*extra, *metadata])
    if origin is Literal:
        return _either([_quoted(str(value)) for value in inner])
    if origin in (Union, UnionType):
        optional = type(None) in inner
        words = [_described(part, metadata) for part in inner if part is not type(None)]
        return ", or ".join([*words, *(["none"] if optional else [])])
    if origin in (tuple, list):
        return f"list of: {_described(inner[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"table of: {_described(inner[0] if len(inner) == 1 else inner[1])}"
    if annotation is JsonValue:
        return _PLAIN[Any]
    return _PLAIN.get(annotation, str(getattr(annotation, "__name__", annotation))) + _bounds(metadata)


def _bounds(metadata: Sequence[Any]) -> str:
    said = [
        words.format(json.dumps(bound))
        for name, words in _BOUNDS.items()
        for item in metadata
        if (bound := getattr(item, name, None)) is not None
    ]
    return " " + " ".join(said) if said else ""


def _quoted(name: str) -> str:
    return f"`{name}`"


def _either(names: Sequence[str]) -> str:
    return ", ".join(names)
