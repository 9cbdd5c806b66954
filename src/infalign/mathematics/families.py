"""Inference-time procedures as families of one parameter θ: best-of-n and best-of-Poisson, soft and tilted.

In quantile space a family gives the reference policy the distribution function P_θ(u). All four are greedy:
a larger θ moves mass to higher u. θ is real: n of bon, μ of bop, λ of sbon and tilt.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import gammaincinv, xlogy

from infalign.errors import InputError
from infalign.mathematics import procedures
from infalign.mathematics.checks import finite_array, positive
from infalign.mathematics.procedures import POISSON_TAIL, Procedure
from infalign.mathematics.soft_selection import uniform_pick_derivative, uniform_pick_distribution
from infalign.mathematics.tilting import solve_log

METHODS = ("bon", "bop", "sbon", "tilt")
USUAL_INVERSE_TEMPERATURE = 100.0
LARGEST_INVERSE_TEMPERATURE = 500.0
# log(sinh(x/2) / (x/2)) = Σ c_k x^{2k}, c_k = B_{2k} / (2k (2k)!)
_POWERS = np.array([2, 4, 6, 8])
_COEFFICIENTS = np.array([1 / 24, -1 / 2880, 1 / 181440, -1 / 9676800])
_SMALL = 0.1


@dataclass(frozen=True)
class Family:
    """A family of inference-time procedures with one real parameter θ.

    Parameters
    ----------
    method : {"bon", "bop", "sbon", "tilt"}
        θ is n of best-of-n, the mean μ of best-of-Poisson (n = 1 + Poisson(μ)), λ of soft best-of-n and of
        the exact tilt exp(λu).
    n : int, optional
        The draws of sbon; None for the others.

    Examples
    --------
    >>> Family("bop").domain(32)[0], Family("sbon", 4).domain(32)
    (0.0, (0.0, 100.0))
    """

    method: str
    n: int | None = None

    def limits(self, m: int) -> tuple[float, float]:
        """Return the smallest and largest θ that m responses a prompt allow.

        Parameters
        ----------
        m : int
            Responses of the prompt that has fewest, >= 1.

        Returns
        -------
        (float, float)
            bon: 1 to m. bop: 0 to the μ with P(1 + Poisson(μ) > m) = 1e-6. sbon and tilt: 0 to 500.

        Raises
        ------
        InputError
            If sbon draws more than m responses.

        Examples
        --------
        >>> Family("bon").limits(64)
        (1.0, 64.0)
        """
        if self.method == "bon":
            return 1.0, float(m)
        if self.method == "bop":
            return 0.0, float(gammaincinv(m, POISSON_TAIL))
        if self.n is not None and self.n > m:
            raise InputError(
                f"sbon with n = {self.n} needs at least {self.n} responses a prompt, got {m}; lower n or "
                "sample more"
            )
        return 0.0, LARGEST_INVERSE_TEMPERATURE

    def domain(self, m: int) -> tuple[float, float]:
        """Return the range of θ that is searched unless another is asked for.

        Parameters
        ----------
        m : int
            Responses of the prompt that has fewest, >= 1.

        Returns
        -------
        (float, float)
            The limits, but λ up to 100.

        Raises
        ------
        InputError
            If sbon draws more than m responses.

        Examples
        --------
        >>> Family("tilt").domain(64)
        (0.0, 100.0)
        """
        low, high = self.limits(m)
        return low, high if self.method in ("bon", "bop") else USUAL_INVERSE_TEMPERATURE

    def procedure(self, theta: float) -> Procedure:
        """Return the procedure at θ (any but tilt), whose n may be real for bon.

        Parameters
        ----------
        theta : float

        Returns
        -------
        Procedure

        Examples
        --------
        >>> Family("sbon", 4).procedure(5.0).text
        'sbon(4, 5.0)'
        """
        parameters = (self.n, theta) if self.n is not None else (theta,)
        return Procedure(self.method, parameters)


def parse_family(method: str, n: int | None = None) -> Family:
    """Check a method's name and its n.

    Parameters
    ----------
    method : str
        bon, bop, sbon or tilt.
    n : int, optional
        For sbon only, where it is needed: draws, >= 1.

    Returns
    -------
    Family

    Raises
    ------
    InputError
        If the method is unknown, or n is missing, below 1, or given where it does not belong.

    Examples
    --------
    >>> parse_family("sbon", 16)
    Family(method='sbon', n=16)
    """
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}; valid methods: {', '.join(METHODS)}")
    if method != "sbon":
        if n is not None:
            raise InputError(f"n belongs to the method sbon only, got n = {n} for {method}; leave it out")
        return Family(method)
    if n is None:
        raise InputError("the method sbon needs n, the number of draws; give a whole number such as 16")
    if n < 1:
        raise InputError(f"the n of sbon must be a whole number >= 1, got {n}")
    return Family(method, n)


def _parameter(family: Family, theta: float) -> float:
    """θ as a float, if the continuous model has it."""
    lowest = 1.0 if family.method == "bon" else 0.0
    highest = LARGEST_INVERSE_TEMPERATURE if family.method in ("sbon", "tilt") else np.finfo(float).max
    if not lowest <= theta <= highest:
        bounds = f">= {lowest:g}" + (f" and <= {highest:g}" if highest < 1e300 else " and finite")
        raise InputError(f"the parameter of {family.method} must be {bounds}, got {theta}")
    return float(theta)


def _checked_quantiles(u: ArrayLike) -> NDArray[np.float64]:
    u = finite_array(u, "u")
    if u.min() < 0 or u.max() > 1:
        raise InputError(f"u must lie in [0, 1], got {u.min()} to {u.max()}")
    return u


def distribution(family: Family, theta: float, u: ArrayLike) -> NDArray[np.float64]:
    """Return the distribution function P_θ(u).

    Parameters
    ----------
    family : Family
    theta : float
    u : array-like
        Quantiles in [0, 1].

    Returns
    -------
    ndarray, shape of u

    Raises
    ------
    InputError
        If θ or a quantile is out of range.

    Examples
    --------
    >>> float(distribution(Family("bon"), 2.5, 0.25))
    0.03125
    """
    theta, u = _parameter(family, theta), _checked_quantiles(u)
    if family.method != "tilt":
        return procedures.distribution(family.procedure(theta), u)
    return _tilt_distribution(theta, u)


def density(family: Family, theta: float, u: ArrayLike) -> NDArray[np.float64]:
    """Return the density p_θ(u).

    Parameters
    ----------
    family : Family
    theta : float
    u : array-like
        Quantiles in [0, 1].

    Returns
    -------
    ndarray, shape of u

    Raises
    ------
    InputError
        If θ or a quantile is out of range.

    Examples
    --------
    >>> bool(np.isclose(density(Family("tilt"), np.log(2), 1.0), 2 * np.log(2)))
    True
    """
    theta, u = _parameter(family, theta), _checked_quantiles(u)
    if family.method != "tilt":
        return procedures.density(family.procedure(theta), u)
    if theta == 0:
        return np.ones_like(u)
    return theta * np.exp(theta * (u - 1)) / -np.expm1(-theta)


def score_function(family: Family, theta: float, u: ArrayLike) -> NDArray[np.float64]:
    """Return ψ(u, θ) = ∂ log p_θ(u) / ∂θ.

    Parameters
    ----------
    family : Family
    theta : float
    u : array-like
        Quantiles in [0, 1].

    Returns
    -------
    ndarray, shape of u
        bon: 1/θ + log u (−inf at u = 0). bop: u/(1 + μu) + u − 1. tilt: u − E_λ[u]. sbon: numeric.

    Raises
    ------
    InputError
        If θ or a quantile is out of range.

    References
    ----------
    Khalaf et al. 2025, Inference-time reward hacking in large language models, Algorithm 4 (HedgeTune).

    Examples
    --------
    >>> float(score_function(Family("bon"), 4.0, 1.0)), float(score_function(Family("bop"), 1.0, 1.0))
    (0.25, 0.5)
    """
    theta, u = _parameter(family, theta), _checked_quantiles(u)
    if family.method == "bon":
        with np.errstate(divide="ignore"):
            return 1 / theta + np.log(u)
    if family.method == "bop":
        return u / (1 + theta * u) + u - 1
    if family.method == "tilt":
        return u - _tilt_mean(np.array(theta))
    assert family.n is not None
    derivative = uniform_pick_derivative(u.ravel(), family.n, theta).reshape(u.shape)
    return derivative / density(family, theta, u)


def distribution_derivative(family: Family, theta: float, u: ArrayLike) -> NDArray[np.float64]:
    """Return ∂P_θ(u) / ∂θ, the integral of p_θ ψ from 0 to u.

    Parameters
    ----------
    family : Family
    theta : float
    u : array-like
        Quantiles in [0, 1].

    Returns
    -------
    ndarray, shape of u
        At most 0: a larger θ moves mass to higher quantiles. For sbon to about 1e-8.

    Raises
    ------
    InputError
        If θ or a quantile is out of range.

    Examples
    --------
    >>> bool(np.isclose(distribution_derivative(Family("bon"), 1.0, 0.5), 0.5 * np.log(0.5)))
    True
    """
    theta, u = _parameter(family, theta), _checked_quantiles(u)
    return _DERIVATIVES[family.method](family, theta, u)


def _bon_derivative(family: Family, theta: float, u: NDArray[np.float64]) -> NDArray[np.float64]:
    return xlogy(u**theta, u)


def _bop_derivative(family: Family, mu: float, u: NDArray[np.float64]) -> NDArray[np.float64]:
    return u * (u - 1) * np.exp(mu * (u - 1))


def _tilt_derivative(
    family: Family, inverse_temperature: float, u: NDArray[np.float64]
) -> NDArray[np.float64]:
    """P (E[v | v < u] − E[v]): below u the tilt is the tilt of [0, u]."""
    means = u * _tilt_mean(inverse_temperature * u), _tilt_mean(np.array(inverse_temperature))
    return _tilt_distribution(inverse_temperature, u) * (means[0] - means[1])


def _sbon_derivative(
    family: Family, inverse_temperature: float, u: NDArray[np.float64]
) -> NDArray[np.float64]:
    assert family.n is not None
    return uniform_pick_distribution(u.ravel(), family.n, inverse_temperature)[1].reshape(u.shape)


_DERIVATIVES: dict[str, Callable[[Family, float, NDArray[np.float64]], NDArray[np.float64]]] = {
    "bon": _bon_derivative,
    "bop": _bop_derivative,
    "sbon": _sbon_derivative,
    "tilt": _tilt_derivative,
}


def kl(family: Family, theta: float) -> float:
    """Return the KL divergence of the reference policy at θ from the reference policy.

    Parameters
    ----------
    family : Family
    theta : float

    Returns
    -------
    float
        In nats, for a continuous policy.

    Raises
    ------
    InputError
        If θ is out of range.

    References
    ----------
    bon, bop, sbon: `procedures.kl`. tilt: λE[u] − log((e^λ − 1)/λ).

    Examples
    --------
    >>> bool(np.isclose(kl(Family("bon"), 2.5), np.log(2.5) - 0.6)), kl(Family("tilt"), 0.0)
    (True, 0.0)
    """
    theta = _parameter(family, theta)
    return _tilt_kl(theta) if family.method == "tilt" else procedures.kl(family.procedure(theta))


def mean_quantile(family: Family, theta: float) -> float:
    """Return the mean quantile E_θ[u] of the reference policy at θ.

    Parameters
    ----------
    family : Family
    theta : float

    Returns
    -------
    float
        In [½, 1), for a continuous policy.

    Raises
    ------
    InputError
        If θ is out of range.

    Examples
    --------
    >>> mean_quantile(Family("bon"), 1.5), mean_quantile(Family("tilt"), 0.0)
    (0.6, 0.5)
    """
    theta = _parameter(family, theta)
    if family.method == "tilt":
        return float(_tilt_mean(np.array(theta)))
    return procedures.mean_quantile(family.procedure(theta))


def _tilt_distribution(inverse_temperature: float, u: NDArray[np.float64]) -> NDArray[np.float64]:
    """(e^{λu} − 1) / (e^λ − 1), u itself at λ = 0."""
    if inverse_temperature == 0:
        return u.copy()
    falling = np.expm1(-inverse_temperature * u) / np.expm1(-inverse_temperature)
    return np.exp(inverse_temperature * (u - 1)) * falling


def _tilt_mean(inverse_temperature: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the tilt, 1/(1 − e^{−λ}) − 1/λ, by its series where λ is small."""
    x = np.maximum(inverse_temperature, _SMALL)
    series = (inverse_temperature[..., None] ** (_POWERS - 1)) @ (_POWERS * _COEFFICIENTS)
    return np.where(inverse_temperature < _SMALL, 0.5 + series, -1 / np.expm1(-x) - 1 / x)


