"""What the runners of APPS and LiveCodeBench import before an attempt: their problems are posed as if it were there."""

from __future__ import annotations

import builtins
import importlib
import re
from functools import cache

# In the order of LiveCodeBench's runner, a later name over an earlier one, but for typing, whose Counter and the like
# are less than those of collections; then what APPS's has besides. Its numpy is left out: the sandbox has no packages.
_STARRED = (
    "typing", "string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics",
    "itertools", "functools", "operator", "io", "sys", "json",
)  # fmt: skip
_MODULES = (*_STARRED, "time", "fractions")
_NAME = re.compile(r"[^\W\d]\w*")
_RECURSION = "import sys\nsys.setrecursionlimit(50000)"


def supplied(code: str, *, whole: bool, begins: str, function: str) -> str:
    """Python to run before the code: imports of those names in it that the runners supply, and their recursion limit.

    Not `whole`: only names that stand in how the answer is told to begin. The function that is asked for is never
    supplied: `median` would be right without an attempt.
    """
    names = set(_NAME.findall(code if whole else begins)) - {function}
    imports = sorted({statement for name, statement in _table().items() if name in names})
    return "\n".join([*imports, _RECURSION] if whole else imports)


@cache
def _table() -> dict[str, str]:
    """How each supplied name is imported."""
    found: dict[str, str] = {}
    for module in _STARRED:
        space = vars(importlib.import_module(module))
        names = space.get("__all__") or [name for name in space if not name.startswith("_")]
        found |= {name: f"from {module} import {name}" for name in names}
    found |= {module: f"import {module}" for module in _MODULES}
    return {name: statement for name, statement in found.items() if not hasattr(builtins, name)}
