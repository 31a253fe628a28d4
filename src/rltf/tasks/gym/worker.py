"""What a process for reasoning-gym does: check settings, draw problems, score answers with a dataset's own scorer.

`support.guarded` runs it; nothing else imports it. Problems are drawn here because some generators follow the hash
seed, the state of the global random numbers, or code that came with the data: here all three are fixed or fenced in.
"""

from __future__ import annotations

import ast
import datetime
import hashlib
import importlib
import json
import random
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import fields
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import numpy as np
import reasoning_gym
import sympy
from reasoning_gym.factory import DATASETS

from rltf.support.seeds import derive_seed

SCORE_SECONDS = 10.0
"""Limit of one call of a dataset's scorer, without the time that it takes to draw the problem again."""
OUT_OF_TIME = f"it took longer than {SCORE_SECONDS:g} seconds"
CHUNK = 1000
"""Positions that share one dataset object. Some generators prepare something for each position beforehand."""
NO_ANSWER_AT_ALL = "?"
"""No dataset has this answer; a scorer that accepts it accepts anything."""
_GOLD_PLACES = ("possible_answer", "example_answer", "example_correct_answer")
"""Where datasets with many right answers keep one of them."""
_SET_BY_TASK = {"seed": "task.data_seed", "size": "task.train_size"}

LITERALS = (
    "reasoning_gym.algorithmic.binary_matrix",
    "reasoning_gym.algorithmic.number_sorting",
    "reasoning_gym.algorithmic.spiral_matrix",
    "reasoning_gym.algorithmic.string_insertion",
    "reasoning_gym.games.n_queens",
)
"""Modules whose scorer passes the answer to `eval`, in order to read a list."""
EXPRESSIONS = ("reasoning_gym.games.countdown", "reasoning_gym.games.puzzle24")
"""Modules with a `parse_expr` of their own, which evaluates the answer as sympy's does."""
_CHARACTERS = re.compile(r"[A-Za-z0-9\s+\-*/^().,]{0,2000}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_FUNCTIONS = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "sec",
        "csc",
        "cot",
        "asin",
        "acos",
        "atan",
        "sinh",
        "cosh",
        "tanh",
        "exp",
        "log",
        "ln",
        "sqrt",
        "pi",
        "Abs",
        "Integral",
        "erf",
        "Rational",
    ]
)

_sympy_parse = sympy.parse_expr


def parse_expression(text: str, *args: Any, **kwargs: Any) -> Any:
    """`sympy.parse_expr` for text that is not trusted: numbers, letters, operators and known functions alone.

    sympy evaluates the text as Python. Without underscores, quotes, brackets and attributes, and with no name longer
    than a letter but those of functions, nothing can be called that does anything but mathematics.
    """
    if not _CHARACTERS.fullmatch(text) or re.search(r"\.\s*[A-Za-z]", text):
        raise ValueError("the answer is no plain mathematical expression")
    unknown = [name for name in _NAME.findall(text) if len(name) > 1 and name not in _FUNCTIONS]
    if unknown:
        raise ValueError(f"the answer names {unknown[0]}, which is no function known here")
    return _sympy_parse(text, *args, **kwargs)


def disarm() -> None:
    """Puts readers of plain literals and plain expressions where scorers evaluate what they are given."""
    for module in LITERALS:
        importlib.import_module(module).eval = ast.literal_eval  # type: ignore[attr-defined]
    sympy.parse_expr = parse_expression
    for module in EXPRESSIONS:
        importlib.import_module(module).parse_expr = parse_expression  # type: ignore[attr-defined]


class _FixedDate(datetime.date):
    """A calendar on which it is always the same day."""

    @classmethod
    def today(cls) -> _FixedDate:
        return cls(2025, 1, 1)


def hold_still() -> None:
    """Takes the clock from the one generator that looks at it, whose problems would be others every day."""
    importlib.import_module("reasoning_gym.arithmetic.time_intervals").date = _FixedDate  # type: ignore[attr-defined]


disarm()
hold_still()


def call(function: str, *arguments: Any) -> Any:
    """One of the functions below by name; the only way in from outside."""
    functions: dict[str, Callable[..., Any]] = {"check": check, "draw": draw, "score": score}
    return functions[function](*arguments)


def check(dataset: str, options: Mapping[str, Any]) -> str:
    """What is wrong with a dataset's name or its options, in one line; nothing if both are right."""
    if dataset not in DATASETS:
        close = get_close_matches(dataset, DATASETS, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(sorted(DATASETS))}"
        return f"task.name=reasoning_gym:{dataset}: reasoning-gym has no such dataset; {hint}"
    if dataset == "composite":
        return "task.name=reasoning_gym:composite: mixes other datasets; name one of them"
    known = sorted({field.name for field in fields(DATASETS[dataset][1])} - set(_SET_BY_TASK))
    for name in options:
        if name in _SET_BY_TASK:
            return f"task.options.{name}: is not set here but by {_SET_BY_TASK[name]}; remove it"
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(known) or 'none'}"
            return f"task.options.{name}: {dataset} has no such option; {hint}"
    try:
        reasoning_gym.create_dataset(dataset, seed=0, size=1, **options)
    except Exception as error:  # whatever a dataset's own check raises
        return f"task.options: {dataset} refuses them: {type(error).__name__}: {' '.join(str(error).split())}"
    return ""


