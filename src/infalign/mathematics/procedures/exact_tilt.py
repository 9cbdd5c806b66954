"""The exact tilt by exp(λ u): the policy of least KL at its mean quantile."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infalign.mathematics.procedures.base import (
    LAMBDA,
    LARGEST_INVERSE_TEMPERATURE,
    USUAL_INVERSE_TEMPERATURE,
    Levels,
    Procedure,
    checked_quantiles,
)
from infalign.mathematics.tilting import tilt

# log(sinh(x/2) / (x/2)) = Σ c_k x^{2k}, c_k = B_{2k} / (2k (2k)!)
_POWERS = np.array([2, 4, 6, 8])
_COEFFICIENTS = np.array([1 / 24, -1 / 2880, 1 / 181440, -1 / 9676800])
_SMALL = 0.1


@dataclass(frozen=True)
class ExactTilt(Procedure):
    """The exact tilt, of density λ e^{λu}/(e^λ − 1), with an inverse temperature λ in [0, 500].

    It draws no fixed number of responses, so it has no `min_samples`, `mean_draws` or `rank_weights`.

    Examples
    --------
    >>> ExactTilt(0.0).kl, ExactTilt(0.0).mean_quantile
    (0.0, 0.5)
    """

    inverse_temperature: float

    name = "tilt"
    numbers = (LAMBDA,)
    concave = True
    theta = "inverse_temperature"
    theta_range = (0.0, LARGEST_INVERSE_TEMPERATURE)
    searched_theta = USUAL_INVERSE_TEMPERATURE

    @property
    def display_name(self) -> str:
        return self.text

    def curve(self, p: Levels, q: Levels) -> tuple[Levels, Levels, Levels]:
        """Return (e^{λp} − 1) / (e^λ − 1) with slope and bend; p itself at λ = 0."""
        strength = self.inverse_temperature
        if strength == 0:
            return p.copy(), np.ones_like(p), np.zeros_like(p)
        rising = np.exp(-strength * q)
        slope = strength * rising / -np.expm1(-strength)
        return rising * (np.expm1(-strength * p) / np.expm1(-strength)), slope, strength * slope

    @property
    def kl(self) -> float:
        """λ E[u] − log((e^λ − 1)/λ), by its series where λ is small."""
        strength = self.inverse_temperature
        if strength < _SMALL:
            return float(strength**_POWERS @ ((_POWERS - 1) * _COEFFICIENTS))
        log_normaliser = np.log1p(-np.exp(-strength)) - np.log(strength)
        return float(strength * (self.mean_quantile - 1) - log_normaliser)

    @property
    def mean_quantile(self) -> float:
        return float(_mean(np.array(self.inverse_temperature)))

    def distribution_derivative(self, u: ArrayLike) -> Levels:
        """Return P (E[v | v < u] − E[v]): below u the tilt is the tilt of [0, u]."""
        u = checked_quantiles(u)
        gap = u * _mean(self.inverse_temperature * u) - _mean(np.array(self.inverse_temperature))
        return self.distribution(u) * gap

    def sample(self, u: Levels, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        """Draw places with the weights ∝ exp(λ u) of all m responses."""
        return rng.choice(len(u), size=size, p=tilt(self.inverse_temperature * u, 1.0))

    @classmethod
    def candidates(cls, max_draws: float) -> list["ExactTilt"]:
        return []


def _mean(inverse_temperature: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of u under the tilt, 1/(1 − e^{−λ}) − 1/λ, by its series where λ is small."""
    x = np.maximum(inverse_temperature, _SMALL)
    series = (inverse_temperature[..., None] ** (_POWERS - 1)) @ (_POWERS * _COEFFICIENTS)
    return np.where(inverse_temperature < _SMALL, 0.5 + series, -1 / np.expm1(-x) - 1 / x)
