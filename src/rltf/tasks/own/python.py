"""A Python file of the user's as a task: loading, checking against the protocol, and errors that name file and line."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, TypeVar, get_args

from rltf.support.errors import Stopped, TaskFailed, TaskHung, UserError
from rltf.support.user_code import TookTooLong, call_user_code
from rltf.support.user_modules import describe, load_module
from rltf.tasks.base import Family, FeedbackLevel, Task, score_all
from rltf.tasks.glance import spread_over
from rltf.tasks.listed import LeftOut
from rltf.types import Problem, Score, Split

_METHODS = {
    "size": ("split",),
    "problem": ("split", "index"),
    "score": ("problem", "text"),
    "feedback": ("problem", "text", "score", "level"),
    "write_answer": ("answer",),
    "perturbations": ("problem", "rng"),
    "reveals_answer": ("problem", "text"),
}
R = TypeVar("R")
_NAME = re.compile(r"[\w.:-]{1,80}")


class PythonTask:
    """A task of the user's, whose bugs stop the run and are told in one line."""

    def __init__(self, task: Task, file: Path) -> None:
        self._task, self._file = task, file
        self.name: str = task.name
        self.family: Family = task.family

    def size(self, split: Split) -> int:
        """How many problems a split has."""
        return self._checked("size", split, lambda: self._task.size(split), _count)

    def problem(self, split: Split, index: int) -> Problem:
        """Problem `index` of a split."""
        if not 0 <= index < self.size(split):
            raise IndexError(f"{split} problem {index} of {self.size(split)}")
        return self._checked("problem", f"{split} {index}", lambda: self._task.problem(split, index), self._problem)

    def glance(self) -> list[Problem]:
        """Some training problems."""
        found = getattr(self._task, "glance", None)
        if not callable(found):
            return [self.problem("train", index) for index in spread_over(self.size("train"))]
        return self._checked("glance", "the training problems", found, self._problems, share=self.size("train"))

    @property
    def left_out(self) -> LeftOut | None:
        """What the task says that it leaves out; None where it says nothing."""
        found = self._checked("left_out", "the task", lambda: getattr(self._task, "left_out", None), lambda _: "")
        return found if isinstance(found, LeftOut) else None

    def score(self, problem: Problem, text: str) -> Score:
        """The verdict on an attempt; raises `TaskFailed` where the file gives none."""
        return self._checked("score", _on(problem, text), lambda: self._task.score(problem, text), _score)

    def score_many(self, attempts: Sequence[tuple[Problem, str]]) -> list[Score]:
        """The verdict on each attempt."""
        if not hasattr(self._task, "score_many"):
            return [self.score(problem, text) for problem, text in attempts]

        def fault(scores: Any) -> str:
            if not isinstance(scores, list) or len(scores) != len(attempts):
                return f"a list of {len(attempts)} scores"
            return next(filter(None, map(_score, scores)), "")

        subject = f"{len(attempts)} attempts"
        call = lambda: score_all(self._task, attempts)  # noqa: E731
        return self._checked("score_many", subject, call, fault, share=len(attempts))

    def feedback(self, problem: Problem, text: str, score: Score, level: FeedbackLevel) -> str:
        """What is wrong with the attempt; raises `TaskFailed` where the file says nothing."""
        return self._checked(
            "feedback", _on(problem, text), lambda: self._task.feedback(problem, text, score, level), _text
        )

    def write_answer(self, answer: str) -> str:
        """An attempt whose extracted answer is `answer`."""
        # The whole attempt may be the answer, and then an empty one is an empty attempt.
        fault = _text if answer.strip() else lambda text: "" if isinstance(text, str) else "a text"
        return self._checked("write_answer", repr(answer[:40]), lambda: self._task.write_answer(answer), fault)

    def perturbations(self, problem: Problem, rng: Random) -> Iterator[str]:
        """Wrong answers near the right one."""
        yield from self._checked(
            "perturbations", _on(problem), lambda: list(self._task.perturbations(problem, rng)), lambda _: ""
        )

    def reveals_answer(self, problem: Problem, text: str) -> bool:
        """Whether a text gives the answer away."""
        return self._checked(
            "reveals_answer",
            _on(problem, text),
            lambda: self._task.reveals_answer(problem, text),
            lambda found: "" if isinstance(found, bool) else "True or False",
        )

    def _problem(self, value: Any) -> str:
        if not isinstance(value, Problem):
            return "a Problem"
        if not isinstance(value.prompt, str) or not value.prompt.strip() or not isinstance(value.answer, str):
            return "a Problem whose prompt and answer are texts"
        if not isinstance(value.kinds, tuple) or not all(isinstance(kind, str) for kind in value.kinds):
            return "a Problem whose kinds are a tuple of texts"
        return "" if value.task == self.name else f"a Problem whose task is {self.name!r}, the name of the task"

    def _problems(self, value: Any) -> str:
        if not isinstance(value, list) or not value:
            return "a list of Problems"
        return next(filter(None, map(self._problem, value)), "")

    def _checked(
        self, method: str, subject: str, call: Callable[[], R], fault: Callable[[Any], str], share: int = 1
    ) -> R:
        """A method's result; `fault` says what it should have been, empty where it is that.

        `share`: how often it may take the time that one call may, where there is a limit.
        """
        place = f"{self._file}: {method} of the task {self.name}, on {subject}"
        try:
            value = call_user_code(call, share, place)
        except (UserError, Stopped, KeyboardInterrupt):
            raise
        except TookTooLong as error:
            raise TaskHung(f"{place}: {describe(error, self._file)}") from error
        except BaseException as error:
            raise TaskFailed(f"{place}: raised {describe(error, self._file)}") from error
        wanted = fault(value)
        if wanted:
            raise TaskFailed(f"{place}: returned {value!r:.60}, not {wanted}")
        return value


