"""How each kind of claim is computed from a run's tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Annotated, Literal

import numpy as np
import polars as pl
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from scipy.interpolate import PchipInterpolator
from scipy.stats import norm

from infalign.errors import InputError
from infalign.mathematics.calibration import parse_calibrator
from infalign.mathematics.pareto_front import front_shares
from infalign.mathematics.procedures import kl, parse_procedure
from infalign.mathematics.statistics import (
    Curve,
    Interval,
    bootstrap_mean,
    difference_at_kl,
    percentile_interval,
    resample_weights,
)
from infalign.mathematics.transforms import parse_transform
from infalign.presentation.miscalibration import MAPS, errors_by_map
from infalign.presentation.verdicts import LEVEL
from infalign.records.config import Split

TransformText = Annotated[str, AfterValidator(lambda text: parse_transform(text).text)]
ProcedureText = Annotated[str, AfterValidator(lambda text: parse_procedure(text).text)]
CalibratorText = Annotated[str, AfterValidator(lambda text: parse_calibrator(text).text)]
PositiveKL = Annotated[float, Field(gt=0)]
PositiveTemperature = Annotated[float, Field(gt=0)]
ALIKE = ("task", "method", "transform", "calibrator", "n_rollouts", "strength_kind", "strength")
"""Policies alike in these differ in seed only."""
Value = Literal["win_rate", "reward"]
# Both as a number that is one half for the reference: the mean reward as its gain over the reference's.
VALUES: dict[Value, pl.Expr] = {"win_rate": pl.col("win_rate"), "reward": 0.5 + pl.col("reward_gain")}


@dataclass(frozen=True)
class Tables:
    """What a run measured; a table it has not is None.

    Parameters
    ----------
    ideal, offline, metrics, prompt_metrics : the tables of `results/<run>/`.
    estimation, bounds : tables of that name, of vBoN's estimation error and of its bounds.
    seconds : task, policy and the median seconds of an update of its training.
    scores : task to its reference rollouts' scores (prompt_id, sample_id, reward) on the training prompts.
    conditions, prompt_conditions : metrics and prompt_metrics under every condition (split and temperature);
        those above are of each task's main one.
    best_of_n : best-of-N of the reference's own responses, by condition and prompt.
    """

    ideal: pl.DataFrame | None = None
    offline: pl.DataFrame | None = None
    metrics: pl.DataFrame | None = None
    prompt_metrics: pl.DataFrame | None = None
    scores: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    conditions: pl.DataFrame | None = None
    prompt_conditions: pl.DataFrame | None = None
    best_of_n: pl.DataFrame | None = None
    estimation: pl.DataFrame | None = None
    bounds: pl.DataFrame | None = None
    seconds: pl.DataFrame | None = None


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made: percentile bootstrap over prompts, at 95 % as the verdicts need.

    Parameters
    ----------
    table_level : level of the intervals that stand in the run's tables.
    resamples, seed : of the bootstrap.
    """

    table_level: float = LEVEL
    resamples: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class Measured:
    """Intervals that all must satisfy the claim (none: not run) and what a reader should know of them."""

    intervals: tuple[Interval, ...]
    note: str = ""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PolicySeries(Strict):
    """Policies that differ in strength and seed only."""

    method: str = "ppo"
    transform: TransformText | None = Field(
        None, description="default: whatever the method has, for baselines"
    )
    calibrator: CalibratorText = Field("empirical", description="unused by raw and without a transform")
    n_rollouts: int | None = Field(None, ge=1, description="default: the most that the run has")

    @model_validator(mode="after")
    def _ppo_names_its_reward(self) -> PolicySeries:
        if self.method == "ppo" and self.transform is None:
            raise ValueError("a ppo series needs its transform, e.g. transform: exp(10)")
        return self

    @property
    def calibrated(self) -> bool:
        return self.transform not in (None, "raw")

    def __str__(self) -> str:
        parts = [self.method, self.transform or ""]
        if self.calibrated:
            parts += [self.calibrator, f"K={self.n_rollouts}" if self.n_rollouts else ""]
        return " ".join(filter(None, parts))


class Compared(Strict):
    task: str
    select: Literal["reward", "judge"] = "reward"
    scorer: Literal["judge", "gold"] = "judge"


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


