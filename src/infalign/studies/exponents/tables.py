"""Win rate over the exponent of exponential transforms: the ideal and offline frontiers, and trained policies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple

import numpy as np
import polars as pl

from infalign.mathematics.frontier import ideal, offline
from infalign.mathematics.optimum import optimal
from infalign.mathematics.procedures import parse_procedure
from infalign.mathematics.statistics import bootstrap_mean, value_at_kl
from infalign.mathematics.transforms import parse_transform
from infalign.presentation.curves import Resampling, interval_columns, reaches, strength_curve
from infalign.records.config import Config
from infalign.records.metrics import group_scores
from infalign.studies.exponents.block import Exponents
from infalign.studies.exponents.mathematics import best_exponent, exponential

CURVE = 40  # exponents of the ideal curve on each side
Case = tuple[str, str, int]  # task, procedure, N
EXPONENTS_SCHEMA = {
    **dict.fromkeys(("kind", "task", "procedure"), pl.String),
    "n": pl.Int64,
    "transform": pl.String,
    **dict.fromkeys(("t", "kl", "win_rate", "ci_low", "ci_high"), pl.Float64),
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
    scores_of: Callable[[str], pl.DataFrame],
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
    scores_of : callable
        Task to the scores of its reference's rollouts to the evaluation prompts.

    Returns
    -------
    dict
        The tables `exponents` (EXPONENTS_SCHEMA) and `best_exponents` (BEST_SCHEMA).
    """
    families = {task: parse_procedure(goal.procedure).name for task, goal in config.goals.items()}
    cases = [(task, f"{family}({n})", n) for task, family in families.items() for n in block.n]
    resampling = Resampling(config.evaluation.level, config.evaluation.resamples, config.evaluation.seed)
    procedures = dict.fromkeys(case[1:] for case in cases)
    rows = [row for procedure, n in procedures for row in ideal_rows(procedure, n, block)]
    best = [best_row(*case, block, config.tasks[case[0]].rollouts.n_rollouts) for case in cases]
    for task in families:
        chosen = [row for row in best if row["task"] == task]
        task_cases = [case for case in cases if case[0] == task]
        rows += offline_rows(task_cases, block, chosen, scores_of(task), resampling)
    rows += trained_rows(metrics, prompt_metrics, cases, block.kl, resampling)
    return {
        "exponents": pl.DataFrame(rows, schema=EXPONENTS_SCHEMA),
        "best_exponents": pl.DataFrame(best, schema=BEST_SCHEMA),
    }


def ideal_rows(procedure: str, n: int, block: Exponents) -> Iterator[dict]:
    """The ideal frontier at the exponents of the configuration and between them."""
    between = np.linspace(min(block.t), max(block.t), 2 * CURVE + 1).round(6).tolist()
    for t in sorted({*map(float, block.t), *between}):
        point = ideal(exponential(t), procedure, kl=block.kl)
        facts = {"kind": "ideal", "procedure": procedure, "n": n, "transform": point.transform}
        yield {**facts, "t": t, "kl": block.kl, "win_rate": point.win_rate}


def best_row(task: str, procedure: str, n: int, block: Exponents, n_rollouts: int) -> dict:
    """The exponent that theory chooses, at most K in size, and what others reach."""
    kl = block.kl
    best, sign = best_exponent(procedure, kl, n_rollouts), -1 if procedure.startswith("won") else 1
    facts = {"task": task, "procedure": procedure, "n": n, "kl": kl, "t": best.t, "win_rate": best.win_rate}
    facts |= {"at_bound": best.at_bound, "enough": best.enough}
    rivals = {"identity": exponential(0), "t10": exponential(10 * sign)}
    facts |= {f"{name}_win_rate": ideal(one, procedure, kl=kl).win_rate for name, one in rivals.items()}
    return {**facts, "optimal_win_rate": optimal(procedure, kl=kl).win_rate}


def offline_rows(
    cases: Sequence[Case],
    block: Exponents,
    best: Sequence[dict],
    scores: pl.DataFrame,
    resampling: Resampling,
) -> Iterator[dict]:
    """The offline frontier of one task at each exponent, at the best one, and of the raw reward."""
    prompts = group_scores(scores)
    reward, judge = (np.stack([prompt[name] for prompt in prompts]) for name in ("reward", "judge"))
    for (task, procedure, n), chosen in zip(cases, best, strict=True):
        exponents: list[float | None] = [*sorted({*map(float, block.t), chosen["t"]}), None]
        for t in exponents:
            transform = "raw" if t is None else exponential(t).text
            point = offline(reward, judge, transform, procedure, "reward", kl=block.kl)
            mean = bootstrap_mean(point.win_rate_by_prompt, *astuple(resampling))
            key = {
                "kind": "offline",
                "task": task,
                "procedure": procedure,
                "n": n,
                "transform": transform,
                "t": t,
            }
            yield {**key, "kl": block.kl, "win_rate": mean.estimate, "ci_low": mean.low, "ci_high": mean.high}


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
    cases: Sequence[Case],
    kl: float,
    resampling: Resampling,
) -> Iterator[dict]:
    """Win rates of the trained series at a KL, between policies on both sides of it.

    Parameters
    ----------
    metrics, prompt_metrics : tables of the run.
    cases : task, text form of a procedure, and its n.
    kl : in nats.
    resampling : of prompts.

    Yields
    ------
    Rows of a table with the columns EXPONENTS_SCHEMA: PPO with the empirical calibration of the most rollouts on
    the identity and the exponential transforms, and on the raw reward.
    """
    chosen = metrics.filter(
        pl.col("method") == "ppo", pl.col("calibrator").is_null() | (pl.col("calibrator") == "empirical")
    )
    most = chosen["n_rollouts"].max()
    chosen = chosen.filter(pl.col("n_rollouts").is_null() | (pl.col("n_rollouts") == most))
    for task, procedure, n in cases:
        key = {"task": task, "procedure": procedure, "select": "reward", "scorer": "judge"}
        by_prompt = prompt_metrics.filter(**key)
        for (transform,), policies in chosen.filter(**key).group_by("transform", maintain_order=True):
            t = exponent_of(str(transform))
            curve = strength_curve(by_prompt, policies, f"on {transform} of task {task}")
            if (t is None and transform != "raw") or not reaches(curve, kl):
                continue
            interval = value_at_kl(curve, kl, *astuple(resampling))
            row = {"kind": "trained", "task": task, "procedure": procedure, "n": n, "transform": transform}
            ends = interval_columns(("win_rate", "ci_low", "ci_high"), interval)
            yield {**row, "t": t, "kl": kl, **ends}
