"""Soft best-of-N: the probability that softmax(λ u) over n draws picks each one, by a Laplace integral.

With a = e^{λ(u − 1)} a draw is picked with probability a / (a + sum of the others), and
1 / s = ∫_0^∞ e^{−ts} dt turns the expectation over independent draws into a power of one function of t.
"""

from math import log

import numpy as np
from numpy.typing import NDArray

_STEP = 0.2
_BLOCK = 4_000_000


def laplace_times(n: int, inverse_temperature: float) -> NDArray[np.float64]:
    """Return the points t, evenly spaced in log t, of the trapezoidal rule for ∫ … dt = ∫ … t d(log t).

    Parameters
    ----------
    n : int
        Draws, >= 1.
    inverse_temperature : float
        λ >= 0.

    Returns
    -------
    ndarray, shape (s,)
        From where n t is below the rounding error to where the smallest e^{−ta} is.

    Examples
    --------
    >>> t = laplace_times(1, 0.0)
    >>> bool(np.isclose(laplace_step() * np.sum(t * np.exp(-t)), 1.0, atol=1e-14))
    True
    """
    return np.exp(np.arange(-log(n) - 38, inverse_temperature + 4.2, _STEP))


def laplace_step() -> float:
    """Return the spacing of `laplace_times` in log t.

    Returns
    -------
    float

    Examples
    --------
    >>> laplace_step()
    0.2
    """
    return _STEP


def independent_weights(
    mass: NDArray[np.float64], u: NDArray[np.float64], n: int, inverse_temperature: float
) -> NDArray[np.float64]:
    """Return the distribution of the pick of softmax(λ u) among n independent draws.

    Parameters
    ----------
    mass : ndarray, shape (..., k)
        Probability of each outcome (or weight × density on a quadrature grid).
    u : ndarray, shape (k,)
        The quantile of each outcome, in [0, 1], increasing or not.
    n : int
        Draws, >= 1.
    inverse_temperature : float
        λ >= 0.

    Returns
    -------
    ndarray, shape (..., k)
        n p a ∫ e^{−ta} M(t)^{n−1} dt with M(t) = Σ p e^{−ta}.

    Examples
    --------
    >>> independent_weights(np.array([0.5, 0.5]), np.array([0.0, 1.0]), 1, 5.0).round(12)
    array([0.5, 0.5])
    """
    a = np.exp(inverse_temperature * (u - 1))
    times = laplace_times(n, inverse_temperature)
    total = np.zeros_like(mass)
    rows = max(1, _BLOCK // len(u))
    for start in range(0, len(times), rows):
        t = times[start : start + rows]
        kernel = np.exp(-np.outer(t, a))
        moments = mass @ kernel.T
        total += (t * moments ** (n - 1)) @ kernel
    return n * _STEP * mass * a * total


def subset_weights(u: NDArray[np.float64], n: int, inverse_temperature: float) -> NDArray[np.float64]:
    """Return the probability that softmax(λ u) over a random size-n subset picks each response.

    Parameters
    ----------
    u : ndarray, shape (m,)
        The quantile of each response, in [0, 1].
    n : int
        Size of the subsets, 1 <= n <= m.
    inverse_temperature : float
        λ >= 0.

    Returns
    -------
    ndarray, shape (m,)
        w_i = ∫ a_i e^{−t a_i} e_{n−1}({e^{−t a_j}}, j ≠ i) dt / C(m, n), summing to 1; the elementary
        symmetric polynomials are kept as means over subsets, so every step is a convex combination.

    Examples
    --------
    >>> w = subset_weights(np.array([0.0, 1.0]), 2, np.log(3.0))
    >>> w.round(12)
    array([0.25, 0.75])
    """
    a = np.exp(inverse_temperature * (u - 1))
    times = laplace_times(n, inverse_temperature)
    total = np.zeros(len(u))
    rows = max(1, _BLOCK // (len(u) * (n + 1)))
    for start in range(0, len(times), rows):
        t = times[start : start + rows]
        total += t @ _polynomial_gradient(np.exp(-np.outer(t, a)), n)
    return _STEP * a * total


def _polynomial_gradient(x: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """x_i ∂E/∂x_i of E = e_n(x) / C(m, n), for each row of x, shape (s, m)."""
    s, m = x.shape
    k = np.arange(n + 1)
    means = np.zeros((m, s, n + 1))
    means[0, :, 0] = 1
    for j in range(1, m):
        means[j] = means[j - 1] * (np.maximum(j - k, 0) / j)
        means[j, :, 1:] += means[j - 1, :, :-1] * x[:, j - 1, None] * (k[1:] / j)
    adjoint = np.zeros((s, n + 1))
    adjoint[:, n] = 1
    gradient = np.empty_like(x)
    for j in range(m, 0, -1):
        gradient[:, j - 1] = x[:, j - 1] * np.sum(adjoint[:, 1:] * means[j - 1, :, :-1] * (k[1:] / j), axis=1)
        raised = adjoint[:, 1:] * (k[1:] / j) * x[:, j - 1, None]
        adjoint *= np.maximum(j - k, 0) / j
        adjoint[:, :-1] += raised
    return gradient


def uniform_pick(u: NDArray[np.float64], n: int, inverse_temperature: float) -> NDArray[np.float64]:
    """Return the density in u of the pick among n draws that are uniform on [0, 1].

    Parameters
    ----------
    u : ndarray, shape (k,)
        Points in [0, 1].
    n : int
        Draws, >= 1.
    inverse_temperature : float
        λ >= 0.

    Returns
    -------
    ndarray, shape (k,)

    Examples
    --------
    >>> uniform_pick(np.array([0.25, 0.75]), 3, 0.0).round(12)
    array([1., 1.])
    """
    x, w = np.polynomial.legendre.leggauss(24)
    count = max(1, int(np.ceil(inverse_temperature)))
    nodes = ((np.arange(count)[:, None] + (1 + x) / 2) / count).ravel()
    weights = np.tile(w / (2 * count), count)
    a, node_a = np.exp(inverse_temperature * (u - 1)), np.exp(inverse_temperature * (nodes - 1))
    times = laplace_times(n, inverse_temperature)
    total = np.zeros(len(u))
    rows = max(1, _BLOCK // max(len(u), len(nodes)))
    for start in range(0, len(times), rows):
        t = times[start : start + rows]
        moments = np.exp(-np.outer(t, node_a)) @ weights
        total += (t * moments ** (n - 1)) @ np.exp(-np.outer(t, a))
    return n * _STEP * a * total
