"""Best-of-n: the best of n draws by the selection score."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy

from infalign.mathematics.procedures.base import WHOLE_N, Levels, Procedure, checked_quantiles
from infalign.mathematics.ranks import best_of_n_rank_weights

EVERY_N_UP_TO = 16


@dataclass(frozen=True)
class BestOf(Procedure):
    """Best-of-n, of density n u^{n−1}, n >= 1: real in quantile space, a whole number where samples are drawn.

    Examples
    --------
    >>> float(BestOf(4).density(1.0)), float(BestOf(2.5).distribution(0.25)), BestOf(4).mean_quantile
    (4.0, 0.03125, 0.8)
    """

    n: float = field()

    name = "bon"
    numbers = (WHOLE_N,)
    concave = True
    theta = "n"
    theta_range = (1.0, np.inf)

    @property
    def display_name(self) -> str:
        return f"best-of-{self.n}"

    def curve(self, p: Levels, q: Levels) -> tuple[Levels, Levels, Levels]:
        return powers(p, q, self.n)

    @property
    def kl(self) -> float:
        return kl_of_extreme(self.n)

    @property
    def mean_quantile(self) -> float:
        return self.n / (self.n + 1)

    def rank_weights(self, m: int) -> Levels:
        return best_of_n_rank_weights(m, int(self.n))

    @classmethod
    def largest_theta(cls, m: int) -> float:
        return float(m)

    def distribution_derivative(self, u: ArrayLike) -> Levels:
        u = checked_quantiles(u)
        return xlogy(u**self.n, u)

    def chosen(self, u: Levels, rng: np.random.Generator) -> NDArray[np.int64]:
        return np.argmax(u, axis=1)

    @classmethod
    def candidates(cls, max_draws: float) -> list["BestOf"]:
        """Return every n up to 16, then about every fifth of n more (19, 23, 27, 32, …), and the budget."""
        whole = int(max_draws)
        steps = np.rint(EVERY_N_UP_TO * 2 ** (np.arange(1, 65) / 4)).astype(int).tolist()
        ns = {n for n in [*range(2, EVERY_N_UP_TO + 1), *steps, whole] if 2 <= n <= whole}
        return [cls(n) for n in sorted(ns)]


def powers(p: Levels, q: Levels, n: float) -> tuple[Levels, Levels, Levels]:
    """Return p^n, its slope and its bend, from q = 1 − p where p is close to 1.

    Examples
    --------
    >>> powers(np.array([0.5]), np.array([0.5]), 2)
    (array([0.25]), array([1.]), array([2.]))
    """
    return _power(p, q, n), n * _power(p, q, n - 1), n * (n - 1) * _power(p, q, max(n - 2, 0))


def _power(p: Levels, q: Levels, exponent: float) -> Levels:
    if exponent == 0:
        return np.ones_like(p)
    with np.errstate(divide="ignore"):
        return np.exp(exponent * np.where(p < 0.5, np.log(p), np.log1p(-np.minimum(q, 0.5))))


def kl_of_extreme(n: float) -> float:
    """Return log n − (n − 1)/n in nats: the KL of best-of-n and of worst-of-n.

    Examples
    --------
    >>> kl_of_extreme(1)
    0.0
    """
    return float(np.log(n) - (n - 1) / n)
