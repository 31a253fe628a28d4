"""A comparison's outcome as a Markdown table and as figures of learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rltf.support.errors import UserError

_FIGURES = ("first_turn", "second_turn")
TABLE, OUTCOME = "table.md", "outcome.json"
CURVES = ("curves.svg", "curves.png")


def table(outcome: Mapping[str, Any], command: str) -> str:
    """The table in Markdown, with the command that made it."""
    seeds = outcome["seeds"]
    arms: Mapping[str, Any] = outcome["arms"]
    baseline = outcome["baseline"]
    differs = f" | minus `{baseline}`" if baseline else ""
    lines = [
        f"### {outcome['title']}",
        "",
        f"| arm | first attempts, %{differs} | second, % | rollouts | tokens | feedback | seconds |",
        "|---" * (7 + bool(baseline)) + "|",
    ]
    starts = {figure: {_cell(found["before"][figure]) for found in arms.values()} for figure in _FIGURES}
    before = [next(iter(start)) if len(start) == 1 else "differs" for start in starts.values()]
    lines.append(f"| before training | {before[0]}{' | ' * bool(baseline)} | {before[1]} | | | | |")
    for arm, found in arms.items():
        after, cost = found["after"], found["cost"]
        difference = found["difference"].get("first_turn") if baseline else None
        cells = [f"`{arm}`", _cell(after["first_turn"])]
        if baseline:
            cells.append(percent_points(difference) if difference else "")
        cells.append(_cell(after["second_turn"]))
        if len(starts["second_turn"]) > 1:  # Arms with other feedback begin elsewhere with their second attempts.
            cells[-1] += f", from {_cell(found['before']['second_turn'], seeds=False)}"
        cells += [f"{cost[name]:,.0f}" for name in ("rollouts", "tokens", "feedback_calls", "seconds")]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"Mean over {len(seeds)} {'seed' if len(seeds) == 1 else 'seeds'} ± half its 95 % interval (Student's t), with "
        f"each seed's value in brackets, on {outcome['test_problems']} test problems. Second-turn: after a wrong first "
        f"attempt, with feedback. Differences are paired by seed. Made by `{command}`.",
        *_how_soon(arms),
        *_by_kind(arms, len(seeds)),
        *_how_it_reads(arms),
    ]
    return "\n".join(lines) + "\n"


def _how_soon(arms: Mapping[str, Any]) -> list[str]:
    """Rollouts to fixed accuracies, where runs were evaluated on the way."""
    if not any(found["curve"] for found in arms.values()):
        return []
    levels = list(next(iter(arms.values()))["rollouts_to"])
    heads = " | ".join(f"to {100 * float(level):.0f} %" for level in levels)
    lines = ["", f"| rollouts | {heads} |", "|---" * (1 + len(levels)) + "|"]
    for arm, found in arms.items():
        cells = [
            ", ".join("never" if count is None else f"{count:,}" for count in found["rollouts_to"][level].values())
            for level in levels
        ]
        lines.append(f"| `{arm}` | {' | '.join(cells)} |")
    return [*lines, "", "Of each seed, at the first evaluation on the validation problems that reaches the accuracy."]


def _by_kind(arms: Mapping[str, Any], seeds: int) -> list[str]:
    """First attempts by kind of problem, where runs told kinds apart."""
    kinds = next(iter(arms.values())).get("by_kind", {})
    if not kinds or not all(found.get("by_kind") for found in arms.values()):
        return []
    heads = " | ".join(f"`{arm}`" for arm in arms)
    lines = ["", f"| first attempts by kind, % | problems | before | {heads} |", "|---" * (3 + len(arms)) + "|"]
    for kind, start in kinds.items():
        cells = [start["before"], *(found["by_kind"].get(kind, {}).get("after") for found in arms.values())]
        shown = ["-" if each is None else percent_points(each) for each in cells]
        named = " ".join(kind.split()).replace("|", "¦")  # It may come out of a file.
        lines.append(f"| {named} | {start['problems']:.0f} | {' | '.join(shown)} |")
    over = "problems" if seeds == 1 else "seeds"
    return [
        *lines,
        "",
        "Of the test problems of a kind, which may be of others too: right as a whole, ± half the 95 % interval over "
        f"{over}.",
    ]


def _how_it_reads(arms: Mapping[str, Any]) -> list[str]:
    """How first attempts read, where it was measured."""
    if not all(found["fluency"] for found in arms.values()):
        return []
    lines = ["", "| how first attempts read | nats a token | copies, % | echoes, % | tokens |", "|---|---|---|---|---|"]
    before = next(iter(arms.values()))["fluency"]["before"]
    for name, reads in [("before training", before), *((f"`{a}`", f["fluency"]["after"]) for a, f in arms.items())]:
        usual = "-" if reads["initial_logprob"] is None else f"{reads['initial_logprob']:.2f}"
        shares = f"{100 * reads['copies']:.1f} | {100 * reads['echoes']:.1f}"
        lines.append(f"| {name} | {usual} | {shares} | {reads['tokens']:.1f} |")
    return [
        *lines,
        "",
        "Log-probability of a token under the model before training; first attempts that say what one at another "
        "problem says; those with three words in a row of some feedback that no question holds. Means over seeds.",
    ]


def side_by_side(outcomes: Sequence[Mapping[str, Any]], command: str) -> str:
    """First attempts in several comparisons: a row per arm, in the order of the first that has it; a column each."""
    arms = list(dict.fromkeys(arm for outcome in outcomes for arm in outcome["arms"]))
    start = [percent_points(next(iter(o["arms"].values()))["before"]["first_turn"]["spread"]) for o in outcomes]
    rows = [["first attempts, %", *(o["title"] for o in outcomes)], ["before training", *start]]
    for arm in arms:
        found = [o["arms"][arm]["after"]["first_turn"]["spread"] if arm in o["arms"] else None for o in outcomes]
        rows.append([f"`{arm}`", *("-" if spread is None else percent_points(spread) for spread in found)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|---" * (1 + len(outcomes)) + "|")
    note = f"Mean over seeds ± half its 95 % interval (Student's t), on test problems. Made by `{command}`."
    return "\n".join([*lines, "", note]) + "\n"


def percent_points(spread: Mapping[str, float | None]) -> str:
    """A mean share with its interval, in per cent."""
    mean, half = spread["mean"], spread["half"]
    assert mean is not None
    return f"{100 * mean:.1f}" if half is None else f"{100 * mean:.1f} ± {100 * half:.1f}"


def _cell(figure: Mapping[str, Any], *, seeds: bool = True) -> str:
    if figure["spread"] is None:
        return "-"
    values = ", ".join("-" if v is None else f"{100 * v:.1f}" for v in figure["seeds"].values())
    return percent_points(figure["spread"]) + (f" ({values})" if seeds else "")


def draw_curves(outcome: Mapping[str, Any], directory: Path) -> list[Path]:
    """Accuracy of first and second attempts on validation problems over rollouts, one line per arm, as SVG and PNG.

    None are drawn for runs that were not evaluated on the way (`evaluation.every = 0`).
    """
    arms: Mapping[str, Any] = outcome["arms"]
    if not any(found["curve"] for found in arms.values()):
        return []
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("figures need matplotlib; pip install -c constraints.txt '.[plots]'") from error
    # Not by pyplot, which would change the caller's backend and keep the figure.
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    panels = zip(_FIGURES, ("first attempts", "after feedback"), strict=True)
    for axis, (name, label) in zip(axes, panels, strict=True):
        for arm, found in arms.items():
            points = [(point["rollouts"], point[name]) for point in found["curve"] if point[name]]
            x = np.array([rollouts for rollouts, _ in points])
            mean = 100 * np.array([spread["mean"] for _, spread in points])
            half = 100 * np.array([spread["half"] or 0.0 for _, spread in points])
            (line,) = axis.plot(x, mean, label=arm, linewidth=1.5)
            axis.fill_between(x, mean - half, mean + half, color=line.get_color(), alpha=0.15, linewidth=0)
        axis.set(title=label, xlabel="rollouts", ylim=(0, 100))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy on validation problems, %")
    axes[0].legend(loc="best", fontsize="small")
    figure.suptitle(f"{outcome['title']}: mean and 95 % interval over {len(outcome['seeds'])} seeds")
    paths = [directory / name for name in CURVES]
    # Without a salt, ids inside an SVG are random.
    with rc_context({"svg.hashsalt": "rltf"}):
        for path in paths:
            figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    return paths
