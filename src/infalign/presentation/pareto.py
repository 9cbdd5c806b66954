"""Methods against one another: Pareto front, hypervolume, and win rates at matched KL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from infalign.errors import InputError
from infalign.mathematics.pareto_front import front_shares, hypervolume, on_front
from infalign.mathematics.statistics import (
    Curve,
    difference_at_kl,
    percentile_interval,
    resample_weights,
    value_at_kl,
)
from infalign.presentation.curves import (
    Resampling,
    interval_columns,
    kl_range,
    policy_points,
    reaches,
    strength_curve,
    without_reference,
)
from infalign.presentation.style import SERIES_KEY, Series, series_order

GROUP = ("task", "procedure", "select", "scorer")
MATCHED_KL = (0.25, 0.5, 1.0)
BUDGET = 1.0  # nats; fixed, so that areas compare across tasks and runs

METHODS_SCHEMA = {
    **dict.fromkeys(GROUP, pl.String),
    "series": pl.String,
    "method": pl.String,
    "transform": pl.String,
    "calibrator": pl.String,
    "n_rollouts": pl.Int64,
    "n_policies": pl.Int64,
    "policy_share": pl.Float64,
    "kl_lowest": pl.Float64,
    "kl_highest": pl.Float64,
    "kl": pl.Float64,
    "win_rate": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "control": pl.String,
    "difference": pl.Float64,
    "difference_low": pl.Float64,
    "difference_high": pl.Float64,
    "front_share": pl.Float64,
    "front_low": pl.Float64,
    "front_high": pl.Float64,
    "reward_front_share": pl.Float64,
    "reward_front_low": pl.Float64,
    "reward_front_high": pl.Float64,
    "own_front_share": pl.Float64,
    "hypervolume": pl.Float64,
    "hypervolume_low": pl.Float64,
    "hypervolume_high": pl.Float64,
    "hypervolume_kl": pl.Float64,
}

Array = NDArray[np.float64]


DEFAULT_RESAMPLING = Resampling()


def compare_methods(
    metrics: pl.DataFrame,
    prompt_metrics: pl.DataFrame,
    goals: Mapping[str, str],
    *,
    kl: Sequence[float] = MATCHED_KL,
    budget: float = BUDGET,
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> pl.DataFrame:
    """Compare every series of policies for each task, procedure, selector and scorer.

    Parameters
    ----------
    metrics, prompt_metrics : tables of the run.
    goals : task to the transform of its CTRL series; without a procedure CTRL is that of the identity.
    kl : in nats, where win rates are compared.
    budget : KL in nats of the hypervolume's reference point, whose win rate is one half.
    resampling : of prompts; each resample has its own KLs and win rates.

    Returns
    -------
    A row per series and KL (columns METHODS_SCHEMA), what does not depend on the KL repeated. Win rate and
    difference to CTRL, paired by prompt, are null where the series has not policies on both sides of the KL;
    the difference also where CTRL has not, and for CTRL itself. Best-of-1 policies, which are the reference
    itself, are left out.

    Raises
    ------
    InputError
        Policies that are compared have different prompts, or no policy was trained.
    """
    trained = without_reference(metrics)
    if trained.is_empty():
        raise InputError("metrics: no trained policy to compare; list some under policies in the config")
    by_prompt = prompt_metrics.partition_by(GROUP, as_dict=True)
    rows: list[dict] = []
    for group, policies in _groups(trained):
        goal = "identity" if group[1] == "none" else goals.get(group[0])
        found = _curves(policies, by_prompt[group], group)
        rows += _group_rows(group, policies, by_prompt[group], found, goal, kl, budget, resampling)
    return pl.DataFrame(rows, schema=METHODS_SCHEMA)


def _groups(metrics: pl.DataFrame) -> Iterator[tuple[tuple, pl.DataFrame]]:
    ordered = metrics.sort(*GROUP, "policy")
    yield from ordered.partition_by(GROUP, as_dict=True, maintain_order=True).items()


def _curves(policies: pl.DataFrame, by_prompt: pl.DataFrame, group: tuple) -> dict[tuple, Curve]:
    """Curve of each series, by its key, in the order of the figures."""
    parts = policies.partition_by(SERIES_KEY, as_dict=True)
    ordered = sorted(parts, key=lambda key: series_order(Series(*key)))
    return {
        key: strength_curve(by_prompt, parts[key], f"{Series(*key).label} of task {group[0]}")
        for key in ordered
    }


def _group_rows(
    group: tuple,
    policies: pl.DataFrame,
    by_prompt: pl.DataFrame,
    curves: Mapping[tuple, Curve],
    goal: str | None,
    kls: Sequence[float],
    budget: float,
    resampling: Resampling,
) -> list[dict]:
    most = max((key[3] for key in curves if key[3] is not None), default=None)
    control = _control(list(curves), goal)
    fronts = _fronts(policies, by_prompt, list(curves), budget, resampling)
    rows = []
    for key, front in zip(curves, fronts, strict=True):
        facts = {
            **dict(zip(GROUP, group, strict=True)),
            "series": series_of(key, most).label,
            **dict(zip(SERIES_KEY, key, strict=True)),
            "control": series_of(control, most).label if control else None,
            **dict(zip(("kl_lowest", "kl_highest"), kl_range(curves[key]), strict=True)),
            **front,
        }
        rows += [{**facts, "kl": kl, **_at(kl, key, control, curves, resampling)} for kl in kls]
    return rows


def series_of(key: tuple, most_rollouts: int | None) -> Series:
    """Name a series; its number of rollouts is part of the name only where others have more."""
    method, transform, calibrator, n_rollouts = key
    return Series(method, transform, calibrator, None if n_rollouts == most_rollouts else n_rollouts)


def _control(keys: Sequence[tuple], transform: str | None) -> tuple | None:
    """The CTRL series: PPO on the transform with the empirical calibration of the most rollouts."""
    wanted = ("ppo", transform, "empirical")
    return max((key for key in keys if key[:3] == wanted), key=lambda key: key[3] or 0, default=None)


def _at(
    kl: float, key: tuple, control: tuple | None, curves: Mapping[tuple, Curve], resampling: Resampling
) -> dict[str, float | None]:
    """Win rate at a KL and its difference to CTRL, None where either is not reached."""
    options = (kl, resampling.level, resampling.resamples, resampling.seed)
    if not reaches(curves[key], kl):
        return {}
    rate = interval_columns(("win_rate", "ci_low", "ci_high"), value_at_kl(curves[key], *options))
    if control is None or key == control or not reaches(curves[control], kl):
        return rate
    gap = difference_at_kl(curves[key], curves[control], *options)
    return {**rate, **interval_columns(("difference", "difference_low", "difference_high"), gap)}


def _fronts(
    policies: pl.DataFrame,
    by_prompt: pl.DataFrame,
    keys: Sequence[tuple],
    budget: float,
    resampling: Resampling,
) -> list[dict]:
    """Front shares and hypervolumes of each series, every policy a point of its own."""
    ordered, points = policy_points(policies, by_prompt)
    members = np.array([keys.index(key) for key in ordered.select(SERIES_KEY).rows()])
    weights = resample_weights(points.kl.shape[1], resampling.resamples, resampling.seed)
    kl, win_rate = weights @ points.kl.T, weights @ points.win_rate.T
    reward = weights @ policy_points(policies, by_prompt, "reward")[1].win_rate.T
    shares, reward_shares = (
        np.array([front_shares(*row, members, len(keys)) for row in zip(kl, values, strict=True)])
        for values in (win_rate, reward)
    )
    rows = []
    for index in range(len(keys)):
        own = members == index
        areas = [hypervolume(a[own], b[own], budget) for a, b in zip(kl, win_rate, strict=True)]
        rows.append(
            {
                "n_policies": int(own.sum()),
                "policy_share": float(own.mean()),
                "own_front_share": float(on_front(kl[0, own], win_rate[0, own]).mean()),
                "hypervolume_kl": budget,
                **interval_columns(
                    ("front_share", "front_low", "front_high"),
                    percentile_interval(shares[:, index], resampling.level),
                ),
                **interval_columns(
                    ("reward_front_share", "reward_front_low", "reward_front_high"),
                    percentile_interval(reward_shares[:, index], resampling.level),
                ),
                **interval_columns(
                    ("hypervolume", "hypervolume_low", "hypervolume_high"),
                    percentile_interval(np.array(areas), resampling.level),
                ),
            }
        )
    return rows
