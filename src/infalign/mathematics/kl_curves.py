"""Win rates of a method's policies as a curve in KL."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infalign.errors import InputError
from infalign.mathematics.checks import finite_array, positive


@dataclass(frozen=True, eq=False)
class Curve:
    """The policies of one method over a range of strengths, measured on the same prompts.

    Parameters
    ----------
    kl, win_rate : array-like, shape (S, P)
        One row a policy, one column a prompt: its KL estimate in nats (of any sign) and its win rate.
        Seeds of one strength are averaged before, or given as rows of their own.
    """

    kl: NDArray[np.float64]
    win_rate: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "kl", finite_array(self.kl, "curve kl", 2))
        object.__setattr__(self, "win_rate", finite_array(self.win_rate, "curve win rate", 2))
        if self.kl.shape != self.win_rate.shape:
            raise InputError(
                f"a curve's kl has shape {self.kl.shape}, its win rate {self.win_rate.shape}: they must agree"
            )


def rates_at_kl(curve: Curve, kl: float, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a curve's win rate at a KL in nats, linear in √KL between its policies and the known point (0, ½).

    Each resample, a row of weights of the prompts that sum to 1, shape (R, P), interpolates at its own mean KLs. The
    result, shape (R,), is NaN where the KL is beyond the curve's policies.

    Examples
    --------
    >>> rates_at_kl(Curve([[0.25, 0.25]], [[0.75, 0.75]]), 0.0625, np.array([[0.5, 0.5]]))
    array([0.625])
    """
    target = np.sqrt(positive(kl, "kl"))
    start = np.zeros((len(weights), 1))
    roots = np.hstack([start, np.sqrt(np.maximum(weights @ curve.kl.T, 0.0))])
    rates = np.hstack([start + 0.5, weights @ curve.win_rate.T])
    order = np.argsort(roots, axis=1, kind="stable")
    roots, rates = np.take_along_axis(roots, order, axis=1), np.take_along_axis(rates, order, axis=1)
    right = np.sum(roots < target * (1 - 1e-12), axis=1)
    inside = right < roots.shape[1]
    right = np.minimum(right, roots.shape[1] - 1)
    row = np.arange(len(weights))
    left = right - 1
    width = roots[row, right] - roots[row, left]
    share = np.divide(target - roots[row, left], width, out=np.ones_like(width), where=width > 0)
    value = rates[row, left] + np.minimum(share, 1.0) * (rates[row, right] - rates[row, left])
    return np.where(inside, value, np.nan)
