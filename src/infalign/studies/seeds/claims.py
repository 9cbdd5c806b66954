"""This project's check that a comparison does not hang on the seed of training."""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl

from infalign.mathematics.statistics import Bootstrap
from infalign.presentation.curves import reaches, strength_curve
from infalign.presentation.measures.base import (
    ClaimKind,
    Compared,
    Measured,
    PolicySeries,
    PositiveKL,
    ProcedureText,
    Tables,
    gap_at_kl,
    rows_of,
    select_policies,
    undefined,
)


class EverySeed(Compared, ClaimKind):
    """Win rate of series `a` less that of `b` at a KL, each seed's policies by themselves, paired by prompt."""

    reads: ClassVar = ("metrics", "prompt_metrics")
    absent: ClassVar = "no metrics table"
    kind: Literal["every_seed"]
    procedure: ProcedureText
    a: PolicySeries
    b: PolicySeries
    kl: PositiveKL = 0.5

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """As many differences as both series have seeds in common, two at least."""
        rows = rows_of(tables.main("metrics"), self, self.procedure)
        sides = [select_policies(rows, series) for series in (self.a, self.b)]
        seeds = sorted(set.intersection(*({*side["seed"]} for side in sides)))
        if len(seeds) < 2:
            return Measured((), f"{self.a} and {self.b} on task {self.task} have no two seeds in common")
        by_prompt = rows_of(tables.main("prompt_metrics"), self, self.procedure)
        intervals = []
        for seed in seeds:
            ours, theirs = (
                strength_curve(by_prompt, side.filter(pl.col("seed") == seed), f"{series} of seed {seed}")
                for side, series in zip(sides, (self.a, self.b), strict=True)
            )
            if not (reaches(ours, self.kl) and reaches(theirs, self.kl)):
                return Measured((), f"KL {self.kl:g} not well within the trained range of seed {seed}")
            intervals.append(gap_at_kl(ours, theirs, self.kl, bootstrap))
        return Measured(() if any(map(undefined, intervals)) else tuple(intervals), f"seeds: {len(seeds)}")
