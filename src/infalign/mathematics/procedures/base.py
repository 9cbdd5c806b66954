"""What every inference-time procedure has: the base class, and how its numbers are read from text.

A calibrated procedure maps a policy with distribution function F(u) to one with G(F(u)); G is the
distribution function that the procedure gives to the reference policy itself, whose F is u. Such a class
gives G as `curve`, and all that is exact in quantile space follows from it.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infalign.errors import InputError
from infalign.mathematics.checks import finite_array
from infalign.mathematics.continuous import Density
from infalign.mathematics.quadrature import Panels
from infalign.mathematics.ranks import weights_by_level, weights_by_rank

Levels = NDArray[np.float64]
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Number:
    """A number in a text form: its symbol, its range, and how it is read from its text and the whole text."""

    symbol: str
    range: str
    read: Callable[[str, str], int | float]


def _whole(part: str, text: str) -> int:
    if not re.fullmatch(r"\s*\d+\s*", part) or int(part) < 1:
        raise InputError(f"the n of {text!r} must be a whole number >= 1, got {part.strip()!r}")
    return int(part)


def _nonnegative(part: str, text: str) -> float:
    try:
        value = float(part)
    except ValueError:
        value = float("nan")
    if not (np.isfinite(value) and value >= 0):
        raise InputError(f"{text!r} needs a finite number >= 0, got {part.strip()!r}")
    return value


LARGEST_INVERSE_TEMPERATURE = 500.0
USUAL_INVERSE_TEMPERATURE = 100.0


def _inverse_temperature(part: str, text: str) -> float:
    value = _nonnegative(part, text)
    if value > LARGEST_INVERSE_TEMPERATURE:
        raise InputError(f"the lambda of {text!r} must be at most 500, got {value}; bon(n) is its limit")
    return value


WHOLE_N = Number("n", "n >= 1", _whole)
LAMBDA = Number("lambda", "0 <= lambda <= 500", _inverse_temperature)
MU = Number("mu", "mu >= 0", _nonnegative)


class Procedure:
    """An inference-time procedure T; each kind is a frozen dataclass of its numbers.

    What a class leaves out raises an InputError that names it, where it is first needed.

    Attributes
    ----------
    name : str
        The word of its text form, such as bon.
    numbers : tuple of Number
        How its fields are read from the text form, in their order.
    n : int, float or None
        Draws, where their number is fixed.
    concave : bool
        Whether the win rate is concave in the policy's density; else its optimum is sought from several
        starts, and Newton's method goes both ways.
    samples_reason : str
        What `winrate` adds where there are fewer than `min_samples`.
    theta : str or None
        The field that hedging varies; None where hedging does not take the procedure.
    theta_range : (float, float)
        The smallest and largest θ of the continuous model.
    searched_theta : float
        The largest θ that hedging tries unless another is asked for.
    random_draws : bool
        Whether the number of draws is random, so that `sample` may go beyond `largest_theta`.
    """

    name: ClassVar[str] = ""
    numbers: ClassVar[tuple[Number, ...]] = ()
    n: float | None = None
    concave: ClassVar[bool] = False
    samples_reason: ClassVar[str] = ""
    theta: ClassVar[str | None] = None
    theta_range: ClassVar[tuple[float, float]] = (0.0, np.inf)
    searched_theta: ClassVar[float] = np.inf
    random_draws: ClassVar[bool] = False

    @classmethod
    def form(cls) -> str:
        """Return the text form with symbols for numbers, such as sbon(n, lambda)."""
        symbols = ", ".join(number.symbol for number in cls.numbers)
        return f"{cls.name}({symbols})" if symbols else cls.name

    @property
    def parameters(self) -> tuple[int | float, ...]:
        """The numbers, in the order of the text form."""
        return tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]

    @property
    def text(self) -> str:
        """The canonical text, which `parse_procedure` reads back."""
        return f"{self.name}({', '.join(map(str, self.parameters))})" if self.parameters else self.name

    def __str__(self) -> str:
        return self.text

    @classmethod
    def left_out(cls, piece: str, meaning: str) -> NoReturn:
        """Raise the InputError for a piece that the class does not have."""
        raise InputError(
            f"the procedure {cls.name} (class {cls.__name__}) leaves out {piece}, {meaning}; define it in the "
            "class, or use another procedure here"
        )

    @property
    def display_name(self) -> str:
        """What a figure's title calls it."""
        self.left_out("display_name", "what a figure's title calls it")

    # The reference policy under the procedure

    def curve(self, p: Levels, q: Levels) -> tuple[Levels, Levels, Levels]:
        """Return G(p), G'(p) and G''(p) of a calibrated procedure, shapes of p.

        The levels p of the distribution function lie in [0, 1]; q = 1 − p comes to full relative precision.
        Balashankar et al. 2025, InfAlign, Definition 6 and Lemma 5 (g_T = G' up to a factor).
        """
        self.left_out("curve", "the distribution function it gives to the reference, with slope and bend")

    def distribution(self, u: ArrayLike) -> Levels:
        """Return the distribution function at quantiles u in [0, 1], shape of u."""
        u = checked_quantiles(u)
        return self.curve(u, 1 - u)[0]

    def density(self, u: ArrayLike) -> Levels:
        """Return the density at quantiles u in [0, 1], shape of u (InfAlign, Lemma 5)."""
        u = checked_quantiles(u)
        return self.curve(u, 1 - u)[1]

    @property
    def kl(self) -> float:
        """KL to the reference policy in nats; of a discrete policy an upper bound (bon, won)."""
        panels = self.reference_panels()
        log_density = np.log(np.maximum(self.density(panels.u), 1e-300))
        return max(panels.integrate(log_density * np.exp(log_density) - np.expm1(log_density)), 0.0)

    @property
    def mean_quantile(self) -> float:
        """The mean of u, in (0, 1), for a continuous policy."""
        panels = self.reference_panels()
        return panels.integrate(panels.u * self.density(panels.u))

    def reference_panels(self) -> Panels:
        """Return panels that resolve the density, also where it is 0 at an end."""
        return Panels.graded(44, 44)

    # Samples and scored rollouts

    @property
    def min_samples(self) -> int:
        """How many samples a side a win rate needs."""
        if self.n is None:
            self.left_out("min_samples", "how many samples a side it needs (n, where that is fixed)")
        return int(self.n)

    @property
    def mean_draws(self) -> float:
        """How many responses it draws on average: its cost at inference."""
        if self.n is None:
            self.left_out("mean_draws", "how many responses it draws on average (n, where that is fixed)")
        return float(self.n)

    def rank_weights(self, m: int) -> Levels:
        """Return the chance that it outputs the i-th smallest of m distinct scores, i = 1..m, over all subsets."""
        self.left_out("rank_weights", "the chance that it outputs the i-th smallest of m scores")

    def selection_weights(self, select: Levels, quantiles: Levels | None) -> Levels:
        """Return the chance that each of m samples is its output, see `winrate.selection_weights`."""
        return weights_by_rank(select, self.rank_weights(len(select)))

    def offline_weights(self, weights: Levels, select: Levels) -> Levels:
        """Return the distribution of its output on independent draws from weights, shape (P, K), by a score.

        It sums to 1 for each prompt; within a tie in `select` it is proportional to the weights.
        """
        return weights_by_level(weights, select, lambda p, q: self.curve(p, q)[0])

    # Continuous policies

    def win_rate(self, density: Density) -> float:
        """Return the win rate of a policy over the reference, both through the procedure.

        1 − ∫ G(F(u)) G'(u) du: Balashankar et al. 2025, InfAlign, Theorem 3, here for any procedure.
        """
        panels = density.panels
        below = self.curve(density.below, density.above)[0]
        reference = self.curve(panels.u, panels.complement)[1]
        return float(np.clip(1.0 - panels.integrate(below * reference), 0.0, 1.0))

    def win_rate_derivative(self, density: Density) -> Levels:
        """Return the functional derivative of the win rate in the density at each node, up to a constant.

        Balashankar et al. 2025, InfAlign, Theorem 1; Corollary 2 is its form for bon and won.
        """
        panels = density.panels
        slope = self.curve(density.below, density.above)[1]
        return -panels.to_one(slope * self.curve(panels.u, panels.complement)[1])

    def win_rate_kernel(self, density: Density) -> Levels:
        """Return the matrix, (n, n), from a change of f at the nodes to that of `win_rate_derivative`."""
        panels = density.panels
        bend = self.curve(density.below, density.above)[2]
        bend = bend * self.curve(panels.u, panels.complement)[1]
        return -panels.to_one(panels.from_zero(np.eye(len(bend))) * bend).T

    @property
    def peak(self) -> float:
        """The largest density it gives to the reference policy, at least 1."""
        return float(self.density(np.linspace(0, 1, 1025)).max())

    @property
    def steepness(self) -> float:
        """How fast the win rate's derivative can change in u."""
        return self.peak**2

    def optimum_panels(self, beta: float) -> Panels:
        """Return panels down to the widths at which the optimal policy at β can concentrate."""
        upper = int(np.clip(np.log2(self.steepness / beta) + 6, 6, 110))
        return Panels.graded(int(6 + np.log2(1 + self.peak)), upper, per_octave=0.5)

    def resolving(self, density: Density) -> Density:
        """Return the density on panels that resolve the procedure as well."""
        return density

    # Hedging: the derivatives in θ, and draws from a pool

    @classmethod
    def largest_theta(cls, m: int) -> float:
        """Return the largest θ that m responses a prompt allow."""
        return cls.theta_range[1]

    def distribution_derivative(self, u: ArrayLike) -> Levels:
        """Return ∂P_θ(u) / ∂θ, shape of u; at most 0, as a larger θ moves mass to higher quantiles."""
        self.left_out("distribution_derivative", "that of its distribution function in the hedged parameter")

    def draw_counts(self, m: int, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        """Return how many of m responses each outcome looks at, shape (size,)."""
        if self.n is None:
            self.left_out("draw_counts", "how many responses each outcome looks at (n, where that is fixed)")
        if self.n != int(self.n):
            raise InputError(f"best-of-n draws a whole number of responses, got {self.n}; round it")
        return np.full(size, int(self.n))

    def chosen(self, u: Levels, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the place of the one picked among each row of quantiles u, shape (s, n)."""
        self.left_out("chosen", "which of the responses it looked at it picks")

    def sample(self, u: Levels, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        """Draw places among m responses with quantiles u, each outcome from a subset of its own."""
        m = len(u)
        counts = self.draw_counts(m, rng, size)
        places = np.empty(size, dtype=np.int64)
        for n in np.unique(counts).tolist():
            outcomes = np.flatnonzero(counts == n)
            for block in np.array_split(outcomes, max(1, len(outcomes) * m // _BLOCK)):
                subsets = np.argsort(rng.random((len(block), m)), axis=1)[:, :n]
                places[block] = subsets[np.arange(len(subsets)), self.chosen(u[subsets], rng)]
        return places

    # Planning

    @classmethod
    def candidates(cls, max_draws: float) -> "Sequence[Procedure]":
        """Return the procedures of this kind that `plan` tries, of at most so many draws on average."""
        cls.left_out("candidates", "which of its kind `plan` tries; an empty list for none")


def checked_quantiles(u: ArrayLike) -> Levels:
    """Return u as an array, or raise an InputError if it leaves [0, 1]."""
    u = finite_array(u, "u")
    if u.min() < 0 or u.max() > 1:
        raise InputError(f"u must lie in [0, 1], got {u.min()} to {u.max()}")
    return u


def even_panels(steepness: float) -> Panels:
    """Return even panels for a density that is smooth on the scale 1/steepness."""
    edges = np.linspace(0, 0.5, 2 + int(np.ceil(steepness)))
    return Panels(edges, edges)


def doublings(max_draws: float) -> list[int]:
    """Return 2, 4, 8, … up to a number of draws.

    Examples
    --------
    >>> doublings(9.5), doublings(1)
    ([2, 4, 8], [])
    """
    return [2**i for i in range(1, 21) if 2**i <= max_draws]
