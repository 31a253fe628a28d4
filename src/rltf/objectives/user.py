"""A method in a Python file of the user's: `objective.path = "my_method.py:name"`.

The function there takes its settings, a class of typed fields, and a `Context`, and returns terms, which are added to
the policy gradient that every method shares (`objective.policy_coefficient=0` turns that off).
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from rltf.config import UserMethodConfig
from rltf.objectives.base import Context, Term
from rltf.support.errors import UserError
from rltf.support.user_modules import describe, load_module


def user_terms(config: UserMethodConfig, context: Context) -> list[Term]:
    """The terms that the user's function returns for these settings."""
    function, settings = load_method(config)
    try:
        terms = function(settings, context)
    except Exception as error:
        file = Path(config.path.rpartition(":")[0])
        raise UserError(f"objective.path={config.path}: the method raised {describe(error, file)}") from error
    return list(checked_terms(terms, f"objective.path={config.path}"))


def checked_terms(returned: Any, place: str) -> tuple[Term, ...]:
    """What a function of the user's returned, if it is terms. `place` names the function in what is raised if not."""
    if not isinstance(returned, Sequence) or not returned or not all(isinstance(term, Term) for term in returned):
        raise UserError(f"{place}: the method returned {returned!r:.60}, not a list of rltf.Term")
    return tuple(returned)


def load_method(config: UserMethodConfig) -> tuple[Callable[[Any, Context], Any], BaseModel]:
    """The function and its settings, checked; runs the file, once. Needs no model."""
    place = f"objective.path={config.path}"
    path, _, name = config.path.rpartition(":")
    function = getattr(load_module(Path(path), place), name, None)
    if not callable(function):
        raise UserError(f"{place}: the file has no function {name}")
    try:
        hints = [hint for key, hint in typing.get_type_hints(function).items() if key != "return"]
    except Exception as error:
        raise UserError(f"{place}: the types of its parameters cannot be read: {error}") from error
    if len(hints) != 2 or not (isinstance(hints[0], type) and issubclass(hints[0], BaseModel)):
        raise UserError(f"{place}: write def {name}(settings: MySettings, context: Context), MySettings a rltf.Section")
    try:
        return function, hints[0].model_validate(dict(config.settings))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(["objective.settings", *map(str, first["loc"])])
        known = f"; known: {', '.join(hints[0].model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise UserError(f"{field}: {first['msg'][0].lower()}{first['msg'][1:]}{known}") from error
