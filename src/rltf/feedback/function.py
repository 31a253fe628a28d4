"""A Python function of the user's as a source of feedback."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from rltf.support.errors import FeedbackStopped, Stopped, UserError
from rltf.support.texts import sound
from rltf.support.user_code import call_user_code
from rltf.support.user_modules import load_module
from rltf.types import Feedback, FeedbackFailure, FeedbackRequest, Problem, Score, Turn

Function: TypeAlias = Callable[[Problem, str, Score, tuple[Turn, ...]], Any]


class FunctionSource:
    """Calls `function(problem, attempt, score, history)`, which gives a text, or None for nothing to say."""

    def __init__(self, function: Function, name: str) -> None:
        self._function, self._source = function, f"function:{name}"

    def feedback(self, requests: Sequence[FeedbackRequest], seed: int) -> list[Feedback | FeedbackFailure]:
        """One call per request. What the function raises is a failure of that request alone."""
        return [self._ask(request) for request in requests]

    def _ask(self, request: FeedbackRequest) -> Feedback | FeedbackFailure:
        try:
            text = call_user_code(
                lambda: self._function(request.problem, request.attempt, request.score, request.history)
            )
        except (Stopped, KeyboardInterrupt):
            raise
        except SystemExit as error:
            # Not one failure among others: the function would have the program end, here and at its next call.
            problem = f"{request.problem.split} problem {request.problem.index}"
            raise FeedbackStopped(
                f"feedback.function: {self._source.partition(':')[2]} raised SystemExit: {error} on {problem}; it must "
                "return a text or None, and never end the program"
            ) from error
        except Exception as error:
            reason = f"the function raised {type(error).__name__}: {error}"
            return FeedbackFailure(cause="raised", reason=reason, source=self._source)
        if text is None or (isinstance(text, str) and not text.strip()):
            return FeedbackFailure(
                cause="nothing_to_say", reason="the function had nothing to say", source=self._source
            )
        if not isinstance(text, str):
            reason = f"the function returned {type(text).__name__}, not a text"
            return FeedbackFailure(cause="raised", reason=reason, source=self._source)
        return Feedback(text=sound(text), source=self._source)


def load_function(place: str) -> Function:
    """The function at `path/to/file.py:name`; runs the file, once."""
    path, _, name = place.rpartition(":")
    module = load_module(Path(path), f"feedback.function={place}")
    function = getattr(module, name, None)
    if not callable(function):
        raise UserError(f"feedback.function={place}: the file has no function {name}")
    return function  # type: ignore[no-any-return]
