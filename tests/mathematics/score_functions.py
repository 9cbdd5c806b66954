"""ψ = ∂ log p_θ(u) / ∂θ of each family (Khalaf et al. 2025, Algorithm 4): an independent route to the residual."""

import numpy as np

from infalign.mathematics.soft_selection import LAPLACE_STEP, _moment_powers, laplace_times


def score_function(family, theta, u):
    """Return ψ(u, θ), shape of u; −inf at u = 0 for bon."""
    u = np.asarray(u, dtype=np.float64)
    if family.method == "bon":
        return 1 / theta + np.log(u)
    if family.method == "bop":
        return u / (1 + theta * u) + u - 1
    if family.method == "tilt":
        return u - family.at(theta).mean_quantile
    return uniform_pick_derivative(u, family.n, theta) / family.at(theta).density(u)


def uniform_pick_derivative(u, n, inverse_temperature):
    """Return the derivative in λ of the density at u of the pick among n uniform draws.

    Times a reward of u and integrated: the expected covariance, within the softmax over the n draws, of the
    reward and u. At λ = 0 it is (1 − 1/n)(u − ½).
    """
    points = u.ravel()
    times = laplace_times(n, inverse_temperature)
    moment_power, power_slope = _moment_powers(times, n, inverse_temperature)
    scaled = np.outer(times, np.exp(inverse_temperature * (points - 1)))
    kernel = scaled * np.exp(-scaled)
    slopes = points * (moment_power @ (kernel * (1 - scaled))) + power_slope @ kernel
    return (n * LAPLACE_STEP * slopes).reshape(u.shape)
