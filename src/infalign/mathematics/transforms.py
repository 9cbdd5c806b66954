"""Transformations Φ of the calibrated reward u in [0, 1], and their text form."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infalign.errors import InputError
from infalign.mathematics.checks import finite_array
from infalign.mathematics.procedures import Procedure, parse_procedure

FORMS = "raw, identity, log, exp(t) with t != 0 (such as exp(10) or exp(-10)), optimal(<procedure>)"


@dataclass(frozen=True)
class Transform:
    """A transformation Φ of the calibrated reward.

    Parameters
    ----------
    name : str
        raw, identity, log, exp or optimal.
    exponent : float, optional
        The t of Φ_t(u) = sign(t) e^{tu}.
    procedure : Procedure, optional
        The procedure an optimal transformation is optimal for.

    Examples
    --------
    >>> Transform("exp", exponent=10.0).text
    'exp(10)'
    """

    name: str
    exponent: float | None = None
    procedure: Procedure | None = None

    @property
    def text(self) -> str:
        """The canonical text, which `parse_transform` reads back."""
        if self.exponent is not None:
            return f"exp({np.format_float_positional(self.exponent, trim='-')})"
        return f"optimal({self.procedure.text})" if self.procedure is not None else self.name

    def __str__(self) -> str:
        return self.text


def parse_transform(text: "str | Transform") -> Transform:
    """Read a transformation from its text form.

    Parameters
    ----------
    text : str or Transform
        raw, identity, log, exp(t), optimal(<procedure>); blanks do not matter.

    Returns
    -------
    Transform

    Raises
    ------
    InputError
        If the text is none of the valid forms, which the message lists.

    Examples
    --------
    >>> parse_transform("exp( -10.0 )").text
    'exp(-10)'
    >>> parse_transform("optimal(bon(4))").procedure.n
    4
    """
    if isinstance(text, Transform):
        return text
    name, argument = _split(text)
    if name in ("raw", "identity", "log") and argument is None:
        return Transform(name)
    if name == "exp" and argument is not None:
        return Transform("exp", exponent=_exponent(text, argument))
    if name == "optimal" and argument is not None:
        return Transform("optimal", procedure=parse_procedure(argument))
    raise InputError(f"unknown transform {text!r}; valid forms: {FORMS}")


def _split(text: str) -> tuple[str, str | None]:
    """Split "name(argument)" into its two parts; the argument is None without brackets."""
    match = re.fullmatch(r"\s*([a-z]+)\s*(?:\((.*)\))?\s*", str(text))
    return (match[1], match[2]) if match else ("", None)


def _exponent(text: str, argument: str) -> float:
    """The t of exp(t), or an error that says what t may be."""
    try:
        exponent = float(argument)
    except ValueError:
        exponent = float("nan")
    if not np.isfinite(exponent) or exponent == 0:
        raise InputError(f"the t of {text!r} must be a finite number other than 0; valid forms: {FORMS}")
    return exponent


def _identity(u: NDArray[np.float64], transform: Transform) -> NDArray[np.float64]:
    return u


def _log(u: NDArray[np.float64], transform: Transform) -> NDArray[np.float64]:
    if np.any(u <= 0):
        raise InputError(
            "log needs calibrated rewards > 0, got 0; pass n_rollouts=K with the strict calibration, "
            "so that it acts on (1 + K u) / (K + 1)"
        )
    return np.log(u)


def _exponential(u: NDArray[np.float64], transform: Transform) -> NDArray[np.float64]:
    t = transform.exponent
    assert t is not None
    return np.exp(t * (u - 1)) if t > 0 else -np.exp(t * u)


TRANSFORMS: dict[str, Callable[[NDArray[np.float64], Transform], NDArray[np.float64]]] = {
    "identity": _identity,
    "log": _log,
    "exp": _exponential,
}


def scaled(transform: str | Transform, u: ArrayLike, n_rollouts: int | None = None) -> NDArray[np.float64]:
    """Return Φ(u) up to a factor that keeps it bounded.

    Parameters
    ----------
    transform : str or Transform
        identity, log or exp(t).
    u : array-like, any shape
        Calibrated rewards in [0, 1].
    n_rollouts : int, optional
        K, for log only: u must then be the strict empirical calibration, and log acts on
        (1 + K u) / (K + 1).

    Returns
    -------
    ndarray, shape of u
        u; log u; e^{t(u-1)} for t > 0; -e^{tu} for t < 0.

    Raises
    ------
    InputError
        For raw (not a function of u), optimal (needs a solution: `frontier.transformed_values`),
        u outside [0, 1], or log of 0.

    References
    ----------
    Balashankar et al. 2025, InfAlign, section 4 (exponential tilting).

    Examples
    --------
    >>> float(scaled("exp(10)", [1.0])[0]), float(scaled("exp(-10)", [0.0])[0])
    (1.0, -1.0)
    >>> bool(np.isclose(scaled("log", [0.0], n_rollouts=3)[0], np.log(1 / 4)))
    True
    """
    transform = parse_transform(transform)
    if transform.name not in TRANSFORMS:
        reason = (
            "it is not a function of the calibrated reward" if transform.name == "raw" else "solve it first"
        )
        raise InputError(f"{transform.text} has no closed form in the calibrated reward: {reason}")
    u = finite_array(u, "calibrated reward")
    if u.min() < 0 or u.max() > 1:
        raise InputError(f"calibrated rewards must lie in [0, 1], got {u.min()} to {u.max()}")
    if transform.name == "log" and n_rollouts is not None:
        u = (1 + n_rollouts * u) / (n_rollouts + 1)
    return TRANSFORMS[transform.name](u, transform)


def scale(transform: str | Transform) -> float:
    """Return the log of the factor between the paper's Φ and the scaled one.

    Parameters
    ----------
    transform : str or Transform

    Returns
    -------
    float
        t for exp(t) with t > 0, else 0: the paper's β is the scaled one times e to this.

    Examples
    --------
    >>> scale("exp(10)"), scale("exp(-10)"), scale("identity")
    (10.0, 0.0, 0.0)
    """
    exponent = parse_transform(transform).exponent
    return max(exponent, 0.0) if exponent is not None else 0.0


def below_top(
    transform: Transform, u: NDArray[np.float64], complement: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the scaled Φ(u) − Φ(1), exact also where 1 − u is far below the spacing of u.

    Parameters
    ----------
    transform : Transform
        identity, log or exp(t).
    u, complement : ndarray
        u in (0, 1) and 1 − u, each to full relative precision.

    Returns
    -------
    ndarray
        Never above 0.

    Examples
    --------
    >>> float(below_top(Transform("identity"), np.array([1.0]), np.array([1e-30]))[0])
    -1e-30
    """
    if transform.name == "identity":
        return -complement
    if transform.name == "log":
        return np.where(u < 0.5, np.log(u), np.log1p(-np.minimum(complement, 0.5)))
    t = transform.exponent
    assert t is not None
    if t > 0:
        return np.expm1(-t * complement)
    return np.where(
        u < 0.5, np.exp(t) - np.exp(t * u), -np.exp(t) * np.expm1(-t * np.minimum(complement, 0.5))
    )
