"""The ideal continuous policy: a density in u, its distribution function and its KL."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from infalign.mathematics.quadrature import Panels


@dataclass(frozen=True, eq=False)
class Density:
    """A policy in quantile space: log f at the nodes, shape (n,), up to a constant, f its density to the reference.

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

    def carried(self, panels: Panels) -> "Density":
        """The same density on other panels."""
        return Density(panels, self.panels.interpolate(self.log_f, panels))
