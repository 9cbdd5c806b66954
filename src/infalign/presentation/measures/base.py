"""What all kinds of claims share: the tables, series of policies, and intervals of their differences."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, TypeVar

import numpy as np
import polars as pl
from pydantic import AfterValidator, Field, model_validator

from infalign.errors import InputError
from infalign.mathematics.calibration import parse_calibrator
from infalign.mathematics.procedures import parse_procedure
from infalign.mathematics.statistics import Bootstrap, Curve, Interval, bootstrap_mean, difference_at_kl
from infalign.mathematics.transforms import parse_transform
from infalign.presentation.curves import Value, kl_range, reaches, strength_curve
from infalign.records.block import Block
from infalign.records.run_tables import RunTables as Tables

TransformText = Annotated[str, AfterValidator(lambda text: parse_transform(text).text)]
ProcedureText = Annotated[str, AfterValidator(lambda text: parse_procedure(text).text)]
CalibratorText = Annotated[str, AfterValidator(lambda text: parse_calibrator(text).text)]
PositiveKL = Annotated[float, Field(gt=0)]
K = TypeVar("K")
V = TypeVar("V")


class NotMeasured(Exception):
    """Why a claim is not measured in this run."""


@dataclass(frozen=True)
class Measured:
    """Intervals that all must satisfy the claim (none: not run) and what a reader should know of them."""

    intervals: tuple[Interval, ...]
    note: str = ""

    @classmethod
    def exact(cls, values: Sequence[float], note: str) -> Measured:
        """Values without an error, as intervals of no width."""
        return cls(tuple(Interval(value, value, value) for value in values), note)


class ClaimKind(Block, ABC):
    """A kind of claim: what a claims file says of it, the tables that it needs, and how it is measured.

    Attributes
    ----------
    reads : tuple of str
        Tables of the run.
    absent : str
        Why the claim is not run where one of them is not made. It may name fields, e.g. {task}.
    """

    reads: ClassVar[tuple[str, ...]] = ("metrics", "prompt_metrics")
    absent: ClassVar[str] = "no {reads[0]} table"
    kind: str

    @abstractmethod
    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Compute the intervals that must all satisfy the claim.

        Parameters
        ----------
        tables : RunTables
        bootstrap : Bootstrap
            At the level of the verdicts.

        Raises
        ------
        NotMeasured
            The run lacks something, e.g. policies.
        """

    def measured(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Compute what the claim is about, or say why nothing is computed."""
        if not all(name in tables for name in self.reads):
            return Measured((), self.absent.format(reads=self.reads, **self.model_dump()))
        try:
            return self.measure(tables, bootstrap)
        except NotMeasured as reason:
            return Measured((), str(reason))


class PolicySeries(Block):
    """Policies that differ in strength and seed only."""

    method: str = "ppo"
    transform: TransformText | None = Field(None, description="default: whatever the method has, for baselines")
    calibrator: CalibratorText = Field("empirical", description="unused by raw and without a transform")
    n_rollouts: int | None = Field(None, ge=1, description="default: the most that the run has")

    @model_validator(mode="after")
    def _ppo_names_its_reward(self) -> PolicySeries:
        if self.method == "ppo" and self.transform is None:
            raise ValueError("a ppo series needs its transform, e.g. transform: exp(10)")
        return self

    @property
    def calibrated(self) -> bool:
        """Whether the series has a calibrated reward."""
        return self.transform not in (None, "raw")

    def __str__(self) -> str:
        parts = [self.method, self.transform or ""]
        if self.calibrated:
            parts += [self.calibrator, f"K={self.n_rollouts}" if self.n_rollouts else ""]
        return " ".join(filter(None, parts))


class Compared(Block):
    """What all policies of a comparison share."""

    task: str
    select: Literal["reward", "judge"] = "reward"
    scorer: Literal["judge", "gold"] = "judge"


def select_policies(metrics: pl.DataFrame, series: PolicySeries) -> pl.DataFrame:
    """Rows of a series; without a number of rollouts, those with the most."""
    rows = metrics.filter(pl.col("method") == series.method)
    if series.transform is not None:
        rows = rows.filter(pl.col("transform") == series.transform)
    if series.calibrated:
        rows = rows.filter(pl.col("calibrator") == series.calibrator)
    n_rollouts = rows["n_rollouts"].max() if series.n_rollouts is None else series.n_rollouts
    return rows if n_rollouts is None else rows.filter(pl.col("n_rollouts") == n_rollouts)


def rows_of(frame: pl.DataFrame, item: Compared, procedure: str) -> pl.DataFrame:
    """Rows of a table that a claim compares."""
    return frame.filter(task=item.task, procedure=procedure, select=item.select, scorer=item.scorer)


def present(parts: Mapping[K, V | None], before: str, after: str) -> dict[K, V]:
    """Return all parts.

    Raises
    ------
    NotMeasured
        Some are None. The reason names them between the words `before` and `after`.

    Examples
    --------
    >>> present({"a": 1, "b": None, "c": None}, "no policies", "on task t")
    Traceback (most recent call last):
    infalign.presentation.measures.base.NotMeasured: no policies b, c on task t
    """
    absent = [str(name) for name, part in parts.items() if part is None]
    if absent:
        raise NotMeasured(f"{before} {', '.join(absent)} {after}")
    return {name: part for name, part in parts.items() if part is not None}


def trained_curve(
    tables: Tables,
    item: Compared,
    procedure: str,
    series: PolicySeries,
    value: Value = "win_rate",
    n: int | None = None,
) -> Curve | None:
    """Trained curve of a series, or its policies at one n; None where there are none."""
    policies = select_policies(rows_of(tables.main("metrics"), item, procedure), series)
    if n is not None:
        policies = policies.filter(strength_kind="n", strength=n)
    if policies.is_empty():
        return None
    by_prompt = rows_of(tables.main("prompt_metrics"), item, procedure)
    return strength_curve(by_prompt, policies, f"{series} of task {item.task}", value)


def gap_at_kl(a: Curve, b: Curve, kl: float, bootstrap: Bootstrap) -> Interval:
    """Win rate of one curve less that of another at a KL, paired by prompt.

    Raises
    ------
    InputError
        The curves have different numbers of prompts.
    """
    if a.kl.shape[1] != b.kl.shape[1]:
        raise InputError(
            f"prompt metrics: compared policies have {a.kl.shape[1]} and {b.kl.shape[1]} prompts; "
            "evaluate all policies on the same prompts"
        )
    return difference_at_kl(a, b, kl, *bootstrap)


def mean_interval(values: np.ndarray, bootstrap: Bootstrap) -> Interval:
    """Mean over prompts, one value a prompt."""
    return bootstrap_mean(values, *bootstrap)


def undefined(interval: Interval) -> bool:
    """Whether the estimate or an end of an interval is not a finite number."""
    return not np.isfinite([interval.estimate, interval.low, interval.high]).all()


def judged(
    intervals: tuple[Interval, ...], curves: Sequence[tuple[PolicySeries, Curve]], kl: float, *notes: str
) -> Measured:
    """The intervals if every curve reaches the KL, else none and the KLs of each; nothing is extrapolated."""
    if any(map(undefined, intervals)) or not all(reaches(curve, kl) for _, curve in curves):
        spans = ["{} spans KL {:.2f} to {:.2f}".format(series, *kl_range(curve)) for series, curve in curves]
        intervals, notes = (), (f"KL {kl:g} not well within the trained range: {', '.join(spans)}", *notes)
    return Measured(intervals, "; ".join(filter(None, notes)))


class NotRun(ClaimKind):
    """A claim that this project does not measure yet, with the reason."""

    reads: ClassVar = ()
    kind: Literal["not_run"]
    reason: str

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        return Measured((), self.reason)
