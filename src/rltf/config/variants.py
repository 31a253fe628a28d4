"""Which sections a section may be: `task`, `objective` and `engine` are chosen by their `name`."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel

from rltf.config import RunConfig

CHOSEN_BY_NAME = {
    "task": ("Which task.", "What is learned: problems and their check."),
    "objective": ("Which method.", "How it is learned: the method."),
    "engine": ("Which engine.", "What samples and trains, and which model."),
}
"""By section, what its `name` means, and what it is for."""


def variants(section: str) -> dict[str, type[BaseModel]]:
    """The members of a section that is chosen by its `name`, such as `objective`; none for another section."""
    if section not in CHOSEN_BY_NAME:
        return {}
    found = members(RunConfig.model_fields[section].annotation)
    return {str(name): member for member in found for name in _names(member)}


def members(annotation: Any) -> tuple[type[BaseModel], ...]:
    """The sections that a field's annotation allows."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    return tuple(member for part in get_args(annotation) for member in members(part))


def _names(section: type[BaseModel]) -> tuple[Any, ...]:
    # A section for many names, such as reasoning_gym:chain_sum, is known by what they begin with.
    return get_args(section.model_fields["name"].annotation) or (getattr(section, "names_begin_with", None),)
