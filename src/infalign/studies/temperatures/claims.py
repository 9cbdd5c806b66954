"""Claims of variational best-of-N on sampling temperatures, in and out of distribution."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Annotated, ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field

from infalign.errors import InputError
from infalign.mathematics.statistics import Bootstrap
from infalign.presentation.curves import most_seeds, trained_n
from infalign.presentation.measures.base import (
    ClaimKind,
    Compared,
    Measured,
    PolicySeries,
    ProcedureText,
    Tables,
    mean_interval,
    rows_of,
    select_policies,
)
from infalign.records.task import Split

PositiveTemperature = Annotated[float, Field(gt=0)]


class AtTemperatures(Compared):
    """What is compared at several sampling temperatures, on each of the splits.

    A series is measured by its policies that were trained from the most seeds. They must be of one strength.
    """

    procedure: ProcedureText = "none"
    splits: tuple[Split, ...] = Field(("evaluation", "evaluation_out"), min_length=1)


class TemperatureDifference(AtTemperatures, ClaimKind):
    """Win rate of `a` less that of each of `b` at each temperature, paired by prompt.

    `best_of_n` is best-of-N of the reference's own responses, N being that of the run's best-of-n policies.
    """

    reads: ClassVar = ("metrics", "prompt_metrics", "best_of_n")
    absent: ClassVar = "no metrics table"
    kind: Literal["temperature_difference"]
    a: PolicySeries | Literal["best_of_n"]
    b: tuple[PolicySeries, ...] = Field(min_length=1)
    temperatures: tuple[PositiveTemperature, ...] = Field(min_length=1)

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Differences at each temperature and split; all must satisfy the claim."""
        pairs = [((self.a, at), (other, at)) for at in self.temperatures for other in self.b]
        return _gaps(self, pairs, tables, bootstrap)


class TemperatureDrop(AtTemperatures, ClaimKind):
    """Win rate of each series at the lower temperature less that at the higher, paired by prompt."""

    reads: ClassVar = ("metrics", "prompt_metrics", "best_of_n")
    absent: ClassVar = "no metrics table"
    kind: Literal["temperature_drop"]
    series: tuple[PolicySeries, ...] = Field(min_length=1)
    low: PositiveTemperature
    high: PositiveTemperature

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Drops of each series on each split; all must satisfy the claim."""
        pairs = [((series, self.low), (series, self.high)) for series in self.series]
        return _gaps(self, pairs, tables, bootstrap)


def _gaps(item: AtTemperatures, pairs: Sequence[tuple[tuple, tuple]], tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Difference in win rate of each pair of (side, temperature) on each split, paired by prompt."""
    intervals = []
    for split, pair in product(item.splits, pairs):
        a, b = (_at(tables, item, side, split, temperature) for side, temperature in pair)
        if a is None or b is None:
            side, temperature = pair[a is not None]
            where = f"at temperature {temperature:g} on {split} prompts of task {item.task}"
            return Measured((), f"no {side} of one strength {where}")
        intervals.append(mean_interval(_paired(a, b), bootstrap))
    return Measured(tuple(intervals))


def _at(
    tables: Tables, item: AtTemperatures, side: PolicySeries | str, split: str, temperature: float
) -> pl.DataFrame | None:
    """Win rate by prompt (prompt_id, win_rate) under a condition, the mean over seeds; None where there is none."""
    here = {"task": item.task, "split": split, "temperature": temperature, "scorer": item.scorer}
    trained = most_seeds(rows_of(tables["metrics"], item, item.procedure)).filter(**here)
    if isinstance(side, str):
        rows = tables["best_of_n"].filter(pl.col("n").eq_missing(trained_n(trained)), **here)
    else:
        policies = select_policies(trained, side)
        if policies.select("strength_kind", "strength").n_unique() != 1:
            return None
        rows = rows_of(tables["prompt_metrics"], item, item.procedure).filter(**here)
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
