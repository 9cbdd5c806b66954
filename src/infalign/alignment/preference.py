"""Losses on pairs of responses (DPO, IPO, BoNBoN), and the pairs they learn from."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch.nn.functional import logsigmoid

from infalign.errors import InputError


def dpo_loss(chosen_log_ratio: torch.Tensor, rejected_log_ratio: torch.Tensor, beta: float) -> torch.Tensor:
    """Loss of each pair, shape (m,): −log σ(β·h), h = chosen less rejected log π/π_ref in nats.

    Labels that are always those of one reward have no finite optimum: every h grows without limit. Labels
    drawn by Bradley-Terry from a reward r have one, the policy ∝ reference·exp(r / β).

    References
    ----------
    Rafailov et al. 2023, Direct preference optimization, eq. 7.

    Examples
    --------
    >>> round(dpo_loss(torch.tensor([3.0]), torch.tensor([1.0]), 0.5).item(), 4)  # log(1 + 1/e)
    0.3133
    """
    return -logsigmoid(beta * (chosen_log_ratio - rejected_log_ratio))


def ipo_loss(chosen_log_ratio: torch.Tensor, rejected_log_ratio: torch.Tensor, tau: float) -> torch.Tensor:
    """Loss of each pair, shape (m,): (h − 1/(2τ))², h = chosen less rejected log π/π_ref in nats.

    Over all pairs of independent reference responses its optimum is the identity tilt, the policy
    ∝ reference·exp(C / τ): the mean label 2P(y ≻ z) − 1 over z is 2C(y) − 1. This also holds without the pairs of
    one and the same response, whose h is 0; it is approximate when other ties are left out.

    References
    ----------
    Azar et al. 2023, A general theoretical paradigm to understand learning from human preferences, eq. 17.

    Examples
    --------
    >>> ipo_loss(torch.tensor([3.0]), torch.tensor([1.0]), 0.5).item()
    1.0
    """
    return (chosen_log_ratio - rejected_log_ratio - 1 / (2 * tau)).square()


def bonbon_target(n: int) -> float:
    """Mean log-ratio in nats of the best against the worst of n under best-of-n: (n−1)·H_{n−1}, the paper's 1/(2β*).

    Best-of-n has the log-ratio log n + (n−1) log u; the mean of log u is −1/n for the best of n uniform
    numbers and −H_n for the worst.

    References
    ----------
    Gui et al. 2024, BoNBoN alignment for large language models and the sweetness of best-of-n sampling.

    Examples
    --------
    >>> bonbon_target(2), bonbon_target(3)
    (1.0, 3.0)
    """
    return float((n - 1) * np.sum(1 / np.arange(1, n)))


def bonbon_loss(
    best_log_prob: torch.Tensor,
    best_log_ratio: torch.Tensor,
    worst_log_ratio: torch.Tensor,
    n: int,
    alpha: float,
) -> torch.Tensor:
    """Loss of each pair, shape (m,): α·(−log π(best)) + (1−α)·(h − (n−1)·H_{n−1})², h = best less worst log-ratio.

    All log-probabilities and log-ratios are in nats, n is at least 2 and α in [0, 1]. No policy meets the target in
    every pair, since h is a difference of one number a response. At the optimum of the second term alone, the mean
    of h is below the target by Var(h) / E[h].

    References
    ----------
    Gui et al. 2024, BoNBoN alignment for large language models and the sweetness of best-of-n sampling.

    Examples
    --------
    >>> bonbon_loss(torch.tensor([-2.0]), torch.tensor([3.0]), torch.tensor([0.0]), 2, 0.5).item()
    3.0
    """
    squared = (best_log_ratio - worst_log_ratio - bonbon_target(n)).square()
    return -alpha * best_log_prob + (1 - alpha) * squared


def balanced_alpha(best_log_prob: NDArray[np.float64], n: int) -> float:
    """The α in (0, 1) for which both terms of `bonbon_loss` are equal at the reference, where h is 0.

    `best_log_prob`, shape (m,), holds the reference's log-probabilities of the best responses, in nats, below 0.

    References
    ----------
    Amini et al. 2025, Variational best-of-n alignment, footnote 11.

    Examples
    --------
    >>> balanced_alpha(np.array([-3.0]), 2)
    0.25
    """
    squared = bonbon_target(n) ** 2
    return float(squared / (squared - np.mean(best_log_prob)))


def rollout_pairs(
    rewards: NDArray[np.float64], n_responses: int, n_comparisons: int, seed: int
) -> tuple[NDArray[np.int64], int]:
    """Pair rollouts of the same prompt, labelled by their rewards.

    Of each prompt's K rollouts `n_responses` are drawn without replacement, and of their unordered pairs
    `n_comparisons`, again without replacement; both draws are uniform and depend on the seed only. Of 12
    comparisons of 6 responses, the paper's numbers, any 12 of the 15 pairs are equally likely.

    Parameters
    ----------
    rewards : ndarray, shape (P, K)
    n_responses : int
        From 2 to K.
    n_comparisons : int
        At most n_responses·(n_responses − 1)/2.

    Returns
    -------
    pairs : ndarray of int, shape (m, 2)
        Rows of the chosen and the rejected rollout in the rewards read row by row.
    dropped : int
        Number of pairs that were left out because their rewards are equal.

    Raises
    ------
    InputError
        There are fewer rollouts than n_responses, or no pair has different rewards.

    References
    ----------
    Amini et al. 2025, Variational best-of-n alignment.

    Examples
    --------
    >>> pairs, dropped = rollout_pairs(np.array([[0.0, 2.0, 2.0]]), 3, 3, seed=0)
    >>> sorted(pairs.tolist()), dropped
    ([[1, 0], [2, 0]], 1)
    """
    n_prompts, n_rollouts = rewards.shape
    if n_responses > n_rollouts:
        raise InputError(
            f"n_responses must be <= {n_rollouts}, the rollouts of a prompt, got {n_responses}; "
            "lower it or roll out more"
        )
    rng = np.random.default_rng([seed, 1])
    responses = rng.random(rewards.shape).argsort(axis=1)[:, :n_responses]
    first, second = np.triu_indices(n_responses, k=1)
    compared = rng.random((n_prompts, len(first))).argsort(axis=1)[:, :n_comparisons]
    columns = np.stack([first[compared], second[compared]], axis=-1).reshape(n_prompts, -1)
    rows = np.arange(n_prompts)[:, None] * n_rollouts + np.take_along_axis(responses, columns, axis=1)
    return _labelled(rewards.ravel(), rows.reshape(-1, 2))


def _labelled(rewards: NDArray[np.float64], pairs: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Put the better response of each pair first; leave out the pairs that have none."""
    better = rewards[pairs[:, 0]] - rewards[pairs[:, 1]]
    ordered = np.where((better > 0)[:, None], pairs, pairs[:, ::-1])[better != 0]
    if len(ordered) == 0:
        raise InputError(
            f"no pair is left: the rewards are equal in all {len(pairs)} pairs of rollouts; check the reward "
            "model, or compare more responses"
        )
    return ordered, len(pairs) - len(ordered)


def dataset_pairs(pairs: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Select the pairs of the split reward_train whose two responses differ and answer one prompt.

    `pairs` has columns prompt, chosen, rejected, split and, where the two responses may answer different prompts,
    rejected_prompt. Returns prompt, chosen and rejected, and how many pairs were left out; none left is an InputError.
    """
    trained = pairs.filter(pl.col("split") == "reward_train")
    other = "rejected_prompt" if "rejected_prompt" in pairs.columns else "prompt"
    usable = (pl.col("prompt") == pl.col(other)) & (pl.col("chosen") != pl.col("rejected"))
    kept = trained.filter(usable).select("prompt", "chosen", "rejected")
    if kept.is_empty():
        raise InputError(
            f"no pair is left: none of the {trained.height} pairs of the split reward_train has two different "
            "responses to one prompt; take pairs: rollouts instead"
        )
    return kept, trained.height - kept.height
