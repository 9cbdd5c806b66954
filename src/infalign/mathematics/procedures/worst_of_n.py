"""Worst-of-n: the worst of n draws by the selection score, as an attacker picks it."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from infalign.mathematics.procedures.base import WHOLE_N, Levels, Procedure
from infalign.mathematics.procedures.best_of_n import kl_of_extreme, powers
from infalign.mathematics.quadrature import Panels
from infalign.mathematics.ranks import best_of_n_rank_weights


@dataclass(frozen=True)
class WorstOf(Procedure):
    """Worst-of-n, of density n (1 − u)^{n−1}, n >= 1.

    Examples
    --------
    >>> float(WorstOf(4).density(0.0)), WorstOf(4).mean_quantile
    (4.0, 0.2)
    """

    n: int = field()

    name = "won"
    numbers = (WHOLE_N,)

    @property
    def display_name(self) -> str:
        return f"worst-of-{self.n}"

    def curve(self, p: Levels, q: Levels) -> tuple[Levels, Levels, Levels]:
        value, slope, bend = powers(q, p, self.n)
        return 1 - value, slope, -bend

    @property
    def kl(self) -> float:
        return kl_of_extreme(self.n)

    @property
    def mean_quantile(self) -> float:
        return 1 / (self.n + 1)

    def rank_weights(self, m: int) -> Levels:
        return best_of_n_rank_weights(m, self.n)[::-1]

    def optimum_panels(self, beta: float) -> Panels:
        """Return panels that are finer than others where u is small."""
        lower = Panels.graded(int(4 + np.log2(1 + self.peak)), 1, per_octave=2).lower
        return Panels(lower, super().optimum_panels(beta).upper)

    def chosen(self, u: Levels, rng: np.random.Generator) -> NDArray[np.int64]:
        return np.argmin(u, axis=1)

    @classmethod
    def candidates(cls, max_draws: float) -> list["WorstOf"]:
        return []
