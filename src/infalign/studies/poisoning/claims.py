"""Claims on reward models trained on poisoned pairs (InfAlign, appendix on reward hacking)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field

from infalign.errors import InputError
from infalign.mathematics.statistics import Bootstrap, Interval, bootstrap_ratio
from infalign.presentation.measures.base import ClaimKind, Measured, Tables, undefined

Side = tuple[str, str]  # model and test set
Gap = tuple[Side, Side | None]  # None: one half
PoisonedModel = Literal["bradley_terry", "calibrated_pairs", "calibrated_rollouts"]


class PoisonedClaim(ClaimKind):
    """What claims on poisoned pairs share: they are measured at each rate above 0 of each task, over all seeds."""

    reads: ClassVar = ("prompt_poisoning",)
    absent: ClassVar = "no reward models trained on poisoned pairs"
    tasks: tuple[str, ...] = Field(min_length=1)


class PoisonedLead(PoisonedClaim):
    """Accuracy of a calibrated model less that of the Bradley-Terry one on the poisoned set.

    It counts only where the calibrated model has learnt something: its accuracy on the clean set less one half
    must satisfy the claim as well. A model that knows nothing orders half of any pairs right.
    """

    kind: Literal["poisoned_lead"]
    model: Literal["calibrated_pairs", "calibrated_rollouts"]

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Paired differences on the poisoned set, and what is known on the clean set."""
        lead: Gap = ((self.model, "poisoned"), ("bradley_terry", "poisoned"))
        return _gaps(self, [lead, ((self.model, "clean"), None)], tables, bootstrap)


class PoisonedDrop(PoisonedClaim):
    """Accuracy of a model on the clean set less that on the poisoned set."""

    kind: Literal["poisoned_drop"]
    model: PoisonedModel = "bradley_terry"

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Paired differences of the two sets."""
        return _gaps(self, [((self.model, "clean"), (self.model, "poisoned"))], tables, bootstrap)


def _gaps(claim: PoisonedClaim, gaps: Sequence[Gap], tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Differences between two (model, test set), or of one from one half, at each task and rate."""
    rows = tables["prompt_poisoning"].filter(pl.col("rate") > 0, pl.col("task").is_in(list(claim.tasks)))
    absent = [task for task in claim.tasks if task not in rows["task"]]
    if absent:
        return Measured((), f"no poisoned pairs of task {', '.join(absent)}")
    parts = rows.group_by("task", "rate", maintain_order=True)
    intervals = tuple(_gap(part, *gap, bootstrap) for _, part in parts for gap in gaps)
    rates = ", ".join(f"{rate:g}" for rate in sorted(rows["rate"].unique()))
    note = f"rates {rates}; seeds: {rows['seed'].n_unique()}"
    return Measured(() if any(map(undefined, intervals)) else intervals, note)


def _gap(rows: pl.DataFrame, a: Side, b: Side | None, bootstrap: Bootstrap) -> Interval:
    totals, sizes, prompts = _right(rows, a)
    others = 0.5 * sizes
    if b is not None:
        others, other_sizes, other_prompts = _right(rows, b)
        if prompts != other_prompts or not np.array_equal(sizes, other_sizes):
            raise InputError(
                f"prompt_poisoning: {a[0]} on the {a[1]} set and {b[0]} on the {b[1]} set have different pairs; make "
                "the table again"
            )
    return bootstrap_ratio(totals - others, sizes, *bootstrap)


def _right(rows: pl.DataFrame, side: Side) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Pairs ordered right, pairs, and prompts of a model on a test set, all seeds together; shape (P,)."""
    grouped = rows.filter(model=side[0], test_set=side[1]).group_by("prompt_id")
    sums = grouped.agg(right=(pl.col("accuracy") * pl.col("n_pairs")).sum(), n_pairs=pl.col("n_pairs").sum())
    sums = sums.sort("prompt_id")
    return sums["right"].to_numpy(), sums["n_pairs"].to_numpy(), sums["prompt_id"].to_list()
