"""Quantile reward regression: the log-ratio of stored responses is regressed on its known optimum."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


def regression_loss(log_ratios: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Loss of each response, shape (m,): (log π/π_ref − target)², in nats; see `regression_targets`.

    References
    ----------
    Matrenok et al. 2025, Quantile reward policy optimization.

    Examples
    --------
    >>> regression_loss(torch.tensor([0.5]), torch.tensor([2.5])).tolist()
    [4.0]
    """
    return (log_ratios - targets).square()


def regression_targets(values: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    """Log-ratio in nats of the tilt of stored rollouts, shape (P, K): value/β − log Z.

    Z is the mean of exp(value/β) over each prompt's own K rollouts. That is exact for the tilt of the K rollouts:
    the ratios of every prompt have mean 1. Without ties, K rollouts that are calibrated among themselves have the
    ranks (k − ½)/K at every prompt, so Z is known before any reward is. It is then the midpoint rule of the
    method's partition function ∫ exp(Φ(u)/β) du, and differs from it by O(1/K²). Tied rewards, anchors and raw
    rewards have no such known function, and with the integral their ratios would not have mean 1.

    Parameters
    ----------
    values : ndarray, shape (P, K)
        Φ of the calibrated reward, or the raw reward; up to a constant a prompt.
    beta : float
        In the units of values, above 0.

    Examples
    --------
    >>> np.exp(regression_targets(np.array([[0.0, np.log(3.0)]]), 1.0)).round(6).tolist()
    [[0.5, 1.5]]
    """
    log_weights = values / beta
    log_z = np.logaddexp.reduce(log_weights, axis=1, keepdims=True) - np.log(values.shape[1])
    return log_weights - log_z