def draw(dataset: str, options: Mapping[str, Any], seed: int, position: int) -> dict[str, str]:
    """`question`, `answer` and `digest` of the entry at a position, or `rejected`: why there is no sound one."""
    try:
        entry = _entry(dataset, _canonical(options), seed, position)
    except Exception as error:  # generators give up in many ways
        return {"rejected": f"the generator raises {type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    gold = gold_answer(entry)
    if gold is None:
        return {"rejected": "the dataset states no answer"}
    if not entry["question"].strip() or not gold.strip():
        return {"rejected": "the question or the answer is empty"}
    answers = (gold.strip(), NO_ANSWER_AT_ALL)
    right, wrong = (_score(dataset, options, seed, position, answer) for answer in answers)
    if not isinstance(right, float) or right != 1:
        return {"rejected": f"the dataset's scorer gives its own answer {right}"}
    if isinstance(wrong, float) and wrong >= 1:
        return {"rejected": "the dataset's scorer accepts any text"}
    return {"question": entry["question"], "answer": gold, "digest": _digest(entry)}


def score(
    dataset: str, options: Mapping[str, Any], seed: int, position: int, digest: str, answer: str
) -> float | dict[str, str]:
    """The dataset's score of an answer, as it comes; `failed`, and why, where its scorer raises.

    `digest` is that of the entry as it was drawn: a generator that gives another one here must not judge.
    """
    if _digest(_entry(dataset, _canonical(options), seed, position)) != digest:
        return {"failed": "the generator gave another problem than before"}
    return _score(dataset, options, seed, position, answer)


def gold_answer(entry: Mapping[str, Any]) -> str | None:
    """The answer that an entry states, or one of several; None if it states none."""
    if isinstance(entry["answer"], str):
        return entry["answer"]
    for place in _GOLD_PLACES:
        if place in entry["metadata"]:
            found = entry["metadata"][place]
            return found if isinstance(found, str) else json.dumps(found)
    return None


def _score(dataset: str, options: Mapping[str, Any], seed: int, position: int, answer: str) -> float | dict[str, str]:
    chosen, table = _dataset(dataset, _canonical(options), _chunk_seed(seed, position)), _canonical(options)
    entry = deepcopy(_entry(dataset, table, seed, position))  # some scorers write into it
    if answer == str(gold_answer(entry)).strip():
        answer = str(gold_answer(entry))  # Space around an answer is no part of it, though scorers count it.
    started = time.monotonic()
    try:
        with _time_limit():
            found = float(chosen.score_answer(answer, entry))
    except _OutOfTimeError:
        found = 0.0
    except Exception as error:  # scorers are not made for text that is not trusted
        return {"failed": f"the dataset's scorer raises {type(error).__name__}"}
    # Asked of the clock, since some scorers take the interruption for a wrong answer.
    return {"failed": OUT_OF_TIME} if time.monotonic() - started >= SCORE_SECONDS else found


@lru_cache(maxsize=2048)
def _entry(dataset: str, options: str, seed: int, position: int) -> dict[str, Any]:
    chunk_seed = _chunk_seed(seed, position)
    # For the generators that use the global ones.
    state = derive_seed(chunk_seed, "entry", position)
    random.seed(state)
    np.random.seed(state % 2**32)
    try:
        entry: dict[str, Any] = _dataset(dataset, options, chunk_seed)[position % CHUNK]
    except Exception:
        _dataset.cache_clear()  # Some datasets grow shorter when they run dry, which later positions must not see.
        raise
    return entry


@lru_cache(maxsize=8)
def _dataset(dataset: str, options: str, chunk_seed: int) -> Any:
    random.seed(chunk_seed)
    np.random.seed(chunk_seed % 2**32)
    return reasoning_gym.create_dataset(dataset, seed=chunk_seed, size=CHUNK, **json.loads(options))


class _OutOfTimeError(BaseException):
    """Not an `Exception`, which scorers catch."""


@contextmanager
def _time_limit() -> Iterator[None]:
    """Interrupts Python code after `SCORE_SECONDS`. The caller of this process ends what cannot be interrupted."""

    def interrupt(*_: object) -> None:
        raise _OutOfTimeError

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, SCORE_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _chunk_seed(seed: int, position: int) -> int:
    return derive_seed(seed, "chunk", position // CHUNK) % 2**31


def _canonical(options: Mapping[str, Any]) -> str:
    return json.dumps(dict(options), sort_keys=True)


def _digest(entry: Mapping[str, Any]) -> str:
    told = json.dumps([entry["question"], gold_answer(entry)])
    return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
