"""Claims of InfAlign: win rates at a KL, before and after training, calibration and the share of the limit."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field
from scipy.interpolate import PchipInterpolator
from scipy.stats import norm

from infalign.mathematics.statistics import Curve, Interval
from infalign.presentation.calibration_errors import MAPS, errors_by_map
from infalign.presentation.curves import Value
from infalign.presentation.measures.base import (
    Bootstrap,
    ClaimKind,
    Compared,
    Measured,
    PolicySeries,
    PositiveKL,
    ProcedureText,
    Tables,
    TransformText,
    judged,
    mean_interval,
    paired_difference,
    rows_of,
    select_policies,
    trained_curve,
)
from infalign.presentation.verdicts import LEVEL


class CurveDifference(Compared, ClaimKind):
    """Win rate, or mean reward, of series `a` less that of each of `b` at a common KL, paired by prompt."""

    reads: ClassVar = ("metrics", "prompt_metrics")
    absent: ClassVar = "no metrics table"
    kind: Literal["curve_difference"]
    value: Value = "win_rate"
    procedure: ProcedureText
    a: PolicySeries
    b: tuple[PolicySeries, ...] = Field(min_length=1)
    kl: PositiveKL = 0.5
    missing: Literal["stop", "skip"] = Field(
        "stop", description="skip: compare with those of b that were trained"
    )

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Paired differences of trained curves at one KL."""
        found_a = trained_curve(tables, self, self.procedure, self.a, self.value)
        if found_a is None:
            return Measured((), f"no policies {self.a} on task {self.task}")
        others = [
            (series, trained_curve(tables, self, self.procedure, series, self.value)) for series in self.b
        ]
        absent = [str(series) for series, found in others if found is None]
        present = [(series, found) for series, found in others if found is not None]
        if absent and (self.missing == "stop" or not present):
            return Measured((), f"no policies {', '.join(absent)} on task {self.task}")
        intervals = tuple(paired_difference(found_a, found, self.kl, bootstrap) for _, found in present)
        outcome = judged(intervals, [(self.a, found_a), *present], self.kl)
        said = f"not trained: {', '.join(absent)}" if absent else ""
        return replace(outcome, note="; ".join(filter(None, [outcome.note, said])))


class DifferenceGrowth(Compared, ClaimKind):
    """The difference of `a` and `b`: how much larger under the second procedure than the first, and there itself."""

    reads: ClassVar = ("metrics", "prompt_metrics")
    absent: ClassVar = "no metrics table"
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
                return Measured(
                    (), f"no policies {series} on task {self.task} with {' and '.join(self.procedures)}"
                )
            grown.append(Curve(kl=small.kl, win_rate=0.5 + large.win_rate - small.win_rate))
            second.append(large)
        intervals = tuple(paired_difference(a, b, self.kl, bootstrap) for a, b in (grown, second))
        return judged(intervals, list(zip((self.a, self.b), grown, strict=True)), self.kl)


class OfflineDifference(Compared, ClaimKind):
    """The same difference on the offline frontier, before any training."""

    reads: ClassVar = ("offline",)
    absent: ClassVar = "no offline table"
    kind: Literal["offline_difference"]
    procedure: ProcedureText
    a: TransformText
    b: TransformText
    kl: PositiveKL = 0.5

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Difference on the offline frontier; the interval takes the two as independent, which widens it."""
        rows = rows_of(tables["offline"], self, self.procedure)
        a, b = (
            _offline_value(rows.filter(pl.col("transform") == text), self.kl) for text in (self.a, self.b)
        )
        if a is None or b is None:
            return Measured((), f"no offline frontier of {self.a} and {self.b} up to KL {self.kl:g}")
        rescaled = norm.ppf(0.5 + LEVEL / 2) / norm.ppf(0.5 + bootstrap.table_level / 2)
        gap, half = a[0] - b[0], float(np.hypot(a[1], b[1]) * rescaled)
        return Measured((Interval(gap, gap - half, gap + half),))


class IdealDifference(ClaimKind):
    """Win rate of transform `a` less each of `b` in the continuous model, at each KL; exact."""

    reads: ClassVar = ("ideal",)
    absent: ClassVar = "no ideal table"
    kind: Literal["ideal_difference"]
    procedure: ProcedureText
    a: TransformText
    b: tuple[TransformText, ...] = Field(min_length=1)
    kl: tuple[PositiveKL, ...] = Field((0.1, 0.25, 0.5, 1.0, 2.0), min_length=1)

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Differences of ideal frontiers: exact up to interpolation between the table's KLs (below 1e-3)."""
        found = {text: _ideal_curve(tables["ideal"], self.procedure, text) for text in (self.a, *self.b)}
        curves = {text: curve for text, curve in found.items() if curve is not None}
        absent = [text for text in found if text not in curves]
        if absent:
            return Measured((), f"no ideal frontier of {', '.join(absent)} for {self.procedure}")
        reach = min(curve.x[-1] for curve in curves.values()) ** 2
        kls = [kl for kl in self.kl if kl <= reach * (1 + 1e-6)]
        gaps = [
            float(curves[self.a](np.sqrt(kl)) - curves[other](np.sqrt(kl))) for other in self.b for kl in kls
        ]
        note = (
            f"KL {', '.join(f'{kl:g}' for kl in kls)}; exact" if gaps else f"the table ends at KL {reach:.3g}"
        )
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
            return Measured((), f"no scores of task {self.task}")
        errors = errors_by_map(tables.scores(self.task), seed=bootstrap.seed)
        by_map = {name: errors[name].mean(axis=1) for name in MAPS}
        less = by_map[self.minus] if self.minus else 0.0
        intervals = tuple(mean_interval(by_map[name] - less, bootstrap) for name in self.maps)
        return Measured(
            intervals, "quantile out of sample: half of the rollouts make the table, half are measured"
        )


class MedianShare(ClaimKind):
    """Median over policies of the share of the attainable gain that they reached."""

    reads: ClassVar = ("metrics",)
    absent: ClassVar = "no metrics table"
    kind: Literal["median_share"]
    task: str
    procedure: ProcedureText
    series: PolicySeries
    select: Literal["reward", "judge"] = "reward"

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Median share of the limit over the policies of a series, with an interval over policies."""
        rows = select_policies(
            tables.main("metrics").filter(pl.col("task") == self.task), self.series
        ).filter(
            (pl.col("procedure") == self.procedure)
            & (pl.col("select") == self.select)
            & (pl.col("scorer") == "judge")
        )
        shares = rows["share_of_limit"].drop_nulls().to_numpy()
        if len(shares) == 0:
            return Measured((), f"no policy {self.series} on task {self.task} has a share of the limit")
        rng = np.random.default_rng(bootstrap.seed)
        medians = np.median(rng.choice(shares, size=(bootstrap.resamples, len(shares))), axis=1)
        tail = (1 - LEVEL) / 2
        low, high = np.quantile(medians, [tail, 1 - tail])
        return Measured(
            (Interval(float(np.median(shares)), float(low), float(high)),), f"{len(shares)} policies"
        )


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


def _ideal_curve(ideal: pl.DataFrame, procedure: str, transform: str) -> PchipInterpolator | None:
    rows = ideal.filter((pl.col("procedure") == procedure) & (pl.col("transform") == transform)).sort("kl")
    if rows.is_empty():
        return None
    roots = np.r_[0.0, np.sqrt(rows["kl"].to_numpy())]
    return PchipInterpolator(roots, np.r_[0.5, rows["win_rate"].to_numpy()])
