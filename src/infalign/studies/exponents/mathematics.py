"""Which exponential transform is best for a procedure, in the continuous model."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from infalign.mathematics.checks import positive
from infalign.mathematics.frontier import ideal
from infalign.mathematics.procedures import parse_procedure
from infalign.mathematics.transforms import Exponential, Identity, Transform

GRID = 41  # exponents tried on each side before the best is refined
FLAT = 1e-9  # win rates that differ by less are taken as equal; the exponent nearest to 0 counts
ENOUGH = 1e-3  # a tenth of a point; no experiment here can see less


@dataclass(frozen=True)
class BestExponent:
    """The exponential transform with the highest win rate at a KL.

    Attributes
    ----------
    t : float
        Of Φ_t(u) = sign(t) e^{tu}; 0 is the identity, to which it tends.
    win_rate : float
        Through the procedure, on the ideal frontier.
    at_bound : bool
        Whether a larger exponent may be better still.
    enough : float
        The exponent nearest to 0 that is within 0.001 of that win rate.
    """

    t: float
    win_rate: float
    at_bound: bool
    enough: float


def exponential(t: float) -> Transform:
    """Return Φ_t, and the identity for t = 0.

    Examples
    --------
    >>> exponential(10).text, exponential(0).text
    ('exp(10)', 'identity')
    """
    return Exponential(float(t)) if t else Identity()


def meant_sign(procedure: str) -> int:
    """Return the sign of the exponents that are meant for a procedure: −1 for worst-of-n, 1 for the others.

    Examples
    --------
    >>> meant_sign("won(4)"), meant_sign("bon(4)")
    (-1, 1)
    """
    return -1 if procedure.startswith("won") else 1


def best_exponent(procedure: str, kl: float, largest: float) -> BestExponent:
    """Return the t whose Φ_t has the highest ideal win rate through a procedure at a KL.

    Parameters
    ----------
    procedure : str
        Text form.
    kl : float
        In nats, > 0.
    largest : float
        Largest |t| searched, > 0. K rollouts tell quantiles apart to 1/K, so nothing is gained by t beyond K.

    Raises
    ------
    InputError
        If the KL or the bound is not above 0.

    References
    ----------
    Balashankar et al. 2025, InfAlign, section 4.3: exponential tilting in place of the optimal transform.

    Examples
    --------
    >>> best = best_exponent("bon(4)", 0.5, 100)
    >>> round(best.t, 1), round(best.win_rate, 4), best.at_bound
    (12.6, 0.8727, False)
    >>> best_exponent("none", 0.5, 100).t
    0.0
    """
    text, bound = parse_procedure(procedure).text, positive(largest, "largest")

    def win_rate(t: float) -> float:
        return ideal(exponential(t), text, kl=kl).win_rate

    t, rate = _peak(win_rate, bound)
    threshold, enough = rate - ENOUGH, 0.0
    if win_rate(enough) < threshold:
        enough = brentq(lambda exponent: win_rate(exponent) - threshold, 0.0, t, xtol=1e-4)
    return BestExponent(t, rate, abs(t) == bound, float(enough))


def _peak(win_rate: Callable[[float], float], bound: float) -> tuple[float, float]:
    """The best exponent on a grid, refined between its neighbours, and its win rate."""
    steps = np.geomspace(bound / 1000, bound, GRID)
    grid = np.concatenate([-steps[::-1], [0.0], steps])
    rates = np.array([win_rate(t) for t in grid])
    alike = np.flatnonzero(rates > rates.max() - FLAT)
    nearest = int(alike[np.argmin(np.abs(grid[alike]))])
    if grid[nearest] == 0 or nearest in (0, len(grid) - 1):
        return float(grid[nearest]), float(rates[nearest])
    ends = grid[nearest - 1], grid[nearest + 1]
    peak = minimize_scalar(lambda t: -win_rate(t), bounds=ends, method="bounded", options={"xatol": 1e-3})
    return float(peak.x), float(-peak.fun)
