"""Which rollouts a page holds, and what of them: a few megabytes out of a run of any length.

Groups are drawn evenly over the run, those whose training samples were recorded token by token apart from the others.
The draw goes by the problem, so that a problem is shown at all the steps where it came up. Beside them stand the
groups that say most about what feedback did.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rltf.report.groups import Group
from rltf.report.tally import outcome
from rltf.rollouts.records import FeedbackRecord, GroupSamples, MessageRecord, RolloutRecord, SampleRecord, TurnRecord
from rltf.support.seeds import derive_seed
from rltf.support.texts import sound

MOST_STRETCHES = 20
"""Parts of a run that have room for as many groups each; in a run of fewer steps, each step is one."""
NOTABLE = 6
"""Groups that are kept of each kind that says most."""
_RECORDED_SHARE = 0.6
"""Of the room, for groups with recorded samples."""
_HEAD, _TAIL = 4_000, 1_500
"""Characters of a long text that are shown of its beginning and its end."""
_MOST_TOKENS = 1_200
"""Tokens of a long sample that are shown."""


@dataclass(slots=True)
class Room:
    """Keeps the items of highest rank that fit."""

    size: int
    """Bytes on the page."""
    count: int = 1 << 30
    _heap: list[tuple[Any, int, dict[str, Any]]] = field(default_factory=list)
    _used: int = 0

    def offer(self, rank: tuple[int, ...], make: Callable[[], dict[str, Any]]) -> None:
        """Takes what `make` gives, if its rank is high enough. Two items never have the same rank."""
        full = len(self._heap) >= self.count or self._used >= self.size
        if full and self._heap and rank < self._heap[0][0]:
            return
        item = make()
        length = bytes_on_page(item)
        heapq.heappush(self._heap, (rank, length, item))
        self._used += length
        while len(self._heap) > 1 and (len(self._heap) > self.count or self._used > self.size):
            self._used -= heapq.heappop(self._heap)[1]

    def items(self) -> list[dict[str, Any]]:
        """What was kept."""
        return [item for _, _, item in self._heap]


class Shown:
    """The rollouts of one run that its page shows."""

    def __init__(self, *, seed: int, steps: int, size: int, recorded: bool) -> None:
        """`steps`: of the whole run; `size`: bytes on the page; `recorded`: whether the run has samples by token."""
        self._seed, self._steps = seed, steps
        share = _RECORDED_SHARE if recorded else 0.0
        self._stretches = stretches = min(MOST_STRETCHES, max(1, steps))
        self._recorded = [Room(int(size * share / stretches)) for _ in range(stretches)]
        self._others = [Room(int(size * (1 - share) / stretches)) for _ in range(stretches)]
        self._notable: dict[str, Room] = {}

    def add(self, group: Group) -> None:
        """Considers a group."""
        # Of the same problem at two steps, both are kept or neither.
        draw = derive_seed(self._seed, "shown", group.task, group.problem)
        place = min(self._stretches - 1, (group.step - 1) * self._stretches // max(1, self._steps))
        rooms = self._recorded if group.samples is not None else self._others
        at = (group.step, group.number)
        rooms[place].offer((draw, *at), lambda: shown_group(group))
        for name, strength in notable(group).items():
            room = self._notable.setdefault(name, Room(1 << 18, NOTABLE))
            room.offer((*strength, draw, *at), lambda: shown_group(group))

    def groups(self) -> list[dict[str, Any]]:
        """In the order of the run. Those that say most have the reasons as `notable`."""
        found: dict[tuple[int, int], dict[str, Any]] = {}
        for room in (*self._recorded, *self._others):
            found |= {(item["step"], item["group"]): item for item in room.items()}
        for name, room in self._notable.items():
            for item in room.items():
                kept = found.setdefault((item["step"], item["group"]), item)
                kept["notable"] = sorted({*kept.get("notable", ()), name})
        return [found[place] for place in sorted(found)]


def notable(group: Group) -> dict[str, tuple[int, ...]]:
    """What a group shows most clearly, by a name that the page knows, and how strongly."""
    outcomes = [outcome(record) for record in group.rollouts]
    fixed, wrong = outcomes.count("fixed"), outcomes.count("wrong")
    found: dict[str, tuple[int, ...]] = {}
    if "right" not in outcomes and fixed > wrong:
        found["solved"] = (100 * fixed // (fixed + wrong), fixed)
    if wrong > 1 and not fixed and "right" not in outcomes:
        found["unhelped"] = (group.step, wrong)
    if "spoiled" in outcomes:
        found["spoiled"] = (outcomes.count("spoiled"),)
    feedback = [turn.feedback for record in group.rollouts for turn in record.turns if turn.feedback is not None]
    failed = sum(each.cause is not None for each in feedback) + outcomes.count("unscored")
    if failed:
        found["failed"] = (failed,)
    malformed = sum(not turn.score.well_formed for record in group.rollouts for turn in record.turns)
    if malformed * 2 > sum(len(record.turns) for record in group.rollouts):
        found["malformed"] = (group.step, malformed)
    return found


def shown_group(group: Group) -> dict[str, Any]:
    """A group as the page reads it."""
    first = next((record for record in group.rollouts if record.turns), None)
    return {
        "step": group.step,
        "group": group.number,
        "task": clipped(group.task),
        "problem": group.problem,
        "answer": clipped(group.rollouts[0].answer),
        "prompt": [] if first is None else shown_messages(first.turns[0].prompt),
        "rollouts": [shown_rollout(record) for record in group.rollouts],
        "samples": [] if group.samples is None else shown_samples(group.samples),
    }


def shown_rollout(record: RolloutRecord) -> dict[str, Any]:
    """A rollout; the prompt of its first attempt is its group's."""
    return _without_none(
        {
            "i": record.rollout,
            "status": record.status,
            "outcome": outcome(record),
            "turns": [_turn(turn, number) for number, turn in enumerate(record.turns)],
            "text": clipped(record.text),
            "failure": None if record.failure is None else _feedback(record.failure),
        }
    )


