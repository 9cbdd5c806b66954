"""Methods against one another: Pareto front, hypervolume, and win rates at matched KL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from infalign.errors import InputError
from infalign.mathematics.pareto_front import front_shares, hypervolume, on_front
from infalign.mathematics.statistics import (
    Bootstrap,
    Curve,
    difference_at_kl,
    interval_columns,
    percentile_interval,
    resample_weights,
    value_at_kl,
)
from infalign.presentation.curves import kl_range, policy_points, reaches, strength_curve, without_reference
from infalign.presentation.style import SERIES_KEY, Series, series_order

GROUP = ("task", "procedure", "select", "scorer")
MATCHED_KL = (0.25, 0.5, 1.0)
BUDGET = 1.0  # nats; fixed, so that areas compare across tasks and runs

WIN_RATE = ("win_rate", "ci_low", "ci_high")
DIFFERENCE = ("difference", "difference_low", "difference_high")
FRONT = ("front_share", "front_low", "front_high")
REWARD_FRONT = ("reward_front_share", "reward_front_low", "reward_front_high")
HYPERVOLUME = ("hypervolume", "hypervolume_low", "hypervolume_high")
METHODS_SCHEMA = {
    **dict.fromkeys((*GROUP, "series", "method", "transform", "calibrator"), pl.String),
    **dict.fromkeys(("n_rollouts", "n_policies"), pl.Int64),
    **dict.fromkeys(("policy_share", "kl_lowest", "kl_highest", "kl", *WIN_RATE), pl.Float64),
    "control": pl.String,
    **dict.fromkeys((*DIFFERENCE, *FRONT, *REWARD_FRONT, "own_front_share"), pl.Float64),
    **dict.fromkeys((*HYPERVOLUME, "hypervolume_kl"), pl.Float64),
}


def compare_methods(
    metrics: pl.DataFrame,
    prompt_metrics: pl.DataFrame,
    goals: Mapping[str, str],
    *,
    kl: Sequence[float] = MATCHED_KL,
    budget: float = BUDGET,
    bootstrap: Bootstrap,
) -> pl.DataFrame:
    """Compare every series of policies for each task, procedure, selector and scorer.

    Parameters
    ----------
    metrics, prompt_metrics : DataFrame
        Tables of the run.
    goals : mapping of str to str
        Task to the transform of its CTRL series. Without a procedure CTRL is that of the identity.
    kl : sequence of float
        In nats, where win rates are compared.
    budget : float
        KL in nats of the hypervolume's reference point, whose win rate is one half.
    bootstrap : Bootstrap
        Of prompts; each resample has its own KLs and win rates.

    Returns
    -------
    DataFrame
        A row for each series and KL (columns METHODS_SCHEMA); what does not depend on the KL is repeated. Win
        rate and difference to CTRL, paired by prompt, are null where the series does not have policies on both
        sides of the KL. The difference is null too where CTRL does not, and for CTRL itself. Best-of-1 policies,
        which are the reference itself, are left out.

    Raises
    ------
    InputError
        Policies that are compared have different prompts, or no policy was trained.
    """
    trained = without_reference(metrics)
    if trained.is_empty():
        raise InputError("metrics: no trained policy to compare; list some under policies in the config")
    by_prompt = prompt_metrics.partition_by(GROUP, as_dict=True)
    ordered = trained.sort(*GROUP, "policy").partition_by(GROUP, as_dict=True, maintain_order=True)
    rows: list[dict] = []
    for group, policies in ordered.items():
        goal = "identity" if group[1] == "none" else goals.get(group[0])
        curves = _curves(policies, by_prompt[group], f"of task {group[0]}")
        control = _control(list(curves), goal)
        most = max((key[3] for key in curves if key[3] is not None), default=None)
        fronts = _fronts(policies, by_prompt[group], list(curves), budget, bootstrap)
        for (key, curve), front in zip(curves.items(), fronts, strict=True):
            described = {
                **dict(zip((*GROUP, *SERIES_KEY), (*group, *key), strict=True)),
                "series": series_of(key, most).label,
                "control": series_of(control, most).label if control else None,
                **dict(zip(("kl_lowest", "kl_highest"), kl_range(curve), strict=True)),
                **front,
            }
            other = None if control in (None, key) else curves[control]
            rows += [{**described, "kl": at, **_at(at, curve, other, bootstrap)} for at in kl]
    return pl.DataFrame(rows, schema=METHODS_SCHEMA)


def _curves(policies: pl.DataFrame, by_prompt: pl.DataFrame, place: str) -> dict[tuple, Curve]:
    """Curve of each series, by its key, in the order of the figures."""
    parts = policies.partition_by(SERIES_KEY, as_dict=True)
    ordered = sorted(parts, key=lambda key: series_order(Series(*key)))
    return {key: strength_curve(by_prompt, parts[key], f"{Series(*key).label} {place}") for key in ordered}


def series_of(key: tuple, most_rollouts: int | None) -> Series:
    """Name a series; its number of rollouts is part of the name only where others have more."""
    method, transform, calibrator, n_rollouts = key
    return Series(method, transform, calibrator, None if n_rollouts == most_rollouts else n_rollouts)


def _control(keys: Sequence[tuple], transform: str | None) -> tuple | None:
    """The CTRL series: PPO on the transform with the empirical calibration of the most rollouts."""
    ctrl = [key for key in keys if key[:3] == ("ppo", transform, "empirical")]
    return max(ctrl, key=lambda key: key[3] or 0, default=None)


def _at(kl: float, curve: Curve, control: Curve | None, bootstrap: Bootstrap) -> dict[str, float | None]:
    """Win rate at a KL and its difference to CTRL, None where either is not reached."""
    if not reaches(curve, kl):
        return {}
    rate = interval_columns(WIN_RATE, value_at_kl(curve, kl, *bootstrap))
    if control is None or not reaches(control, kl):
        return rate
    return rate | interval_columns(DIFFERENCE, difference_at_kl(curve, control, kl, *bootstrap))


def _fronts(
    policies: pl.DataFrame,
    by_prompt: pl.DataFrame,
    keys: Sequence[tuple],
    budget: float,
    bootstrap: Bootstrap,
) -> list[dict]:
    """Front shares and hypervolumes of each series, every policy a point of its own."""
    ordered, points = policy_points(policies, by_prompt)
    members = np.array([keys.index(key) for key in ordered.select(SERIES_KEY).rows()])
    weights = resample_weights(points.kl.shape[1], bootstrap.resamples, bootstrap.seed)
    kl, win_rate = weights @ points.kl.T, weights @ points.win_rate.T
    reward = weights @ policy_points(policies, by_prompt, "reward")[1].win_rate.T
    shares, reward_shares = (
        np.array([front_shares(*row, members, len(keys)) for row in zip(kl, values, strict=True)])
        for values in (win_rate, reward)
    )
    rows = []
    for index in range(len(keys)):
        in_series = members == index
        areas = [hypervolume(a[in_series], b[in_series], budget) for a, b in zip(kl, win_rate, strict=True)]
        values = {
            FRONT: shares[:, index],
            REWARD_FRONT: reward_shares[:, index],
            HYPERVOLUME: np.array(areas),
        }
        row: dict[str, float | None] = {
            "n_policies": int(in_series.sum()),
            "policy_share": float(in_series.mean()),
            "own_front_share": float(on_front(kl[0, in_series], win_rate[0, in_series]).mean()),
            "hypervolume_kl": budget,
        }
        for names, resampled in values.items():
            row |= interval_columns(names, percentile_interval(resampled, bootstrap.level))
        rows.append(row)
    return rows
