"""Claims of InfAlign: win rates at a KL, before and after training, calibration and the share of the limit."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field
from scipy.stats import norm

from infalign.mathematics.statistics import Bootstrap, Curve, Interval, percentile_interval
from infalign.presentation.calibration_errors import MAPS, errors_by_map
from infalign.presentation.curves import Value, frontier_curve
from infalign.presentation.measures.base import (
    ClaimKind,
    Compared,
    Measured,
    NotMeasured,
    PolicySeries,
    PositiveKL,
    ProcedureText,
    Tables,
    TransformText,
    gap_at_kl,
    judged,
    mean_interval,
    present,
    rows_of,
    select_policies,
    trained_curve,
)


class CurveDifference(Compared, ClaimKind):
    """Win rate, or mean reward, of series `a` less that of each of `b` at a common KL, paired by prompt."""

    kind: Literal["curve_difference"]
    value: Value = "win_rate"
    procedure: ProcedureText
    a: PolicySeries
    b: tuple[PolicySeries, ...] = Field(min_length=1)
    kl: PositiveKL = 0.5
    missing: Literal["stop", "skip"] = Field("stop", description="skip: compare with those of b that were trained")

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Paired differences of trained curves at one KL."""
        words = "no policies", f"on task {self.task}"
        ours, *others = (
            trained_curve(tables, self, self.procedure, series, self.value) for series in (self.a, *self.b)
        )
        curves = present({self.a: ours}, *words)
        trained = dict(zip(self.b, others, strict=True))
        absent = [series for series, curve in trained.items() if curve is None]
        if self.missing == "skip" and len(absent) < len(trained):
            trained = {series: curve for series, curve in trained.items() if series not in absent}
        theirs = present(trained, *words)
        intervals = tuple(gap_at_kl(curves[self.a], curve, self.kl, bootstrap) for curve in theirs.values())
        note = f"not trained: {', '.join(map(str, absent))}" if absent else ""
        return judged(intervals, [*curves.items(), *theirs.items()], self.kl, note)


class DifferenceGrowth(Compared, ClaimKind):
    """The difference of `a` and `b`: how much larger under the second procedure than the first, and there itself."""

    kind: Literal["difference_growth"]
    procedures: tuple[ProcedureText, ProcedureText]
    a: PolicySeries
    b: PolicySeries
    kl: PositiveKL = 0.5

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Growth of a difference from one procedure to another, and the difference under the second.

        A gain grows only where there is one, so both must satisfy the claim. All four curves are paired by prompt.
        Interpolation is linear in the win rates and the KLs are those of the same policies, so the growth is the
        difference of the curves (second less first procedure, plus 1/2).
        """
        grown, second = [], []
        for series in (self.a, self.b):
            small, large = (trained_curve(tables, self, procedure, series) for procedure in self.procedures)
            if small is None or large is None:
                raise NotMeasured(f"no policies {series} on task {self.task} with {' and '.join(self.procedures)}")
            grown.append(Curve(kl=small.kl, win_rate=0.5 + large.win_rate - small.win_rate))
            second.append(large)
        intervals = tuple(gap_at_kl(a, b, self.kl, bootstrap) for a, b in (grown, second))
        return judged(intervals, list(zip((self.a, self.b), grown, strict=True)), self.kl)


class OfflineDifference(Compared, ClaimKind):
    """The same difference on the offline frontier, before any training."""

    reads: ClassVar = ("offline",)
    kind: Literal["offline_difference"]
    procedure: ProcedureText
    a: TransformText
    b: TransformText
    kl: PositiveKL = 0.5

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Difference on the offline frontier; the interval takes the two as independent, which widens it."""
        rows = rows_of(tables["offline"], self, self.procedure)
        a, b = (_offline_value(rows.filter(transform=text), self.kl) for text in (self.a, self.b))
        if a is None or b is None:
            raise NotMeasured(f"no offline frontier of {self.a} and {self.b} up to KL {self.kl:g}")
        table_level = tables.config.evaluation.level
        rescaled = norm.ppf(0.5 + bootstrap.level / 2) / norm.ppf(0.5 + table_level / 2)
        gap, half = a[0] - b[0], float(np.hypot(a[1], b[1]) * rescaled)
        return Measured((Interval(gap, gap - half, gap + half),))


