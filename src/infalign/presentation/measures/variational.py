"""Claims of variational best-of-N on fronts, estimation error, cost and bounds (Amini et al. 2025)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from infalign.mathematics.pareto_front import front_shares
from infalign.mathematics.procedures import BestOf
from infalign.mathematics.statistics import Curve, Interval, percentile_interval, resample_weights
from infalign.presentation.curves import Value, policy_points, without_reference
from infalign.presentation.measures.base import (
    Bootstrap,
    Compared,
    Measured,
    PolicySeries,
    PositiveKL,
    ProcedureText,
    Strict,
    Tables,
    judged,
    mean_interval,
    paired_difference,
    rows_of,
    select_policies,
    trained_curve,
    undefined,
)
from infalign.presentation.verdicts import LEVEL


class FrontShare(Compared):
    """Share of the front of `series` and `others` that is the series', less its share of the policies.

    Were all on one curve it would be 0. Every strength and seed is a policy; best-of-1 ones are left out.
    """

    kind: Literal["front_share"]
    procedure: ProcedureText = "none"
    value: Value = "win_rate"
    series: PolicySeries
    others: tuple[PolicySeries, ...] = Field(min_length=1)


class GainKept(Compared):
    """Gain over the reference of `a` less the share `kept` of that of `b`, at a common KL or the same n.

    Likeness as a share of the gain: where nothing is gained there is nothing to keep, and nothing is alike.
    """

    kind: Literal["gain_kept"]
    procedure: ProcedureText = "none"
    value: Value = "win_rate"
    a: PolicySeries
    b: PolicySeries
    kept: float = Field(gt=0, lt=1)
    mutual: bool = Field(
        False, description="also the other way round: `b` keeps that share of the gain of `a`"
    )
    kl: PositiveKL | None = None
    n: int | None = Field(None, ge=2, description="of best-of-n, instead of a KL")

    @model_validator(mode="after")
    def _one_place(self) -> GainKept:
        if (self.kl is None) == (self.n is None):
            raise ValueError("give either kl or n, where the two are compared")
        return self


class KLExcess(Strict):
    """KL of a series' policies less that of best-of-n itself, log n - (n - 1)/n, at each of their n above 1."""

    kind: Literal["kl_excess"]
    task: str
    series: PolicySeries


class RejectionRate(Strict):
    """Share of the prompts for which M rollouts differ from many by a Kolmogorov-Smirnov test."""

    kind: Literal["rejection_rate"]
    task: str
    size: int = Field(ge=1, description="M")
    sampling: Literal["nested", "independent"]


class SecondsRatio(Strict):
    """Seconds of a training update of `a` over those of `b`, median of the updates, mean of the policies."""

    kind: Literal["seconds_ratio"]
    task: str
    a: PolicySeries
    b: PolicySeries


class BoundSlack(Strict):
    """What the table of bounds says at each N of a range: a slack, or the change under increasing maps."""

    kind: Literal["bound_slack"]
    column: Literal["j_less_l", "j_less_l1", "l_less_l1", "change"]
    n_from: float = Field(1.0, ge=1)
    n_below: float = Field(float("inf"), description="N is less than this")


