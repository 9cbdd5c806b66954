"""Inference-time procedures in quantile space: best-of-N and its kin, and their text form.

A calibrated procedure maps a policy with distribution function F(u) to one with G(F(u)); G is the
distribution function the procedure gives to the reference policy itself, whose F is u.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expi, pdtrik

from infalign.errors import InputError
from infalign.mathematics.checks import finite_array
from infalign.mathematics.quadrature import Panels
from infalign.mathematics.soft_selection import uniform_pick, uniform_pick_distribution

FORMS = "none, bon(n), won(n), sbon(n, lambda), bop(mu) with n >= 1, 0 <= lambda <= 500, mu >= 0"
POISSON_TAIL = 1e-6


@dataclass(frozen=True)
class Procedure:
    """An inference-time procedure T.

    Parameters
    ----------
    name : str
        none, bon, won, sbon or bop.
    parameters : tuple
        () for none, (n,) for bon and won, (n, λ) for sbon, (μ,) for bop.

    Examples
    --------
    >>> Procedure("sbon", (4, 5.0)).text
    'sbon(4, 5.0)'
    """

    name: str
    parameters: tuple[int | float, ...] = ()

    @property
    def n(self) -> int | None:
        """The number of draws where it is fixed, else None (none, bop)."""
        return int(self.parameters[0]) if self.name in ("bon", "won", "sbon") else None

    @property
    def text(self) -> str:
        """The canonical text, which `parse_procedure` reads back."""
        return f"{self.name}({', '.join(map(str, self.parameters))})" if self.parameters else self.name

    def __str__(self) -> str:
        return self.text


NONE = Procedure("none")


def parse_procedure(text: str | Procedure) -> Procedure:
    """Read a procedure from its text form.

    Parameters
    ----------
    text : str or Procedure
        none, bon(n), won(n), sbon(n, lambda), bop(mu); blanks do not matter.

    Returns
    -------
    Procedure

    Raises
    ------
    InputError
        If the text is none of the valid forms, which the message lists, or a number is out of range.

    Examples
    --------
    >>> parse_procedure("sbon( 4,5 )").text
    'sbon(4, 5.0)'
    >>> parse_procedure("none").n is None
    True
    """
    if isinstance(text, Procedure):
        return text
    match = re.fullmatch(r"\s*([a-z]+)\s*(?:\(([^()]*)\))?\s*", str(text))
    kinds = PARAMETERS.get(match[1]) if match else None
    if match is None or kinds is None:
        raise InputError(f"unknown procedure {text!r}; valid forms: {FORMS}")
    parts = [] if match[2] is None else match[2].split(",")
    if len(parts) != len(kinds):
        raise InputError(f"{text!r} needs {len(kinds)} number(s), got {len(parts)}; valid forms: {FORMS}")
    return Procedure(match[1], tuple(kind(part, str(text)) for kind, part in zip(kinds, parts, strict=True)))


def _count(part: str, text: str) -> int:
    if not re.fullmatch(r"\s*\d+\s*", part) or int(part) < 1:
        raise InputError(f"the n of {text!r} must be a whole number >= 1, got {part.strip()!r}")
    return int(part)


def _nonnegative(part: str, text: str) -> float:
    try:
        value = float(part)
    except ValueError:
        value = float("nan")
    if not (np.isfinite(value) and value >= 0):
        raise InputError(f"{text!r} needs a finite number >= 0, got {part.strip()!r}; valid forms: {FORMS}")
    return value


def _inverse_temperature(part: str, text: str) -> float:
    value = _nonnegative(part, text)
    if value > 500:
        raise InputError(f"the lambda of {text!r} must be at most 500, got {value}; bon(n) is its limit")
    return value


PARAMETERS: dict[str, tuple[Callable[[str, str], int | float], ...]] = {
    "none": (),
    "bon": (_count,),
    "won": (_count,),
    "sbon": (_count, _inverse_temperature),
    "bop": (_nonnegative,),
}


Levels = NDArray[np.float64]


def _none_curve(p: Levels, q: Levels) -> tuple[Levels, Levels, Levels]:
    return p, np.ones_like(p), np.zeros_like(p)


def _bon_curve(p: Levels, q: Levels, n: float) -> tuple[Levels, Levels, Levels]:
    return _power(p, q, n), n * _power(p, q, n - 1), n * (n - 1) * _power(p, q, max(n - 2, 0))


def _won_curve(p: Levels, q: Levels, n: float) -> tuple[Levels, Levels, Levels]:
    value, slope, bend = _bon_curve(q, p, n)
    return 1 - value, slope, -bend


def _bop_curve(p: Levels, q: Levels, mu: float) -> tuple[Levels, Levels, Levels]:
    factor = np.exp(-mu * q)
    return p * factor, (1 + mu * p) * factor, mu * (2 + mu * p) * factor


def _power(p: Levels, q: Levels, exponent: float) -> Levels:
    """p^exponent, from q = 1 − p where p is close to 1."""
    if exponent == 0:
        return np.ones_like(p)
    with np.errstate(divide="ignore"):
        return np.exp(exponent * np.where(p < 0.5, np.log(p), np.log1p(-np.minimum(q, 0.5))))


CURVES: dict[str, Callable[..., tuple[Levels, Levels, Levels]]] = {
    "none": _none_curve,
    "bon": _bon_curve,
    "won": _won_curve,
    "bop": _bop_curve,
}


def curve(procedure: Procedure, p: Levels, q: Levels) -> tuple[Levels, Levels, Levels]:
    """Return G(p), G'(p) and G''(p) of a calibrated procedure (any but sbon).

    Parameters
    ----------
    procedure : Procedure
        none, bon, won or bop.
    p, q : ndarray
        Levels of the distribution function in [0, 1], and 1 − p to full relative precision.

    Returns
    -------
    three ndarrays, shape of p

    References
    ----------
    Balashankar et al. 2025, InfAlign, Definition 6 and Lemma 5 (g_T = G' up to a factor).

    Examples
    --------
    >>> curve(parse_procedure("bon(2)"), np.array([0.5]), np.array([0.5]))
    (array([0.25]), array([1.]), array([2.]))
    """
    return CURVES[procedure.name](p, q, *procedure.parameters)


def distribution(procedure: str | Procedure, u: ArrayLike) -> NDArray[np.float64]:
    """Return the distribution function in u of the reference policy under a procedure.

    Parameters
    ----------
    procedure : str or Procedure
    u : array-like
        Quantiles in [0, 1].

    Returns
    -------
    ndarray, shape of u

    Examples
    --------
    >>> float(distribution("bon(4)", 0.5))
    0.0625
    """
    procedure, u = parse_procedure(procedure), _quantiles(u)
    if procedure.name != "sbon":
        return curve(procedure, u, 1 - u)[0]
    n, inverse_temperature = int(procedure.parameters[0]), float(procedure.parameters[1])
    return uniform_pick_distribution(u.ravel(), n, inverse_temperature)[0].reshape(u.shape)


def density(procedure: str | Procedure, u: ArrayLike) -> NDArray[np.float64]:
    """Return the density in u of the reference policy under a procedure.

    Parameters
    ----------
    procedure : str or Procedure
    u : array-like
        Quantiles in [0, 1].

    Returns
    -------
    ndarray, shape of u

    References
    ----------
    Balashankar et al. 2025, InfAlign, Lemma 5.

    Examples
    --------
    >>> float(density("bon(4)", 1.0)), float(density("won(4)", 0.0)), float(density("bop(3.5)", 1.0))
    (4.0, 4.0, 4.5)
    """
    procedure, u = parse_procedure(procedure), _quantiles(u)
    if procedure.name != "sbon":
        return curve(procedure, u, 1 - u)[1]
    n, inverse_temperature = int(procedure.parameters[0]), float(procedure.parameters[1])
    return uniform_pick(u.ravel(), n, inverse_temperature).reshape(u.shape)


def _quantiles(u: ArrayLike) -> NDArray[np.float64]:
    u = finite_array(u, "u")
    if u.min() < 0 or u.max() > 1:
        raise InputError(f"u must lie in [0, 1], got {u.min()} to {u.max()}")
    return u


def kl(procedure: str | Procedure) -> float:
    """Return the KL divergence of the reference policy under a procedure from the reference policy.

    Parameters
    ----------
    procedure : str or Procedure

    Returns
    -------
    float
        In nats, for a continuous policy; for a discrete one it is an upper bound (bon, won).

    References
    ----------
    bon, won: log n − (n − 1)/n. bop: log(1+μ) − 1 + e^{−(1+μ)} (Ei(1+μ) − Ei(1))/μ.

    Examples
    --------
    >>> bool(np.isclose(kl("bon(4)"), np.log(4) - 3 / 4)), kl("none")
    (True, 0.0)
    """
    procedure = parse_procedure(procedure)
    if procedure.name in ("bon", "won"):
        n = procedure.parameters[0]
        return float(np.log(n) - (n - 1) / n)
    if procedure.name == "none":
        return 0.0
    if procedure.name == "bop" and procedure.parameters[0] > 1:
        return _poisson_kl(float(procedure.parameters[0]))
    panels = _panels(procedure)
    log_density = np.log(density(procedure, panels.u))
    return max(panels.integrate(log_density * np.exp(log_density) - np.expm1(log_density)), 0.0)


def _poisson_kl(mu: float) -> float:
    """The closed form of the KL of best-of-Poisson."""
    return float(np.log1p(mu) - 1 + (_scaled_expi(1 + mu) - np.exp(-1 - mu) * expi(1.0)) / mu)


def _scaled_expi(x: float) -> float:
    """e^{−x} Ei(x); beyond 50 by its asymptotic series, whose smallest term is below 1e-20."""
    if x < 50:
        return float(np.exp(-x) * expi(x))
    return float(np.sum(np.cumprod(np.concatenate([[1.0], np.arange(1, 40) / x]))) / x)


def mean_quantile(procedure: str | Procedure) -> float:
    """Return the mean quantile u of the reference policy under a procedure.

    Parameters
    ----------
    procedure : str or Procedure

    Returns
    -------
    float
        In (0, 1), for a continuous policy: n/(n+1) for bon(n), 1/(n+1) for won(n).

    Examples
    --------
    >>> mean_quantile("bon(4)"), mean_quantile("won(4)"), mean_quantile("none")
    (0.8, 0.2, 0.5)
    """
    procedure = parse_procedure(procedure)
    if procedure.name in ("bon", "won"):
        n = procedure.parameters[0]
        return n / (n + 1) if procedure.name == "bon" else 1 / (n + 1)
    if procedure.name == "none":
        return 0.5
    if procedure.name == "bop" and procedure.parameters[0] > 1:
        mu = procedure.parameters[0]
        return float(1 - (mu + np.expm1(-mu)) / mu**2)
    panels = _panels(procedure)
    return panels.integrate(panels.u * density(procedure, panels.u))


def _panels(procedure: Procedure) -> Panels:
    """Panels fine enough for the density of sbon (width 1/λ) and of bop with small μ."""
    inverse_temperature = procedure.parameters[1] if procedure.name == "sbon" else 1.0
    edges = np.linspace(0, 0.5, 2 + int(np.ceil(inverse_temperature)))
    return Panels(edges, edges)


def min_samples(procedure: str | Procedure) -> int:
    """Return how many samples a side the procedure needs.

    Parameters
    ----------
    procedure : str or Procedure

    Returns
    -------
    int
        n; for bop the smallest m with P(1 + Poisson(μ) > m) <= 1e-6; 1 for none.

    Examples
    --------
    >>> min_samples("bon(4)"), min_samples("none"), min_samples("bop(0)")
    (4, 1, 1)
    """
    procedure = parse_procedure(procedure)
    if procedure.name == "bop":
        return 1 + int(np.ceil(pdtrik(1 - POISSON_TAIL, procedure.parameters[0])))
    return procedure.n or 1


def mean_draws(procedure: str | Procedure) -> float:
    """Return how many responses the procedure draws on average, its cost at inference.

    Parameters
    ----------
    procedure : str or Procedure

    Returns
    -------
    float
        n; 1 + μ for bop; 1 for none.

    Examples
    --------
    >>> mean_draws("bon(4)"), mean_draws("bop(2.5)"), mean_draws("none")
    (4.0, 3.5, 1.0)
    """
    procedure = parse_procedure(procedure)
    return 1.0 + procedure.parameters[0] if procedure.name == "bop" else float(procedure.n or 1)
