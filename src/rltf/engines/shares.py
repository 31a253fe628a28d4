"""How the work of one call is divided among processes. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Sequence


def shares(costs: Sequence[float], count: int) -> list[range]:
    """Divides items among `count` processes: for each a range of them, in order, of about the same summed cost.

    Neighbours stay together, as they often begin alike (the attempts of a group), which is computed once. A process
    may get none.
    """
    total = float(sum(costs)) or 1.0
    owners, done = [], 0.0
    for cost in costs:
        owners.append(min(count - 1, int((done + cost / 2) / total * count)))
        done += cost
    starts = [sum(owner < process for owner in owners) for process in range(count + 1)]
    return [range(starts[process], starts[process + 1]) for process in range(count)]
