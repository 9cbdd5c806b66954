"""No inference-time procedure: one plain sample."""

from dataclasses import dataclass

import numpy as np

from infalign.mathematics.procedures.base import Levels, Procedure


@dataclass(frozen=True)
class NoProcedure(Procedure):
    """One plain sample of the policy.

    Examples
    --------
    >>> NoProcedure().text, NoProcedure().kl, NoProcedure().n is None
    ('none', 0.0, True)
    """

    name = "none"
    concave = True
    display_name = "standard"
    kl = 0.0
    mean_quantile = 0.5
    min_samples = 1
    mean_draws = 1.0

    def curve(self, p: Levels, q: Levels) -> tuple[Levels, Levels, Levels]:
        return p, np.ones_like(p), np.zeros_like(p)

    def selection_weights(self, select: Levels, quantiles: Levels | None) -> Levels:
        return np.full(len(select), 1 / len(select))

    def offline_weights(self, weights: Levels, select: Levels) -> Levels:
        return weights

    @classmethod
    def candidates(cls, max_draws: float) -> list["NoProcedure"]:
        return [cls()]
