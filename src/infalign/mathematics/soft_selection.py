"""Soft best-of-N: the probability that softmax(λ u) over n draws picks each one, by a Laplace integral.

With a = e^{λ(u − 1)} a draw is picked with probability a / (a + sum of the others), and
1 / s = ∫_0^∞ e^{−ts} dt turns the expectation over independent draws into a power of one function of t.
"""

from collections.abc import Iterator
from math import log

import numpy as np
from numpy.typing import NDArray
from scipy.special import exp1

LAPLACE_STEP = 0.2  # spacing of `laplace_times` in log t
_BLOCK = 4_000_000


def laplace_times(n: int, inverse_temperature: float) -> NDArray[np.float64]:
    """Return the points t, evenly spaced in log t, of the trapezoidal rule for ∫ … dt = ∫ … t d(log t).

    They go from where n t is below the rounding error to where the smallest e^{−ta} is. Here and below n >= 1 are
    the draws, and the inverse temperature is λ >= 0.

    Examples
    --------
    >>> t = laplace_times(1, 0.0)
    >>> bool(np.isclose(LAPLACE_STEP * np.sum(t * np.exp(-t)), 1.0, atol=1e-14))
    True
    """
    return np.exp(np.arange(-log(n) - 38, inverse_temperature + 4.2, LAPLACE_STEP))


def independent_weights(
    mass: NDArray[np.float64], u: NDArray[np.float64], n: int, inverse_temperature: float
) -> NDArray[np.float64]:
    """Return the distribution of the pick of softmax(λ u) among n independent draws, shape of mass.

    n p a ∫ e^{−ta} M(t)^{n−1} dt with M(t) = Σ p e^{−ta}.

    Parameters
    ----------
    mass : ndarray, shape (..., k)
        Probability of each outcome (or weight × density on a quadrature grid).
    u : ndarray, shape (k,)
        The quantile of each outcome, in [0, 1], increasing or not.

    Examples
    --------
    >>> independent_weights(np.array([0.5, 0.5]), np.array([0.0, 1.0]), 1, 5.0).round(12)
    array([0.5, 0.5])
    """
    a = np.exp(inverse_temperature * (u - 1))
    times = laplace_times(n, inverse_temperature)
    total = np.zeros_like(mass)
    for rows in _blocks(len(times), len(u)):
        t = times[rows]
        kernel = np.exp(-np.outer(t, a))
        moments = mass @ kernel.T
        total += (t * moments ** (n - 1)) @ kernel
    return n * LAPLACE_STEP * mass * a * total


def subset_weights(u: NDArray[np.float64], n: int, inverse_temperature: float) -> NDArray[np.float64]:
    """Return the probability, shape (m,), that softmax(λ u) over a random size-n subset of u picks each.

    w_i = ∫ a_i e^{−t a_i} e_{n−1}({e^{−t a_j}}, j ≠ i) dt / C(m, n), summing to 1; the elementary symmetric
    polynomials are kept as means over subsets, so every step is a convex combination.

    Examples
    --------
    >>> subset_weights(np.array([0.0, 1.0]), 2, np.log(3.0)).round(12)
    array([0.25, 0.75])
    """
    a = np.exp(inverse_temperature * (u - 1))
    times = laplace_times(n, inverse_temperature)
    total = np.zeros(len(u))
    for rows in _blocks(len(times), len(u) * (n + 1)):
        t = times[rows]
        total += t @ _polynomial_gradient(np.exp(-np.outer(t, a)), n)
    return LAPLACE_STEP * a * total


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
    """Return the density at u, shape (k,), of the pick among n draws that are uniform on [0, 1].

    Examples
    --------
    >>> uniform_pick(np.array([0.25, 0.75]), 3, 0.0).round(12)
    array([1., 1.])
    """
    a = np.exp(inverse_temperature * (u - 1))
    times = laplace_times(n, inverse_temperature)
    weights = times * _uniform_moments(times, inverse_temperature)[0] ** (n - 1)
    total = np.zeros(len(u))
    for rows in _blocks(len(times), len(u)):
        total += weights[rows] @ np.exp(-np.outer(times[rows], a))
    return n * LAPLACE_STEP * a * total


def uniform_pick_distribution(
    u: NDArray[np.float64], n: int, inverse_temperature: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distribution function at u, shape (k,), of the pick among n uniform draws, and its derivative in λ.

    The integral of a e^{−ta} over u is (e^{−ta(0)} − e^{−ta(u)}) / (λt), so no quadrature in u is needed. For
    λ below 1e-8 the limit at 0 is returned, which differs by less than λ.

    Examples
    --------
    >>> level, slope = uniform_pick_distribution(np.array([0.0, 0.5, 1.0]), 2, np.log(3.0))
    >>> bool(np.isclose(level[2], 1.0, atol=1e-13)), bool(level[1] < 0.5), bool(slope[1] < 0)
    (True, True, True)
    """
    if inverse_temperature < 1e-8:
        return u.copy(), (1 - 1 / n) * u * (u - 1) / 2
    lowest, a = np.exp(-inverse_temperature), np.exp(inverse_temperature * (u - 1))
    growth = lowest * np.expm1(inverse_temperature * u)
    times = laplace_times(n, inverse_temperature)
    moment_power, power_slope = _moment_powers(times, n, inverse_temperature)
    level, slope = np.zeros(len(u)), np.zeros(len(u))
    for rows in _blocks(len(times), len(u)):
        t = times[rows, None]
        below = -np.exp(-t * lowest) * np.expm1(-t * growth) / inverse_temperature
        change = (t * a * u * np.exp(-t * a) - below) / inverse_temperature
        level += moment_power[rows] @ below
        slope += moment_power[rows] @ change + power_slope[rows] @ below
    return n * LAPLACE_STEP * level, n * LAPLACE_STEP * slope


def _moment_powers(
    times: NDArray[np.float64], n: int, inverse_temperature: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """M^{n−1} at each t and its derivative in λ, where t e^{−λ} is held fixed."""
    moments, slopes = _uniform_moments(times, inverse_temperature)
    return moments ** (n - 1), (n - 1) * moments ** (n - 2.0) * slopes


def _uniform_moments(
    times: NDArray[np.float64], inverse_temperature: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """M(t) = ∫ e^{−ta} du over [0, 1] and its derivative in λ, where t e^{−λ} is held fixed."""
    if inverse_temperature >= 1:
        moments = (exp1(times * np.exp(-inverse_temperature)) - exp1(times)) / inverse_temperature
        return moments, (np.exp(-times) - moments) / inverse_temperature
    x, w = np.polynomial.legendre.leggauss(24)
    nodes = (1 + x) / 2
    a = np.exp(inverse_temperature * (nodes - 1))
    kernel = np.exp(-np.outer(times, a))
    return kernel @ (w / 2), -times * (kernel @ (w / 2 * a * nodes))


def _blocks(count: int, width: int) -> Iterator[slice]:
    """Slices of `count` rows whose blocks of `width` columns fit in memory."""
    rows = max(1, _BLOCK // width)
    return (slice(start, start + rows) for start in range(0, count, rows))
