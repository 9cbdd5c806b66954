"""This project's checks of the judge: other sizes, and pairs shared with the reward model."""

from __future__ import annotations

from typing import Literal

import polars as pl

from infalign.mathematics.statistics import difference_at_kl, paired_difference
from infalign.presentation.curves import reaches
from infalign.presentation.judge_strength import EQUAL, judged_curve
from infalign.presentation.measures.base import (
    Bootstrap,
    Measured,
    PositiveKL,
    ProcedureText,
    Strict,
    Tables,
    TransformText,
    undefined,
)
from infalign.presentation.verdicts import LEVEL
from infalign.records.judge_sizes import GOLD


class JudgedDifference(Strict):
    """Win rate of a transform's policies less those on the raw reward at a KL, under each judge of a kind."""

    kind: Literal["judged_difference"]
    task: str
    procedure: ProcedureText
    transform: TransformText
    judges: Literal["independent", "leaked", "reward_model"] = "independent"
    kl: PositiveKL = 0.5


class JudgeExcess(Strict):
    """Win rate of the policy on the raw reward with the largest KL under one judge, less that under another."""

    kind: Literal["judge_excess"]
    task: str
    procedure: ProcedureText
    judge: Literal["leaked", "reward_model"]
    over: Literal["independent", "gold"]


def judged_difference(item: JudgedDifference, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Differences of trained curves, as many as there are judges of the kind."""
    rows = _rows(item, tables)
    if rows is None or rows.filter(kind=item.judges).is_empty():
        return Measured((), f"no {item.judges} judges of task {item.task}")
    intervals = []
    for _, part in rows.filter(kind=item.judges).group_by("judge", maintain_order=True):
        meant, raw = (judged_curve(part, name) for name in (item.transform, "raw"))
        if not (reaches(meant, item.kl) and reaches(raw, item.kl)):
            return Measured((), f"KL {item.kl:g} not well within the trained range")
        gap = difference_at_kl(meant, raw, item.kl, LEVEL, bootstrap.resamples, bootstrap.seed)
        intervals.append(gap)
    names = rows.filter(kind=item.judges)["judge"].unique(maintain_order=True)
    found = () if any(map(undefined, intervals)) else tuple(intervals)
    return Measured(found, f"judges {', '.join(names)}")


def judge_excess(item: JudgeExcess, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Paired difference of two judges' win rates of one policy."""
    rows = _rows(item, tables)
    raw = None if rows is None else rows.filter(transform="raw")
    if raw is None or raw.is_empty():
        return Measured((), f"no judges of task {item.task} compared")
    means = raw.group_by("policy").agg(pl.col("kl").mean()).sort("kl", "policy")
    policy, kl = means.row(-1)
    own = raw.filter(policy=policy)
    sides = [own.filter(judge=name) for name in (item.judge, GOLD if item.over == "gold" else EQUAL)]
    if any(side.is_empty() for side in sides):
        return Measured((), f"no {item.judge} or {item.over} judge of task {item.task}")
    ours, theirs = (side["win_rate"].to_numpy() for side in sides)
    gap = paired_difference(ours, theirs, LEVEL, bootstrap.resamples, bootstrap.seed)
    return Measured(() if undefined(gap) else (gap,), f"{policy} at KL {kl:.2f}")


def _rows(item: JudgedDifference | JudgeExcess, tables: Tables) -> pl.DataFrame | None:
    if tables.prompt_judges is None:
        return None
    return tables.prompt_judges.filter(task=item.task, procedure=item.procedure)
