"""Claims on how many rollouts estimate the distribution of the reward."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from infalign.mathematics.statistics import Interval
from infalign.presentation.measures.base import Bootstrap, ClaimKind, Measured, Tables


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
        row = tables["estimation"].filter(task=self.task, size=self.size, sampling=self.sampling)
        if row.is_empty():
            return Measured((), f"no tests of {self.size} rollouts, {self.sampling}, on task {self.task}")
        found = row.row(0, named=True)
        note = f"{found['n_rejected']} of {found['n_prompts']} prompts, {found['n_constant']} of one reward"
        return Measured((Interval(found["rejection_rate"], found["ci_low"], found["ci_high"]),), note)
