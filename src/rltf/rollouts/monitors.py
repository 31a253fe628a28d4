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
FEW = 0.25
"""Share of the rollouts that reach a turn below which its accuracy is no sign: once first attempts are right, only hard
problems come to a second one."""
MOST_BROKEN = 0.5
"""Share of attempts that may be malformed before that is an alarm."""
PATIENCE = 3
"""Steps without a sample after which a run is said to learn nothing."""
FAR = 100.0
"""How many times its median a gradient's norm may be."""
_RATE = "trainer.learning_rate"
_LEAST_WORDS = 3
_FEWEST_TELLING_WORDS = 6
_SENTENCE = re.compile(r"[^\n.!?]+[.!?]?")
_LETTER = re.compile(r"[^\W\d_]")


def alarms(history: Sequence[Mapping[str, float]], gap_tolerance: float) -> dict[str, str]:
    """What is wrong with the newest step of a run, by the kind of alarm; empty where nothing is.

    Args:
        history: `metrics.jsonl` so far, oldest first.
        gap_tolerance: `trainer.sampler_gap_tolerance`.
    """
    found = {
        "collapse": collapse(history),
        "cannot_learn": cannot_learn(history),
        "sampler_gap": sampler_gap(history[-1], gap_tolerance),
    }
    return {kind: reason for kind, reason in found.items() if reason is not None}


def collapse(history: Sequence[Mapping[str, float]]) -> str | None:
    """What is wrong with the newest steps of a run, in one line; None where nothing is.

    An accuracy that has fallen to less than half of its best, each a mean over `WINDOW` steps, in a turn that more than
    a few rollouts reach; or attempts that are malformed more often than not.

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
        reached = np.mean([step.get(f"rollout/reached_{name}_turn", 0.0) for step in history[-WINDOW:]])
        if len(values) < 2 * WINDOW or reached < FEW:
            continue
        means = np.convolve(values, np.ones(WINDOW) / WINDOW, mode="valid")
        best, now = float(means.max()), float(means[-1])
        if best >= WORTH_LOSING and now < best / 2:
            return f"accuracy of {name} attempts has fallen from {100 * best:.0f} % to {100 * now:.0f} %"
    return None


def cannot_learn(history: Sequence[Mapping[str, float]]) -> str | None:
    """What keeps the newest steps of a run from teaching anything, in one line; None where nothing does.

    Told as soon as it can be: every attempt of a step cut; no sample trained for `PATIENCE` steps though there is
    something left to learn; a gradient `FAR` times the median of the steps before.

    Args:
        history: `metrics.jsonl` so far, oldest first.
    """
    now = history[-1]
    if now["rollout/truncated"] == 1.0:
        before = min(step["rollout/truncated"] for step in history)
        if before < MOST_BROKEN:
            return (
                f"every attempt was cut at the token limit, {100 * before:.0f} % were before: the policy no longer "
                f"ends its answers; lower {_RATE}, or go on from an earlier model"
            )
        return "every attempt was cut at the token limit: raise rollout.max_new_tokens"
    recent = history[-PATIENCE:]
    if len(recent) == PATIENCE and all(_left_to_learn(step) and not step["samples/total"] for step in recent):
        if all(step["samples/too_long"] for step in recent):
            return f"no sample was trained for {PATIENCE} steps: all are longer than the model's context"
        return (
            f"no sample was trained for {PATIENCE} steps: in no group did one attempt's reward differ from another's; "
            "raise trainer.group_size, or take an easier task or a stronger model"
        )
    norms = [step["optim/grad_norm"] for step in history if "optim/grad_norm" in step]
    if "optim/grad_norm" in now and len(norms) > PATIENCE:
        usual = float(np.median(norms[:-1]))
        if norms[-1] > FAR * usual:
            return f"the gradient's norm, {norms[-1]:.3g}, is {norms[-1] / usual:,.0f} times its median: lower " + _RATE
    return None


def sampler_gap(step: Mapping[str, float], tolerance: float) -> str | None:
    """Whether sampler and trainer disagree about the policy by more than a tolerance, in one line.

    Args:
        step: a step of `metrics.jsonl`.
        tolerance: nats per token, in the mean over the tokens that the policy wrote.
    """
    gap = step.get("policy/sampler_gap", 0.0)
    if gap <= tolerance:
        return None
    return (
        f"sampler and trainer differ by {gap:.3g} nats a token, more than trainer.sampler_gap_tolerance={tolerance:g}: "
        "compute in engine.dtype=float32, correct it with objective.sampler_ratio_cap=2, or lower " + _RATE
    )


def _left_to_learn(step: Mapping[str, float]) -> bool:
    """Whether some first attempt was wrong; responses from a log say nothing about that."""
    return step.get("accuracy/first_turn", 0.0) < 1.0


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
