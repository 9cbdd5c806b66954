"""Claims on InfAlign's regulariser: the multi-task theorem, and KL(T(π) ‖ T(π_ref)) in place of KL(π ‖ π_ref)."""

from __future__ import annotations

from typing import ClassVar, Literal

from infalign.mathematics.statistics import Bootstrap
from infalign.presentation.measures.base import ClaimKind, Measured, Tables


class MultitaskClaim(ClaimKind):
    """A form of theorem 4, at each beta of the table: the regulariser, and the sign before the reward."""

    reads: ClassVar = ("multitask",)
    absent: ClassVar = "no table of the multi-task theorem"
    column: ClassVar[str]
    divergence: Literal["sft_to_policy", "policy_to_sft"]
    reward_sign: Literal[1, -1]

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Extremes over listed log-linear tasks, exact up to the tolerance of the minimisers."""
        rows = tables["multitask"].filter(divergence=self.divergence, reward_sign=self.reward_sign).sort("beta")
        betas = ", ".join(f"{beta:g}" for beta in rows["beta"])
        return Measured.exact(rows[self.column].to_list(), f"beta {betas}; {rows['n_tasks'][0]} log-linear tasks")


class MultitaskGap(MultitaskClaim):
    """Largest total variation between the policies that minimise the two objectives."""

    column: ClassVar = "total_variation_most"
    kind: Literal["multitask_gap"]


class MultitaskReward(MultitaskClaim):
    """Smallest gain in expected reward over the SFT policy, of the regularised objective's minimiser."""

    column: ClassVar = "reward_gain_least"
    kind: Literal["multitask_reward"]


class CarriedLead(ClaimKind):
    """Win rate of the policy that is regularised after the procedure, less another win rate, in each row."""

    reads: ClassVar = ("change_of_variables",)
    absent: ClassVar = "no table of the change of variables"
    kind: Literal["carried_lead"]
    over: Literal["standard_win_rate", "best_other_win_rate", "optimal_win_rate"]

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Exact numbers of the continuous model."""
        rows = tables["change_of_variables"]
        procedures = ", ".join(rows["procedure"].unique(maintain_order=True))
        budgets = ", ".join(f"{kl:g}" for kl in rows["kl"].unique().sort())
        leads = (rows["win_rate"] - rows[self.over]).to_list()
        return Measured.exact(leads, f"{procedures} at KL {budgets}; exact")