def _tilt_kl(inverse_temperature: float) -> float:
    """λ E[u] − log((e^λ − 1)/λ), by its series where λ is small."""
    if inverse_temperature < _SMALL:
        return float(inverse_temperature**_POWERS @ ((_POWERS - 1) * _COEFFICIENTS))
    mean = float(_tilt_mean(np.array(inverse_temperature)))
    log_normaliser = np.log1p(-np.exp(-inverse_temperature)) - np.log(inverse_temperature)
    return float(inverse_temperature * (mean - 1) - log_normaliser)


@dataclass(frozen=True)
class PoissonTiltGap:
    """How far best-of-Poisson is from the tilt, the policy of least KL at its mean quantile.

    Parameters
    ----------
    mu : float
    mean_quantile, kl : float
        Of best-of-Poisson; KL in nats.
    inverse_temperature : float
        λ of the tilt with the same mean quantile.
    kl_gap : float
        KL of best-of-Poisson less that of this tilt, in nats, >= 0.
    reward_gap : float
        Mean quantile of the tilt with the same KL less that of best-of-Poisson, >= 0.

    Examples
    --------
    >>> PoissonTiltGap(1.0, 0.6, 0.1, 1.0, 1e-4, 1e-4).kl_gap
    0.0001
    """

    mu: float
    mean_quantile: float
    kl: float
    inverse_temperature: float
    kl_gap: float
    reward_gap: float


def poisson_tilt_gap(mu: float) -> PoissonTiltGap:
    """Compare best-of-Poisson with the tilts of equal mean quantile and of equal KL.

    Parameters
    ----------
    mu : float
        > 0.

    Returns
    -------
    PoissonTiltGap

    Raises
    ------
    InputError
        If μ is not a finite number above 0.

    References
    ----------
    Khalaf et al. 2025, Inference-time reward hacking in large language models: best-of-Poisson is close to
    the optimal policy.

    Examples
    --------
    >>> 0 < poisson_tilt_gap(3.5).kl_gap < 8e-4
    True
    """
    mu = positive(mu, "mu")
    family = Family("bop")
    mean, divergence = mean_quantile(family, mu), kl(family, mu)
    same_mean = brentq(lambda x: float(_tilt_mean(np.array(x))) - mean, 0.0, 1 / (1 - mean), xtol=1e-14)
    same_kl = 1 / solve_log(lambda x: _tilt_kl(1 / x), divergence, 1.0)
    return PoissonTiltGap(
        mu,
        mean,
        divergence,
        same_mean,
        divergence - _tilt_kl(same_mean),
        float(_tilt_mean(np.array(same_kl))) - mean,
    )
