"""Claims on InfAlign's regulariser: the multi-task theorem, and KL(T(π) ‖ T(π_ref)) in place of KL(π ‖ π_ref)."""

from __future__ import annotations

from typing import ClassVar, Literal

from infalign.mathematics.statistics import Interval
from infalign.presentation.measures.base import Bootstrap, ClaimKind, Measured, Tables
from infalign.records.block import Block


class MultitaskCase(Block):
    """A form of theorem 4, at each beta of the table: the regulariser, and the sign before the reward."""

    divergence: Literal["sft_to_policy", "policy_to_sft"]
    reward_sign: Literal[1, -1]


class MultitaskGap(MultitaskCase, ClaimKind):
    """Largest total variation between the policies that minimise the two objectives."""

    reads: ClassVar = ("multitask",)
    absent: ClassVar = "no table of the multi-task theorem"
    kind: Literal["multitask_gap"]

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Exact up to the minimisers' tolerance, over listed log-linear tasks."""
        return _multitask(self, tables, "total_variation_most")


class MultitaskReward(MultitaskCase, ClaimKind):
    """Smallest gain in expected reward over the SFT policy."""

    reads: ClassVar = ("multitask",)
    absent: ClassVar = "no table of the multi-task theorem"
    kind: Literal["multitask_reward"]

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Of the regularised objective's minimiser, the smallest over listed log-linear tasks."""
        return _multitask(self, tables, "reward_gain_least")


class CarriedLead(ClaimKind):
    """Win rate of the policy regularised after the procedure, less another one of the table, in each row."""

    reads: ClassVar = ("change_of_variables",)
    absent: ClassVar = "no table of the change of variables"
    kind: Literal["carried_lead"]
    over: Literal["standard_win_rate", "best_other_win_rate", "optimal_win_rate"]

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Exact numbers of the continuous model."""
        rows = tables["change_of_variables"]
        procedures = ", ".join(rows["procedure"].unique(maintain_order=True))
        budgets = ", ".join(f"{kl:g}" for kl in rows["kl"].unique().sort())
        gaps = rows["win_rate"] - rows[self.over]
        return Measured(
            tuple(Interval(gap, gap, gap) for gap in gaps), f"{procedures} at KL {budgets}; exact"
        )


def _multitask(item: MultitaskCase, tables: Tables, column: str) -> Measured:
    rows = tables["multitask"].filter(divergence=item.divergence, reward_sign=item.reward_sign).sort("beta")
    betas = ", ".join(f"{beta:g}" for beta in rows["beta"])
    note = f"beta {betas}; {rows['n_tasks'][0]} log-linear tasks"
    return Measured(tuple(Interval(value, value, value) for value in rows[column]), note)
