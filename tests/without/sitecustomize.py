"""Loaded by every Python process that has this directory in PYTHONPATH: settings then ignore one field.

`RLTF_WITHOUT=section.field` names it. A test that vouches for the field must fail in such a process, also where it
starts the command line in another one (`python -m tests.vouched`).
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
from typing import Any


def sections(config: type[Any], path: list[str]) -> list[type[Any]]:
    """The classes that have the last name of `path`, reached over the others."""
    from rltf.config.variants import members

    if len(path) == 1:
        return [config] if path[0] in config.model_fields else []
    inner = members(config.model_fields[path[0]].annotation) if path[0] in config.model_fields else []
    return [found for each in inner for found in sections(each, path[1:])]


def ignore(section: type[Any], field: str) -> Any:
    """Has all instances of `section` behave as if `field` had its default, which it returns; None where it has none."""
    info = section.model_fields[field]
    default: Any = None if info.is_required() else info.get_default(call_default_factory=True)
    read: Any = section.__getattribute__
    dump: Any = section.model_dump

    def __getattribute__(self: Any, name: str) -> Any:
        return default if name == field else read(self, name)

    def model_dump(self: Any, **options: Any) -> dict[str, Any]:
        plain: dict[str, Any] = dump(self, **options)
        return {**plain, field: default} if field in plain else plain

    for replaced in (__getattribute__, model_dump):
        setattr(section, replaced.__name__, replaced)
    return default


def ignore_argument(task: type[Any], name: str, default: Any) -> None:
    """Has a task be made with the default in place of what a test hands over as `name`."""
    make = task.__init__

    @functools.wraps(make)
    def __init__(self: Any, *args: Any, **named: Any) -> None:
        make(self, *args, **{**named, name: default} if name in named else named)

    if name in inspect.signature(make).parameters:
        setattr(task, make.__name__, __init__)


if name := os.environ.get("RLTF_WITHOUT"):
    from rltf.config import RunConfig

    *_, field = path = name.split(".")
    for section in set(sections(RunConfig, path)):
        default = ignore(section, field)
        if path[0] == "task" and hasattr(section, "implementation"):
            module, _, member = section.implementation.partition(":")
            ignore_argument(getattr(importlib.import_module(module), member), field, default)
