"""The notebooks as they stand; the first also with a judge on loopback, and the command line going on with its run."""

from __future__ import annotations

import importlib.util
import re
import zlib
from importlib.resources import files
from pathlib import Path
from typing import Any

import nbformat
import pytest
from command_line import rltf
from judge_server import Reply, judge_server
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

FOLDER = Path(__file__).parent.parent / "docs" / "notebooks"
NOTEBOOK = FOLDER / "first_run.ipynb"
SETTINGS: dict[str, Any] = {
    "trainer.steps": 3,
    "trainer.groups_per_batch": 2,
    "trainer.group_size": 2,
    "trainer.warmup_steps": 1,
    "trainer.schedule": "constant",
    "objective.name": "rltf_sd_fm",
    "evaluation.problems": 2,
    "evaluation.samples": 1,
    "rollout.max_new_tokens": 10,
    "task.train_size": 30,
    "task.validation_size": 4,
    "task.test_size": 4,
    "engine.device": "cpu",
    "feedback.source": "llm",
    "judge.model": "judge",
    "judge.key_env": "none",
}


def say(body: dict[str, Any], before: int) -> Reply:
    """Another feedback on every attempt."""
    text = body["messages"][-1]["content"]
    attempt = text[text.index("<attempt>") : text.index("</attempt>")]
    return Reply(content=f"<feedback>Row {zlib.crc32(attempt.encode()) % 9}, column 1 should be larger.</feedback>")


def executed(directory: Path, settings: dict[str, Any]) -> Any:
    """The notebook, run with other parameters than stand in it."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (place,) = [i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])]
    given = f"settings, stop_after, every = {settings!r}, 2, 1"
    loop = "import asyncio\nassert asyncio.get_running_loop().is_running()"
    notebook.cells[place + 1 : place + 1] = [new_code_cell(given), new_code_cell(loop)]
    return NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(directory)}}).execute()


def printed(notebook: Any) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def outcome(run: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in names}


def test_a_notebook_trains_resumes_reads_and_plots_a_run_that_the_command_line_takes_up(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    run, whole = tmp_path / "runs" / "notebook", tmp_path / "whole"
    with judge_server(say) as server:
        settings = SETTINGS | {"engine.model": str(tiny_model), "judge.base_url": server.url}
        notebook = executed(tmp_path, settings)
        asked = len(server.requests)
        arguments = [f"{name}={value}" for name, value in settings.items()]
        rltf("train", *arguments, "--run-dir", "whole", cwd=tmp_path)
        # The run that was stopped has asked its judge nothing twice.
        assert len(server.requests) == 2 * asked > 0
        names = ("metrics.jsonl", "rollouts.jsonl", "model/model.safetensors")
        assert outcome(run, (*names, "evaluations.jsonl")) == outcome(whole, (*names, "evaluations.jsonl"))
        rltf("train", "--resume", str(run), "trainer.steps=4", cwd=tmp_path)
        rltf("train", *arguments, "trainer.steps=4", "--run-dir", "longer", cwd=tmp_path)
    assert outcome(run, names) == outcome(tmp_path / "longer", names)
    text = printed(notebook)
    assert [line.split(":")[0] for line in text.splitlines() if line.startswith("step")] == [
        "step 1",
        "step 2",
        "step 3",
    ]
    assert text.count("stopped after step 2") == 1
    assert "--- feedback:\nRow " in text
    kinds = [kind for output in notebook.cells[-1].outputs for kind in output.get("data", {})]
    assert "image/png" in kinds
    (table,) = [
        output.data["text/html"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "<table" in output.get("data", {}).get("text/html", "")
    ]
    assert "accuracy/first_turn" in table


def execution() -> Any:
    """The module beside the notebooks that runs them."""
    spec = importlib.util.spec_from_file_location("execute", FOLDER / "execute.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def forms(cell: Any) -> list[list[str]]:
    """In which forms a cell says what it says."""
    said = [output for output in cell.get("outputs", []) if output.get("name") != "stderr"]
    return [sorted(output.get("data", {})) for output in said]


def test_the_notebooks_run_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    module = execution()
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(module.NAMES)
    for name in module.NAMES:
        now, kept = module.executed(name, tmp_path), nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
        # The digits are those of the machine; that a cell says something, and in which form, is the same anywhere.
        for cell, before in zip(now.cells, kept.cells, strict=True):
            assert forms(cell) == forms(before), before.source
    assert (tmp_path / "runs" / "notebook" / "report.html").is_file()


def test_the_notebooks_keep_off_other_runs_and_have_the_colours_of_the_report() -> None:
    sources = {path.stem: nbformat.read(path, as_version=4).cells for path in FOLDER.glob("*.ipynb")}
    text = {name: "\n".join(cell.source for cell in cells) for name, cells in sources.items()}
    used = set(re.findall(r"runs/\w+", (FOLDER.parent / "start.md").read_text(encoding="utf-8")))
    assert len(used) > 1
    for source in text.values():
        assert not used & set(re.findall(r"runs/\w+", source))
    style = files("rltf.report").joinpath("page", "page.css").read_text("utf-8")
    for name, meaning in (("right", "right at once"), ("fixed", "mended by feedback")):
        (place,) = re.findall(rf"\.o-{name} {{ fill: var\(--(c\d)\)", style)
        (shown,) = re.findall(rf'"{meaning}": "(#\w+)"', text["where_feedback_helped"])
        light = re.search(rf"--{place}: light-dark\((#\w+)", style)
        assert light is not None
        assert hue(shown) == hue(light[1]), f"{meaning} is {shown}, in the report {light[1]}"


def hue(colour: str) -> int:
    """Which of red, green and blue is strongest."""
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return parts.index(max(parts))


def test_the_notebooks_are_kept_small_and_free_of_the_machine_that_ran_them() -> None:
    for path in FOLDER.glob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        assert len(text) < 100_000
        assert "/tmp/" not in text
        for cell in nbformat.reads(text, as_version=4).cells:
            assert cell.get("execution_count") is None
            assert not [output for output in cell.get("outputs", []) if output.output_type == "error"]
