"""Claims on hedging against reward hacking (Khalaf et al. 2025)."""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from infalign.mathematics.statistics import Bootstrap
from infalign.presentation.measures.base import ClaimKind, Measured, Tables, mean_interval
from infalign.studies.hedging.block import PAPER_METHODS, HedgedMethod

EXTREMA = {
    **dict.fromkeys(("flat", "monotone up", "monotone down"), 0),
    **dict.fromkeys(("hacking", "initial decline"), 1),
    "several extrema": 2,
}
"""Extrema of a curve of each regime; "several" are at least two."""


class HedgeGain(ClaimKind):
    """Gain in true reward of each hedge over its rivals, in units of the true reward's spread within a prompt.

    Every method and proxy is compared, on prompts that took no part in the hedge's choice. The rivals are the
    reference (no selection), the procedure at its largest parameter, the best of a grid of parameters, and the
    best grid point of any method at no more KL. The last two are chosen on the reported prompts themselves.
    With `kept` below 1, only that share of the rival's gain over the reference is taken away.
    """

    reads: ClassVar = ("prompt_hedges", "hedges")
    absent: ClassVar = "nothing is hedged"
    kind: Literal["hedge_gain"]
    task: str
    over: tuple[Literal["reference", "largest", "grid", "front"], ...] = Field(min_length=1)
    methods: tuple[HedgedMethod, ...] = Field(PAPER_METHODS, min_length=1)
    proxies: tuple[str, ...] | None = Field(None, min_length=1, description="default: all that the task has")
    kept: float = Field(1.0, gt=0, le=1)
    saves_kl: bool = Field(
        False, description="also the share of the KL that the hedge saves over the largest parameter"
    )

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Paired differences with intervals over prompts, of every proxy, method and n."""
        chosen = pl.col("method").is_in(list(self.methods)) & (pl.col("task") == self.task)
        if self.proxies is not None:
            chosen &= pl.col("proxy").is_in(list(self.proxies))
        by_prompt, hedges = tables["prompt_hedges"].filter(chosen), tables["hedges"].filter(chosen)
        absent = [name for name in self.proxies or () if name not in by_prompt["proxy"]]
        absent += [name for name in self.methods if name not in by_prompt["method"]]
        if by_prompt.is_empty() or absent:
            missing = f": no {', '.join(absent)}" if absent else ""
            return Measured((), f"task {self.task} is not hedged{missing}")
        intervals = []
        for _, part in by_prompt.group_by("proxy", "method", "n", maintain_order=True):
            gain = part["hedge"] - part["reference"]
            for rival in self.over:
                gap = (gain - self.kept * (part[rival] - part["reference"])) / part["spread"]
                intervals.append(mean_interval(gap.to_numpy(), bootstrap))
        if self.saves_kl:
            saved = (1 - hedges["kl"] / hedges["largest_kl"]).to_list()
            intervals += Measured.exact(saved, "").intervals
        kinds = hedges["kind"].value_counts(sort=True).rows()
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds)
        note = f"{hedges['n_prompts'][0]} prompts, true reward {hedges['true_reward'][0]}; hedges: {counts}"
        return Measured(tuple(intervals), note)


class ExtremaSlack(ClaimKind):
    """1 − the number of extrema of the expected true reward, for true rewards with at most one turn."""

    reads: ClassVar = ("extrema",)
    absent: ClassVar = "no table of extrema"
    kind: Literal["extrema_slack"]

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Exact numbers: the worst of each procedure over the listed true rewards."""
        counts = tables["extrema"].with_columns(count=pl.col("regime").replace_strict(EXTREMA))
        worst = counts.group_by("method", "n", maintain_order=True).agg(pl.col("count").max())["count"]
        note = f"{tables['extrema']['shape'].n_unique()} true rewards, {worst.len()} procedures"
        return Measured.exact([float(1 - value) for value in worst], note)


class PoissonGap(ClaimKind):
    """The largest gap of best-of-Poisson to the tilt over all μ: in KL at one mean, or in reward at one KL."""

    reads: ClassVar = ("poisson_tilt",)
    absent: ClassVar = "no table of best-of-Poisson and the tilt"
    kind: Literal["poisson_gap"]
    value: Literal["kl_gap", "reward_gap"]

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """An exact number: the largest of the table."""
        gaps = tables["poisson_tilt"]
        row = gaps.row(gaps[self.value].arg_max() or 0, named=True)
        note = f"largest at a mean of {1 + row['mu']:.2f} draws, of {gaps.height} means"
        return Measured.exact([row[self.value]], note)