def load_task(path: str, settings: Mapping[str, Any]) -> PythonTask:
    """The task in a file, built with `settings` as keyword arguments, and tried on its first problem.

    Raises `UserError` that says what the file lacks.
    """
    place = f"task.path={path}"
    module = load_module(Path(path), place)
    file = Path(str(module.__file__))
    cls = _the_class(module, place)

    def build() -> tuple[Any, str]:
        task = cls(**settings)
        return task, _protocol_fault(task)

    building = f"{place}: building {cls.__name__}"
    try:
        task, fault = call_user_code(build, place=building)
    except UserError as error:
        raise UserError(f"{place}: {error}") from error
    except (Stopped, KeyboardInterrupt):
        raise
    except TookTooLong as error:
        raise TaskHung(f"{building} {describe(error, file)}") from error
    except BaseException as error:
        raise UserError(
            f"{place}: {cls.__name__} cannot be built with task.settings: {describe(error, file)}"
        ) from error
    if fault:
        raise UserError(f"{place}: {cls.__name__} {fault}")
    checked = PythonTask(task, file)
    _try(checked)
    if PythonTask(call_user_code(build, place=building)[0], file).problem("test", 0) != checked.problem("test", 0):
        raise UserError(f"{place}: {cls.__name__} gives other problems each time; draw from the given seed alone")
    return checked


def _the_class(module: ModuleType, place: str) -> type[Any]:
    """The one class of a file that is a task."""
    found = [
        value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and not name.startswith("_")
        and any(callable(getattr(value, method, None)) for method in ("score", "feedback"))
    ]
    if not found:
        raise UserError(
            f"{place}: the file defines no task: a class that extends SimpleTask, or has problem, score and feedback"
        )
    if len(found) > 1:
        names = ", ".join(cls.__name__ for cls in found)
        raise UserError(f"{place}: the file defines several tasks ({names}); let all names but one begin with _")
    return found[0]


def _protocol_fault(task: Any) -> str:
    for method, arguments in _METHODS.items():
        function = getattr(task, method, None)
        signature = f"{method}({', '.join(arguments)})"
        if not callable(function):
            return f"has no method {signature}"
        try:
            inspect.signature(function).bind(*arguments)
        except (TypeError, ValueError):
            return f"has a method {method}{inspect.signature(function)}, which must take {signature}"
    if not isinstance(getattr(task, "name", None), str) or not _NAME.fullmatch(task.name):
        return "has no name, a text of letters, digits and _ . : - (an __init__ of yours must call super().__init__())"
    if getattr(task, "family", None) not in get_args(Family):
        return f"has no family, one of {', '.join(get_args(Family))}"
    return ""


def _try(task: PythonTask) -> None:
    """Runs every method once; raises what the task's methods raise."""
    for split in get_args(Split):
        task.size(split)
    problem = task.problem("test", 0)
    for text in (task.write_answer(problem.answer), "", "<answer>?</answer>"):
        score = task.score(problem, text)
        for level in get_args(FeedbackLevel):
            task.feedback(problem, text, score, level)
    task.reveals_answer(problem, problem.answer)
    list(task.perturbations(problem, Random(0)))


def _on(problem: Problem, text: str | None = None) -> str:
    attempt = "" if text is None else f" with the attempt {text[:60]!r}"
    return f"{problem.split} problem {problem.index}{attempt}"


def _count(value: Any) -> str:
    return "" if type(value) is int and value > 0 else "a number of problems above 0"


def _text(value: Any) -> str:
    return "" if isinstance(value, str) and value.strip() else "a text that is not empty"


def _score(value: Any) -> str:
    if not isinstance(value, Score):
        return "a Score"
    reward: Any = value.reward
    if not isinstance(reward, int | float) or not math.isfinite(reward) or not 0 <= reward <= 1:
        return "a Score whose reward lies between 0 and 1"
    if not isinstance(value.explanation, str) or (value.answer is not None and not isinstance(value.answer, str)):
        return "a Score whose explanation is a text, and its answer a text or None"
    return (
        "" if isinstance(value.correct, bool) and isinstance(value.well_formed, bool) else "a Score of True and False"
    )
