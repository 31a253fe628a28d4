"""What a run's figures say, in sentences: what was learned, what the feedback did, and why it went wrong if it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from rltf.config import RunConfig
from rltf.report.tally import THIRDS, Kind, Tally
from rltf.rollouts.records import EvaluationRecord

Tone = Literal["good", "bad", "note"]
_MANY_REPEATED = 0.2
_MANY_SILENT = 0.5
_MANY_TOLD = 0.02
_STRETCH = 3
"""Steps over which figures are averaged to say what moved before an alarm."""
_FEWEST = 30
"""Attempts under which a share of them says little."""
_SIGNS = {
    "accuracy/first_turn": ("first attempts right", "{:.0%}", 0.01),
    "rollout/malformed": ("attempts without a readable answer", "{:.0%}", 0.01),
    "rollout/truncated": ("attempts cut at the token limit", "{:.0%}", 0.01),
    "length/first_turn": ("tokens of a first attempt", "{:.0f}", 1.0),
    "policy/entropy": ("entropy", "{:.2g}", 0.02),
    "optim/grad_norm": ("norm of the gradient", "{:.2g}", 0.1),
    "policy/sampler_gap": ("gap between sampler and trainer", "{:.2g}", 0.01),
    "optim/learning_rate": ("learning rate", "{:.2g}", 0.0),
}
"""What is told of an alarm: meaning and form of a metric, and from which difference on it has moved."""


def findings(
    config: RunConfig,
    metrics: Sequence[Mapping[str, float]],
    evaluations: Sequence[EvaluationRecord],
    tally: Tally,
    alarms: Sequence[Mapping[str, Any]],
    done: int,
) -> list[dict[str, Any]]:
    """Sentences in the order of their weight, each with a tone and, where rollouts show it, a filter of the viewer."""
    found = [
        *_learned(evaluations),
        *_collapse(metrics, alarms),
        *_feedback_helped(tally),
        *_feedback_failed(tally),
        *_kinds(tally),
        *_silence(metrics),
    ]
    steps = config.trainer.steps
    if done < steps:
        found.insert(0, _say("note", f"{done} of {steps} steps are done."))
    return found


def _say(tone: Tone, sentence: str, **show: str) -> dict[str, Any]:
    return {"tone": tone, "text": sentence, **({"show": show} if show else {})}


def _learned(evaluations: Sequence[EvaluationRecord]) -> list[dict[str, Any]]:
    """Before and after, on problems that no step saw."""
    for split in ("test", "validation"):
        records = [record for record in evaluations if record.split == split]
        if len(records) < 2:
            continue
        before, after = records[0], records[-1]
        half = (before.first_turn_interval or 0.0) + (after.first_turn_interval or 0.0)
        change = after.first_turn - before.first_turn
        tone: Tone = "good" if change > half else "bad" if change < -half else "note"
        what = f"Right first attempts on {split} problems, without feedback: {_percent(before.first_turn)} before"
        text = f"{what}, {_percent(after.first_turn)} after step {after.step}."
        if tone == "note":
            text += " The difference is within the intervals."
        found = [_say(tone, text)]
        if before.second_turn is not None and after.second_turn is not None:
            text = f"Right second attempts there, after feedback on a wrong first one: {_percent(before.second_turn)}"
            found.append(_say("note", f"{text} before, {_percent(after.second_turn)} after."))
        if after.usefulness is not None:
            useful = after.usefulness > 0
            worth = f"What the feedback says is worth {100 * after.usefulness:+.1f} points over “incorrect” alone"
            found.append(_say("good" if useful else "bad", f"{worth}, on second attempts after step {after.step}."))
        return found
    return []


def _collapse(metrics: Sequence[Mapping[str, float]], alarms: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The first alarm, with the figures that moved most between the best stretch before it and the alarm."""
    if not alarms:
        return []
    alarm = alarms[0]
    end = next(i for i, row in enumerate(metrics) if row["step"] == alarm["step"]) + 1
    accuracy = [row.get("accuracy/first_turn", 0.0) for row in metrics[:end]]
    width = min(_STRETCH, end)
    means = np.convolve(accuracy, np.ones(width) / width, mode="valid")
    best = int(np.argmax(means))
    then, now = metrics[best : best + width], metrics[end - width : end]
    moved = []
    for name, (meaning, form, least) in _SIGNS.items():
        pair = [[row[name] for row in rows if name in row] for rows in (then, now)]
        if all(pair):
            was, is_ = (float(np.mean(values)) for values in pair)
            if abs(is_ - was) <= least:
                continue
            moved.append(f"{meaning} {form.format(was)} to {form.format(is_)}")
    more = f" {len(alarms)} alarms in all." if len(alarms) > 1 else ""
    text = f"Alarm at step {alarm['step']}: {alarm['reason']}.{more}"
    if best + width < end and moved:
        text += f" From the best stretch (steps {best + 1} to {best + width}) to the alarm: {'; '.join(moved)}."
    return [_say("bad", text, step=str(alarm["step"]))]