def front_share(item: FrontShare, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Share of the pooled front less the share of the policies, prompts resampled."""
    if tables.metrics is None or tables.prompt_metrics is None:
        return Measured((), "no metrics table")
    rows = without_reference(rows_of(tables.metrics, item, item.procedure))
    found = {series: select_policies(rows, series) for series in (item.series, *item.others)}
    others = [series for series in item.others if not found[series].is_empty()]
    if found[item.series].is_empty() or not others:
        return Measured((), f"no policies {item.series}, or none to compare with, on task {item.task}")
    policies = pl.concat([found[item.series], *(found[series] for series in others)])
    by_prompt = rows_of(tables.prompt_metrics, item, item.procedure)
    ordered, points = policy_points(policies, by_prompt, item.value)
    members = (~ordered["policy"].is_in(found[item.series]["policy"].to_list())).cast(pl.Int64).to_numpy()
    weights = resample_weights(points.kl.shape[1], bootstrap.resamples, bootstrap.seed)
    means = zip(weights @ points.kl.T, weights @ points.win_rate.T, strict=True)
    shares = np.array([front_shares(*row, members, 2)[0] for row in means])
    interval = percentile_interval(shares - np.mean(members == 0), LEVEL)
    note = f"{found[item.series].height} of {ordered.height} policies; others: {', '.join(map(str, others))}"
    return Measured(() if undefined(interval) else (interval,), note)


def gain_kept(item: GainKept, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Paired differences of one gain and a share of the other's."""
    pairs = [(item.a, item.b), (item.b, item.a)] if item.mutual else [(item.a, item.b)]
    found = {
        series: trained_curve(tables, item, item.procedure, series, item.value, item.n) for series in pairs[0]
    }
    curves = {series: curve for series, curve in found.items() if curve is not None}
    absent = [str(series) for series in found if series not in curves]
    if absent:
        at = "" if item.n is None else f" at n = {item.n}"
        return Measured((), f"no policies {', '.join(absent)} on task {item.task}{at}")
    shares = {s: Curve(c.kl, 0.5 + item.kept * (c.win_rate - 0.5)) for s, c in curves.items()}
    if item.kl is None:
        gaps = [(curves[a].win_rate - shares[b].win_rate)[0] for a, b in pairs]
        return Measured(tuple(mean_interval(gap, bootstrap) for gap in gaps))
    intervals = tuple(paired_difference(curves[a], shares[b], item.kl, bootstrap) for a, b in pairs)
    return judged(intervals, list(curves.items()), item.kl)


def kl_excess(item: KLExcess, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """KLs beyond best-of-n's, with intervals over prompts; a row of the curve is an n."""
    standard = Compared(task=item.task)
    if tables.metrics is None:
        return Measured((), "no metrics table")
    rows = select_policies(rows_of(tables.metrics, standard, "none"), item.series)
    sizes = sorted(int(n) for n in rows.filter(strength_kind="n")["strength"].unique() if n > 1)
    curves = {n: trained_curve(tables, standard, "none", item.series, n=n) for n in sizes}
    intervals = tuple(
        mean_interval(curve.kl[0] - BestOf(n).kl, bootstrap)
        for n, curve in curves.items()
        if curve is not None
    )
    return Measured(
        intervals, f"n = {', '.join(map(str, sizes))}" if intervals else f"no policies {item.series}"
    )


def rejection_rate(item: RejectionRate, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Rejection rate of the table with its Wilson interval."""
    if tables.estimation is None:
        return Measured((), "no estimation table")
    row = tables.estimation.filter(task=item.task, size=item.size, sampling=item.sampling)
    if row.is_empty():
        return Measured((), f"no tests of {item.size} rollouts, {item.sampling}, on task {item.task}")
    found = row.row(0, named=True)
    note = f"{found['n_rejected']} of {found['n_prompts']} prompts, {found['n_constant']} of one reward"
    return Measured((Interval(found["rejection_rate"], found["ci_low"], found["ci_high"]),), note)


def seconds_ratio(item: SecondsRatio, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Ratio of mean seconds an update with an interval over policies, the two series resampled apart."""
    if tables.metrics is None or tables.seconds is None:
        return Measured((), "no seconds of the trainings")
    rows = without_reference(rows_of(tables.metrics, Compared(task=item.task), "none"))
    timed = rows.join(tables.seconds, on=["task", "policy"])
    seconds = [select_policies(timed, series)["seconds"].to_numpy() for series in (item.a, item.b)]
    absent = [str(s) for s, found in zip((item.a, item.b), seconds, strict=True) if not len(found)]
    if absent:
        return Measured((), f"no policies {', '.join(absent)} on task {item.task}")
    means = [
        resample_weights(len(s), bootstrap.resamples, bootstrap.seed + i) @ s for i, s in enumerate(seconds)
    ]
    note = f"{seconds[0].mean():.3g} and {seconds[1].mean():.3g} s an update"
    return Measured((percentile_interval(means[0] / means[1], LEVEL),), note)


def bound_slack(item: BoundSlack, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Numbers of the table of bounds: exact for the distributions listed there."""
    if tables.bounds is None:
        return Measured((), "no table of bounds")
    rows = tables.bounds.filter(pl.col("n") >= item.n_from, pl.col("n") < item.n_below).sort("n")
    if rows.is_empty():
        return Measured((), f"no bounds for N from {item.n_from:g} to below {item.n_below:g}")
    note = f"N from {rows['n'][0]:.3g} to {rows['n'][-1]:.3g}, {rows['n_worlds'][0]} listed distributions"
    return Measured(tuple(Interval(value, value, value) for value in rows[item.column]), note)
