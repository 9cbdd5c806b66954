"""Quantile reward regression: the log-ratio of stored responses is regressed on its known optimum."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


def regression_loss(log_ratios: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Loss of each response: (log π/π_ref − target)².

    Parameters
    ----------
    log_ratios : (m,), in nats.
    targets : (m,), see `regression_targets`.

    Returns
    -------
    (m,) losses.

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
    """Log-ratio of the tilt of stored rollouts: value/β − log Z.

    Z is the mean of exp(value/β) over each prompt's own K rollouts, whatever the reward. That is exact for
    the tilt of the K rollouts: the ratios of every prompt have mean 1. Where K rollouts without ties are
    calibrated among themselves, their ranks are (k − ½)/K for every prompt, so this mean is known before any
    reward is: it is the midpoint rule of the method's known partition function ∫ exp(Φ(u)/β) du, from which
    it differs by O(1/K²). Tied rewards, anchors and raw rewards have no such known function, and the
    integral would leave their ratios with another mean than 1.

    Parameters
    ----------
    values : (P, K), Φ of the calibrated reward, or the raw reward; up to a constant a prompt.
    beta : in the units of values, above 0.

    Returns
    -------
    (P, K), in nats.

    Examples
    --------
    >>> np.exp(regression_targets(np.array([[0.0, np.log(3.0)]]), 1.0)).round(6).tolist()
    [[0.5, 1.5]]
    """
    log_weights = values / beta
    log_z = np.logaddexp.reduce(log_weights, axis=1, keepdims=True) - np.log(values.shape[1])
    return log_weights - log_z
