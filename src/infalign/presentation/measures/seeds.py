"""This project's check that a comparison does not hang on the seed of training."""

from __future__ import annotations

from typing import Literal

import polars as pl

from infalign.presentation.curves import reaches, strength_curve
from infalign.presentation.measures.base import (
    Bootstrap,
    Compared,
    Measured,
    PolicySeries,
    PositiveKL,
    ProcedureText,
    Tables,
    paired_difference,
    rows_of,
    select_policies,
    undefined,
)


class EverySeed(Compared):
    """Win rate of series `a` less that of `b` at a KL, each seed's policies by themselves, paired by prompt."""

    kind: Literal["every_seed"]
    procedure: ProcedureText
    a: PolicySeries
    b: PolicySeries
    kl: PositiveKL = 0.5


def every_seed(item: EverySeed, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """As many differences as both series have seeds in common, two at least."""
    if tables.metrics is None or tables.prompt_metrics is None:
        return Measured((), "no metrics table")
    rows = rows_of(tables.metrics, item, item.procedure)
    sides = [select_policies(rows, series) for series in (item.a, item.b)]
    seeds = sorted(set.intersection(*({*side["seed"]} for side in sides)))
    if len(seeds) < 2:
        return Measured((), f"{item.a} and {item.b} on task {item.task} have no two seeds in common")
    by_prompt = rows_of(tables.prompt_metrics, item, item.procedure)
    intervals = []
    for seed in seeds:
        names = [f"{series} of seed {seed}" for series in (item.a, item.b)]
        own = [side.filter(pl.col("seed") == seed) for side in sides]
        ours, theirs = (strength_curve(by_prompt, *pair) for pair in zip(own, names, strict=True))
        if not (reaches(ours, item.kl) and reaches(theirs, item.kl)):
            return Measured((), f"KL {item.kl:g} not well within the trained range of seed {seed}")
        intervals.append(paired_difference(ours, theirs, item.kl, bootstrap))
    return Measured(() if any(map(undefined, intervals)) else tuple(intervals), f"seeds: {len(seeds)}")
