"""Claims on calibration from few rollouts and with few anchors (InfAlign, appendix on anchor points)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field

from infalign.errors import InputError
from infalign.mathematics.statistics import Bootstrap
from infalign.presentation.measures.base import (
    CalibratorText,
    ClaimKind,
    Measured,
    PositiveKL,
    ProcedureText,
    Tables,
    TransformText,
    mean_interval,
)
from infalign.records.block import Block

VALUE_TABLES = {"error": "error", "win_rate": "frontier"}


class CalibratedReward(Block):
    """A calibration; without a calibrator the uncalibrated reward."""

    calibrator: CalibratorText | None = None
    n_rollouts: int | None = Field(None, ge=1, description="default: the most that the calibrator has")

    def __str__(self) -> str:
        if self.calibrator is None:
            return "uncalibrated"
        return self.calibrator + (f" K={self.n_rollouts}" if self.n_rollouts else "")


class CalibrationMeasure(Block):
    """Calibrations compared on one task, before any training, paired by prompt.

    `error`: the mean absolute error out of sample. `win_rate`: that of the offline frontier at a KL, by the
    transform of the calibrated reward and after the procedure.
    """

    task: str
    value: Literal["error", "win_rate"]
    transform: TransformText | None = Field(None, description="of a win rate")
    procedure: ProcedureText = "none"
    scorer: Literal["judge", "gold", "reward"] = "judge"
    kl: PositiveKL = 0.5


class CalibrationDifference(CalibrationMeasure, ClaimKind):
    """The value of `a` less that of each of `b`."""

    reads: ClassVar = ("prompt_calibration_error", "prompt_calibration_frontier")
    absent: ClassVar = "no calibrations were compared"
    kind: Literal["calibration_difference"]
    a: CalibratedReward
    b: tuple[CalibratedReward, ...] = Field(min_length=1)

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Paired differences of two calibrations."""
        values, problem = _values(self, (self.a, *self.b), tables)
        if problem:
            return Measured((), problem)
        first, *others = values
        return Measured(tuple(mean_interval(first - other, bootstrap) for other in others), _note(self))


class CalibrationSaturation(CalibrationMeasure, ClaimKind):
    """How much less the second of two steps brings than the first; the first must bring something as well.

    With the values v1, v2, v3: (v2 - v1) - (v3 - v2), and v2 - v1 itself. Steps of an error count as its fall.
    """

    reads: ClassVar = ("prompt_calibration_error", "prompt_calibration_frontier")
    absent: ClassVar = "no calibrations were compared"
    kind: Literal["calibration_saturation"]
    steps: tuple[CalibratedReward, CalibratedReward, CalibratedReward]

    def measure(self, tables: Tables, bootstrap: Bootstrap) -> Measured:
        """Paired difference of two steps, and the first step."""
        values, problem = _values(self, self.steps, tables)
        if problem:
            return Measured((), problem)
        sign = -1.0 if self.value == "error" else 1.0
        first, second = sign * (values[1] - values[0]), sign * (values[2] - values[1])
        return Measured(tuple(mean_interval(gap, bootstrap) for gap in (first - second, first)), _note(self))


def _note(claim: CalibrationMeasure) -> str:
    return "out of sample" if claim.value == "error" else f"offline frontier at KL {claim.kl:g}, out of sample"


def _values(
    claim: CalibrationMeasure, rewards: Sequence[CalibratedReward], tables: Tables
) -> tuple[list[np.ndarray], str]:
    """Values by prompt of each calibration, or which of them there are none of."""
    rows = tables[f"prompt_calibration_{VALUE_TABLES[claim.value]}"].filter(task=claim.task)
    if claim.value == "win_rate":
        rows = rows.filter(procedure=claim.procedure, scorer=claim.scorer, kl=claim.kl)
    parts = [_of_calibration(rows, claim, reward) for reward in rewards]
    absent = [str(reward) for reward, part in zip(rewards, parts, strict=True) if part.is_empty()]
    if absent:
        place = "" if claim.value == "error" else f" with {claim.procedure} at KL {claim.kl:g}"
        return [], f"no calibration {', '.join(absent)} of task {claim.task}{place}"
    if not all(part["prompt_id"].equals(parts[0]["prompt_id"]) for part in parts):
        raise InputError(
            f"calibration of task {claim.task}: what is compared has different prompts; make the tables again"
        )
    return [part[claim.value].to_numpy() for part in parts], ""


def _of_calibration(rows: pl.DataFrame, claim: CalibrationMeasure, reward: CalibratedReward) -> pl.DataFrame:
    rows = rows.filter(pl.col("calibrator").eq_missing(pl.lit(reward.calibrator, pl.String)))
    if claim.value == "win_rate" and reward.calibrator is not None:
        rows = rows.filter(transform=claim.transform)
    if reward.calibrator is not None:
        most = rows["n_rollouts"].max() if reward.n_rollouts is None else reward.n_rollouts
        rows = rows.filter(pl.col("n_rollouts").eq_missing(pl.lit(most, pl.Int64)))
    return rows.sort("prompt_id")
