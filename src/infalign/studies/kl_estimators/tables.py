"""Three estimates of each policy's KL divergence from the reference, on the same responses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from infalign.errors import InputError
from infalign.mathematics.divergence import k3_kl, log_ratio_kl
from infalign.mathematics.statistics import (
    Interval,
    bootstrap_mean,
    paired_difference,
    percentile_interval,
    resample_weights,
)
from infalign.records.config import Evaluation

ESTIMATORS = ("full_vocabulary", "k1", "k3")
ESTIMATOR_SCHEMA = {
    "task": pl.String,
    "policy": pl.String,
    "estimator": pl.String,
    "kl": pl.Float64,
    "kl_low": pl.Float64,
    "kl_high": pl.Float64,
    "difference": pl.Float64,
    "difference_low": pl.Float64,
    "difference_high": pl.Float64,
    "variance": pl.Float64,
    "variance_ratio": pl.Float64,
    "ratio_low": pl.Float64,
    "ratio_high": pl.Float64,
    "n_prompts": pl.Int64,
    "n_samples": pl.Int64,
}


def estimates_by_prompt(scores: pl.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Estimate the KL from every response of a policy.

    Parameters
    ----------
    scores : columns prompt_id, sample_id, log_prob, reference_log_prob and kl (the full-vocabulary KL summed
        over the response), in nats; m responses to each prompt.

    Returns
    -------
    For each of ESTIMATORS an array (P, m), prompts in the order of their ids.

    Raises
    ------
    InputError
        The prompts have different numbers of responses, or one only, which has no variance.
    """
    ordered = scores.sort("prompt_id", "sample_id")
    counts = ordered.group_by("prompt_id", maintain_order=True).len()["len"]
    fewest, most = int(counts.min()), int(counts.max())  # type: ignore[arg-type]
    if fewest != most or most < 2:
        raise InputError(
            f"KL estimates need the same number of responses to each prompt, 2 or more, got from {fewest} to {most}; "
            "sample the policy again"
        )
    log_prob, reference = (ordered[name].to_numpy() for name in ("log_prob", "reference_log_prob"))
    found = {
        "full_vocabulary": ordered["kl"].to_numpy(),
        "k1": log_ratio_kl(log_prob, reference),
        "k3": k3_kl(log_prob, reference),
    }
    return {name: found[name].reshape(len(counts), most) for name in ESTIMATORS}


def estimator_rows(task: str, policy: str, scores: pl.DataFrame, evaluation: Evaluation) -> list[dict]:
    """Compare the estimates of a policy's KL.

    Parameters
    ----------
    task, policy : whose responses they are.
    scores : as in `estimates_by_prompt`.
    evaluation : level, resamples and seed of the intervals, over prompts.

    Returns
    -------
    Rows of a table with the columns ESTIMATOR_SCHEMA, one an estimator. `difference`: its mean less that of
    the full vocabulary, paired by prompt. `variance`: of a single response's estimate within a prompt, mean
    over prompts; `variance_ratio`: over that of the full vocabulary, null where that is 0.
    """
    options = evaluation.level, evaluation.resamples, evaluation.seed
    estimates = estimates_by_prompt(scores)
    full = estimates["full_vocabulary"]
    rows = []
    for name, values in estimates.items():
        mean = bootstrap_mean(values.mean(axis=1), *options)
        gap = paired_difference(values.mean(axis=1), full.mean(axis=1), *options)
        variances = values.var(axis=1, ddof=1)
        ratio = _ratio(variances, full.var(axis=1, ddof=1), *options)
        numbers = [
            *(mean.estimate, mean.low, mean.high),
            *(gap.estimate, gap.low, gap.high),
            *(float(variances.mean()), ratio.estimate, ratio.low, ratio.high),
        ]
        known = [None if np.isnan(number) else number for number in numbers]
        rows.append(dict(zip(ESTIMATOR_SCHEMA, (task, policy, name, *known, *values.shape), strict=True)))
    return rows


def _ratio(
    a: NDArray[np.float64], b: NDArray[np.float64], level: float, resamples: int, seed: int
) -> Interval:
    """Ratio of the means of two non-negative numbers a prompt, prompts resampled; NaN where b is 0 throughout."""
    weights = resample_weights(len(a), resamples, seed)
    below = weights @ b
    ratios = np.divide(weights @ a, below, out=np.full_like(below, np.nan), where=below > 0)
    return percentile_interval(ratios, level)


def estimator_table(rows: Sequence[dict]) -> pl.DataFrame:
    """Put the rows of `estimator_rows` into a table."""
    return pl.DataFrame(rows, schema=ESTIMATOR_SCHEMA)
