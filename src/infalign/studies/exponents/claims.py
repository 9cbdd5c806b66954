"""Claims on the best exponential transform for a number of draws, in the continuous model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from infalign.mathematics.statistics import Bootstrap
from infalign.presentation.measures.base import ClaimKind, Measured, Tables


class ExponentClaim(ClaimKind):
    """Ideal win rate of the best exponent less that of another transform."""

    reads: ClassVar = ("best_exponents",)
    absent: ClassVar = "no table of exponents"
    task: str
    n: tuple[int, ...] = Field(min_length=1)
    over: Literal["identity", "t10", "optimal"]

    @abstractmethod
    def values(self, leads: Sequence[float]) -> Sequence[float]:
        """What is claimed, from the lead for each N."""

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Exact numbers of the continuous model."""
        rows = tables["best_exponents"].filter(task=self.task)
        by_n = {row["n"]: row for row in rows.iter_rows(named=True)}
        missing = [n for n in self.n if n not in by_n]
        if missing:
            return Measured((), f"no exponents of task {self.task} for N = {missing[0]}")
        leads = [by_n[n]["win_rate"] - by_n[n][f"{self.over}_win_rate"] for n in self.n]
        best = ", ".join(f"{by_n[n]['t']:.3g} for N = {n}" for n in self.n)
        return Measured.exact(self.values(leads), f"KL {rows['kl'][0]:g}; best t: {best}; exact")


class ExponentLead(ExponentClaim):
    """The lead of the best exponent for each N."""

    kind: Literal["exponent_lead"]

    def values(self, leads: Sequence[float]) -> Sequence[float]:
        """The leads themselves."""
        return leads


class ExponentGrowth(ExponentClaim):
    """How much larger the lead of the best exponent is for the second N than for the first."""

    kind: Literal["exponent_growth"]
    n: tuple[int, int]

    def values(self, leads: Sequence[float]) -> Sequence[float]:
        """The one difference."""
        return [leads[1] - leads[0]]
