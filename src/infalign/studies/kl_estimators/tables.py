"""Three estimates of each policy's KL divergence from the reference, on the same responses."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from infalign.errors import InputError
from infalign.mathematics.divergence import k3_kl, log_ratio_kl
from infalign.mathematics.statistics import (
    Bootstrap,
    Interval,
    bootstrap_mean,
    interval_columns,
    paired_difference,
    percentile_interval,
    resample_weights,
)

KL = ("kl", "kl_low", "kl_high")
DIFFERENCE = ("difference", "difference_low", "difference_high")
RATIO = ("variance_ratio", "ratio_low", "ratio_high")
ESTIMATOR_SCHEMA = {
    **dict.fromkeys(("task", "policy", "estimator"), pl.String),
    **dict.fromkeys((*KL, *DIFFERENCE, "variance", *RATIO), pl.Float64),
    **dict.fromkeys(("n_prompts", "n_samples"), pl.Int64),
}
SCORE_COLUMNS = ["prompt_id", "sample_id", "log_prob", "reference_log_prob", "kl"]


def estimates_by_prompt(scores: pl.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Estimate the KL from every response of a policy.

    Parameters
    ----------
    scores : DataFrame
        Columns SCORE_COLUMNS, in nats; m responses to each prompt. `kl` is the full-vocabulary KL summed over the
        response.

    Returns
    -------
    dict
        full_vocabulary, k1 and k3: each an array (P, m), prompts in the order of their ids.

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
    estimates = {
        "full_vocabulary": ordered["kl"].to_numpy(),
        "k1": log_ratio_kl(log_prob, reference),
        "k3": k3_kl(log_prob, reference),
    }
    return {name: values.reshape(len(counts), most) for name, values in estimates.items()}


def estimator_rows(task: str, policy: str, scores: pl.DataFrame, bootstrap: Bootstrap) -> list[dict]:
    """Compare the estimates of a policy's KL from the scores that `estimates_by_prompt` reads.

    Returns
    -------
    list of dict
        Rows of a table with the columns ESTIMATOR_SCHEMA, one an estimate. `difference` is its mean less that of
        the full vocabulary, paired by prompt. `variance` is that of one response's estimate within a prompt, mean
        over prompts. `variance_ratio` is the variance over that of the full vocabulary, null where that is 0.
    """
    options = tuple(bootstrap)
    estimates = estimates_by_prompt(scores)
    full = estimates["full_vocabulary"]
    rows = []
    for name, values in estimates.items():
        means, variances = values.mean(axis=1), values.var(axis=1, ddof=1)
        ratio = _ratio(variances, full.var(axis=1, ddof=1), *options)
        row = {"task": task, "policy": policy, "estimator": name, "variance": float(variances.mean())}
        row |= {"n_prompts": values.shape[0], "n_samples": values.shape[1]}
        row |= interval_columns(KL, bootstrap_mean(means, *options))
        row |= interval_columns(DIFFERENCE, paired_difference(means, full.mean(axis=1), *options))
        rows.append(row | interval_columns(RATIO, ratio))
    return rows


def _ratio(a: NDArray[np.float64], b: NDArray[np.float64], level: float, resamples: int, seed: int) -> Interval:
    """Ratio of the means of two non-negative numbers a prompt, prompts resampled; NaN where b is 0 throughout."""
    weights = resample_weights(len(a), resamples, seed)
    below = weights @ b
    ratios = np.divide(weights @ a, below, out=np.full_like(below, np.nan), where=below > 0)
    return percentile_interval(ratios, level)
