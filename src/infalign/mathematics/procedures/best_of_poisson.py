"""Best-of-Poisson: the best of 1 + Poisson(μ) draws by the selection score."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expi, gammaincinv, gammaln, pdtrik, xlogy

from infalign.errors import InputError
from infalign.mathematics.procedures.base import (
    MU,
    Levels,
    Procedure,
    checked_quantiles,
    doublings,
    even_panels,
)
from infalign.mathematics.quadrature import Panels
from infalign.mathematics.ranks import best_of_n_rank_weights

POISSON_TAIL = 1e-6


@dataclass(frozen=True)
class BestOfPoisson(Procedure):
    """Best-of-Poisson, of density (1 + μu) e^{μ(u−1)}; μ >= 0 is the mean of the draws beyond the first.

    References
    ----------
    Khalaf et al. 2025, Inference-time reward hacking in large language models.

    Examples
    --------
    >>> float(BestOfPoisson(3.5).density(1.0)), BestOfPoisson(2.5).mean_draws, BestOfPoisson(0.0).min_samples
    (4.5, 3.5, 1)
    """

    mu: float

    name = "bop"
    numbers = (MU,)
    concave = True
    theta = "mu"
    random_draws = True
    samples_reason = " (so that a larger draw has probability at most 1e-6)"

    @property
    def display_name(self) -> str:
        return self.text

    def curve(self, p: Levels, q: Levels) -> tuple[Levels, Levels, Levels]:
        mu = self.mu
        factor = np.exp(-mu * q)
        return p * factor, (1 + mu * p) * factor, mu * (2 + mu * p) * factor

    def reference_panels(self) -> Panels:
        return even_panels(1.0)

    @property
    def kl(self) -> float:
        """log(1+μ) − 1 + e^{−(1+μ)} (Ei(1+μ) − Ei(1))/μ, by quadrature where μ <= 1."""
        if self.mu <= 1:
            return super().kl
        mu = float(self.mu)
        return float(np.log1p(mu) - 1 + (_scaled_expi(1 + mu) - np.exp(-1 - mu) * expi(1.0)) / mu)

    @property
    def mean_quantile(self) -> float:
        if self.mu <= 1:
            return super().mean_quantile
        return float(1 - (self.mu + np.expm1(-self.mu)) / self.mu**2)

    @property
    def min_samples(self) -> int:
        """The smallest m with P(1 + Poisson(μ) > m) <= 1e-6."""
        return 1 + int(np.ceil(pdtrik(1 - POISSON_TAIL, self.mu)))

    @property
    def mean_draws(self) -> float:
        return 1.0 + self.mu

    def rank_weights(self, m: int) -> Levels:
        sizes = np.arange(1, m + 1)
        chances = np.exp(xlogy(sizes - 1, self.mu) - self.mu - gammaln(sizes))  # P(Poisson(mu) = size - 1)
        used = chances > 1e-18
        mixture = sum(c * best_of_n_rank_weights(m, int(n)) for n, c in zip(sizes[used], chances[used], strict=True))
        return mixture / chances[used].sum()

    @classmethod
    def largest_theta(cls, m: int) -> float:
        """Return the μ with P(1 + Poisson(μ) > m) = 1e-6."""
        return float(gammaincinv(m, POISSON_TAIL))

    def distribution_derivative(self, u: ArrayLike) -> Levels:
        u = checked_quantiles(u)
        return u * (u - 1) * np.exp(self.mu * (u - 1))

    def draw_counts(self, m: int, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        """Return 1 + Poisson(μ) for each outcome; an InputError if one is above m."""
        counts = 1 + rng.poisson(self.mu, size)
        if counts.max() > m:
            raise InputError(
                f"best-of-Poisson with mean {self.mu:g} drew n = {counts.max()} from a pool of {m} responses; "
                "sample more or lower the parameter"
            )
        return counts

    def chosen(self, u: Levels, rng: np.random.Generator) -> NDArray[np.int64]:
        return np.argmax(u, axis=1)

    @classmethod
    def candidates(cls, max_draws: float) -> list["BestOfPoisson"]:
        """Return means of 2, 4, 8, … draws, and the budget."""
        means = {float(n) for n in doublings(max_draws)} | ({float(max_draws)} if max_draws > 1 else set())
        return [cls(mean - 1) for mean in sorted(means)]


def _scaled_expi(x: float) -> float:
    """e^{−x} Ei(x); beyond 50 by its asymptotic series, whose smallest term is below 1e-20."""
    if x < 50:
        return float(np.exp(-x) * expi(x))
    return float(np.sum(np.cumprod(np.concatenate([[1.0], np.arange(1, 40) / x]))) / x)
