"""Texts with fields to fill in, such as `{feedback}`."""

from __future__ import annotations

import re
from collections.abc import Mapping

_FIELD = re.compile(r"(?<!\{)\{(\{[a-z_]+\})\}(?!\})|\{([a-z_]+)\}")


def fields(template: str) -> set[str]:
    """The names of the fields: every `{name}` of lower-case letters, but not `{{name}}`, which stands for `{name}`."""
    return {match.group(2) for match in _FIELD.finditer(template)} - {None}


def substitute(template: str, values: Mapping[str, str]) -> str:
    """Fills every field once and writes `{{name}}` as `{name}`.

    Braces inside a value stay text; a field without a value raises `KeyError`.
    """
    return _FIELD.sub(lambda match: match.group(1) or values[match.group(2)], template)


def without_fields(template: str) -> list[str]:
    """What stands around the fields, piece by piece."""
    return [piece for i, piece in enumerate(_FIELD.split(template)) if i % 3 == 0]
