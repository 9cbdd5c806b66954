"""Claims of variational best-of-N on fronts, estimation error, cost and bounds (Amini et al. 2025)."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from infalign.mathematics.pareto_front import front_shares
from infalign.mathematics.procedures import BestOf
from infalign.mathematics.statistics import Bootstrap, Curve, percentile_interval, resample_weights
from infalign.presentation.curves import Value, policy_points, without_reference
from infalign.presentation.measures.base import (
    ClaimKind,
    Compared,
    Measured,
    NotMeasured,
    PolicySeries,
    PositiveKL,
    ProcedureText,
    Tables,
    gap_at_kl,
    judged,
    mean_interval,
    present,
    rows_of,
    select_policies,
    trained_curve,
    undefined,
)


class FrontShare(Compared, ClaimKind):
    """Share of the front of `series` and `others` that is the series', less its share of the policies.

    Were all on one curve it would be 0. Every strength and seed is a policy; best-of-1 ones are left out.
    """

    kind: Literal["front_share"]
    procedure: ProcedureText = "none"
    value: Value = "win_rate"
    series: PolicySeries
    others: tuple[PolicySeries, ...] = Field(min_length=1)

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Share of the pooled front less the share of the policies, prompts resampled."""
        rows = without_reference(rows_of(tables.main("metrics"), self, self.procedure))
        parts = {series: select_policies(rows, series) for series in (self.series, *self.others)}
        ours = parts[self.series]
        others = [series for series in self.others if not parts[series].is_empty()]
        if ours.is_empty() or not others:
            raise NotMeasured(f"no policies {self.series}, or none to compare with, on task {self.task}")
        policies = pl.concat([ours, *(parts[series] for series in others)])
        by_prompt = rows_of(tables.main("prompt_metrics"), self, self.procedure)
        ordered, points = policy_points(policies, by_prompt, self.value)
        members = (~ordered["policy"].is_in(ours["policy"].to_list())).cast(pl.Int64).to_numpy()
        weights = resample_weights(points.kl.shape[1], bootstrap.resamples, bootstrap.seed)
        means = zip(weights @ points.kl.T, weights @ points.win_rate.T, strict=True)
        shares = np.array([front_shares(*row, members, 2)[0] for row in means])
        interval = percentile_interval(shares - np.mean(members == 0), bootstrap.level)
        note = f"{ours.height} of {ordered.height} policies; others: {', '.join(map(str, others))}"
        return Measured(() if undefined(interval) else (interval,), note)


class GainKept(Compared, ClaimKind):
    """Gain over the reference of `a` less the share `kept` of that of `b`, at a common KL or the same n.

    Likeness as a share of the gain: where nothing is gained there is nothing to keep, and nothing is alike.
    """

    kind: Literal["gain_kept"]
    procedure: ProcedureText = "none"
    value: Value = "win_rate"
    a: PolicySeries
    b: PolicySeries
    kept: float = Field(gt=0, lt=1)
    mutual: bool = Field(False, description="also the other way round: `b` keeps that share of the gain of `a`")
    kl: PositiveKL | None = None
    n: int | None = Field(None, ge=2, description="of best-of-n, instead of a KL")

    @model_validator(mode="after")
    def _one_place(self) -> GainKept:
        if (self.kl is None) == (self.n is None):
            raise ValueError("give either kl or n, where the two are compared")
        return self

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Paired differences of one gain and a share of the other's."""
        pairs = [(self.a, self.b), (self.b, self.a)] if self.mutual else [(self.a, self.b)]
        trained = {
            series: trained_curve(tables, self, self.procedure, series, self.value, self.n) for series in pairs[0]
        }
        at_n = "" if self.n is None else f" at n = {self.n}"
        curves = present(trained, "no policies", f"on task {self.task}{at_n}")
        shares = {s: Curve(c.kl, 0.5 + self.kept * (c.win_rate - 0.5)) for s, c in curves.items()}
        if self.kl is None:
            gaps = [(curves[a].win_rate - shares[b].win_rate)[0] for a, b in pairs]
            return Measured(tuple(mean_interval(gap, bootstrap) for gap in gaps))
        intervals = tuple(gap_at_kl(curves[a], shares[b], self.kl, bootstrap) for a, b in pairs)
        return judged(intervals, list(curves.items()), self.kl)


class KLExcess(ClaimKind):
    """KL of a series' policies less that of best-of-n itself, log n - (n - 1)/n, at each of their n above 1."""

    reads: ClassVar = ("metrics",)
    kind: Literal["kl_excess"]
    task: str
    series: PolicySeries

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """KLs beyond best-of-n's, with intervals over prompts; a row of the curve is an n."""
        standard = Compared(task=self.task)
        rows = select_policies(rows_of(tables.main("metrics"), standard, "none"), self.series)
        sizes = sorted(int(n) for n in rows.filter(strength_kind="n")["strength"].unique() if n > 1)
        curves = {n: trained_curve(tables, standard, "none", self.series, n=n) for n in sizes}
        intervals = tuple(
            mean_interval(curve.kl[0] - BestOf(n).kl, bootstrap) for n, curve in curves.items() if curve is not None
        )
        return Measured(intervals, f"n = {', '.join(map(str, sizes))}" if intervals else f"no policies {self.series}")


class SecondsRatio(ClaimKind):
    """Seconds of a training update of `a` over those of `b`, median of the updates, mean of the policies."""

    reads: ClassVar = ("metrics",)
    absent: ClassVar = "no seconds of the trainings"
    kind: Literal["seconds_ratio"]
    task: str
    a: PolicySeries
    b: PolicySeries

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Ratio of mean seconds an update with an interval over policies, the two series resampled apart."""
        rows = without_reference(rows_of(tables.main("metrics"), Compared(task=self.task), "none"))
        timed = rows.join(tables.training_seconds(), on=["task", "policy"])
        sides = {series: select_policies(timed, series)["seconds"].to_numpy() for series in (self.a, self.b)}
        known = {series: seconds if len(seconds) else None for series, seconds in sides.items()}
        sides = present(known, "no policies", f"on task {self.task}")
        a, b = (
            resample_weights(len(seconds), bootstrap.resamples, bootstrap.seed + place) @ seconds
            for place, seconds in enumerate((sides[self.a], sides[self.b]))
        )
        note = f"{sides[self.a].mean():.3g} and {sides[self.b].mean():.3g} s an update"
        return Measured((percentile_interval(a / b, bootstrap.level),), note)
