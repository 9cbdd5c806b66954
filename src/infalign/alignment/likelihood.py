"""Maximum likelihood on the best of n stored responses, and the draws it learns from."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from infalign.errors import InputError


def likelihood_loss(log_probs: torch.Tensor) -> torch.Tensor:
    """Loss of each response: −log π(y), from log-probabilities in nats, shape (m,), summed over its tokens.

    Over draws from best-of-n its mean is least at best-of-n itself.

    Examples
    --------
    >>> likelihood_loss(torch.tensor([-2.0])).tolist()
    [2.0]
    """
    return -log_probs


def check_draws(n: float, n_rollouts: int) -> int:
    """Return the n of best-of-n as an int; an InputError unless it is a whole number from 1 to the prompt's rollouts.

    Examples
    --------
    >>> check_draws(4.0, 100)
    4
    """
    if n != int(n) or not 1 <= n <= n_rollouts:
        raise InputError(
            f"n of best-of-n must be a whole number from 1 to {n_rollouts}, the rollouts of a prompt, got {n:g}; "
            "change the strength or roll out more"
        )
    return int(n)


def best_and_worst(
    rewards: NDArray[np.float64], n: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw n of the K rollouts of each row without replacement; columns of the best and of the worst, shape (m,).

    Of rollouts with equal rewards the later one counts as the better, in every draw. `rewards` have shape (m, K).

    Examples
    --------
    >>> best, worst = best_and_worst(np.array([[3.0, 1.0, 3.0]]), 3, np.random.default_rng(0))
    >>> best.tolist(), worst.tolist()
    ([2], [1])
    """
    drawn = np.sort(np.argpartition(rng.random(rewards.shape), n - 1, axis=1)[:, :n], axis=1)
    order = np.take_along_axis(rewards, drawn, axis=1).argsort(axis=1, kind="stable")
    ordered = np.take_along_axis(drawn, order, axis=1)
    return ordered[:, -1], ordered[:, 0]
