"""Tables of calibration quality: errors of calibrated rewards, and the frontiers of policies that maximise them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from infalign.errors import InputError
from infalign.mathematics.calibration import sigmoid_scores
from infalign.mathematics.statistics import percentile_interval, resample_weights
from infalign.records.config import Evaluation, Goal
from infalign.records.scores import scores_by_prompt
from infalign.studies.calibration.block import Calibration
from infalign.studies.calibration.mathematics import (
    calibrated_rewards,
    disjoint_draws,
    rank_errors,
    tilt_values,
    tilted_win_rates,
)

GRID = np.linspace(0.0, 1.0, 51)
CalibrationCase = tuple[str | None, int | None]
"""A calibrator and its number of rollouts; None and None: the uncalibrated reward."""
CASE = {**dict.fromkeys(("task", "calibrator"), pl.String), "n_rollouts": pl.Int64}
POINT = {
    **dict.fromkeys(("task", "transform", "calibrator"), pl.String),
    "n_rollouts": pl.Int64,
    **dict.fromkeys(("procedure", "scorer"), pl.String),
    "kl": pl.Float64,
}
INTERVAL = dict.fromkeys(("ci_low", "ci_high"), pl.Float64)
CALIBRATION_SCHEMAS: dict[str, dict[str, Any]] = {
    "calibration_error": {**CASE, "error": pl.Float64, "share": pl.Float64, **INTERVAL},
    "prompt_calibration_error": {**CASE, "prompt_id": pl.String, "error": pl.Float64},
    "calibration_frontier": {**POINT, "win_rate": pl.Float64, **INTERVAL},
    "prompt_calibration_frontier": {**POINT, "prompt_id": pl.String, "win_rate": pl.Float64},
}


@dataclass(frozen=True)
class MeasuredResponses:
    """Two sets of a task's reference responses to the same P prompts.

    Attributes
    ----------
    task : str
        Its name.
    table : ndarray, shape (P, K)
        Rewards of the rollouts that calibrate.
    scores : dict
        Reward, judge and where there is one gold scores of the responses that are measured, each (P, M).
    prompt_ids : list of str
        Of the rows.
    """

    task: str
    table: NDArray[np.float64]
    scores: dict[str, NDArray[np.float64]]
    prompt_ids: list[str]

    @property
    def offset(self) -> float:
        """Mean reward of the rollouts that calibrate, as in training."""
        return float(self.table.mean())

    def calibrated(self, case: CalibrationCase, draws: int, ties: str = "half") -> NDArray[np.float64]:
        """Calibrate the measured rewards by up to `draws` disjoint sets of rollouts.

        Returns
        -------
        ndarray, shape (D, P, M)
            Uncalibrated: the rewards themselves, D = 1.
        """
        rewards, (calibrator, n) = self.scores["reward"], case
        if calibrator is None or n is None:
            return rewards[None]
        tables = disjoint_draws(self.table, n, draws)
        return np.stack([calibrated_rewards(rewards, table, calibrator, self.offset, ties) for table in tables])


def measured_responses(task: str, calibrating: pl.DataFrame, measured: pl.DataFrame) -> MeasuredResponses:
    """Arrange scored rollouts, those that calibrate and those that are measured.

    Raises
    ------
    InputError
        The two tables have different prompts, or prompts different numbers of responses.
    """
    rollouts, responses = scores_by_prompt(calibrating), scores_by_prompt(measured)
    if rollouts.prompt_ids != responses.prompt_ids:
        raise InputError(
            f"calibration of task {task}: the rollouts that calibrate and those that are measured have different "
            "prompts; sample both again"
        )
    return MeasuredResponses(task, rollouts["reward"], responses.columns, responses.prompt_ids)


def calibrations(settings: Calibration, n_rollouts: int) -> list[CalibrationCase]:
    """List the calibrators with their numbers of rollouts.

    Examples
    --------
    >>> calibrations(Calibration(rollouts=[1, 8], anchors=[1, 2]), 8)
    [(None, None), ('anchors(1)', 1), ('anchors(1)', 8), ('anchors(2)', 8), ('empirical', 8)]
    """
    medians = [("anchors(1)", n) for n in settings.rollouts]
    anchored = [(f"anchors({p})", n_rollouts) for p in settings.anchors]
    return list(dict.fromkeys([(None, None), *medians, *anchored, ("empirical", n_rollouts)]))


def calibration_tables(
    responses: MeasuredResponses, goal: Goal, settings: Calibration, evaluation: Evaluation
) -> dict[str, pl.DataFrame]:
    """Measure every calibration of a task.

    Parameters
    ----------
    responses : MeasuredResponses
        Rollouts that calibrate, and others that are measured.
    goal : Goal
        Procedure and transform of the task. The identity without a procedure is measured too.
    settings : Calibration
        Calibrations and KL budgets.
    evaluation : Evaluation
        Level, resamples and seed of the intervals.

    Returns
    -------
    dict
        By name, with the columns CALIBRATION_SCHEMAS. A calibrator of null is the reward itself. Its error is
        that of the sigmoid of the reward less the mean, its frontier that of its own tilt (transform raw). In
        `calibration_error`, `share` is the share of the responses whose error is at most `error`.

    References
    ----------
    Balashankar et al. 2025, InfAlign, section 6.2 and the appendix on anchor points.
    """
    parts: dict[str, list[pl.DataFrame]] = {name: [] for name in CALIBRATION_SCHEMAS}

    def add(name: str, rows: list[tuple]) -> None:  # as tuples the rows of all prompts would fill the memory
        parts[name].append(pl.DataFrame(rows, schema=CALIBRATION_SCHEMAS[name], orient="row"))

    for case in calibrations(settings, responses.table.shape[1]):
        calibrated, key = responses.calibrated(case, settings.draws), (responses.task, *case)
        scores = sigmoid_scores(calibrated, responses.offset) if case[0] is None else calibrated
        errors = rank_errors(scores, responses.scores["reward"])
        add("calibration_error", [(*key, *point) for point in _distribution(errors, evaluation)])
        by_prompt = zip(responses.prompt_ids, errors.mean(axis=(0, 2)), strict=True)
        add("prompt_calibration_error", [(*key, *pair) for pair in by_prompt])
        for point, rates in _frontier(responses, case, calibrated, goal, settings):
            add("calibration_frontier", [(*point, *_mean(rates, evaluation))])
            by_prompt = zip(responses.prompt_ids, rates, strict=True)
            add("prompt_calibration_frontier", [(*point, *pair) for pair in by_prompt])
    return {name: pl.concat(tables) for name, tables in parts.items()}


def _frontier(
    responses: MeasuredResponses,
    case: CalibrationCase,
    calibrated: NDArray[np.float64],
    goal: Goal,
    settings: Calibration,
) -> Iterator[tuple[tuple, NDArray[np.float64]]]:
    """Yield the key of each point, without a procedure and at the goal, and its win rates by prompt."""
    calibrator, n = case
    for meant, procedure in dict.fromkeys([("identity", "none"), (goal.transform, goal.procedure)]):
        transform = "raw" if calibrator is None else meant
        strict = transform == "log" and calibrator == "empirical"
        rewards = responses.calibrated(case, settings.draws, "strict") if strict else calibrated
        for kl in settings.kl:
            values, beta = tilt_values(rewards, transform, kl=kl, n_rollouts=n if strict else None)
            for scorer, judge in responses.scores.items():
                key = (responses.task, transform, calibrator, n, procedure, scorer, kl)
                yield key, tilted_win_rates(values, beta, responses.scores["reward"], judge, procedure)


def _distribution(errors: NDArray[np.float64], evaluation: Evaluation) -> Iterator[tuple[float | None, ...]]:
    """Yield a bound, the share of errors up to it, and its interval over prompts; errors are (D, P, M)."""
    shares = (errors[..., None] <= GRID + 1e-12).mean(axis=(0, 2))
    for bound, share in zip(GRID, shares.T, strict=True):
        yield float(bound), *_mean(share, evaluation)


def _mean(values: NDArray[np.float64], evaluation: Evaluation) -> tuple[float | None, ...]:
    """Mean over prompts with its percentile interval, null for a single prompt."""
    if len(values) < 2:
        return float(values[0]), None, None
    weights = resample_weights(len(values), evaluation.resamples, evaluation.seed)
    interval = percentile_interval(weights @ values, evaluation.level)
    return interval.estimate, interval.low, interval.high
