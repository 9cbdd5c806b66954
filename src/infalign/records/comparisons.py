"""Which comparisons of a run can be made: under which procedures, between seeds, at several temperatures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from infalign.records.config import Config, Goal
from infalign.records.policy import Policy
from infalign.records.sweep import conditions, sampled_sets

SERIES = ("reward", "calibrator", "n_rollouts")


def compared_procedures(goals: Mapping[str, Goal], tasks: Sequence[str]) -> list[tuple[str, str]]:
    """List each of the tasks without a procedure and with that of its goal, as (task, procedure).

    Examples
    --------
    >>> goals = {"a": Goal(procedure="bon(4)", transform="exp(10)"), "b": Goal(procedure="none", transform="log")}
    >>> compared_procedures(goals, ["a", "b"])
    [('a', 'none'), ('a', 'bon(4)'), ('b', 'none')]
    """
    return list(dict.fromkeys((task, text) for task in tasks for text in ("none", goals[task].procedure)))


def several_seeds(rows: Sequence[Policy], task: str) -> bool:
    """Whether a task has PPO on the raw reward and on another one, each from several seeds at several strengths."""
    seeds: dict[tuple, dict[float, set[int]]] = {}
    for policy in rows:
        if (policy.task, policy.method) == (task, "ppo"):
            seeds.setdefault(_series(policy), {}).setdefault(policy.strength, set()).add(policy.seed)
    return _raw_and_another(
        series for series, by_strength in seeds.items() if sum(len(own) > 1 for own in by_strength.values()) > 1
    )


def several_temperatures(config: Config, rows: Sequence[Policy], task: str) -> bool:
    """Whether a task's PPO on the raw reward and on another one are sampled at several temperatures.

    Each of the two has several strengths, so that they can be compared at one KL.
    """
    n_conditions = len(conditions(config.tasks[task]))
    strengths: dict[tuple, set[float]] = {}
    for policy in rows:
        everywhere = len(sampled_sets(config, policy)) == n_conditions
        if (policy.task, policy.method) == (task, "ppo") and everywhere:
            strengths.setdefault(_series(policy), set()).add(policy.strength)
    return len(config.tasks[task].samples.temperatures) > 1 and _raw_and_another(
        series for series, values in strengths.items() if len(values) > 1
    )


def _series(policy: Policy) -> tuple:
    return tuple(getattr(policy, name) for name in SERIES)


def _raw_and_another(series: Iterable[tuple]) -> bool:
    rewards = {key[0] for key in series}
    return "raw" in rewards and len(rewards) > 1
