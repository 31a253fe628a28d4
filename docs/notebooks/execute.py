"""Runs the notebooks as a reader would, and keeps what they say: `python docs/notebooks/execute.py`.

The third reads the run of the first. The tests run them too, and keep nothing.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
NAMES = ("first_run", "own_task", "where_feedback_helped")


def executed(name: str, directory: Path) -> Any:
    """A notebook with what its cells say when they are run in a directory."""
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    resources = {"metadata": {"path": str(directory)}}
    return NotebookClient(
        notebook, timeout=300, record_timing=False, coalesce_streams=True, resources=resources
    ).execute()


def keep(name: str, notebook: Any) -> None:
    """Writes a notebook down without what differs from one machine, or one minute, to the next."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                output.pop("execution_count", None)
                if output.output_type == "execute_result":
                    output.execution_count = None
    notebook.metadata.language_info = {"name": "python"}
    (FOLDER / f"{name}.ipynb").write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        for each in NAMES:
            print(each, file=sys.stderr)
            keep(each, executed(each, Path(directory)))
