"""Signs that a run goes wrong, as pure functions of what happened. None of them changes the training."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from rltf.types import Feedback, RolloutGroup

WINDOW = 10
"""Steps over which a figure is averaged before it is judged."""
WORTH_LOSING = 0.25
"""A best accuracy below this share is no skill to lose."""
MOST_BROKEN = 0.5
"""Share of attempts that may be malformed before that is an alarm."""
_LEAST_WORDS = 3
_FEWEST_TELLING_WORDS = 6
_SENTENCE = re.compile(r"[^\n.!?]+[.!?]?")
_LETTER = re.compile(r"[^\W\d_]")


def collapse(history: Sequence[Mapping[str, float]]) -> str | None:
    """What is wrong with the newest steps of a run, in one line; None where nothing is.

    An accuracy that has fallen to less than half of its best, each a mean over `WINDOW` steps, or attempts that are
    malformed more often than not.

    Args:
        history: `metrics.jsonl` so far, oldest first.
    """
    if len(history) < WINDOW:
        return None
    broken = float(np.mean([step["rollout/malformed"] for step in history[-WINDOW:]]))
    if broken > MOST_BROKEN:
        return f"{100 * broken:.0f} % of the attempts of the last {WINDOW} steps are malformed"
    for name in ("first", "second"):
        accuracy = f"accuracy/{name}_turn"
        values = [step[accuracy] for step in history if accuracy in step]
        if len(values) < 2 * WINDOW:
            continue
        means = np.convolve(values, np.ones(WINDOW) / WINDOW, mode="valid")
        best, now = float(means.max()), float(means[-1])
        if best >= WORTH_LOSING and now < best / 2:
            return f"accuracy of {name} attempts has fallen from {100 * best:.0f} % to {100 * now:.0f} %"
    return None


def uninformative_share(groups: Sequence[RolloutGroup]) -> float:
    """Share of the feedback that names no number and has less than six words: it says no more than right or wrong."""
    texts = [
        turn.feedback.text
        for group in groups
        for rollout in group.rollouts
        for turn in rollout.turns
        if isinstance(turn.feedback, Feedback)
    ]
    says_little = [not re.search(r"\d", text) and len(text.split()) < _FEWEST_TELLING_WORDS for text in texts]
    return float(np.mean(says_little)) if says_little else 0.0


def leaked_share(groups: Sequence[RolloutGroup]) -> float:
    """Share of first attempts that hold a sentence (three words or more) of some feedback in the batch.

    Marks and numbers alone are no sentence: an answer may read like them. First attempts see no feedback: what reads
    like it was learned, and comes out where nobody asked.
    """
    attempts = [rollout.turns[0].text for group in groups for rollout in group.rollouts]
    sentences = {
        sentence.strip()
        for group in groups
        for rollout in group.rollouts
        for turn in rollout.turns
        if isinstance(turn.feedback, Feedback)
        for sentence in _SENTENCE.findall(turn.feedback.text)
        if len(sentence.split()) >= _LEAST_WORDS and _LETTER.search(sentence)
    }
    held = [any(sentence in attempt for sentence in sentences) for attempt in attempts]
    return float(np.mean(held)) if held else 0.0
