"""The theory by numbers: computes what docs/theory.md says and draws its figures.

    python benchmarks/theory.py          # seconds; writes docs/theory/numbers.json and four SVG files

The parts that the library implements (advantages, ratios) are called, not written anew.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rltf.objectives.advantages import centred, distillation_advantages, sequence_ratio

Array = NDArray[np.float64]


def full_weighting(rng: np.random.Generator) -> dict[str, Any]:
    """Full importance weights: the mean by enumeration, and the variance over the length of the answer.

    Each of T binary tokens is right with probability 0.9 after feedback and 0.6 without; the reward is 1 where all
    are right.
    """
    teacher, student = 0.9, 0.6
    rows: list[dict[str, float]] = []
    for length in range(1, 13):
        total = square = truth = 0.0
        for answer in itertools.product((0, 1), repeat=length):
            right = np.array(answer, dtype=bool)
            p = np.where(right, teacher, 1 - teacher)
            q = np.where(right, student, 1 - student)
            reward = float(right.all())
            weight = sequence_ratio(np.log(q).astype(np.float32), np.log(p).astype(np.float32))
            total += p.prod() * weight * reward
            # An answer is rewarded or not; the gradient's size follows the weight of every answer, so all count here.
            square += p.prod() * weight**2
            truth += q.prod() * reward
        rows.append({"length": length, "true": truth, "weighted": total, "variance_of_weight": square - 1.0})
    samples = 4000
    right = rng.random((samples, 12)) < teacher
    weights = np.where(right, student / teacher, (1 - student) / (1 - teacher)).prod(axis=1)
    effective = float(weights.sum() ** 2 / (weights**2).sum())
    return {
        "teacher": teacher,
        "student": student,
        "rows": rows,
        "samples": samples,
        "effective_samples_at_12_tokens": effective,
    }


def baseline_collapse(rng: np.random.Generator) -> dict[str, Any]:
    """How often every advantage of a group is 0, with the second turn's baseline and with the first turn's."""
    rows: list[dict[str, float]] = []
    groups, first_success = 4000, 0.05
    for size in (4, 8, 16):
        for p in np.linspace(0.02, 0.98, 25):
            silent = {"first_turn": 0, "second_turn": 0}
            for _ in range(groups // 4):
                revisions = (rng.random(size) < p).astype(float)
                first = (rng.random(size) < first_success).astype(float)
                for baseline in ("first_turn", "second_turn"):
                    silent[baseline] += not distillation_advantages(revisions, first, baseline).any()
            rows.append(
                {
                    "size": size,
                    "p": float(p),
                    "formula": float(p**size + (1 - p) ** size),
                    **{name: count / (groups // 4) for name, count in silent.items()},
                }
            )
    return {"first_success": first_success, "rows": rows}


def reward_cost(rng: np.random.Generator) -> dict[str, Any]:
    """Rollouts for one component of the gradient to have the size of its own error, over the success rate e0.

    A softmax over answers of which one is right: the component of its logit has the mean `e0 (1 - e0)` per rollout and
    a variance that makes it `(1 - e0) / e0` rollouts.
    """
    rows: list[dict[str, float]] = []
    for e0 in (0.3, 0.1, 0.03, 0.01, 0.003, 0.001):
        success = rng.random(2_000_000) < e0
        per_rollout = np.where(success, 1.0 - e0, 0.0)
        measured = per_rollout.var() / per_rollout.mean() ** 2
        groups = success.reshape(-1, 8).astype(float)
        signal = float(np.mean([centred(group).any() for group in groups[:20_000]]))
        rows.append(
            {"e0": e0, "rollouts": float(measured), "formula": (1 - e0) / e0, "groups_of_8_with_signal": signal}
        )
    return {"rows": rows}


def spectra(rng: np.random.Generator) -> dict[str, Any]:
    """Gradients on a shared representation: the reward's against feedback modelling's, on the same frozen rollouts.

    A log-linear policy: answer y to question x has the logit `e_y' W h_x`, feedback c on it the logit `f_c' W h_xy`,
    with one matrix W, the representation, in both. Answers are sampled once from a policy that is seldom right; the
    feedback names the coordinate in which the answer's features are farthest from the right answer's.
    """
    size, questions, answers, rollouts = 12, 200, 60, 6000
    h = rng.standard_normal((questions, size)) / np.sqrt(size)
    e = rng.standard_normal((answers, size))
    f = rng.standard_normal((size, size))
    w = 0.5 * rng.standard_normal((size, size))
    right = rng.integers(answers, size=questions)
    x = rng.integers(questions, size=rollouts)
    logits = h @ w.T @ e.T
    # The right answer is made unlikely: a policy that is to learn.
    logits[np.arange(questions), right] -= 2.0
    policy = _softmax(logits)
    y = np.array([rng.choice(answers, p=policy[i]) for i in x])
    reward = (y == right[x]).astype(float)
    # Reward: A (e_y - E e) h', A against the mean reward.
    score = (e[y] - (policy @ e)[x]) * (reward - reward.mean())[:, None]
    reward_gradients = np.einsum("ni,nj->nij", score, h[x]).reshape(rollouts, -1)
    # Feedback on failures: (f_c - E f) h_xy'.
    failed = reward == 0.0
    gap = e[right[x]] - e[y]
    c = np.abs(gap).argmax(axis=1)
    h_xy = h[x] + e[y] / size
    feedback_policy = _softmax(h_xy @ w.T @ f.T)
    feedback_score = f[c] - feedback_policy @ f
    feedback_gradients = np.einsum("ni,nj->nij", feedback_score, h_xy).reshape(rollouts, -1)[failed]
    reward_spectrum, directions = _spectrum(reward_gradients)
    feedback_spectrum, _ = _spectrum(feedback_gradients)
    identified = int(np.searchsorted(np.cumsum(reward_spectrum) / reward_spectrum.sum(), 0.9)) + 1
    weak = directions[identified:]
    covered = (feedback_gradients @ weak.T) ** 2
    share = float(covered.sum() / (feedback_gradients**2).sum())
    reward_share = float(((reward_gradients @ weak.T) ** 2).sum() / (reward_gradients**2).sum())
    return {
        "success": float(reward.mean()),
        "directions": size * size,
        "rank90_reward": identified,
        "rank90_feedback": int(np.searchsorted(np.cumsum(feedback_spectrum) / feedback_spectrum.sum(), 0.9)) + 1,
        "share_of_feedback_gradient_in_weak_directions": share,
        "share_of_reward_gradient_in_weak_directions": reward_share,
        "energy_ratio_in_weak_directions": float(covered.sum(axis=1).mean())
        / float(((reward_gradients @ weak.T) ** 2).sum(axis=1).mean()),
        "reward_spectrum": (reward_spectrum / reward_spectrum.sum()).tolist(),
        "feedback_spectrum": (feedback_spectrum / feedback_spectrum.sum()).tolist(),
        "reward_absolute": reward_spectrum.tolist(),
        "feedback_absolute_in_reward_directions": np.mean((feedback_gradients @ directions.T) ** 2, axis=0).tolist(),
    }


def _softmax(logits: Array) -> Array:
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    normalised: Array = exp / exp.sum(axis=-1, keepdims=True)
    return normalised


def _spectrum(gradients: Array) -> tuple[Array, Array]:
    """Eigenvalues of the second moment of the per-rollout gradients, greatest first, with their directions as rows."""
    values, vectors = np.linalg.eigh(gradients.T @ gradients / len(gradients))
    return np.clip(values[::-1], 0.0, None), vectors[:, ::-1].T


def draw(numbers: dict[str, Any], directory: Path) -> None:
    """The four figures."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "rltf"
    from matplotlib import pyplot

    def panel(name: str, title: str, xlabel: str, ylabel: str, **axis: Any) -> Any:
        figure, axes = pyplot.subplots(figsize=(5.5, 3.6), layout="constrained")
        axes.set(title=title, xlabel=xlabel, ylabel=ylabel, **axis)
        axes.grid(alpha=0.3)
        return figure, axes, directory / f"{name}.svg"

    def finish(figure: Any, axes: Any, path: Path) -> None:
        axes.legend(fontsize="small")
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)

    rows = numbers["full_weighting"]["rows"]
    figure, axes, path = panel("weighting", "Full importance weight", "tokens", "variance of the weight", yscale="log")
    axes.plot([r["length"] for r in rows], [r["variance_of_weight"] for r in rows], marker="o", label="by enumeration")
    finish(figure, axes, path)
    figure, axes, path = panel("baseline", "Groups without a signal", "p: success of a revision", "share")
    for size, colour in zip((4, 8, 16), ("C0", "C1", "C2"), strict=True):
        rows = [r for r in numbers["baseline_collapse"]["rows"] if r["size"] == size]
        p = [r["p"] for r in rows]
        axes.plot(p, [r["formula"] for r in rows], color=colour, label=f"second turn, N = {size}")
        axes.plot(p, [r["second_turn"] for r in rows], ".", color=colour)
        axes.plot(p, [r["first_turn"] for r in rows], "--", color=colour, label=f"first turn, N = {size}")
    finish(figure, axes, path)
    rows = numbers["reward_cost"]["rows"]
    figure, axes, path = panel(
        "cost", "Cost of learning from reward alone", "e0: success rate", "rollouts", xscale="log", yscale="log"
    )
    axes.plot([r["e0"] for r in rows], [r["formula"] for r in rows], label="(1 - e0) / e0")
    axes.plot([r["e0"] for r in rows], [r["rollouts"] for r in rows], "o", label="measured")
    finish(figure, axes, path)
    found = numbers["spectra"]
    figure, axes, path = panel(
        "spectrum", "Gradient energy per direction of W", "direction, by reward energy", "mean square", yscale="log"
    )
    axes.plot(found["reward_absolute"], label="reward gradient")
    axes.plot(found["feedback_absolute_in_reward_directions"], label="feedback modelling, same directions")
    axes.axvline(found["rank90_reward"], color="grey", linewidth=1, label="90 % of the reward's energy to the left")
    finish(figure, axes, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs") / "theory")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    numbers = {
        "full_weighting": full_weighting(np.random.default_rng(0)),
        "baseline_collapse": baseline_collapse(np.random.default_rng(1)),
        "reward_cost": reward_cost(np.random.default_rng(2)),
        "spectra": spectra(np.random.default_rng(3)),
    }
    (options.out / "numbers.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    draw(numbers, options.out)
    spectrum = {k: v for k, v in numbers["spectra"].items() if not isinstance(v, list)}
    print(json.dumps({**numbers["full_weighting"]["rows"][-1], **spectrum}, indent=1))


if __name__ == "__main__":
    main()