def _turn(turn: TurnRecord, number: int) -> dict[str, Any]:
    return _without_none(
        {
            "prompt": shown_messages(turn.prompt) if number else None,
            "text": clipped(turn.text),
            "thinking": clipped(turn.thinking),
            "cut": turn.status == "length" or None,
            "reward": _digits(turn.score.reward),
            "correct": turn.score.correct,
            "malformed": not turn.score.well_formed or None,
            "answer": None if turn.score.answer == turn.text else clipped(turn.score.answer),
            "why": clipped(turn.score.explanation),
            "feedback": None if turn.feedback is None else _feedback(turn.feedback),
            "tokens": turn.completion_tokens,
            "logprob": _digits(turn.logprob),
            "version": turn.version,
            "weights": {name: _digits(each.weight) for name, each in turn.weights.items()} or None,
        }
    )


def _feedback(feedback: FeedbackRecord) -> dict[str, Any]:
    return _without_none(
        {
            "source": feedback.source,
            "text": clipped(feedback.text),
            "cause": feedback.cause,
            "failure": clipped(feedback.failure),
        }
    )


def shown_messages(messages: Sequence[MessageRecord]) -> list[list[str]]:
    """Role and text of each message."""
    return [[message.role, clipped(message.content) or ""] for message in messages]


def shown_samples(recorded: GroupSamples) -> list[dict[str, Any]]:
    """Training samples; those of the same completion stand together, as its tokens and log-probabilities do."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for sample in recorded.samples:
        key = (sample.rollout, sample.turn, sample.own is None, tuple(sample.tokens))
        if key not in found:
            found[key] = _without_none(
                {
                    "rollout": sample.rollout,
                    "turn": sample.turn,
                    "tokens": [sound(token) for token in sample.tokens[:_MOST_TOKENS]],
                    "left_out": max(0, len(sample.tokens) - _MOST_TOKENS) or None,
                    **{name: _nats(getattr(sample, name)) for name in ("plain", "feedback", "own")},
                    "parts": [],
                }
            )
        found[key]["parts"].append(_part(sample))
    return list(found.values())


def _part(sample: SampleRecord) -> dict[str, Any]:
    weights = [_digits(weight) for weight in sample.weights[:_MOST_TOKENS]]
    return _without_none(
        {
            "component": sample.component,
            "loss": sample.loss,
            "value": sample.value,
            "baseline": sample.baseline,
            # Of most samples all tokens have one weight.
            "weights": weights[0] if len(set(weights)) == 1 else weights,
        }
    )


def _nats(values: Sequence[float | None] | None) -> list[float | None] | None:
    if values is None:
        return None
    return [None if value is None else round(value, 2) for value in values[:_MOST_TOKENS]]


def _digits(value: float) -> float:
    return float(f"{value:.3g}")


def bytes_on_page(item: Mapping[str, Any]) -> int:
    """What an item takes there, where signs of markup are spelled with six signs each."""
    text = json.dumps(item, ensure_ascii=False, separators=(",", ":"))
    return len(sound(text).encode()) + 5 * sum(map(text.count, "<>&"))


def clipped(text: str | None) -> str | None:
    """A text of a length that a page bears, without what no encoding takes."""
    if text is None:
        return None
    if len(text) > _HEAD + _TAIL:
        left_out = len(text) - _HEAD - _TAIL
        text = f"{text[:_HEAD]}\n[… {left_out:,} characters are left out here …]\n{text[-_TAIL:]}"
    return sound(text)


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
