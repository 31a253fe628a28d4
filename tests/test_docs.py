"""The documents: Python in them runs, links lead somewhere, and no stale name stands in them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    path
    for pattern in ("*.md", "docs/*.md", "recipes/**/*.md", "comparisons/*.md", "benchmarks/*.md", "src/rltf/**/*.md")
    for path in sorted(ROOT.glob(pattern))
]
_LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)(#[^)\s]+)?\)")
_STALE = re.compile(r"single_turn|turn0|run_dir\.py|registry\.py|rltf/judges|rltf/logs|config_load")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_python_of_the_document_runs_as_it_stands(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "python.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 8
    script = tmp_path / "script.py"
    script.write_text("\n".join(blocks))
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "the model is in runs/mine/model" in done.stdout
    assert "step 2:" in done.stdout
    assert "done" in done.stdout


def test_the_python_of_the_readme_needs_no_file_that_nobody_made(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (settings,) = re.findall(r"Run\.begin\((rltf\.configure\(.*?\))(?=, \")", text)
    done = subprocess.run(
        [sys.executable, "-c", f"import rltf; print({settings}.trainer.steps)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "50\n", done.stderr


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_links_lead_somewhere(path: Path) -> None:
    for target, anchor in _LINK.findall(path.read_text(encoding="utf-8")):
        there = (path.parent / target).resolve()
        assert there.exists(), f"{named(path)} points to {target}, which is not there"
        if anchor and there.suffix == ".md":
            assert anchor[1:] in anchors(there), f"{named(path)} points to {target}{anchor}, which is not there"


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_no_name_of_old_stands_there(path: Path) -> None:
    if path.name != "CHANGELOG.md":
        assert not _STALE.findall(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_files_of_the_code_that_are_named_are_there(path: Path) -> None:
    if path.name != "CHANGELOG.md":
        for name in re.findall(r"`(\w+/[\w/]+\.py)`", path.read_text(encoding="utf-8")):
            assert (
                (ROOT / name).exists() or (ROOT / "src" / "rltf" / name).exists() or (ROOT / "src" / name).exists()
            ), name


def test_the_map_names_every_document() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    linked = {target for target, _ in _LINK.findall(index)}
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"} <= linked
