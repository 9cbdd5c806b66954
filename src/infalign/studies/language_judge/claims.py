"""Claims on a language model as judge (InfAlign, appendix on the zero-shot prompt)."""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from infalign.mathematics.statistics import Bootstrap, Interval
from infalign.presentation.curves import strength_curve
from infalign.presentation.measures.base import (
    ClaimKind,
    Measured,
    PolicySeries,
    PositiveKL,
    ProcedureText,
    Tables,
    gap_at_kl,
    judged,
    select_policies,
)
from infalign.studies.language_judge.block import LanguageJudge
from infalign.studies.language_judge.pairs import JUDGES

Judge = Literal["language_model", "judge", "gold"]
OTHER_JUDGE = {  # why a claim is not run, by whether it is about a model that learnt to judge
    False: "the language model of this run learnt to judge from pairs, it was not asked without examples",
    True: "the language model of this run did not learn to judge in it",
}


def _learnt(tables: Tables) -> bool:
    return tables.block("judge", LanguageJudge).trained is not None


class PromptedDifference(ClaimKind):
    """Win rate by the language model of series `a` less that of `b` at a common KL, paired by prompt.

    A prompt counts if every policy of both series has a pair on it with two replies that could be read.
    """

    reads: ClassVar = ("language_judge_metrics", "prompt_language_judge_metrics")
    absent: ClassVar = "no language model was asked about {procedure} on task {task}"
    kind: Literal["prompted_difference"]
    task: str
    procedure: ProcedureText
    a: PolicySeries
    b: PolicySeries
    kl: PositiveKL = 0.5
    learnt: bool = Field(False, description="by a language model that learnt to judge in the run")

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Paired difference of two trained curves, both judged by the language model."""
        key = {"task": self.task, "procedure": self.procedure}
        metrics, by_prompt = (tables[name].filter(**key) for name in self.reads)
        if metrics.is_empty():
            return Measured((), self.absent.format(**key))
        if self.learnt != _learnt(tables):
            return Measured((), OTHER_JUDGE[self.learnt])
        sides = {series: select_policies(metrics, series) for series in (self.a, self.b)}
        absent = ", ".join(str(series) for series, policies in sides.items() if policies.is_empty())
        if absent:
            return Measured((), f"the language model judged no policies {absent} on task {self.task}")
        policies = pl.concat(sides.values())["policy"].unique()
        rows = by_prompt.filter(pl.col("policy").is_in(policies.implode()))
        common = rows.filter(pl.col("policy").n_unique().over("prompt_id") == policies.len())
        n_common, n_prompts = (frame["prompt_id"].n_unique() for frame in (common, rows))
        note = f"{n_common} of {n_prompts} prompts"
        if n_common < 2:
            return Measured((), f"too few prompts on which all policies could be judged: {note}")
        curves = [
            (series, strength_curve(common, side, f"{series} of task {self.task}")) for series, side in sides.items()
        ]
        interval = gap_at_kl(curves[0][1], curves[1][1], self.kl, bootstrap)
        measured = judged((interval,), curves, self.kl)
        return Measured(measured.intervals, "; ".join(filter(None, [measured.note, note])))


class JudgeKappa(ClaimKind):
    """Cohen's kappa of two judges on the same pairs of responses, all policies together."""

    reads: ClassVar = ("agreement",)
    absent: ClassVar = "no language model was asked"
    kind: Literal["judge_kappa"]
    task: str
    procedure: ProcedureText
    judges: tuple[Judge, Judge] = Field(description="of language_model, judge and gold two, in this order")
    learnt: bool = Field(False, description="the language model learnt to judge in the run")

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Kappa of the table of agreement with its interval."""
        if self.learnt != _learnt(tables):
            return Measured((), OTHER_JUDGE[self.learnt])
        first, second = sorted(self.judges, key=JUDGES.index)
        rows = tables["agreement"].filter(
            pl.col("policy").is_null(),
            task=self.task,
            procedure=self.procedure,
            scorer_a=first,
            scorer_b=second,
        )
        if rows.is_empty():
            return Measured(
                (), f"{first} and {second} did not judge the same pairs of {self.procedure}, task {self.task}"
            )
        row = rows.row(0, named=True)
        note = f"{row['n_pairs']} pairs, {row['n_prompts']} prompts"
        if row["kappa_low"] is None:
            return Measured((), f"kappa is undefined: {note}")
        return Measured((Interval(row["kappa"], row["kappa_low"], row["kappa_high"]),), note)
