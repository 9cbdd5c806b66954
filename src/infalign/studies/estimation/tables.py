"""Tables of how well M rollouts estimate the reward's distribution, from scored rollouts of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

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
    **dict.fromkeys(("task", "sampling"), pl.String),
    "n_full": pl.Int64,
    "level": pl.Float64,
    **{name: pl.Int64 if name in COUNTS else pl.Float64 for name in KSRow.__dataclass_fields__},
}
LOG_DISTRIBUTION_SCHEMA = {
    **dict.fromkeys(("task", "kind", "prompt_id"), pl.String),
    "mean_reward": pl.Float64,
    "size": pl.Int64,
    **dict.fromkeys(("reward", "log_f", "log_a", "b"), pl.Float64),
}


def estimation_table(rewards: NDArray[np.float64], settings: Estimation, seed: int = 0) -> pl.DataFrame:
    """Test M rollouts against many for each M, the M among the many (nested) and apart from them (independent).

    Parameters
    ----------
    rewards : ndarray, shape (P, K)
        K = `settings.n_rollouts`.
    settings : Estimation
        Of the tests.
    seed : int
        Of the draws.

    Returns
    -------
    DataFrame
        Columns ESTIMATION_SCHEMA, a row for each sampling and M.

    References
    ----------
    Amini et al. 2025, Variational best-of-N alignment, section 5.1, table 1.
    """
    key = {"task": settings.task, "n_full": settings.n_full, "level": settings.level}
    options: dict[str, Any] = {"n_full": settings.n_full, "level": settings.level, "seed": seed}
    rows = [
        {**key, "sampling": sampling, **asdict(row)}
        for sampling in ("nested", "independent")
        for row in ks_table(rewards, settings.sizes, nested=sampling == "nested", **options)
    ]
    return pl.DataFrame(rows, schema=ESTIMATION_SCHEMA)


def shown_prompts(rewards: NDArray[np.float64]) -> list[int]:
    """Return the rows of the prompts of the lowest, the median and the highest mean reward.

    Parameters
    ----------
    rewards : ndarray, shape (P, K)
        Prompts whose rewards are all equal are passed over.

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
    """Estimate log F of three prompts from more and more rollouts, and fit a curve to the estimates from the most.

    F is counted as vBoN counts it, (1 + below)/(1 + M), so that nothing is the logarithm of 0.

    Parameters
    ----------
    prompt_ids : sequence of str
        Of the rows of `rewards`.
    rewards : ndarray, shape (P, K)
        K at least `settings.n_full`; the first `n_full` are used.
    settings : Estimation
        Its sizes and n_full are the M.

    Returns
    -------
    DataFrame
        Columns LOG_DISTRIBUTION_SCHEMA, a row for each prompt, M and different reward. log_a and b are those of
        the fit log F = −exp(log_a − b·reward).

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
        prompt_id, drawn = prompt_ids[row], rewards[row]
        fit = exponential_fit(drawn, log_distribution_estimates(drawn, [len(drawn)], drawn)[0], prompt_id)
        key = {
            "task": settings.task,
            "kind": kind,
            "prompt_id": prompt_id,
            "mean_reward": float(drawn.mean()),
        }
        at = np.unique(drawn)
        for size, log_f in zip(sizes, log_distribution_estimates(drawn, sizes, at), strict=True):
            values = {"size": size, "reward": at, "log_f": log_f, **asdict(fit)}
            parts.append(pl.DataFrame({**key, **values}, schema=LOG_DISTRIBUTION_SCHEMA))
    return pl.concat(parts)
