"""Soft best-of-n: one of n draws by softmax(λ u), u the quantile of the selection score under the reference."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infalign.mathematics.continuous import Density
from infalign.mathematics.procedures.base import (
    LAMBDA,
    LARGEST_INVERSE_TEMPERATURE,
    USUAL_INVERSE_TEMPERATURE,
    WHOLE_N,
    Levels,
    Procedure,
    checked_quantiles,
    doublings,
    even_panels,
)
from infalign.mathematics.quadrature import Panels
from infalign.mathematics.ranks import mid_ranks
from infalign.mathematics.soft_selection import (
    LAPLACE_STEP,
    independent_weights,
    laplace_times,
    subset_weights,
    uniform_pick,
    uniform_pick_distribution,
)

INVERSE_TEMPERATURES = (5.0, 20.0)  # that `plan` tries


@dataclass(frozen=True)
class SoftBestOf(Procedure):
    """Soft best-of-n with λ in [0, 500]; its density has no elementary form, see `soft_selection`.

    It is no function G of the policy's own quantiles, so it has no `curve`.

    Examples
    --------
    >>> SoftBestOf(4, 5.0).text, bool(np.isclose(SoftBestOf(4, 0.0).mean_quantile, 0.5))
    ('sbon(4, 5.0)', True)
    """

    n: int = field()
    inverse_temperature: float = field()

    name = "sbon"
    numbers = (WHOLE_N, LAMBDA)
    theta = "inverse_temperature"
    theta_range = (0.0, LARGEST_INVERSE_TEMPERATURE)
    searched_theta = USUAL_INVERSE_TEMPERATURE

    @property
    def display_name(self) -> str:
        return self.text

    def distribution(self, u: ArrayLike) -> Levels:
        u = checked_quantiles(u)
        return uniform_pick_distribution(u.ravel(), self.n, self.inverse_temperature)[0].reshape(u.shape)

    def density(self, u: ArrayLike) -> Levels:
        u = checked_quantiles(u)
        return uniform_pick(u.ravel(), self.n, self.inverse_temperature).reshape(u.shape)

    def reference_panels(self) -> Panels:
        return even_panels(self.inverse_temperature)

    def selection_weights(self, select: Levels, quantiles: Levels | None) -> Levels:
        u = mid_ranks(select) if quantiles is None else quantiles
        return subset_weights(u, self.n, self.inverse_temperature)

    def offline_weights(self, weights: Levels, select: Levels) -> Levels:
        """Return the distribution of its output; mid-ranks take 2K values, so prompts share one kernel."""
        prompts, k = select.shape
        bins = np.rint(2 * k * mid_ranks(select)).astype(np.int64)
        used, position = np.unique(bins, return_inverse=True)
        position = position.reshape(bins.shape)
        mass = np.zeros((prompts, len(used)))
        np.add.at(mass, (np.arange(prompts)[:, None], position), weights)
        picked = independent_weights(mass, used / (2 * k), self.n, self.inverse_temperature)
        ratio = np.divide(picked, mass, out=np.zeros_like(mass), where=mass > 0)
        result = weights * np.take_along_axis(ratio, position, axis=1)
        return result / result.sum(axis=1, keepdims=True)

    def win_rate(self, density: Density) -> float:
        """Return ∫ T(f)(u) R(u) du, R the distribution function of T(reference)."""
        panels = density.panels
        masses = panels.weights * np.stack([density.f, np.ones_like(density.f)])
        picks = independent_weights(masses, panels.u, self.n, self.inverse_temperature)
        return float(np.clip(picks[0] @ panels.from_zero(picks[1] / panels.weights), 0.0, 1.0))

    def win_rate_derivative(self, density: Density) -> Levels:
        """Return n a R ∫ e^{−ta} M^{n−1} dt + n (n−1) ∫ e^{−ta} M^{n−2} Q dt, Q the moment of f a R."""
        terms = _terms(self, density)
        first = self.n * terms.gain * ((terms.steps * terms.moments ** (self.n - 1)) @ terms.exponentials)
        if self.n == 1:
            return first
        others = (terms.steps * terms.moments ** (self.n - 2) * terms.gain_moments) @ terms.exponentials
        return first + self.n * (self.n - 1) * others

    def win_rate_kernel(self, density: Density) -> Levels:
        """Return the derivative of `win_rate_derivative`; symmetric in the two points but for the weight."""
        n, terms = self.n, _terms(self, density)
        if n == 1:
            return np.zeros((len(terms.gain), len(terms.gain)))
        pairs = (terms.exponentials.T * (terms.steps * terms.moments ** (n - 2))) @ terms.exponentials
        total = (terms.gain[:, None] + terms.gain) * pairs
        if n > 2:
            triples = terms.steps * terms.moments ** (n - 3) * terms.gain_moments
            total += (n - 2) * ((terms.exponentials.T * triples) @ terms.exponentials)
        return n * (n - 1) * total * density.panels.weights

    @property
    def peak(self) -> float:
        return float(self.n)

    @property
    def steepness(self) -> float:
        return self.peak**2 + self.inverse_temperature

    def resolving(self, density: Density) -> Density:
        """Return the density on panels that also resolve the softmax, whose steps are 1/λ wide."""
        return density.carried(density.panels.limited(4 / max(self.inverse_temperature, 8.0)))

    def distribution_derivative(self, u: ArrayLike) -> Levels:
        u = checked_quantiles(u)
        return uniform_pick_distribution(u.ravel(), self.n, self.inverse_temperature)[1].reshape(u.shape)

    def chosen(self, u: Levels, rng: np.random.Generator) -> NDArray[np.int64]:
        return np.argmax(self.inverse_temperature * u + rng.gumbel(size=u.shape), axis=1)

    @classmethod
    def candidates(cls, max_draws: float) -> list["SoftBestOf"]:
        """Return λ = 5 and 20 with n = 2, 4, 8, … and the whole part of the budget."""
        whole = int(max_draws)
        ns = sorted({*doublings(whole), *([whole] if whole >= 2 else [])})
        return [cls(n, inverse_temperature) for n in ns for inverse_temperature in INVERSE_TEMPERATURES]


@dataclass(frozen=True, eq=False)
class _Terms:
    """What the derivatives share, on the Laplace grid t and the nodes."""

    exponentials: Levels
    steps: Levels
    moments: Levels
    gain: Levels
    gain_moments: Levels


@lru_cache(maxsize=4)
def _grid(procedure: SoftBestOf, panels: Panels) -> tuple[Levels, ...]:
    """e^{−ta}, the steps dt, and a(u) R(u) with R the distribution function of T(reference)."""
    n, times = procedure.n, laplace_times(procedure.n, procedure.inverse_temperature)
    a = np.exp(-procedure.inverse_temperature * panels.complement)
    exponentials = np.exp(-np.outer(times, a))
    steps = LAPLACE_STEP * times
    moments = exponentials @ panels.weights
    reference = n * a * ((steps * moments ** (n - 1)) @ exponentials)
    return exponentials, steps, a * panels.from_zero(reference)


def _terms(procedure: SoftBestOf, density: Density) -> _Terms:
    exponentials, steps, gain = _grid(procedure, density.panels)
    mass = density.panels.weights * density.f
    return _Terms(exponentials, steps, exponentials @ mass, gain, exponentials @ (mass * gain))