class AtTemperatures(Compared):
    """What is compared at several sampling temperatures, on each of the splits.

    Of a series, the policies trained from the most seeds stand for it; they must be of one strength.
    """

    procedure: ProcedureText = "none"
    splits: tuple[Split, ...] = Field(("evaluation", "evaluation_out"), min_length=1)


class TemperatureDifference(AtTemperatures):
    """Win rate of `a` less that of each of `b` at each temperature, paired by prompt.

    `best_of_n` is best-of-N of the reference's own responses, N being that of the run's best-of-n policies.
    """

    kind: Literal["temperature_difference"]
    a: PolicySeries | Literal["best_of_n"]
    b: tuple[PolicySeries, ...] = Field(min_length=1)
    temperatures: tuple[PositiveTemperature, ...] = Field(min_length=1)


class TemperatureDrop(AtTemperatures):
    """Win rate of each series at the lower temperature less that at the higher, paired by prompt."""

    kind: Literal["temperature_drop"]
    series: tuple[PolicySeries, ...] = Field(min_length=1)
    low: PositiveTemperature
    high: PositiveTemperature


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


class NotRun(Strict):
    """A claim that this project does not measure yet, with the reason."""

    kind: Literal["not_run"]
    reason: str


Measure = Annotated[
    CurveDifference
    | DifferenceGrowth
    | OfflineDifference
    | IdealDifference
    | CalibrationError
    | MedianShare
    | TemperatureDifference
    | TemperatureDrop
    | FrontShare
    | GainKept
    | KLExcess
    | RejectionRate
    | SecondsRatio
    | BoundSlack
    | NotRun,
    Field(discriminator="kind"),
]


