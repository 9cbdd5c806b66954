"""Claims of InfAlign: win rates at a KL, before and after training, calibration and the share of the limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field
from scipy.interpolate import PchipInterpolator
from scipy.stats import norm

from infalign.mathematics.statistics import Curve, Interval
from infalign.presentation.curves import Value
from infalign.presentation.measures.base import (
    Bootstrap,
    Compared,
    Measured,
    PolicySeries,
    PositiveKL,
    ProcedureText,
    Strict,
    Tables,
    TransformText,
    judged,
    mean_interval,
    paired_difference,
    rows_of,
    select_policies,
    trained_curve,
)
from infalign.presentation.miscalibration import MAPS, errors_by_map
from infalign.presentation.verdicts import LEVEL


class CurveDifference(Compared):
    """Win rate, or mean reward, of series `a` less that of each of `b` at a common KL, paired by prompt."""

    kind: Literal["curve_difference"]
    value: Value = "win_rate"
    procedure: ProcedureText
    a: PolicySeries
    b: tuple[PolicySeries, ...] = Field(min_length=1)
    kl: PositiveKL = 0.5
    missing: Literal["stop", "skip"] = Field(
        "stop", description="skip: compare with those of b that were trained"
    )


class DifferenceGrowth(Compared):
    """The difference of `a` and `b`: how much larger under the second procedure than the first, and there itself."""

    kind: Literal["difference_growth"]
    procedures: tuple[ProcedureText, ProcedureText]
    a: PolicySeries
    b: PolicySeries
    kl: PositiveKL = 0.5


class OfflineDifference(Compared):
    """The same difference on the offline frontier, before any training."""

    kind: Literal["offline_difference"]
    procedure: ProcedureText
    a: TransformText
    b: TransformText
    kl: PositiveKL = 0.5


class IdealDifference(Strict):
    """Win rate of transform `a` less each of `b` in the continuous model, at each KL; exact."""

    kind: Literal["ideal_difference"]
    procedure: ProcedureText
    a: TransformText
    b: tuple[TransformText, ...] = Field(min_length=1)
    kl: tuple[PositiveKL, ...] = Field((0.1, 0.25, 0.5, 1.0, 2.0), min_length=1)


class CalibrationError(Strict):
    """Mean absolute calibration error of each map, or its excess over the map `minus`."""

    kind: Literal["calibration_error"]
    task: str
    maps: tuple[Literal["identity", "square root", "square", "cube", "quantile"], ...] = Field(min_length=1)
    minus: Literal["identity", "square root", "square", "cube", "quantile"] | None = None


class MedianShare(Strict):
    """Median over policies of the share of the attainable gain that they reached."""

    kind: Literal["median_share"]
    task: str
    procedure: ProcedureText
    series: PolicySeries
    select: Literal["reward", "judge"] = "reward"


def curve_difference(item: CurveDifference, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Paired differences of trained curves at one KL."""
    found_a = trained_curve(tables, item, item.procedure, item.a, item.value)
    if found_a is None:
        return Measured((), f"no policies {item.a} on task {item.task}")
    others = [(series, trained_curve(tables, item, item.procedure, series, item.value)) for series in item.b]
    absent = [str(series) for series, found in others if found is None]
    present = [(series, found) for series, found in others if found is not None]
    if absent and (item.missing == "stop" or not present):
        return Measured((), f"no policies {', '.join(absent)} on task {item.task}")
    intervals = tuple(paired_difference(found_a, found, item.kl, bootstrap) for _, found in present)
    outcome = judged(intervals, [(item.a, found_a), *present], item.kl)
    said = f"not trained: {', '.join(absent)}" if absent else ""
    return replace(outcome, note="; ".join(filter(None, [outcome.note, said])))


