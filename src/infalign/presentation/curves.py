"""From a run's tables to curves: the policies of a series by strength, a column per prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl
from scipy.interpolate import PchipInterpolator

from infalign.errors import InputError
from infalign.mathematics.statistics import Bootstrap, Curve, Interval, difference_at_kl, value_at_kl

# Policies that are alike in these differ in seed only.
ALIKE = ("task", "method", "transform", "calibrator", "n_rollouts", "strength_kind", "strength")
Value = Literal["win_rate", "reward"]
# Both as a number that is one half for the reference: the mean reward as its gain over the reference's.
VALUES: dict[Value, pl.Expr] = {"win_rate": pl.col("win_rate"), "reward": 0.5 + pl.col("reward_gain")}


def most_seeds(policies: pl.DataFrame) -> pl.DataFrame:
    """Keep each task's policies that were trained from the most seeds.

    Parameters
    ----------
    policies : DataFrame
        Columns of `Policy.row`.

    Examples
    --------
    >>> row = {"task": "t", "method": "vbon", "transform": None, "calibrator": None, "n_rollouts": 100}
    >>> row |= {"strength_kind": "n", "strength": 8.0}
    >>> rows = [row | {"seed": 0}, row | {"seed": 1}, row | {"strength": 4.0, "seed": 0}]
    >>> most_seeds(pl.DataFrame(rows))["strength"].to_list()
    [8.0, 8.0]
    """
    seeds = pl.col("seed").n_unique().over(ALIKE)
    return policies.filter(seeds == seeds.max().over("task")) if not policies.is_empty() else policies


def trained_n(policies: pl.DataFrame) -> int | None:
    """The largest n of the best-of-n policies among rows with the columns of `Policy.row`."""
    most = policies.filter(strength_kind="n")["strength"].max()
    return None if most is None else int(most)  # type: ignore[arg-type]


def without_reference(metrics: pl.DataFrame) -> pl.DataFrame:
    """Leave out the policies that are the reference itself, trained for the best of 1."""
    return metrics.filter(~((pl.col("strength_kind") == "n") & (pl.col("strength") == 1)))


def policy_points(
    policies: pl.DataFrame, by_prompt: pl.DataFrame, value: Value = "win_rate"
) -> tuple[pl.DataFrame, Curve]:
    """Arrange every policy as a row of KLs and values by prompt.

    Parameters
    ----------
    policies : DataFrame
        Their names in `policy`.
    by_prompt : DataFrame
        Columns policy, prompt_id, kl and the value, of one task, procedure, selector and scorer.
    value : {"win_rate", "reward"}
        The reward is one half plus the gain in reward.

    Returns
    -------
    policies : DataFrame
        In order of their names.
    points : Curve
        A row for each of them, a column for each prompt.

    Raises
    ------
    InputError
        The policies have different prompts.
    """
    ordered = policies.sort("policy")
    named = by_prompt.with_columns(value=VALUES[value]).sort("prompt_id")
    parts = named.partition_by("policy", as_dict=True)
    return ordered, _stacked({name: parts[(name,)] for name in ordered["policy"]})


def strength_curve(by_prompt: pl.DataFrame, policies: pl.DataFrame, name: str, value: Value = "win_rate") -> Curve:
    """Arrange policies that differ in strength and seed as one curve.

    Parameters
    ----------
    by_prompt : DataFrame
        Columns policy, prompt_id, kl and the value, of one task, procedure, selector and scorer.
    policies : DataFrame
        Columns policy, strength_kind and strength.
    name : str
        Of the policies, in messages.
    value : {"win_rate", "reward"}
        The reward is one half plus the gain in reward.

    Returns
    -------
    Curve
        A row for each strength, the mean over its seeds; a column for each prompt.

    Raises
    ------
    InputError
        The policies have different prompts.
    """
    rows = by_prompt.join(policies.select("policy", "strength_kind", "strength"), on="policy")
    values = rows.with_columns(value=VALUES[value])
    means = values.group_by("strength_kind", "strength", "prompt_id").agg(pl.col("kl", "value").mean())
    means = means.sort("strength_kind", "strength", "prompt_id")
    parts = means.partition_by("strength_kind", "strength", maintain_order=True, as_dict=True)
    return _stacked({f"{name} at {kind} {strength}": part for (kind, strength), part in parts.items()})


def _stacked(parts: Mapping[str, pl.DataFrame]) -> Curve:
    """Stack columns prompt_id, kl and value of each part as the rows of a curve."""
    first, *others = parts
    for other in others:
        if not parts[other]["prompt_id"].equals(parts[first]["prompt_id"]):
            raise InputError(
                f"prompt metrics: {first} and {other} have different prompts ({parts[first].height} and "
                f"{parts[other].height}); evaluate all policies on the same prompts"
            )
    return Curve(*(np.stack([part[name].to_numpy() for part in parts.values()]) for name in ("kl", "value")))


def frontier_curve(frontier: pl.DataFrame) -> PchipInterpolator:
    """Win rate of a frontier over the root of KL: monotone cubic, from the reference's one half at 0.

    Parameters
    ----------
    frontier : DataFrame
        Columns kl and win_rate, at least one row.
    """
    ordered = frontier.sort("kl")
    roots = np.r_[0.0, np.sqrt(ordered["kl"].to_numpy())]
    return PchipInterpolator(roots, np.r_[0.5, ordered["win_rate"].to_numpy()])


def kl_range(curve: Curve) -> tuple[float, float]:
    """Lowest and highest mean KL of a curve's policies, in nats."""
    means = curve.kl.mean(axis=1)
    return float(means.min()), float(means.max())


def reaches(curve: Curve, kl: float) -> bool:
    """Whether a curve has policies on both sides of a KL.

    The reference's own (0, 1/2) is not taken for one side: win rates are concave in the root of KL, and on the
    ideal frontier of exp(10) under best-of-4 a line from there to a policy at KL 0.75 is 3.6 points low at 0.5.
    """
    low, high = kl_range(curve)
    return low <= kl <= high


def measured_at_kl(
    sides: Sequence[pl.DataFrame], by_prompt: pl.DataFrame, kl: float, bootstrap: Bootstrap
) -> Interval | None:
    """Win rate of a series at a KL, less that of a second one if there is one.

    Parameters
    ----------
    sides : sequence of DataFrame
        Policies of one series or of two.
    by_prompt : DataFrame
        Columns policy, prompt_id, kl and win_rate, of one task, procedure, selector and scorer.
    kl : float
        In nats.
    bootstrap : Bootstrap
        Of prompts, the same ones for both.

    Returns
    -------
    Interval or None
        None where a series has no policies on both sides of the KL.
    """
    curves: list[Curve] = [strength_curve(by_prompt, side, side["policy"][0]) for side in sides]
    if not all(reaches(curve, kl) for curve in curves):
        return None
    first, *others = curves
    return difference_at_kl(first, others[0], kl, *bootstrap) if others else value_at_kl(first, kl, *bootstrap)
