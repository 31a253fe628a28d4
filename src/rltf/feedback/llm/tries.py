"""What a try that failed says: its cause, whether another may help, and how long to wait for it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from rltf.feedback.llm.wire import NoAnswer, error_told
from rltf.support.errors import UserError
from rltf.types import FailureCause

_LONGEST_PAUSE = 120.0
_PASSING = (408, 409, 425, 429)
"""Statuses below 500 after which another try may help."""


def cause_of(error: BaseException) -> FailureCause:
    """The kind of failure."""
    import openai

    if isinstance(error, openai.APITimeoutError | TimeoutError):
        return "timeout"
    if isinstance(error, openai.APIStatusError):
        if _is_filter(error_told(error.body)[1] or str(error.code)):
            return "content_filter"
        return _cause_of_status(error.status_code)
    if isinstance(error, openai.APIConnectionError):
        return "connection"
    if isinstance(error, NoAnswer):
        status = _status(error.code)
        if status is not None:
            return _cause_of_status(status)
        if _is_filter(error.code):
            return "content_filter"
        return "rate_limited" if "rate_limit" in error.code or "quota" in error.code else "server_error"
    return "server_error"


def may_pass(error: BaseException) -> bool:
    """Whether another try may help: not after a refusal, nor where the run is to stop."""
    import openai

    status = error.status_code if isinstance(error, openai.APIStatusError) else None
    if isinstance(error, NoAnswer):
        status = _status(error.code)
    if cause_of(error) == "content_filter":
        return False
    if status is not None:
        return status in _PASSING or status >= 500
    return isinstance(error, Exception) and not isinstance(error, UserError)


def was_not_served(error: Exception) -> bool:
    """Whether a try cannot have cost anything: refused, turned away, or never arrived."""
    import openai

    if isinstance(error, NoAnswer):
        return not error.served
    if isinstance(error, openai.APITimeoutError):
        return False
    return isinstance(error, openai.APIStatusError | openai.APIConnectionError)


def pause(state: Any) -> float:
    """Seconds until the next try: what the endpoint asks for, else growing with each try, by chance."""
    from tenacity import wait_random_exponential

    response = getattr(state.outcome.exception(), "response", None)
    asked = None
    if response is not None:
        milliseconds = _number(response.headers.get("retry-after-ms", ""))
        asked = _retry_after(response.headers.get("retry-after", "")) if milliseconds is None else milliseconds / 1000
    return min(asked, _LONGEST_PAUSE) if asked is not None else wait_random_exponential(multiplier=0.5, max=30)(state)


def _cause_of_status(status: int) -> FailureCause:
    return "rate_limited" if status == 429 else "server_error" if status >= 500 else "refused"


def _status(code: str) -> int | None:
    """The HTTP status that an endpoint names in a body; None where its code is none."""
    return int(code) if code.isascii() and code.isdigit() and 400 <= int(code[:4]) < 600 else None


def _is_filter(code: str) -> bool:
    return "content_filter" in code or "content_policy" in code


def _retry_after(header: str) -> float | None:
    seconds = _number(header)
    if seconds is not None:
        return seconds
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _number(header: str) -> float | None:
    try:
        number = float(header)
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None