def difference_growth(item: DifferenceGrowth, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Growth of a difference from one procedure to another, and the difference under the second.

    A gain grows only where there is one, so both must satisfy the claim. All four curves are paired by prompt.
    Interpolation is linear in the win rates and the KLs are those of the same policies, so the growth is the
    difference of the curves (second less first procedure, plus 1/2).
    """
    grown, second = [], []
    for series in (item.a, item.b):
        small, large = (trained_curve(tables, item, procedure, series) for procedure in item.procedures)
        if small is None or large is None:
            return Measured(
                (), f"no policies {series} on task {item.task} with {' and '.join(item.procedures)}"
            )
        grown.append(Curve(kl=small.kl, win_rate=0.5 + large.win_rate - small.win_rate))
        second.append(large)
    intervals = tuple(paired_difference(a, b, item.kl, bootstrap) for a, b in (grown, second))
    return judged(intervals, list(zip((item.a, item.b), grown, strict=True)), item.kl)


def offline_difference(item: OfflineDifference, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Difference on the offline frontier; the interval takes the two as independent, which widens it."""
    if tables.offline is None:
        return Measured((), "no offline table")
    rows = rows_of(tables.offline, item, item.procedure)
    a, b = (_offline_value(rows.filter(pl.col("transform") == text), item.kl) for text in (item.a, item.b))
    if a is None or b is None:
        return Measured((), f"no offline frontier of {item.a} and {item.b} up to KL {item.kl:g}")
    rescaled = norm.ppf(0.5 + LEVEL / 2) / norm.ppf(0.5 + bootstrap.table_level / 2)
    gap, half = a[0] - b[0], float(np.hypot(a[1], b[1]) * rescaled)
    return Measured((Interval(gap, gap - half, gap + half),))


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


def ideal_difference(item: IdealDifference, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Differences of ideal frontiers: exact up to interpolation between the table's KLs (below 1e-3)."""
    if tables.ideal is None:
        return Measured((), "no ideal table")
    found = {text: _ideal_curve(tables.ideal, item.procedure, text) for text in (item.a, *item.b)}
    curves = {text: curve for text, curve in found.items() if curve is not None}
    absent = [text for text in found if text not in curves]
    if absent:
        return Measured((), f"no ideal frontier of {', '.join(absent)} for {item.procedure}")
    reach = min(curve.x[-1] for curve in curves.values()) ** 2
    kls = [kl for kl in item.kl if kl <= reach * (1 + 1e-6)]
    gaps = [float(curves[item.a](np.sqrt(kl)) - curves[other](np.sqrt(kl))) for other in item.b for kl in kls]
    note = f"KL {', '.join(f'{kl:g}' for kl in kls)}; exact" if gaps else f"the table ends at KL {reach:.3g}"
    return Measured(tuple(Interval(gap, gap, gap) for gap in gaps), note)


def _ideal_curve(ideal: pl.DataFrame, procedure: str, transform: str) -> PchipInterpolator | None:
    rows = ideal.filter((pl.col("procedure") == procedure) & (pl.col("transform") == transform)).sort("kl")
    if rows.is_empty():
        return None
    roots = np.r_[0.0, np.sqrt(rows["kl"].to_numpy())]
    return PchipInterpolator(roots, np.r_[0.5, rows["win_rate"].to_numpy()])


def calibration_error(item: CalibrationError, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Mean absolute calibration errors with intervals over prompts."""
    if item.task not in tables.scores:
        return Measured((), f"no scores of task {item.task}")
    errors = errors_by_map(tables.scores[item.task], seed=bootstrap.seed)
    by_map = {name: errors[name].mean(axis=1) for name in MAPS}
    less = by_map[item.minus] if item.minus else 0.0
    intervals = tuple(mean_interval(by_map[name] - less, bootstrap) for name in item.maps)
    return Measured(
        intervals, "quantile out of sample: half of the rollouts make the table, half are measured"
    )


def median_share(item: MedianShare, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Median share of the limit over the policies of a series, with an interval over policies."""
    if tables.metrics is None:
        return Measured((), "no metrics table")
    rows = select_policies(tables.metrics.filter(pl.col("task") == item.task), item.series).filter(
        (pl.col("procedure") == item.procedure)
        & (pl.col("select") == item.select)
        & (pl.col("scorer") == "judge")
    )
    shares = rows["share_of_limit"].drop_nulls().to_numpy()
    if len(shares) == 0:
        return Measured((), f"no policy {item.series} on task {item.task} has a share of the limit")
    rng = np.random.default_rng(bootstrap.seed)
    medians = np.median(rng.choice(shares, size=(bootstrap.resamples, len(shares))), axis=1)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(medians, [tail, 1 - tail])
    return Measured((Interval(float(np.median(shares)), float(low), float(high)),), f"{len(shares)} policies")
