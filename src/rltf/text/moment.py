"""One moment for chat templates that show the date: transformers itself gives them the time of each call."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

VARIABLE = "rltf_moment"
"""The name under which a template gets the moment."""
# A template sees plain data only, so what strftime does is spelled out as a macro over the directives' values.
_MACRO = (
    "{%- macro strftime_now(format) %}"
    "{%- set made = namespace(text=format) %}"
    "{%- for directive, shown in " + VARIABLE + ".items() %}"
    "{%- set made.text = made.text | replace(directive, shown) %}"
    "{%- endfor %}"
    "{{- made.text }}"
    "{%- endmacro %}\n"  # The line break belongs to the block, so that the template begins a line, as it did.
)
_LETTERS = "aAwdbBmyYHIMSpfzZjUWcxXGuVeDFTRhklCPrsnt"
_PERCENT = "\ufdd0"


def at_one_moment(template: str) -> str:
    """The template with its clock stopped; itself where it reads no clock."""
    return _MACRO + template if "strftime_now" in template else template


def directives(moment: datetime) -> Mapping[str, str]:
    """Each directive of strftime with what it shows, in the order in which they are to be replaced."""
    shown = {f"%{flag}{letter}": moment.strftime(f"%{flag}{letter}") for flag in ("", "-") for letter in _LETTERS}
    return {"%%": _PERCENT, **shown, _PERCENT: "%"}