def _feedback_helped(tally: Tally) -> list[dict[str, Any]]:
    whole = Kind()
    for kind in tally.tasks.values():
        whole += kind
    revised, fixed = sum(whole.revised), sum(whole.fixed)
    if not revised:
        return []
    parts = [f"{_percent(f / n)} of {n:,}" for n, f in zip(whole.revised, whole.fixed, strict=True) if n]
    text = f"In training, {_percent(fixed / revised)} of {revised:,} wrong first attempts were right after feedback"
    if len(parts) == THIRDS:
        text += f" (by thirds of the run: {', '.join(parts)})"
    text += "."
    helps = fixed > 0
    if tally.compared:
        # First attempts of the same group at the same problem: what trying again without feedback gives.
        again, after = tally.siblings_right / tally.compared, tally.compared_fixed / tally.compared
        text += f" Of their siblings' first attempts, which saw no feedback, {_percent(again)} were right"
        helps = after > again
        text += "." if helps else ": this feedback helped no more than trying again."
    found = [_say("good" if helps else "bad", text, outcome="fixed")]
    spoiled = sum(counts["spoiled"] for counts in tally.outcomes)
    if spoiled:
        found.append(_say("bad", f"Right attempts that became wrong after feedback: {spoiled:,}.", outcome="spoiled"))
    return found


def _feedback_failed(tally: Tally) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    failed = tally.causes.total()
    if failed:
        causes = ", ".join(f"{cause} {count:,}" for cause, count in tally.causes.most_common(4))
        text = f"Failures of feedback: {failed:,}, beside {tally.given:,} that were given ({causes})."
        found.append(_say("bad", f"{text} None counts as a reward.", notable="failed"))
    if tally.unscored:
        causes = ", ".join(f"{cause} {count:,}" for cause, count in tally.unscored.most_common(4))
        text = f"Attempts that got no score, and trained nothing: {tally.unscored.total():,} ({causes})."
        found.append(_say("bad", text, outcome="unscored"))
    if tally.given and tally.told_answer / tally.given > _MANY_TOLD:
        share = _percent(tally.told_answer / tally.given)
        found.append(_say("bad", f"{share} of the feedback has the right answer in it: revisions may only copy."))
    if tally.revised and tally.repeated / tally.revised > _MANY_REPEATED:
        share = _percent(tally.repeated / tally.revised)
        text = f"{share} of the revisions say again what the attempt had said: that feedback was not followed."
        found.append(_say("bad", text, outcome="wrong"))
    useless = [w for w in tally.wordings.values() if w.revised >= _FEWEST]
    revised, fixed = sum(w.revised for w in useless), sum(w.fixed for w in useless)
    if len(useless) > 1:
        worst = min(useless, key=lambda w: w.fixed / w.revised)
        if worst.fixed / worst.revised < fixed / revised / 2:
            line = worst.example.partition("\n")[0]
            text = f"Feedback that begins like “{line}” helped least: {_percent(worst.fixed / worst.revised)} of"
            found.append(_say("bad", f"{text} {worst.revised:,} revisions after it were right.", text=line))
    return found


def _kinds(tally: Tally) -> list[dict[str, Any]]:
    """The kinds of problem that are solved least and most in the last third."""
    rows = [row for row in tally.figures()["kinds"] if row["made"][-1] >= _FEWEST]
    found: list[dict[str, Any]] = []
    for by in dict.fromkeys(row["by"] for row in rows):
        alike = sorted((row["right"][-1] / row["made"][-1], row["name"]) for row in rows if row["by"] == by)
        if len(alike) > 1 and alike[-1][0] > alike[0][0]:
            (least, hard), (most, easy) = alike[0], alike[-1]
            text = f"By {by}, in the last third: least are right of {hard} ({_percent(least)}), most of {easy}"
            found.append(_say("note", f"{text} ({_percent(most)})."))
    return found


def _silence(metrics: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    last = metrics[-max(1, len(metrics) // THIRDS) :]
    shares = [row["group/without_signal"] for row in last if "group/without_signal" in row]
    if not shares or np.mean(shares) < _MANY_SILENT:
        return []
    text = f"In the last third, {_percent(float(np.mean(shares)))} of the groups trained nothing: their attempts were"
    return [_say("note", f"{text} all right or all wrong.")]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
