"""The ideal continuous policy: a density in u, its KL, and its win rate through a procedure."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from infalign.mathematics.procedures import Procedure, curve
from infalign.mathematics.quadrature import Panels
from infalign.mathematics.soft_selection import independent_weights


@dataclass(frozen=True, eq=False)
class Density:
    """A policy in quantile space: the log of its density f(u) with respect to the reference policy.

    Parameters
    ----------
    panels : Panels
    logits : ndarray, shape (n,)
        log f at the nodes, up to a constant.

    Examples
    --------
    >>> panels = Panels.graded(4, 4)
    >>> Density(panels, np.zeros(len(panels.u))).kl
    0.0
    """

    panels: Panels
    logits: NDArray[np.float64]

    @cached_property
    def log_f(self) -> NDArray[np.float64]:
        """log f, normalised."""
        excess = self.logits - self.logits.max()
        return excess - np.log(self.panels.integrate(np.exp(excess)))

    @cached_property
    def f(self) -> NDArray[np.float64]:
        """f(u) at the nodes."""
        return np.exp(self.log_f)

    @cached_property
    def kl(self) -> float:
        """KL(π ‖ π_ref) in nats, precise also where f is within rounding error of 1."""
        return max(self.panels.integrate(self.log_f * self.f - np.expm1(self.log_f)), 0.0)

    @cached_property
    def below(self) -> NDArray[np.float64]:
        """F(u), the share of the policy's responses below each node."""
        return np.clip(self.panels.from_zero(self.f), 0.0, 1.0)

    @cached_property
    def above(self) -> NDArray[np.float64]:
        """1 − F(u)."""
        return np.clip(self.panels.to_one(self.f), 0.0, 1.0)


def win_rate(density: Density, procedure: Procedure) -> float:
    """Return the win rate of a continuous policy over the reference, both through one procedure.

    Parameters
    ----------
    density : Density
    procedure : Procedure

    Returns
    -------
    float
        1 − ∫ G(F(u)) G'(u) du for a calibrated procedure; for sbon ∫ T(f)(u) R(u) du with R the
        distribution function of T(reference).

    References
    ----------
    Balashankar et al. 2025, InfAlign, Theorem 3, here for any procedure.

    Examples
    --------
    >>> panels = Panels.graded(4, 4)
    >>> tilted = Density(panels, np.log(panels.u))
    >>> round(win_rate(tilted, Procedure("none")), 12), round(win_rate(tilted, Procedure("bon", (2,))), 12)
    (0.666666666667, 0.666666666667)
    """
    panels = density.panels
    if procedure.name == "sbon":
        n, inverse_temperature = int(procedure.parameters[0]), float(procedure.parameters[1])
        masses = panels.weights * np.stack([density.f, np.ones_like(density.f)])
        picks = independent_weights(masses, panels.u, n, inverse_temperature)
        return _rate(picks[0] @ panels.from_zero(picks[1] / panels.weights))
    below, reference = density_levels(density, procedure)
    return _rate(1.0 - panels.integrate(below * reference))


def _rate(value: float) -> float:
    """A win rate without the rounding that carries it past its bounds."""
    return float(np.clip(value, 0.0, 1.0))


def density_levels(density: Density, procedure: Procedure) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return G(F(u)) of the policy and G'(u) of the reference at the nodes (any procedure but sbon).

    Parameters
    ----------
    density : Density
    procedure : Procedure

    Returns
    -------
    two ndarrays, shape (n,)

    Examples
    --------
    >>> panels = Panels.graded(4, 4)
    >>> uniform = Density(panels, np.zeros(len(panels.u)))
    >>> below, reference = density_levels(uniform, Procedure("bon", (2,)))
    >>> bool(np.allclose(below, panels.u**2) and np.allclose(reference, 2 * panels.u))
    True
    """
    panels = density.panels
    return curve(procedure, density.below, density.above)[0], curve(procedure, panels.u, panels.complement)[1]
