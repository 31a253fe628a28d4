"""Answers near a right one, by changes of its text that mean something else in any notation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from random import Random
from string import ascii_lowercase

from rltf.tasks.gym.forms import form_of, read_json, read_number, same_part

_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+")
_OPPOSITES = {"yes": "No", "no": "Yes", "true": "False", "false": "True", "on": "off", "off": "on", "0": "1", "1": "0"}
_TRIES = 6


def near_answers(right: str, rng: Random) -> Iterator[str]:
    """A few distinct ones: a number one off, a letter changed, two parts swapped, a part dropped or repeated."""
    seen = {right.strip()}
    for text in _candidates(right.strip(), rng):
        if text.strip() and text.strip() not in seen:
            seen.add(text.strip())
            yield text.strip()


def wrong_in_any_notation(right: str, rng: Random) -> Iterator[str]:
    """What no scorer may take for right: the answer denied, a number with the other sign, a word or number in doubt."""
    right = right.strip()
    yield f"not {right}"
    if form_of(right).kind not in ("number", "word"):
        return
    other = next(near_answers(right, rng), None)
    if other is not None:
        yield f"{right} or {other}"
    if read_number(right):
        yield right[1:] if right.startswith("-") else f"-{right.removeprefix('+')}"


def _candidates(right: str, rng: Random) -> Iterator[str]:
    if right.casefold() in _OPPOSITES:
        yield _OPPOSITES[right.casefold()]
        return
    tokens = list(_TOKEN.finditer(right))
    if not tokens:
        yield from _without_tokens(right, rng)
        return
    for _ in range(_TRIES):
        token = rng.choice(tokens)
        yield right[: token.start()] + _changed(token[0], rng) + right[token.end() :]
    yield from _swapped(right, tokens, rng)
    yield from _shortened(right, rng)


def _changed(token: str, rng: Random) -> str:
    if token[0].isdecimal():
        whole, dot, fraction = token.partition(".")
        if len(whole) > 1 and rng.random() < 0.5:  # Not one off, but another digit: a scorer may round.
            return _with_other(token, rng.randrange(len(whole)), rng, "0123456789")
        step = 1 if int(whole) == 0 else rng.choice((-1, 1))
        return f"{int(whole) + step}{dot}{fraction}"
    return _with_other(token, rng.randrange(len(token)), rng, ascii_lowercase)


def _with_other(token: str, place: int, rng: Random, symbols: str) -> str:
    """The token with another of the symbols at a place."""
    old = token[place]
    new = rng.choice([symbol for symbol in symbols if symbol != old.casefold()])
    return token[:place] + (new.upper() if old.isupper() else new) + token[place + 1 :]


def _swapped(right: str, tokens: list[re.Match[str]], rng: Random) -> Iterator[str]:
    """Two parts that differ, each in the other's place."""
    first = rng.choice(tokens)
    others = [token for token in tokens if not same_part(first[0], token[0])]
    if others:
        first, second = sorted((first, rng.choice(others)), key=lambda token: token.start())
        between = right[first.end() : second.start()]
        yield right[: first.start()] + second[0] + between + first[0] + right[second.end() :]


def _shortened(right: str, rng: Random) -> Iterator[str]:
    """The last part dropped, and the last repeated, in the answer's own notation."""
    value = read_json(right)
    if isinstance(value, list):
        quote = "'" in right and '"' not in right
        for changed in (value[:-1], [*value, *value[-1:]]):
            yield repr(changed) if quote else json.dumps(changed)
        return
    if not right[-1].isalnum():
        return  # A unit or a full stop: without it the answer is the same.
    form = form_of(right)
    mark = {"grid": "\n", "row": form.separator or " "}.get(form.kind)
    parts = right.split(mark) if mark else list(right)
    if form.kind in ("number", "json") or len(parts) < 2:
        return
    yield (mark or "").join(parts[:-1])
    yield (mark or "").join([*parts, parts[-1]])


def _without_tokens(right: str, rng: Random) -> Iterator[str]:
    """Symbols alone: two of them swapped, the last dropped."""
    places = [i for i, symbol in enumerate(right) if not symbol.isspace()]
    first = rng.choice(places)
    others = [place for place in places if right[place] != right[first]]
    if others:
        a, b = sorted((first, rng.choice(others)))
        yield right[:a] + right[b] + right[a + 1 : b] + right[a] + right[b + 1 :]
    if len(places) > 1:
        yield right[:-1]
