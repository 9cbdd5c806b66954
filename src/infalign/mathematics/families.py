"""Inference-time procedures as families of one parameter θ, which hedging chooses.

All are greedy: a larger θ moves mass to higher u. θ is real: n of bon, μ of bop, λ of sbon and tilt.
"""

from dataclasses import dataclass, fields

import numpy as np
from scipy.optimize import brentq

from infalign.errors import InputError
from infalign.mathematics import procedures
from infalign.mathematics.checks import positive
from infalign.mathematics.procedures import BestOfPoisson, ExactTilt, Procedure
from infalign.mathematics.tilting import solve_log


@dataclass(frozen=True)
class Family:
    """A kind of inference-time procedure with one free parameter θ: a method and the draws n that sbon alone needs.

    Examples
    --------
    >>> Family("sbon", 4).at(5.0).text, Family("bop").domain(32)[0], Family("sbon", 4).domain(32)
    ('sbon(4, 5.0)', 0.0, (0.0, 100.0))
    """

    method: str
    n: int | None = None

    @property
    def kind(self) -> type[Procedure]:
        """The class of the procedures."""
        return _hedged()[self.method]

    @property
    def has_n(self) -> bool:
        """Whether a number of draws belongs to it, as its parameter or beside it."""
        return any(field.name == "n" for field in fields(self.kind))  # type: ignore[arg-type]

    def at(self, theta: float) -> Procedure:
        """Return the procedure at θ; an InputError if the continuous model has none."""
        lowest, highest = self.kind.theta_range
        if not (lowest <= theta <= highest and np.isfinite(theta)):
            bounds = f">= {lowest:g} and " + (f"<= {highest:g}" if np.isfinite(highest) else "finite")
            raise InputError(f"the parameter of {self.method} must be {bounds}, got {theta}")
        draws = {} if self.n is None else {"n": self.n}
        return self.kind(**draws, **{str(self.kind.theta): float(theta)})

    def limits(self, m: int) -> tuple[float, float]:
        """Return the smallest and largest θ that m responses of the prompt with fewest allow.

        bon: 1 to m. bop: 0 to the μ with P(1 + Poisson(μ) > m) = 1e-6. sbon and tilt: 0 to 500. An InputError if
        sbon draws more than m responses.
        """
        if self.n is not None and self.n > m:
            raise InputError(
                f"{self.method} with n = {self.n} needs at least {self.n} responses a prompt, got {m}; lower n or "
                "sample more"
            )
        return self.kind.theta_range[0], self.kind.largest_theta(m)

    def domain(self, m: int) -> tuple[float, float]:
        """Return the range of θ that is searched unless another is asked for: the limits, but λ up to 100."""
        low, high = self.limits(m)
        return low, min(high, self.kind.searched_theta)


def parse_family(method: str, n: int | None = None) -> Family:
    """Return the family of a method (bon, bop, sbon or tilt), with the draws n >= 1 that sbon alone needs."""
    if method not in _hedged():
        known = [kind for kind in procedures.PROCEDURES if kind.name == method]
        reason = f" (class {known[0].__name__} leaves out theta, the field that is varied)" if known else ""
        raise InputError(f"unknown method {method!r}; valid methods: {', '.join(sorted(_hedged()))}{reason}")
    if method not in methods_with_n():
        if n is not None:
            raise InputError(
                f"n belongs to the method {' or '.join(methods_with_n())} only, got n = {n} for {method}; leave it out"
            )
        return Family(method)
    if n is None:
        raise InputError(f"the method {method} needs n, the number of draws; give a whole number such as 16")
    if n < 1:
        raise InputError(f"the n of {method} must be a whole number >= 1, got {n}")
    return Family(method, n)


def methods_with_n() -> list[str]:
    """Return the names of the methods that need an n beside the parameter."""
    return [name for name, kind in _hedged().items() if kind.theta != "n" and Family(name).has_n]


def _hedged() -> dict[str, type[Procedure]]:
    """The kinds of procedures that hedging takes, by name."""
    return {kind.name: kind for kind in procedures.PROCEDURES if kind.theta is not None}


@dataclass(frozen=True)
class PoissonTiltGap:
    """How far best-of-Poisson is from the tilt, the policy of least KL at its mean quantile.

    `mean_quantile` and `kl` are those of best-of-Poisson, `inverse_temperature` that of the tilt with the same mean
    quantile. `kl_gap` is the KL of best-of-Poisson less that of this tilt, `reward_gap` the mean quantile of the
    tilt with the same KL less that of best-of-Poisson. Both are >= 0. KLs are in nats.
    """

    mu: float
    mean_quantile: float
    kl: float
    inverse_temperature: float
    kl_gap: float
    reward_gap: float


def poisson_tilt_gap(mu: float) -> PoissonTiltGap:
    """Compare best-of-Poisson of a mean μ > 0 with the tilts of equal mean quantile and of equal KL.

    References
    ----------
    Khalaf et al. 2025, Inference-time reward hacking in large language models: best-of-Poisson is close to
    the optimal policy.

    Examples
    --------
    >>> 0 < poisson_tilt_gap(3.5).kl_gap < 8e-4
    True
    """
    mu = positive(mu, "mu")
    mean, divergence = BestOfPoisson(mu).mean_quantile, BestOfPoisson(mu).kl
    same_mean = brentq(lambda x: ExactTilt(x).mean_quantile - mean, 0.0, 1 / (1 - mean), xtol=1e-14)
    same_kl = 1 / solve_log(lambda x: ExactTilt(1 / x).kl, divergence, 1.0)
    kl_gap = divergence - ExactTilt(same_mean).kl
    return PoissonTiltGap(mu, mean, divergence, same_mean, kl_gap, ExactTilt(same_kl).mean_quantile - mean)
