"""The layers of docs/architecture.md, held against the import graph."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "rltf"

DRAWING = SOURCE.parent.parent / "docs" / "architecture.md"


def floors() -> dict[str, int]:
    """The floor of each package, as the drawing has it."""
    rows = re.findall(r"^\| (\d) \| (.+?) \|", DRAWING.read_text(), re.MULTILINE)
    return {package: int(floor) for floor, packages in rows for package in re.findall(r"`(\w+)`", packages)}


def unit(module: str) -> str:
    """The package of a module: `rltf.tasks.base` is of `tasks`."""
    return module.split(".")[1]


def test_the_drawing_names_every_package() -> None:
    packages = {path.stem for path in SOURCE.iterdir() if (path / "__init__.py").is_file() or path.suffix == ".py"}
    assert set(floors()) == packages - {"__init__", "__main__"}


def is_module(name: str) -> bool:
    path = SOURCE / Path(*name.split(".")[1:])
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("rltf.")}
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name}: imports are written in full"
            module = node.module or ""
            if module == "rltf" or module.startswith("rltf."):
                names = {f"{module}.{alias.name}" for alias in node.names}
                known = {name for name in names if is_module(name)}
                found |= known or ({module} - {"rltf"})
    return found


def test_every_module_imports_only_from_floors_below() -> None:
    floor_of = {**floors(), "__main__": 10}
    for path in SOURCE.rglob("*.py"):
        module = ".".join(("rltf", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
        if module == "rltf":
            continue
        mine = unit(module)
        for imported in imports(path):
            other = unit(imported)
            assert other == mine or floor_of[other] < floor_of[mine], f"{module} imports {imported}"


def test_no_module_has_two_jobs() -> None:
    for path in SOURCE.rglob("*.py"):
        assert path.read_text().count("\n") <= 400, f"{path.name} has over 400 lines"


@pytest.mark.parametrize(
    "modules",
    [
        "rltf",
        "rltf.config.load, rltf.tasks.validate, rltf.runs.build",
        "rltf.objectives, rltf.rollouts.collector, rltf.runs.trainer, rltf.rollouts.evaluate, rltf.runs.report",
        "rltf.engines.base, rltf.cli.main, rltf.runs.run, rltf.runs.look",
    ],
)
def test_importing_does_not_import_torch(modules: str) -> None:
    code = f"import {modules}, sys; assert not {{'torch', 'transformers', 'reasoning_gym'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
