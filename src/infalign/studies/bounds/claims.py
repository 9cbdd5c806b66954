"""Claims on the lower bound of variational best-of-N."""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from infalign.mathematics.statistics import Bootstrap
from infalign.presentation.measures.base import ClaimKind, Measured, Tables


class BoundSlack(ClaimKind):
    """At each N of a range: the slack of an inequality, or the change under increasing maps of the rewards."""

    reads: ClassVar = ("bounds",)
    absent: ClassVar = "no table of bounds"
    kind: Literal["bound_slack"]
    column: Literal["j_less_l", "j_less_l1", "l_less_l1", "change"]
    n_from: float = Field(1.0, ge=1)
    n_below: float = Field(float("inf"), description="N is less than this")

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Numbers of the table of bounds: exact for the distributions listed there."""
        rows = tables["bounds"].filter(pl.col("n") >= self.n_from, pl.col("n") < self.n_below).sort("n")
        if rows.is_empty():
            return Measured((), f"no bounds for N from {self.n_from:g} to below {self.n_below:g}")
        note = f"N from {rows['n'][0]:.3g} to {rows['n'][-1]:.3g}, {rows['n_worlds'][0]} listed distributions"
        return Measured.exact(rows[self.column].to_list(), note)
