"""How first attempts read: figures that show when a policy learns a trick in place of a skill."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rltf.rollouts.records import Fluency
from rltf.types import Answer, Feedback, Query, RolloutGroup

_WORD = re.compile(r"\w+")
_RUN = 3


def fluency(
    groups: Sequence[RolloutGroup], answer: Callable[[Sequence[Query]], Sequence[Answer]], max_tokens: int
) -> Fluency:
    """The figures of the first attempts in some groups of at least one rollout.

    `answer` gives log-probabilities under the initial policy; attempts of more than `max_tokens`, prompt included, are
    not asked about.
    """
    first = [rollout.turns[0] for group in groups for rollout in group.rollouts]
    queries = [
        Query(prompt_tokens=turn.prompt_tokens, completion_tokens=turn.completion.tokens, policy="initial")
        for turn in first
        if len(turn.prompt_tokens) + len(turn.completion.tokens) <= max_tokens
    ]
    answers = answer(list(dict.fromkeys(queries)))
    known: Mapping[Query, Answer] = dict(zip(dict.fromkeys(queries), answers, strict=True))
    tokens = [known[query].logprobs_T for query in queries]
    said_of: dict[str, set[int]] = {}
    for number, group in enumerate(groups):
        for rollout in group.rollouts:
            said_of.setdefault(_plain(rollout.turns[0].text), set()).add(number)
    copies = [len(said_of[_plain(turn.text)]) > 1 for turn in first]
    heard = _heard(groups)
    echoes = [bool(heard & _runs(turn.text)) for turn in first]
    return Fluency(
        initial_logprob=float(np.mean(np.concatenate(tokens))) if tokens else None,
        copies=float(np.mean(copies)),
        echoes=float(np.mean(echoes)),
    )


def _plain(text: str) -> str:
    return " ".join(_WORD.findall(text.casefold()))


def _runs(text: str) -> set[tuple[str, ...]]:
    """Every three words in a row."""
    words = _WORD.findall(text.casefold())
    return {tuple(words[i : i + _RUN]) for i in range(len(words) - _RUN + 1)}


def _heard(groups: Sequence[RolloutGroup]) -> set[tuple[str, ...]]:
    """Three words in a row of any feedback that stand in no question."""
    heard: set[tuple[str, ...]] = set()
    asked: set[tuple[str, ...]] = set()
    for group in groups:
        asked |= _runs(group.problem.prompt)
        for rollout in group.rollouts:
            for turn in rollout.turns:
                if isinstance(turn.feedback, Feedback):
                    heard |= _runs(turn.feedback.text)
    return heard - asked