def measure(item: Measure, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Compute what a claim is about.

    Parameters
    ----------
    item : a measure of claims.yaml.
    tables : the run's tables.
    bootstrap : level, resamples and seed of the intervals.

    Returns
    -------
    The intervals, or none and the reason why.
    """
    return KINDS[item.kind](item, tables, bootstrap)


def curve_difference(item: CurveDifference, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Paired differences of trained curves at one KL."""
    found_a = _curve(tables, item, item.procedure, item.a, item.value)
    if found_a is None:
        return Measured((), f"no policies {item.a} on task {item.task}")
    others = [(series, _curve(tables, item, item.procedure, series, item.value)) for series in item.b]
    absent = [str(series) for series, found in others if found is None]
    present = [(series, found) for series, found in others if found is not None]
    if absent and (item.missing == "stop" or not present):
        return Measured((), f"no policies {', '.join(absent)} on task {item.task}")
    intervals = tuple(_difference(found_a, found, item.kl, bootstrap) for _, found in present)
    judged = _judged(intervals, [(item.a, found_a), *present], item.kl)
    said = f"not trained: {', '.join(absent)}" if absent else ""
    return replace(judged, note="; ".join(filter(None, [judged.note, said])))


def difference_growth(item: DifferenceGrowth, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Growth of a difference from one procedure to another, and the difference under the second.

    A gain grows only where there is one, so both must satisfy the claim. All four curves are paired by prompt.
    Interpolation is linear in the win rates and the KLs are those of the same policies, so the growth is the
    difference of the curves (second less first procedure, plus 1/2).
    """
    grown, second = [], []
    for series in (item.a, item.b):
        small, large = (_curve(tables, item, procedure, series) for procedure in item.procedures)
        if small is None or large is None:
            return Measured(
                (), f"no policies {series} on task {item.task} with {' and '.join(item.procedures)}"
            )
        grown.append(Curve(kl=small.kl, win_rate=0.5 + large.win_rate - small.win_rate))
        second.append(large)
    intervals = tuple(_difference(a, b, item.kl, bootstrap) for a, b in (grown, second))
    return _judged(intervals, list(zip((item.a, item.b), grown, strict=True)), item.kl)


def offline_difference(item: OfflineDifference, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Difference on the offline frontier; the interval takes the two as independent, which widens it."""
    if tables.offline is None:
        return Measured((), "no offline table")
    rows = _same(tables.offline, item, item.procedure)
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
    intervals = tuple(_bootstrap(by_map[name] - less, bootstrap) for name in item.maps)
    return Measured(
        intervals, "quantile out of sample: half of the rollouts make the table, half are measured"
    )


def median_share(item: MedianShare, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Median share of the limit over the policies of a series, with an interval over policies."""
    if tables.metrics is None:
        return Measured((), "no metrics table")
    rows = _policies(tables.metrics.filter(pl.col("task") == item.task), item.series).filter(
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


def temperature_difference(item: TemperatureDifference, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Differences at each temperature and split; all must satisfy the claim."""
    pairs = [((item.a, at), (other, at)) for at in item.temperatures for other in item.b]
    return _gaps(item, pairs, tables, bootstrap)


def temperature_drop(item: TemperatureDrop, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Drops of each series on each split; all must satisfy the claim."""
    pairs = [((series, item.low), (series, item.high)) for series in item.series]
    return _gaps(item, pairs, tables, bootstrap)


def _gaps(
    item: AtTemperatures, pairs: Sequence[tuple[tuple, tuple]], tables: Tables, bootstrap: Bootstrap
) -> Measured:
    """Difference in win rate of each pair of (side, temperature) on each split, paired by prompt."""
    intervals = []
    for split, pair in product(item.splits, pairs):
        a, b = (_at(tables, item, side, split, temperature) for side, temperature in pair)
        if a is None or b is None:
            side, temperature = pair[a is not None]
            said = f"no {side} of one strength at temperature {temperature:g} on {split} prompts"
            return Measured((), f"{said} of task {item.task}")
        intervals.append(_bootstrap(_paired(a, b), bootstrap))
    return Measured(tuple(intervals))


def _at(
    tables: Tables, item: AtTemperatures, side: PolicySeries | str, split: str, temperature: float
) -> pl.DataFrame | None:
    """Win rate by prompt (prompt_id, win_rate) under a condition, the mean over seeds; None where there is none."""
    if tables.conditions is None or tables.prompt_conditions is None or tables.best_of_n is None:
        return None
    here = {"task": item.task, "split": split, "temperature": temperature, "scorer": item.scorer}
    trained = most_seeds(_same(tables.conditions, item, item.procedure)).filter(**here)
    if isinstance(side, str):
        rows = tables.best_of_n.filter(pl.col("n").eq_missing(trained_n(trained)), **here)
    else:
        policies = _policies(trained, side)
        if policies.select("strength_kind", "strength").n_unique() != 1:
            return None
        rows = _same(tables.prompt_conditions, item, item.procedure).filter(**here)
        rows = rows.join(policies, on="policy", how="semi")
    means = rows.group_by("prompt_id").agg(pl.col("win_rate").mean()).sort("prompt_id")
    return None if means.is_empty() else means


def _paired(a: pl.DataFrame, b: pl.DataFrame) -> np.ndarray:
    if not a["prompt_id"].equals(b["prompt_id"]):
        raise InputError(
            f"prompt metrics: what is compared has different prompts ({a.height} and {b.height}); "
            "evaluate all policies on the same prompts"
        )
    return (a["win_rate"] - b["win_rate"]).to_numpy()


def front_share(item: FrontShare, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Share of the pooled front less the share of the policies, prompts resampled."""
    if tables.metrics is None or tables.prompt_metrics is None:
        return Measured((), "no metrics table")
    rows = without_reference(_same(tables.metrics, item, item.procedure))
    found = {series: _policies(rows, series) for series in (item.series, *item.others)}
    others = [series for series in item.others if not found[series].is_empty()]
    if found[item.series].is_empty() or not others:
        return Measured((), f"no policies {item.series}, or none to compare with, on task {item.task}")
    policies = pl.concat([found[item.series], *(found[series] for series in others)])
    by_prompt = _same(tables.prompt_metrics, item, item.procedure)
    ordered, points = policy_points(policies, by_prompt, item.value)
    members = (~ordered["policy"].is_in(found[item.series]["policy"].to_list())).cast(pl.Int64).to_numpy()
    weights = resample_weights(points.kl.shape[1], bootstrap.resamples, bootstrap.seed)
    means = zip(weights @ points.kl.T, weights @ points.win_rate.T, strict=True)
    shares = np.array([front_shares(*row, members, 2)[0] for row in means])
    interval = percentile_interval(shares - np.mean(members == 0), LEVEL)
    note = f"{found[item.series].height} of {ordered.height} policies; others: {', '.join(map(str, others))}"
    return Measured(() if _undefined(interval) else (interval,), note)


def gain_kept(item: GainKept, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Paired differences of one gain and a share of the other's."""
    pairs = [(item.a, item.b), (item.b, item.a)] if item.mutual else [(item.a, item.b)]
    found = {series: _curve(tables, item, item.procedure, series, item.value, item.n) for series in pairs[0]}
    curves = {series: curve for series, curve in found.items() if curve is not None}
    absent = [str(series) for series in found if series not in curves]
    if absent:
        at = "" if item.n is None else f" at n = {item.n}"
        return Measured((), f"no policies {', '.join(absent)} on task {item.task}{at}")
    shares = {s: Curve(c.kl, 0.5 + item.kept * (c.win_rate - 0.5)) for s, c in curves.items()}
    if item.kl is None:
        gaps = [(curves[a].win_rate - shares[b].win_rate)[0] for a, b in pairs]
        return Measured(tuple(_bootstrap(gap, bootstrap) for gap in gaps))
    intervals = tuple(_difference(curves[a], shares[b], item.kl, bootstrap) for a, b in pairs)
    return _judged(intervals, list(curves.items()), item.kl)


def kl_excess(item: KLExcess, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """KLs beyond best-of-n's, with intervals over prompts; a row of the curve is an n."""
    standard = Compared(task=item.task)
    if tables.metrics is None:
        return Measured((), "no metrics table")
    rows = _policies(_same(tables.metrics, standard, "none"), item.series)
    sizes = sorted(int(n) for n in rows.filter(strength_kind="n")["strength"].unique() if n > 1)
    curves = {n: _curve(tables, standard, "none", item.series, n=n) for n in sizes}
    intervals = tuple(
        _bootstrap(curve.kl[0] - kl(f"bon({n})"), bootstrap)
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
    rows = without_reference(_same(tables.metrics, Compared(task=item.task), "none"))
    timed = rows.join(tables.seconds, on=["task", "policy"])
    seconds = [_policies(timed, series)["seconds"].to_numpy() for series in (item.a, item.b)]
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


def not_run(item: NotRun, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Nothing to compute."""
    return Measured((), item.reason)


KINDS: dict[str, Callable[..., Measured]] = {
    "curve_difference": curve_difference,
    "difference_growth": difference_growth,
    "offline_difference": offline_difference,
    "ideal_difference": ideal_difference,
    "calibration_error": calibration_error,
    "median_share": median_share,
    "temperature_difference": temperature_difference,
    "temperature_drop": temperature_drop,
    "front_share": front_share,
    "gain_kept": gain_kept,
    "kl_excess": kl_excess,
    "rejection_rate": rejection_rate,
    "seconds_ratio": seconds_ratio,
    "bound_slack": bound_slack,
    "not_run": not_run,
}


def most_seeds(policies: pl.DataFrame) -> pl.DataFrame:
    """Keep each task's policies that were trained from the most seeds.

    Parameters
    ----------
    policies : rows with the columns of `Policy.row`.

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


def _policies(metrics: pl.DataFrame, series: PolicySeries) -> pl.DataFrame:
    """Rows of a series; without a number of rollouts, those with the most."""
    rows = metrics.filter(pl.col("method") == series.method)
    if series.transform is not None:
        rows = rows.filter(pl.col("transform") == series.transform)
    if series.calibrated:
        rows = rows.filter(pl.col("calibrator") == series.calibrator)
    wanted = rows["n_rollouts"].max() if series.n_rollouts is None else series.n_rollouts
    return rows if wanted is None else rows.filter(pl.col("n_rollouts") == wanted)


def _same(frame: pl.DataFrame, item: Compared, procedure: str) -> pl.DataFrame:
    return frame.filter(
        (pl.col("task") == item.task)
        & (pl.col("procedure") == procedure)
        & (pl.col("select") == item.select)
        & (pl.col("scorer") == item.scorer)
    )


def _curve(
    tables: Tables,
    item: Compared,
    procedure: str,
    series: PolicySeries,
    value: Value = "win_rate",
    n: int | None = None,
) -> Curve | None:
    """Trained curve of a series, or its policies at one n; None where there are none."""
    if tables.metrics is None or tables.prompt_metrics is None:
        return None
    policies = _policies(_same(tables.metrics, item, procedure), series)
    if n is not None:
        policies = policies.filter(strength_kind="n", strength=n)
    if policies.is_empty():
        return None
    by_prompt = _same(tables.prompt_metrics, item, procedure)
    return strength_curve(by_prompt, policies, f"{series} of task {item.task}", value)


def without_reference(metrics: pl.DataFrame) -> pl.DataFrame:
    """Leave out the policies that are the reference itself, trained for the best of 1."""
    return metrics.filter(~((pl.col("strength_kind") == "n") & (pl.col("strength") == 1)))


def policy_points(
    policies: pl.DataFrame, by_prompt: pl.DataFrame, value: Value = "win_rate"
) -> tuple[pl.DataFrame, Curve]:
    """Arrange every policy as a row of KLs and values by prompt.

    Parameters
    ----------
    policies : their names in `policy`.
    by_prompt : policy, prompt_id, kl and the value, of one task, procedure, selector and scorer.
    value : win rate, or one half plus the gain in reward.

    Returns
    -------
    The policies in order of their names, and their rows in the same order.

    Raises
    ------
    InputError
        The policies have different prompts.
    """
    ordered = policies.sort("policy")
    named = by_prompt.with_columns(value=VALUES[value]).sort("prompt_id")
    parts = named.partition_by("policy", as_dict=True)
    rows = [parts[(name,)] for name in ordered["policy"]]
    for row in rows[1:]:
        if not row["prompt_id"].equals(rows[0]["prompt_id"]):
            raise InputError(
                f"prompt metrics: {row['policy'][0]} and {rows[0]['policy'][0]} have different prompts "
                f"({row.height} and {rows[0].height}); evaluate all policies on the same prompts"
            )
    return ordered, Curve(*(np.stack([row[name].to_numpy() for row in rows]) for name in ("kl", "value")))


def strength_curve(
    by_prompt: pl.DataFrame, policies: pl.DataFrame, name: str, value: Value = "win_rate"
) -> Curve:
    """Arrange policies that differ in strength and seed as one curve.

    Parameters
    ----------
    by_prompt : policy, prompt_id, kl and the value, of one task, procedure, selector and scorer.
    policies : policy, strength_kind and strength of those wanted.
    name : in messages.
    value : win rate, or one half plus the gain in reward.

    Returns
    -------
    A row per strength, the mean over its seeds, and a column per prompt.

    Raises
    ------
    InputError
        The policies have different prompts.
    """
    rows = by_prompt.join(policies.select("policy", "strength_kind", "strength"), on="policy")
    values = rows.with_columns(value=VALUES[value])
    means = values.group_by("strength_kind", "strength", "prompt_id").agg(pl.col("kl", "value").mean())
    means = means.sort("strength_kind", "strength", "prompt_id")
    strengths = means.partition_by("strength_kind", "strength", maintain_order=True)
    _check_prompts(strengths, name)
    return Curve(*(np.stack([part[name].to_numpy() for part in strengths]) for name in ("kl", "value")))


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


def _check_prompts(strengths: Sequence[pl.DataFrame], name: str) -> None:
    first = strengths[0]["prompt_id"]
    for part in strengths[1:]:
        if not part["prompt_id"].equals(first):
            raise InputError(
                f"prompt metrics: the policies {name} have different prompts "
                f"({first.len()} and {part.height}); evaluate all policies on the same prompts"
            )


def _difference(a: Curve, b: Curve, kl: float, bootstrap: Bootstrap) -> Interval:
    if a.kl.shape[1] != b.kl.shape[1]:
        raise InputError(
            f"prompt metrics: compared policies have {a.kl.shape[1]} and {b.kl.shape[1]} prompts; "
            "evaluate all policies on the same prompts"
        )
    return difference_at_kl(a, b, kl, level=LEVEL, resamples=bootstrap.resamples, seed=bootstrap.seed)


def _bootstrap(values: np.ndarray, bootstrap: Bootstrap) -> Interval:
    return bootstrap_mean(values, level=LEVEL, resamples=bootstrap.resamples, seed=bootstrap.seed)


def _undefined(interval: Interval) -> bool:
    return not np.isfinite([interval.estimate, interval.low, interval.high]).all()


def _judged(
    intervals: tuple[Interval, ...], curves: Sequence[tuple[PolicySeries, Curve]], kl: float
) -> Measured:
    """The intervals if every curve reaches the KL, else none and which do not; nothing is extrapolated."""
    if not any(map(_undefined, intervals)) and all(reaches(curve, kl) for _, curve in curves):
        return Measured(intervals)
    spans = ["{} spans KL {:.2f} to {:.2f}".format(series, *kl_range(curve)) for series, curve in curves]
    return Measured((), f"KL {kl:g} not well within the trained range: {', '.join(spans)}")
