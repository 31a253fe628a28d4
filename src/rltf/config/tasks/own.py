"""Settings of the user's own tasks: rows of a file, or a Python file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, JsonValue, model_validator

from rltf.config.section import Rate
from rltf.config.table import Table
from rltf.config.tasks.base import TaskSection
from rltf.config.tasks.listed import ListedConfig
from rltf.support.rows import HUB, is_hub_source, source_label

_SUFFIXES = (".jsonl", ".parquet")


def default_name(settings: Mapping[str, Any]) -> str | None:
    """The `name` of task settings that give none: what their path is, or that they list tasks; None without either."""
    if "tasks" in settings:
        return "mixture"
    if "path" not in settings:
        return None
    return "python" if str(settings["path"]).endswith(".py") else "rows"


class RowsConfig(ListedConfig):
    """Rows of a file, each with a question and its answer."""

    implementation: ClassVar[str] = "rltf.tasks.own:RowsTask"
    local_files: ClassVar = ("path", "test_path")

    name: Literal["rows"]
    path: str
    """A .jsonl or .parquet file, or `hub:OWNER/NAME[/SUBSET][@SPLIT]`."""
    test_path: str | None = None
    """The same for the test problems. Unset: they are taken from `path`."""
    question_field: str = "question"
    """The field with the question. A dotted name leads into nested fields: `prompt.0.content`."""
    answer_field: str = "answer"
    """The field with the answer. With `scorer=judge` a row may have none; `judge.show_answer` shows it the others."""
    example_field: str | None = None
    """For `scorer=regex`: the field with an answer that the pattern matches, which stands for the right one wherever
    one is shown. Unset: the pattern itself does, and `rltf validate` holds only if it matches itself."""
    kind_field: str | None = None
    """The field with a problem's kind, or a list of its kinds, such as a subject and a level: evaluations and
    comparisons then give accuracies by kind too."""
    instruction: str | None = None
    """What is said behind each question about the form of the answer. Unset: what `answer_in` asks for."""
    answer_in: Literal["tags", "whole", "last_line"] = "tags"
    """Where the answer stands in an attempt: between <answer> and </answer>, the attempt is the answer, or on its last
    line."""
    scorer: Literal["exact", "numeric", "regex", "maths", "judge"] = "exact"
    """What is right: `exact`, the answer's text; `numeric`, its value; `regex`, what the answer's pattern matches as a
    whole; `maths`, its mathematical value in LaTeX or plain; `judge`: the judge scores attempts from 1 to 10."""
    ignore: Literal["spaces_and_case", "spaces", "nothing"] = "spaces_and_case"
    """What `scorer=exact` overlooks. Spaces: how many of them stand between words and around."""
    passing_score: Annotated[float, Field(ge=1, le=10)] = 9.0
    """For `scorer=judge`: the score from which an attempt counts as right and gets no further one."""
    tolerance: Rate = 0.0
    """For `scorer=numeric`: how far off a right answer may be, as a share of the value."""

    @model_validator(mode="after")
    def _sources(self) -> RowsConfig:
        for field in ("path", "test_path"):
            source = getattr(self, field)
            if source is None:
                continue
            known = is_hub_source(source) if source.startswith(HUB) else Path(source).suffix.lower() in _SUFFIXES
            if not known:
                raise ValueError(
                    f"{field}={source!r} is no .jsonl or .parquet file, nor hub:OWNER/NAME[/SUBSET][@SPLIT]"
                )
        return self

    @model_validator(mode="after")
    def _belongs_to_the_scorer(self) -> RowsConfig:
        for field, scorer in (
            ("example_field", "regex"),
            ("ignore", "exact"),
            ("tolerance", "numeric"),
            ("passing_score", "judge"),
        ):
            if self.scorer != scorer and getattr(self, field) != type(self).model_fields[field].default:
                raise ValueError(f"{field} is read by scorer={scorer} alone, not by scorer={self.scorer}; remove it")
        return self

    @property
    def judged(self) -> bool:
        """Whether a judge scores attempts."""
        return self.scorer == "judge"

    @property
    def label(self) -> str:
        """The name of the file or the data set, which its problems bear."""
        return source_label(self.path)


class PythonConfig(TaskSection):
    """A task of yours in a Python file; docs/tasks.md says what stands in it."""

    implementation: ClassVar[str] = "rltf.tasks.own:load_task"
    special_levels: ClassVar[frozenset[str]] = frozenset({"hint", "marks"})  # the file's own checks say which
    local_files: ClassVar = ("path",)

    name: Literal["python"]
    path: str
    """The file, such as `my_task.py`."""
    settings: Table[JsonValue] = Table()
    """What its class is built with, as keyword arguments."""

    @model_validator(mode="after")
    def _is_python(self) -> PythonConfig:
        if Path(self.path).suffix != ".py":
            raise ValueError(f"path={self.path!r} is no .py file; rows of a file are task.name=rows")
        return self

    @property
    def label(self) -> str:
        """The name of the file, which its problems bear in a mixture."""
        return source_label(self.path)
