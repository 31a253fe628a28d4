"""What a template is: a function that makes a problem of drawn numbers.

Each answer is computed by sympy, or counted through, from the numbers of the question. No question asks to simplify,
expand or factor: its own words would be an answer of the right value.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeAlias

Made: TypeAlias = tuple[str, str]
"""A question and its answer in LaTeX."""
Template: TypeAlias = Callable[[Random], Made]
TEMPLATES: list[Template] = []
"""Those of `numbers_and_algebra` and of `shapes_and_counting`, once these are imported, in their order."""


def template(function: Template) -> Template:
    """Lists a template."""
    TEMPLATES.append(function)
    return function


def make(function: Template, count: int, draw: Random) -> list[Made]:
    """Distinct problems of a template."""
    found: dict[str, str] = {}
    while len(found) < count:
        question, answer = function(draw)
        found[question] = answer
    return list(found.items())
