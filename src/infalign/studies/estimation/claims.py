"""Claims on how many rollouts estimate the distribution of the reward."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from infalign.mathematics.statistics import Bootstrap, Interval
from infalign.presentation.measures.base import ClaimKind, Measured, Tables


class RejectionRate(ClaimKind):
    """Share of the prompts for which M rollouts differ from many by a Kolmogorov-Smirnov test."""

    reads: ClassVar = ("estimation",)
    absent: ClassVar = "no estimation table"
    kind: Literal["rejection_rate"]
    task: str
    size: int = Field(ge=1, description="M")
    sampling: Literal["nested", "independent"]

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Rejection rate of the table with its Wilson interval."""
        rows = tables["estimation"].filter(task=self.task, size=self.size, sampling=self.sampling)
        if rows.is_empty():
            return Measured((), f"no tests of {self.size} rollouts, {self.sampling}, on task {self.task}")
        row = rows.row(0, named=True)
        note = f"{row['n_rejected']} of {row['n_prompts']} prompts, {row['n_constant']} of one reward"
        return Measured((Interval(row["rejection_rate"], row["ci_low"], row["ci_high"]),), note)
