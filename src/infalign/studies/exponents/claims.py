"""Claims on the best exponential transform for a number of draws, in the continuous model."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from infalign.mathematics.statistics import Interval
from infalign.presentation.measures.base import Bootstrap, ClaimKind, Measured, Tables

Rival = Literal["identity", "t10", "optimal"]


class ExponentLead(ClaimKind):
    """Ideal win rate of the best exponent less that of another transform, for each N."""

    reads: ClassVar = ("best_exponents",)
    absent: ClassVar = "no table of exponents"
    kind: Literal["exponent_lead"]
    task: str
    n: tuple[int, ...] = Field(min_length=1)
    over: Rival

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Exact numbers."""
        found = _leads(self, tables)
        return found if isinstance(found, Measured) else Measured(_exact(found[0]), found[1])


class ExponentGrowth(ClaimKind):
    """The lead of the best exponent over another transform: how much larger for the second N than the first."""

    reads: ClassVar = ("best_exponents",)
    absent: ClassVar = "no table of exponents"
    kind: Literal["exponent_growth"]
    task: str
    n: tuple[int, int]
    over: Rival

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Exact number."""
        found = _leads(self, tables)
        if isinstance(found, Measured):
            return found
        (small, large), note = found
        return Measured(_exact([large - small]), note)


def _leads(item: ExponentLead | ExponentGrowth, tables: Tables) -> Measured | tuple[list[float], str]:
    rows = tables["best_exponents"].filter(task=item.task)
    by_n = {row["n"]: row for row in rows.iter_rows(named=True)}
    absent = [n for n in item.n if n not in by_n]
    if absent:
        return Measured((), f"no exponents of task {item.task} for N = {absent[0]}")
    leads = [by_n[n]["win_rate"] - by_n[n][f"{item.over}_win_rate"] for n in item.n]
    said = ", ".join(f"{by_n[n]['t']:.3g} for N = {n}" for n in item.n)
    return leads, f"KL {rows['kl'][0]:g}; best t: {said}; exact"


def _exact(values: list[float]) -> tuple[Interval, ...]:
    return tuple(Interval(value, value, value) for value in values)
