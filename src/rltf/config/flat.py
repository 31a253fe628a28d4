"""A run's settings as a flat table, and what of them differs between runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rltf.config.run import RunConfig
from rltf.support.texts import sound

_LONGEST = 300


def flat_settings(config: RunConfig) -> dict[str, str]:
    """`section.field` to its value as text. No key is among them: settings name the variable that holds it."""
    return dict(_flat("", config.model_dump(mode="json")))


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}" if name else str(key), inner)
    else:
        text = value if isinstance(value, str) else "none" if value is None else json.dumps(value, ensure_ascii=False)
        yield sound(name), sound(text if len(text) <= _LONGEST else text[:_LONGEST] + "…")


def not_default(settings: Mapping[str, str]) -> dict[str, str]:
    """The names of the settings that are not those of the main job, which are the defaults, with what it has there."""
    defaults = flat_settings(RunConfig())
    return {name: defaults.get(name, "none such") for name, value in settings.items() if defaults.get(name) != value}


def differing(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """The names of the settings in which runs differ; those that a run does not have differ too."""
    names = dict.fromkeys(name for each in settings for name in each)
    return [name for name in names if len({each.get(name) for each in settings}) > 1]
