"""`rltf new-task`: files to begin a task of one's own with."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rich.console import Console

from rltf.runs.report import plain
from rltf.support.errors import UserError

_TEMPLATES = Path(__file__).parent / "templates"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def new_task_command(name: str, rows: bool) -> None:
    """Writes NAME.py, or NAME.jsonl, and NAME.toml into the working directory."""
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r}: a task's name has letters, digits and _, and begins with a letter")
    if name in sys.stdlib_module_names:
        raise UserError(
            f"{name!r}: is a module of Python's, which programs started here would miss; choose another name"
        )
    data, recipe = ("rows.jsonl", "rows.toml") if rows else ("task.py", "task.toml")
    targets = {Path(name).with_suffix(Path(template).suffix): template for template in (data, recipe)}
    for path in targets:
        if path.exists():
            raise UserError(f"{path}: exists already; choose another name or remove it")
    # Camel case, as classes have it; a name that has it already keeps it.
    class_name = "".join(word[:1].upper() + word[1:] for word in name.split("_"))
    for path, template in targets.items():
        text = (_TEMPLATES / template).read_text("utf-8").replace("NAME", name).replace("OwnTask", class_name)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    console = Console(soft_wrap=True)
    console.print(plain(f"wrote {' and '.join(map(str, targets))}"))
    console.print(plain(f"next: rltf validate {name}.toml"))
