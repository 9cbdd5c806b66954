"""This project's checks of the judge: other sizes, and pairs shared with the reward model."""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl

from infalign.mathematics.statistics import difference_at_kl, paired_difference
from infalign.presentation.curves import reaches
from infalign.presentation.measures.base import (
    Bootstrap,
    ClaimKind,
    Measured,
    PositiveKL,
    ProcedureText,
    Tables,
    TransformText,
    undefined,
)
from infalign.presentation.verdicts import LEVEL
from infalign.studies.judge_strength.sizes import GOLD
from infalign.studies.judge_strength.tables import EQUAL, judged_curve


class JudgedDifference(ClaimKind):
    """Win rate of a transform's policies less those on the raw reward at a KL, under each judge of a kind."""

    reads: ClassVar = ("prompt_judges",)
    absent: ClassVar = "no {judges} judges of task {task}"
    kind: Literal["judged_difference"]
    task: str
    procedure: ProcedureText
    transform: TransformText
    judges: Literal["independent", "leaked", "reward_model"] = "independent"
    kl: PositiveKL = 0.5

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Differences of trained curves, as many as there are judges of the kind."""
        rows = _rows(self, tables)
        if rows.filter(kind=self.judges).is_empty():
            return Measured((), f"no {self.judges} judges of task {self.task}")
        intervals = []
        for _, part in rows.filter(kind=self.judges).group_by("judge", maintain_order=True):
            meant, raw = (judged_curve(part, name) for name in (self.transform, "raw"))
            if not (reaches(meant, self.kl) and reaches(raw, self.kl)):
                return Measured((), f"KL {self.kl:g} not well within the trained range")
            gap = difference_at_kl(meant, raw, self.kl, LEVEL, bootstrap.resamples, bootstrap.seed)
            intervals.append(gap)
        names = rows.filter(kind=self.judges)["judge"].unique(maintain_order=True)
        found = () if any(map(undefined, intervals)) else tuple(intervals)
        return Measured(found, f"judges {', '.join(names)}")


class JudgeExcess(ClaimKind):
    """Win rate of the policy on the raw reward with the largest KL under one judge, less that under another."""

    reads: ClassVar = ("prompt_judges",)
    absent: ClassVar = "no judges of task {task} compared"
    kind: Literal["judge_excess"]
    task: str
    procedure: ProcedureText
    judge: Literal["leaked", "reward_model"]
    over: Literal["independent", "gold"]

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Paired difference of two judges' win rates of one policy."""
        rows = _rows(self, tables)
        raw = rows.filter(transform="raw")
        if raw.is_empty():
            return Measured((), f"no judges of task {self.task} compared")
        means = raw.group_by("policy").agg(pl.col("kl").mean()).sort("kl", "policy")
        policy, kl = means.row(-1)
        own = raw.filter(policy=policy)
        sides = [own.filter(judge=name) for name in (self.judge, GOLD if self.over == "gold" else EQUAL)]
        if any(side.is_empty() for side in sides):
            return Measured((), f"no {self.judge} or {self.over} judge of task {self.task}")
        ours, theirs = (side["win_rate"].to_numpy() for side in sides)
        gap = paired_difference(ours, theirs, LEVEL, bootstrap.resamples, bootstrap.seed)
        return Measured(() if undefined(gap) else (gap,), f"{policy} at KL {kl:.2f}")


def _rows(item: JudgedDifference | JudgeExcess, tables: Tables) -> pl.DataFrame:
    return tables["prompt_judges"].filter(task=item.task, procedure=item.procedure)
