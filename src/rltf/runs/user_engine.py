"""An engine that a function of the user's makes (`engine.path`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from rltf.config import RunConfig
from rltf.engines.base import Engine, Learner
from rltf.support.errors import UserError
from rltf.support.user_modules import describe, load_module

_PARTS = sorted(name for name in {**vars(Learner), **vars(Engine)} if not name.startswith("_"))


def engine_function(place: str) -> Callable[[RunConfig], Any]:
    """The function of the user's that `engine.path` names; raises `UserError` where there is none."""
    setting = f"engine.path={place}"
    file, _, name = place.rpartition(":")
    make = getattr(load_module(Path(file), setting), name, None)
    if not callable(make):
        raise UserError(f"{setting}: the file has no function {name}")
    return cast("Callable[[RunConfig], Any]", make)


def user_engine(config: RunConfig, place: str) -> Engine:
    """The engine that a function of the user's makes."""
    setting = f"engine.path={place}"
    make, file = engine_function(place), place.rpartition(":")[0]
    try:
        engine = make(config)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{setting}: the function raised {describe(error, Path(file))}") from error
    lacking = [part for part in _PARTS if not hasattr(engine, part)]
    if lacking:
        raise UserError(f"{setting}: the function returned {engine!r:.60}, which has no {lacking[0]}")
    return cast("Engine", engine)
