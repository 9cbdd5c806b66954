"""Tables of calibration quality: errors of calibrated rewards, and the frontiers of policies that maximise them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from infalign.errors import InputError
from infalign.mathematics.calibration import sigmoid_scores
from infalign.mathematics.statistics import percentile_interval, resample_weights
from infalign.records.config import Evaluation, Goal
from infalign.records.metrics import group_scores
from infalign.studies.calibration.block import Calibration
from infalign.studies.calibration.mathematics import (
    calibrate,
    disjoint_draws,
    rank_errors,
    tilt_values,
    tilted_win_rates,
)

GRID = np.linspace(0.0, 1.0, 51)
CASE = {"task": pl.String, "calibrator": pl.String, "n_rollouts": pl.Int64}
INTERVAL = {"ci_low": pl.Float64, "ci_high": pl.Float64}
POINT = {
    "task": pl.String,
    "transform": pl.String,
    "calibrator": pl.String,
    "n_rollouts": pl.Int64,
    "procedure": pl.String,
    "scorer": pl.String,
    "kl": pl.Float64,
}
CALIBRATION_SCHEMAS: dict[str, dict[str, Any]] = {
    "calibration_error": {**CASE, "error": pl.Float64, "share": pl.Float64, **INTERVAL},
    "prompt_calibration_error": {**CASE, "prompt_id": pl.String, "error": pl.Float64},
    "calibration_frontier": {**POINT, "win_rate": pl.Float64, **INTERVAL},
    "prompt_calibration_frontier": {**POINT, "prompt_id": pl.String, "win_rate": pl.Float64},
}
COSTS_SCHEMA = {
    "task": pl.String,
    "part": pl.String,
    "n_rollouts": pl.Int64,
    "n_policies": pl.Int64,
    "seconds": pl.Float64,
    "training_share": pl.Float64,
}


@dataclass(frozen=True)
class Measured:
    """Two sets of a task's reference responses to the same prompts.

    Parameters
    ----------
    task : its name.
    table : rewards of the rollouts that calibrate, (P, K).
    scores : reward, judge and gold (where there is one) of those that are measured, each (P, M).
    prompt_ids : of the rows.
    """

    task: str
    table: NDArray[np.float64]
    scores: dict[str, NDArray[np.float64]]
    prompt_ids: list[str]

    @property
    def offset(self) -> float:
        """Mean reward of the rollouts that calibrate, as in training."""
        return float(self.table.mean())


def measured_responses(task: str, table: pl.DataFrame, measured: pl.DataFrame) -> Measured:
    """Arrange scored rollouts, those that calibrate and those that are measured.

    Raises
    ------
    InputError
        The two tables have different prompts.
    """
    calibrating, own = group_scores(table), group_scores(measured)
    prompt_ids = [prompt.prompt_id for prompt in own]
    if [prompt.prompt_id for prompt in calibrating] != prompt_ids:
        raise InputError(
            f"calibration of task {task}: the rollouts that calibrate and those that are measured have different "
            "prompts; sample both again"
        )
    names = [name for name in ("reward", "judge", "gold") if name in own[0].columns]
    return Measured(
        task,
        np.stack([prompt["reward"] for prompt in calibrating]),
        {name: np.stack([prompt[name] for prompt in own]) for name in names},
        prompt_ids,
    )


def calibrations(settings: Calibration, n_rollouts: int) -> list[tuple[str | None, int | None]]:
    """List calibrators with their numbers of rollouts; None and None is the uncalibrated reward.

    Examples
    --------
    >>> calibrations(Calibration(rollouts=[1, 8], anchors=[1, 2]), 8)
    [(None, None), ('anchors(1)', 1), ('anchors(1)', 8), ('anchors(2)', 8), ('empirical', 8)]
    """
    medians = [("anchors(1)", n) for n in settings.rollouts]
    anchored = [(f"anchors({p})", n_rollouts) for p in settings.anchors]
    return list(dict.fromkeys([(None, None), *medians, *anchored, ("empirical", n_rollouts)]))


def calibration_tables(
    responses: Measured, goal: Goal, settings: Calibration, evaluation: Evaluation
) -> dict[str, pl.DataFrame]:
    """Measure every calibration of a task.

    Parameters
    ----------
    responses : rollouts that calibrate, and others that are measured.
    goal : procedure and transform of the task; beside them the identity without a procedure is measured.
    settings : calibrations and KL budgets.
    evaluation : level, resamples and seed of the intervals.

    Returns
    -------
    By name, with the columns CALIBRATION_SCHEMAS. A calibrator of null is the reward itself: its sigmoid
    less the mean for the error, its own tilt (transform raw) for the frontier. `error` of `calibration_error`
    is a bound, `share` that of the responses whose error is no larger.

    References
    ----------
    Balashankar et al. 2025, InfAlign, section 6.2 and the appendix on anchor points.
    """
    parts: dict[str, list[pl.DataFrame]] = {name: [] for name in CALIBRATION_SCHEMAS}

    def add(name: str, rows: list[tuple]) -> None:  # as tuples the rows of all prompts would fill the memory
        parts[name].append(pl.DataFrame(rows, schema=CALIBRATION_SCHEMAS[name], orient="row"))

    for calibrator, n in calibrations(settings, responses.table.shape[1]):
        calibrated = _calibrated(responses, calibrator, n, settings.draws)
        case = (responses.task, calibrator, n)
        scores = sigmoid_scores(calibrated, responses.offset) if calibrator is None else calibrated
        errors = rank_errors(scores, responses.scores["reward"])
        add("calibration_error", [(*case, *point) for point in _distribution(errors, evaluation)])
        pairs = zip(responses.prompt_ids, errors.mean(axis=(0, 2)), strict=True)
        add("prompt_calibration_error", [(*case, *pair) for pair in pairs])
        for key, rates in _frontier(responses, calibrator, n, calibrated, goal, settings):
            add("calibration_frontier", [(*key, *_mean(rates, evaluation))])
            pairs = zip(responses.prompt_ids, rates, strict=True)
            add("prompt_calibration_frontier", [(*key, *pair) for pair in pairs])
    return {name: pl.concat(tables) for name, tables in parts.items()}


def _calibrated(
    responses: Measured, calibrator: str | None, n: int | None, draws: int, ties: str = "half"
) -> NDArray[np.float64]:
    """Calibrated rewards by each set of rollouts, (D, P, M); the rewards themselves for None."""
    rewards = responses.scores["reward"]
    if calibrator is None or n is None:
        return rewards[None]
    sets = disjoint_draws(responses.table, n, draws)
    return np.stack([calibrate(rewards, own, calibrator, responses.offset, ties) for own in sets])


def _frontier(
    responses: Measured,
    calibrator: str | None,
    n: int | None,
    calibrated: NDArray[np.float64],
    goal: Goal,
    settings: Calibration,
) -> Iterator[tuple[tuple, NDArray[np.float64]]]:
    """Yield the key of each point, without a procedure and at the goal, and its win rates by prompt."""
    for wanted, procedure in dict.fromkeys([("identity", "none"), (goal.transform, goal.procedure)]):
        transform = "raw" if calibrator is None else wanted
        strict = transform == "log" and calibrator == "empirical"
        by = _calibrated(responses, calibrator, n, settings.draws, "strict") if strict else calibrated
        for kl in settings.kl:
            values, beta = tilt_values(by, transform, kl=kl, n_rollouts=n if strict else None)
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


def costs_table(
    task: str, n_rollouts: int, sampling: float, scoring: float, training: Sequence[float]
) -> pl.DataFrame:
    """Set the seconds of a task's rollouts, which all its policies share, against those of training one.

    Parameters
    ----------
    task : its name.
    n_rollouts : K, to each training prompt.
    sampling, scoring : seconds of the two jobs, loading the models included; the judge scores too.
    training : seconds of the updates of each policy; empty where none was trained.

    Returns
    -------
    Columns COSTS_SCHEMA: a row for sampling, scoring, both, and the median training; `training_share` is the
    seconds over those of the median training, null without one.

    Examples
    --------
    >>> costs_table("helpful", 100, 20.0, 10.0, [50.0, 60.0, 90.0])["training_share"].to_list()[2:]
    [0.5, 1.0]
    """
    median = float(np.median(training)) if len(training) else None
    parts = {"sampling": sampling, "scoring": scoring, "rollouts and scores": sampling + scoring}
    rows: list[tuple] = [(task, part, n_rollouts, None, seconds) for part, seconds in parts.items()]
    rows.append((task, "training a policy", None, len(training), median))
    shares = [(*row, None if median is None or row[-1] is None else row[-1] / median) for row in rows]
    return pl.DataFrame(shares, schema=COSTS_SCHEMA, orient="row")