class IdealDifference(ClaimKind):
    """Win rate of transform `a` less each of `b` in the continuous model, at each KL; exact."""

    reads: ClassVar = ("ideal",)
    kind: Literal["ideal_difference"]
    procedure: ProcedureText
    a: TransformText
    b: tuple[TransformText, ...] = Field(min_length=1)
    kl: tuple[PositiveKL, ...] = Field((0.1, 0.25, 0.5, 1.0, 2.0), min_length=1)

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Differences of ideal frontiers: exact up to interpolation between the table's KLs (below 1e-3)."""
        ideal = tables["ideal"].filter(procedure=self.procedure)
        parts = {text: ideal.filter(transform=text) for text in (self.a, *self.b)}
        known = {text: None if part.is_empty() else frontier_curve(part) for text, part in parts.items()}
        curves = present(known, "no ideal frontier of", f"for {self.procedure}")
        reach = min(curve.x[-1] for curve in curves.values()) ** 2
        kls = [kl for kl in self.kl if kl <= reach * (1 + 1e-6)]
        gaps = [float(curves[self.a](np.sqrt(kl)) - curves[other](np.sqrt(kl))) for other in self.b for kl in kls]
        note = f"KL {', '.join(f'{kl:g}' for kl in kls)}; exact" if gaps else f"the table ends at KL {reach:.3g}"
        return Measured(tuple(Interval(gap, gap, gap) for gap in gaps), note)


class CalibrationError(ClaimKind):
    """Mean absolute calibration error of each map, or its excess over the map `minus`."""

    reads: ClassVar = ()
    kind: Literal["calibration_error"]
    task: str
    maps: tuple[Literal["identity", "square root", "square", "cube", "quantile"], ...] = Field(min_length=1)
    minus: Literal["identity", "square root", "square", "cube", "quantile"] | None = None

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Mean absolute calibration errors with intervals over prompts."""
        if self.task not in tables.tasks_of_run:
            raise NotMeasured(f"no scores of task {self.task}")
        errors = errors_by_map(tables.scores(self.task), seed=bootstrap.seed)
        by_map = {name: errors[name].mean(axis=1) for name in MAPS}
        less = by_map[self.minus] if self.minus else 0.0
        intervals = tuple(mean_interval(by_map[name] - less, bootstrap) for name in self.maps)
        return Measured(intervals, "quantile out of sample: half of the rollouts make the table, half are measured")


class MedianShare(ClaimKind):
    """Median over policies of the share of the attainable gain that they reached."""

    reads: ClassVar = ("metrics",)
    kind: Literal["median_share"]
    task: str
    procedure: ProcedureText
    series: PolicySeries
    select: Literal["reward", "judge"] = "reward"

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Median share of the limit over the policies of a series, with an interval over policies."""
        key = {"task": self.task, "procedure": self.procedure, "select": self.select, "scorer": "judge"}
        by_task = tables.main("metrics").filter(task=self.task)
        shares = select_policies(by_task, self.series).filter(**key)["share_of_limit"].drop_nulls().to_numpy()
        if len(shares) == 0:
            raise NotMeasured(f"no policy {self.series} on task {self.task} has a share of the limit")
        rng = np.random.default_rng(bootstrap.seed)
        medians = np.median(rng.choice(shares, size=(bootstrap.resamples, len(shares))), axis=1)
        interval = percentile_interval(np.r_[np.median(shares), medians], bootstrap.level)
        return Measured((interval,), f"{len(shares)} policies")


def _offline_value(rows: pl.DataFrame, kl: float) -> tuple[float, float] | None:
    """Win rate at a KL and half the width of its interval, both interpolated in the root of KL."""
    rows = rows.sort("kl")
    if rows.is_empty() or rows["kl"][-1] < kl * (1 - 1e-6):
        return None
    roots = np.r_[0.0, np.sqrt(rows["kl"].to_numpy())]
    halves = (rows["ci_high"] - rows["ci_low"]).to_numpy() / 2
    at = np.sqrt(kl)
    value = np.interp(at, roots, np.r_[0.5, rows["win_rate"].to_numpy()])
    return float(value), float(np.interp(at, roots, np.r_[0.0, halves]))
