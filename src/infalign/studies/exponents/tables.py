"""Win rate over the exponent of exponential transforms: the ideal and offline frontiers, and trained policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from infalign.mathematics.frontier import ideal, offline
from infalign.mathematics.optimum import optimal
from infalign.mathematics.procedures import parse_procedure
from infalign.mathematics.statistics import Bootstrap, bootstrap_mean, interval_columns, value_at_kl
from infalign.mathematics.transforms import parse_transform
from infalign.presentation.curves import reaches, strength_curve
from infalign.records.config import Config
from infalign.records.scores import scores_by_prompt
from infalign.studies.exponents.block import Exponents
from infalign.studies.exponents.mathematics import best_exponent, exponential, meant_sign

POINTS_A_SIDE = 40  # exponents of the ideal curve on each side of the middle
ExponentCase = tuple[str, str, int]
"""Task, procedure and its N."""
INTERVAL = ("win_rate", "ci_low", "ci_high")
EXPONENTS_SCHEMA = {
    **dict.fromkeys(("kind", "task", "procedure"), pl.String),
    "n": pl.Int64,
    "transform": pl.String,
    **dict.fromkeys(("t", "kl", *INTERVAL), pl.Float64),
}
BEST_SCHEMA = {
    **dict.fromkeys(("task", "procedure"), pl.String),
    "n": pl.Int64,
    **dict.fromkeys(("kl", "t", "win_rate"), pl.Float64),
    "at_bound": pl.Boolean,
    **dict.fromkeys(("enough", "identity_win_rate", "t10_win_rate", "optimal_win_rate"), pl.Float64),
}


def exponent_tables(
    block: Exponents,
    config: Config,
    metrics: pl.DataFrame,
    prompt_metrics: pl.DataFrame,
    scores: Mapping[str, pl.DataFrame],
) -> dict[str, pl.DataFrame]:
    """Compare exponents for each task and N.

    Parameters
    ----------
    block : Exponents
        Exponents, N and KL.
    config : Config
        Tasks with their goals, and the evaluation.
    metrics, prompt_metrics : DataFrame
        Tables of the run, main condition.
    scores : mapping of str to DataFrame
        Task to the scores of its reference's rollouts to the evaluation prompts.

    Returns
    -------
    dict
        The tables `exponents` (EXPONENTS_SCHEMA) and `best_exponents` (BEST_SCHEMA).
    """
    families = {task: parse_procedure(goal.procedure).name for task, goal in config.goals.items()}
    cases = [(task, f"{family}({n})", n) for task, family in families.items() for n in block.n]
    bootstrap = config.evaluation.bootstrap
    procedures = dict.fromkeys(case[1:] for case in cases)
    rows = [row for procedure, n in procedures for row in _ideal_rows(procedure, n, block)]
    best = [_best_row(*case, block, config.tasks[case[0]].rollouts.n_rollouts) for case in cases]
    for task in families:
        chosen = [row for row in best if row["task"] == task]
        rows += _offline_rows(chosen, block, scores[task], bootstrap)
    rows += trained_rows(metrics, prompt_metrics, cases, block.kl, bootstrap)
    return {
        "exponents": pl.DataFrame(rows, schema=EXPONENTS_SCHEMA),
        "best_exponents": pl.DataFrame(best, schema=BEST_SCHEMA),
    }


def _ideal_rows(procedure: str, n: int, block: Exponents) -> Iterator[dict]:
    """The ideal frontier at the exponents of the configuration and between them."""
    between = np.linspace(min(block.t), max(block.t), 2 * POINTS_A_SIDE + 1).round(6).tolist()
    for t in sorted({*map(float, block.t), *between}):
        point = ideal(exponential(t), procedure, kl=block.kl)
        key = {"kind": "ideal", "procedure": procedure, "n": n, "transform": point.transform}
        yield {**key, "t": t, "kl": block.kl, "win_rate": point.win_rate}


def _best_row(task: str, procedure: str, n: int, block: Exponents, n_rollouts: int) -> dict:
    """The exponent that theory chooses, at most K in size, and what the identity, t = 10 and the optimum reach."""
    kl = block.kl
    best = best_exponent(procedure, kl, n_rollouts)
    rivals = {"identity": exponential(0), "t10": exponential(10 * meant_sign(procedure))}
    rates = {f"{name}_win_rate": ideal(rival, procedure, kl=kl).win_rate for name, rival in rivals.items()}
    rates["optimal_win_rate"] = optimal(procedure, kl=kl).win_rate
    return {"task": task, "procedure": procedure, "n": n, "kl": kl, **vars(best), **rates}


def _offline_rows(best: Sequence[dict], block: Exponents, scores: pl.DataFrame, bootstrap: Bootstrap) -> Iterator[dict]:
    """The offline frontier of one task at each exponent, at the best one of each N, and of the raw reward."""
    arrays = scores_by_prompt(scores)
    for row in best:
        exponents: list[float | None] = [*sorted({*map(float, block.t), row["t"]}), None]
        for t in exponents:
            transform = "raw" if t is None else exponential(t).text
            point = offline(arrays["reward"], arrays["judge"], transform, row["procedure"], "reward", kl=block.kl)
            mean = bootstrap_mean(point.win_rate_by_prompt, *bootstrap)
            key = {"kind": "offline", **{name: row[name] for name in ("task", "procedure", "n")}}
            yield {**key, "transform": transform, "t": t, "kl": block.kl, **interval_columns(INTERVAL, mean)}


def exponent_of(transform: str) -> float | None:
    """Return the t of an exponential transform, 0 for the identity, None for any other.

    Examples
    --------
    >>> exponent_of("exp(-10)"), exponent_of("identity"), exponent_of("log")
    (-10.0, 0.0, None)
    """
    parsed = parse_transform(transform)
    return 0.0 if parsed.name == "identity" else parsed.exponent


def trained_rows(
    metrics: pl.DataFrame,
    prompt_metrics: pl.DataFrame,
    cases: Sequence[ExponentCase],
    kl: float,
    bootstrap: Bootstrap,
) -> Iterator[dict]:
    """Win rates of the trained series at a KL, interpolated between policies on both sides of it.

    The series are PPO on the identity, on the exponential transforms and on the raw reward. Those with a
    calibrated reward have the empirical calibration from the most rollouts.

    Parameters
    ----------
    metrics, prompt_metrics : DataFrame
        Tables of the run, main condition.
    cases : sequence of ExponentCase
        Task, procedure and N.
    kl : float
        In nats.
    bootstrap : Bootstrap
        Of prompts.

    Yields
    ------
    dict
        Rows with the columns EXPONENTS_SCHEMA; none where the policies do not reach the KL.
    """
    series = metrics.filter(
        pl.col("method") == "ppo", pl.col("calibrator").is_null() | (pl.col("calibrator") == "empirical")
    )
    most = series["n_rollouts"].max()
    series = series.filter(pl.col("n_rollouts").is_null() | (pl.col("n_rollouts") == most))
    for task, procedure, n in cases:
        key = {"task": task, "procedure": procedure, "select": "reward", "scorer": "judge"}
        by_prompt = prompt_metrics.filter(**key)
        for (transform,), policies in series.filter(**key).group_by("transform", maintain_order=True):
            t = exponent_of(str(transform))
            curve = strength_curve(by_prompt, policies, f"on {transform} of task {task}")
            if (t is None and transform != "raw") or not reaches(curve, kl):
                continue
            interval = interval_columns(INTERVAL, value_at_kl(curve, kl, *bootstrap))
            row = {"kind": "trained", "task": task, "procedure": procedure, "n": n, "transform": transform}
            yield {**row, "t": t, "kl": kl, **interval}
