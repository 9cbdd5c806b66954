"""Exponential tilts: the KL of weights ∝ exp(values / β), and the β for a KL budget."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from infalign.errors import InputError
from infalign.mathematics.checks import finite_array, positive


def tilt(values: ArrayLike, beta: float) -> NDArray[np.float64]:
    """Return the weights ∝ exp(values / β) along the last axis, shape (..., K), for β > 0.

    Examples
    --------
    >>> tilt([0.0, np.log(3.0)], 1.0)
    array([0.25, 0.75])
    """
    values = np.asarray(values, dtype=np.float64)
    weights = np.exp((values - values.max(axis=-1, keepdims=True)) / beta)
    return weights / weights.sum(axis=-1, keepdims=True)


def tilt_kl(values: ArrayLike, beta: float) -> NDArray[np.float64]:
    """Return the KL divergence in nats, in [0, log K], of each row's tilt from uniform weights, shape (...), for β > 0.

    Precise also where it is far below the rounding error of 1.

    Examples
    --------
    >>> bool(np.isclose(tilt_kl([0.0, 1e9], 1.0), np.log(2)))
    True
    """
    values = np.asarray(values, dtype=np.float64)
    top = values.max(axis=-1, keepdims=True)
    excess = (values - top) / beta
    log_ratio = excess - np.log(np.mean(np.exp(excess), axis=-1, keepdims=True))
    return np.mean(log_ratio * np.exp(log_ratio) - np.expm1(log_ratio), axis=-1)


def beta_for_kl(values: ArrayLike, kl: float) -> float:
    """Return the one β for which the tilts of all prompts have a given mean KL in nats, > 0.

    The mean over prompts of Σ p log(K p), p ∝ exp(values / β), is the budget. No β > 0 reaches `largest_kl`, which is
    0 if all values of every prompt are tied: an InputError.

    Parameters
    ----------
    values : array-like, shape (P, K) or (K,)
        Φ (or raw rewards) of each prompt's K reference rollouts.

    Examples
    --------
    >>> beta = beta_for_kl([0.0, 1.0], 0.1)
    >>> bool(np.isclose(tilt_kl([0.0, 1.0], beta), 0.1))
    True
    """
    values, kl = np.atleast_2d(finite_array(values, "values")), positive(kl, "kl")
    limit = largest_kl(values)
    if kl >= limit:
        tied = "all rewards are tied within every prompt, so no tilt moves the policy; " if limit == 0 else ""
        raise InputError(
            f"kl must be below {limit:.6g} nats, the largest that {values.shape[-1]} rollouts per prompt "
            f"can reach here, got {kl}; {tied}lower the budget or sample more rollouts"
        )
    spread = float(np.max(np.ptp(values, axis=-1)))
    return solve_log(lambda beta: float(tilt_kl(values, beta).mean()), kl, spread)


def largest_kl(values: ArrayLike) -> float:
    """Return the mean KL in nats that the tilts of all prompts, shape (P, K) or (K,), tend to as β goes to 0.

    It is the mean of log(K / ties at the top), in [0, log K]; no β > 0 reaches it.

    Examples
    --------
    >>> bool(np.isclose(largest_kl([0.0, 1.0, 2.0, 2.0]), np.log(2)))
    True
    """
    values = np.asarray(values, dtype=np.float64)
    ties = np.sum(values == values.max(axis=-1, keepdims=True), axis=-1)
    return float(np.mean(np.log(values.shape[-1] / ties)))


def solve_log(function: Callable[[float], float], target: float, start: float) -> float:
    """Return the x > 0 at which a function that decreases in x takes a value, to the rounding error of log x.

    The search begins at `start` > 0; an InputError if no x within a factor e^{±700} of it gives the value.

    Examples
    --------
    >>> round(solve_log(lambda x: 1 / x, 4.0, 1.0), 12)
    0.25
    """

    def gap(log_x: float) -> float:
        return float(np.log(max(function(float(np.exp(log_x))), 1e-300) / target))

    low = high = float(np.log(start))
    step = 1.0
    while gap(low) < 0:
        low, step = low - step, 2 * step
        if low < -700:
            raise InputError(f"no strength reaches {target}: too large for these values")
    step = 1.0
    while gap(high) > 0:
        high, step = high + step, 2 * step
        if high > 700:
            raise InputError(f"no strength reaches {target}: too small for these values")
    return float(np.exp(brentq(gap, low, high, xtol=1e-14, rtol=1e-15)))
