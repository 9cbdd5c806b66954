"""Tables of how well M rollouts estimate the reward's distribution, from scored rollouts of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import polars as pl
from numpy.typing import NDArray

from infalign.errors import InputError
from infalign.studies.estimation.block import Estimation
from infalign.studies.estimation.mathematics import (
    KSRow,
    exponential_fit,
    ks_table,
    log_distribution_estimates,
)

KINDS = ("adversarial", "neutral", "positive")
COUNTS = ("size", "n_prompts", "n_constant", "n_rejected")
ESTIMATION_SCHEMA = {
    "task": pl.String,
    "sampling": pl.String,
    "n_full": pl.Int64,
    "level": pl.Float64,
    **{name: pl.Int64 if name in COUNTS else pl.Float64 for name in KSRow.__dataclass_fields__},
}
LOG_DISTRIBUTION_SCHEMA = {
    "task": pl.String,
    "kind": pl.String,
    "prompt_id": pl.String,
    "mean_reward": pl.Float64,
    "size": pl.Int64,
    "reward": pl.Float64,
    "log_f": pl.Float64,
    "log_a": pl.Float64,
    "b": pl.Float64,
}


def rewards_by_prompt(scores: pl.DataFrame) -> tuple[list[str], NDArray[np.float64]]:
    """Arrange a table of scores as prompt_ids and their rewards, (P, K), in the order they were drawn.

    Raises
    ------
    InputError
        The prompts have different numbers of responses.
    """
    ordered = scores.sort("prompt_id", "sample_id").group_by("prompt_id", maintain_order=True)
    groups = ordered.agg("reward")
    counts = sorted(set(groups["reward"].list.len()))
    if len(counts) != 1:
        raise InputError(
            f"scores: every prompt needs the same number of responses, got from {counts[0]} to {counts[-1]}; "
            "sample them again"
        )
    return groups["prompt_id"].to_list(), np.array(groups["reward"].to_list(), dtype=float)


def estimation_table(rewards: NDArray[np.float64], settings: Estimation, seed: int = 0) -> pl.DataFrame:
    """Test M rollouts against many for each M, the M among the many (nested) and apart from them (independent).

    Parameters
    ----------
    rewards : (P, K), K = `settings.n_rollouts`.
    settings : of the tests.
    seed : of the nested draws.

    Returns
    -------
    Columns ESTIMATION_SCHEMA, a row per sampling and M.

    References
    ----------
    Amini et al. 2025, Variational best-of-N alignment, section 5.1, table 1.
    """
    facts = {"task": settings.task, "n_full": settings.n_full, "level": settings.level}
    rows = []
    for sampling in ("nested", "independent"):
        table = ks_table(
            rewards,
            settings.sizes,
            nested=sampling == "nested",
            n_full=settings.n_full,
            level=settings.level,
            seed=seed,
        )
        rows += [{**facts, "sampling": sampling, **asdict(row)} for row in table]
    return pl.DataFrame(rows, schema=ESTIMATION_SCHEMA)


def shown_prompts(rewards: NDArray[np.float64]) -> list[int]:
    """Rows of the prompts of the lowest, the median and the highest mean reward.

    Parameters
    ----------
    rewards : (P, K); prompts whose rewards are all equal are passed over.

    Raises
    ------
    InputError
        Fewer than three prompts have rewards that differ.
    """
    (varying,) = np.nonzero(np.ptp(rewards, axis=1) > 0)
    if len(varying) < len(KINDS):
        raise InputError(
            f"estimation: {len(varying)} of {len(rewards)} prompts have rewards that differ, "
            f"{len(KINDS)} are shown; raise estimation.n_prompts"
        )
    ordered = varying[np.argsort(rewards[varying].mean(axis=1), kind="stable")]
    return [int(ordered[place]) for place in (0, len(ordered) // 2, -1)]


def log_distribution_table(
    prompt_ids: Sequence[str], rewards: NDArray[np.float64], settings: Estimation
) -> pl.DataFrame:
    """Follow log F as M grows for three prompts, and fit an exponential curve to each at the most rollouts.

    F is counted as vBoN counts it, (1 + below)/(1 + M), so that nothing is the logarithm of 0.

    Parameters
    ----------
    prompt_ids : of the rows of `rewards`.
    rewards : (P, K), K at least `settings.n_full`; the first `n_full` are used.
    settings : its sizes and n_full are the M.

    Returns
    -------
    Columns LOG_DISTRIBUTION_SCHEMA, a row per prompt, M and different reward; log_a and b are those of the
    fit log F = -exp(log_a - b reward).

    Raises
    ------
    InputError
        As `shown_prompts`, or a prompt's log F cannot be fitted.

    References
    ----------
    Amini et al. 2025, Variational best-of-N alignment, section 5.1, figure 3, and footnote 17 (the fit).
    """
    rewards = rewards[:, : settings.n_full]
    sizes = sorted({*settings.sizes, settings.n_full})
    parts = []
    for kind, row in zip(KINDS, shown_prompts(rewards), strict=True):
        name, own = prompt_ids[row], rewards[row]
        fit = exponential_fit(own, log_distribution_estimates(own, [len(own)], own)[0], name)
        facts = {"task": settings.task, "kind": kind, "prompt_id": name, "mean_reward": float(own.mean())}
        at = np.unique(own)
        for size, log_f in zip(sizes, log_distribution_estimates(own, sizes, at), strict=True):
            values = {"size": size, "reward": at, "log_f": log_f, "log_a": fit.log_a, "b": fit.b}
            parts.append(pl.DataFrame({**facts, **values}, schema=LOG_DISTRIBUTION_SCHEMA))
    return pl.concat(parts)
