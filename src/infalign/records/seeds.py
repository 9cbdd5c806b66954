"""Which comparisons of a run were trained from several seeds."""

from __future__ import annotations

from collections.abc import Sequence

from infalign.records.sweep import Policy

SERIES = ("reward", "calibrator", "n_rollouts")


def several_seeds(rows: Sequence[Policy], task: str) -> bool:
    """Whether a task has PPO on the raw reward and on another one, each from several seeds at several strengths.

    Parameters
    ----------
    rows : policies of a run.
    task : its name.
    """
    counted: dict[tuple, dict[float, set[int]]] = {}
    for policy in rows:
        if (policy.task, policy.method) == (task, "ppo"):
            series = tuple(getattr(policy, name) for name in SERIES)
            counted.setdefault(series, {}).setdefault(policy.strength, set()).add(policy.seed)
    seeded = [
        series for series, found in counted.items() if sum(len(seeds) > 1 for seeds in found.values()) > 1
    ]
    return any(series[0] == "raw" for series in seeded) and any(series[0] != "raw" for series in seeded)
