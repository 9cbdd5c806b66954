"""Transformations Φ of the calibrated reward u in [0, 1]: one class each, listed in TRANSFORMS."""

import re
from dataclasses import dataclass, field
from typing import ClassVar, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infalign.errors import InputError
from infalign.mathematics.checks import finite_array
from infalign.mathematics.continuous import Density
from infalign.mathematics.optimum import optimal, optimal_density
from infalign.mathematics.procedures import Procedure, parse_procedure
from infalign.mathematics.quadrature import Panels
from infalign.mathematics.ranks import mid_ranks
from infalign.mathematics.tilting import beta_for_kl, solve_log

Array = NDArray[np.float64]
LARGEST_KL = 60.0


class Transform:
    """A transformation Φ of the calibrated reward; each kind is a frozen dataclass.

    What a class leaves out raises an InputError that names it, where it is first needed.

    Attributes
    ----------
    name : str
        The word of its text form.
    argument : str or None
        What stands in brackets in the text form, for messages; None for a form without brackets.
    strict : bool
        Whether it acts on the strict calibration (a tie counts 0), else on the one its user chooses.
    candidates : tuple of str or None
        The text forms that `plan` tries.
    exponent, procedure : float or None, Procedure or None
        The t of exp(t), and what an optimal transformation is optimal for.
    """

    name: ClassVar[str] = ""
    argument: ClassVar[str | None] = None
    strict: ClassVar[bool] = False
    candidates: ClassVar[tuple[str, ...] | None] = None
    exponent: float | None = None
    procedure: Procedure | None = None

    @classmethod
    def parse(cls, argument: str | None, text: str) -> "Transform":
        """Make the transformation from what stands in brackets, None without any."""
        if argument is not None:
            cls.left_out("parse", "how to read what stands in brackets")
        return cls()

    @property
    def text(self) -> str:
        """The canonical text, which `parse_transform` reads back."""
        return self.name

    def __str__(self) -> str:
        return self.text

    @classmethod
    def left_out(cls, piece: str, meaning: str) -> NoReturn:
        """Raise the InputError for a piece that the class does not have."""
        raise InputError(
            f"the transform {cls.name} (class {cls.__name__}) leaves out {piece}, {meaning}; define it in the "
            "class, or use another transform here"
        )

    def value(self, u: Array) -> Array:
        """Return Φ(u), up to the factor e^log_scale that keeps it bounded."""
        self.left_out("value", "Φ of calibrated rewards u in [0, 1]")

    def below_top(self, u: Array, complement: Array) -> Array:
        """Return Φ(u) − Φ(1) <= 0, with the factor of `value`.

        u in (0, 1) and its complement 1 − u each come to full relative precision.
        """
        self.left_out("below_top", "Φ(u) − Φ(1) from u and 1 − u")

    @property
    def log_scale(self) -> float:
        """The log of the factor between the paper's Φ and `value`: the paper's β is that of `value` times e to it."""
        return 0.0

    def from_rollouts(self, u: Array, n_rollouts: int) -> Array:
        """Return what Φ acts on, from an empirical calibration against K rollouts."""
        return u

    def scaled(self, u: ArrayLike, n_rollouts: int | None = None) -> Array:
        """Return Φ(u) up to a factor that keeps it bounded: u; log u; e^{t(u−1)} for t > 0; −e^{tu} for t < 0.

        With `n_rollouts`, the K of an empirical calibration, log acts on (1 + K u) / (K + 1): it needs the strict one.
        raw and optimal have no Φ here. Balashankar et al. 2025, InfAlign, section 4 (exponential tilting).
        """
        u = _calibrated(u)
        return self.value(u if n_rollouts is None else self.from_rollouts(u, n_rollouts))

    def values_at(self, kind: str, strength: float, u: Array, n_rollouts: int | None = None) -> Array:
        """Return `scaled` for a policy of a given strength ("kl" in nats or the paper's "beta")."""
        return self.scaled(u, n_rollouts)

    def ideal_density(self, kind: str, strength: float) -> tuple[Density, float]:
        """Return the continuous policy it asks for at a strength, and the paper's β."""
        panels = Panels.graded(56, 120, per_octave=2)
        excess = self.below_top(panels.u, panels.complement)
        factor = float(np.exp(self.log_scale))
        if kind == "kl":
            beta = solve_log(lambda b: Density(panels, excess / b).kl, strength, 1.0)
            return Density(panels, excess / beta), beta * factor
        density = Density(panels, excess / (strength / factor))
        if density.kl > LARGEST_KL + 10:
            raise InputError(f"beta {strength} is too small for {self.text}: its KL exceeds {LARGEST_KL:g} nats")
        return density, strength

    def tilt_of(self, u: Array, kind: str, strength: float, n_rollouts: int | None = None) -> tuple[Array, float]:
        """Return Φ of calibrated rewards and the β of these values, see `frontier.transformed_values`."""
        values = self.values_at(kind, strength, u, n_rollouts)
        beta = beta_for_kl(values, strength) if kind == "kl" else strength * float(np.exp(-self.log_scale))
        return values, beta

    def tilt_of_rewards(self, reward: Array, kind: str, strength: float) -> tuple[Array, float, float]:
        """Return what the tilt of scored rollouts exponentiates, the β of these values, and the paper's β.

        The values, shape (P, K), are the scaled Φ of each reward's mid-rank; the reward itself for raw. The
        strength is the mean KL over prompts in nats ("kl") or the paper's β ("beta").

        Examples
        --------
        >>> Identity().tilt_of_rewards(np.arange(4.0)[None], "beta", 0.5)
        (array([[0.125, 0.375, 0.625, 0.875]]), 0.5, 0.5)
        """
        values, beta = self.tilt_of(mid_ranks(reward), kind, strength)
        return values, beta, beta * float(np.exp(self.log_scale))


@dataclass(frozen=True)
class RawReward(Transform):
    """The reward itself, uncalibrated."""

    name = "raw"
    candidates = ("raw",)

    def value(self, u: Array) -> Array:
        raise InputError(
            "raw has no closed form in the calibrated reward: it is not a function of the calibrated reward"
        )

    def ideal_density(self, kind: str, strength: float) -> tuple[Density, float]:
        raise InputError("raw has no ideal frontier: it is not a function of the quantile; use the offline one")

    def tilt_of_rewards(self, reward: Array, kind: str, strength: float) -> tuple[Array, float, float]:
        beta = beta_for_kl(reward, strength) if kind == "kl" else strength
        return reward, beta, beta


@dataclass(frozen=True)
class Identity(Transform):
    """Φ(u) = u, as in IPO.

    Examples
    --------
    >>> float(Identity().below_top(np.array([1.0]), np.array([1e-30]))[0])
    -1e-30
    """

    name = "identity"
    candidates = ("identity",)

    def value(self, u: Array) -> Array:
        return u

    def below_top(self, u: Array, complement: Array) -> Array:
        return -complement


@dataclass(frozen=True)
class Logarithm(Transform):
    """Φ(u) = log u, whose policy distils best-of-n.

    Examples
    --------
    >>> bool(np.isclose(Logarithm().scaled([0.0], n_rollouts=3)[0], np.log(1 / 4)))
    True
    """

    name = "log"
    strict = True
    candidates = ("log",)

    def value(self, u: Array) -> Array:
        if np.any(u <= 0):
            raise InputError(
                "log needs calibrated rewards > 0, got 0; pass n_rollouts=K with the strict calibration, "
                "so that it acts on (1 + K u) / (K + 1)"
            )
        return np.log(u)

    def from_rollouts(self, u: Array, n_rollouts: int) -> Array:
        return (1 + n_rollouts * u) / (n_rollouts + 1)

    def below_top(self, u: Array, complement: Array) -> Array:
        return np.where(u < 0.5, np.log(u), np.log1p(-np.minimum(complement, 0.5)))


@dataclass(frozen=True)
class Exponential(Transform):
    """Φ(u) = sign(t) e^{tu}, with a finite exponent t other than 0.

    Examples
    --------
    >>> Exponential(10.0).text, Exponential(10.0).log_scale, Exponential(-10.0).log_scale
    ('exp(10)', 10.0, 0.0)
    """

    exponent: float = field()

    name = "exp"
    argument = "t"
    candidates = ("exp(5)", "exp(10)", "exp(-5)", "exp(-10)")

    @classmethod
    def parse(cls, argument: str | None, text: str) -> "Exponential":
        try:
            exponent = float(argument or "")
        except ValueError:
            exponent = float("nan")
        if not np.isfinite(exponent) or exponent == 0:
            raise InputError(
                f"the t of {text!r} must be a finite number other than 0; valid forms: {transform_forms()}"
            )
        return cls(exponent)

    @property
    def text(self) -> str:
        return f"exp({np.format_float_positional(self.exponent, trim='-')})"

    def value(self, u: Array) -> Array:
        t = self.exponent
        return np.exp(t * (u - 1)) if t > 0 else -np.exp(t * u)

    def below_top(self, u: Array, complement: Array) -> Array:
        t = self.exponent
        if t > 0:
            return np.expm1(-t * complement)
        return np.where(u < 0.5, np.exp(t) - np.exp(t * u), -np.exp(t) * np.expm1(-t * np.minimum(complement, 0.5)))

    @property
    def log_scale(self) -> float:
        return max(self.exponent, 0.0)


@dataclass(frozen=True)
class Optimal(Transform):
    """The transformation that is optimal for a procedure at each strength, see `optimum`."""

    procedure: Procedure = field()

    name = "optimal"
    argument = "<procedure>"
    candidates = ()

    @classmethod
    def parse(cls, argument: str | None, text: str) -> "Optimal":
        return cls(parse_procedure(argument or ""))

    @property
    def text(self) -> str:
        return f"optimal({self.procedure.text})"

    def value(self, u: Array) -> Array:
        raise InputError(f"{self.text} has no closed form in the calibrated reward: solve it first")

    def values_at(self, kind: str, strength: float, u: Array, n_rollouts: int | None = None) -> Array:
        return optimal(self.procedure, **{kind: strength}).at(_calibrated(u))

    def ideal_density(self, kind: str, strength: float) -> tuple[Density, float]:
        solution, density = optimal_density(self.procedure, **{kind: strength})
        solution.require_converged()
        return density, solution.beta


TRANSFORMS: tuple[type[Transform], ...] = (RawReward, Identity, Logarithm, Exponential, Optimal)


def _calibrated(u: ArrayLike) -> Array:
    u = finite_array(u, "calibrated reward")
    if u.min() < 0 or u.max() > 1:
        raise InputError(f"calibrated rewards must lie in [0, 1], got {u.min()} to {u.max()}")
    return u


def parse_transform(text: str | Transform) -> Transform:
    """Read a transformation from its text form; blanks do not matter. An InputError lists the valid forms.

    Examples
    --------
    >>> parse_transform("exp( -10.0 )").text, parse_transform("optimal(bon(4))").procedure.n
    ('exp(-10)', 4)
    """
    if isinstance(text, Transform):
        return text
    match = re.fullmatch(r"\s*([a-z]+)\s*(?:\((.*)\))?\s*", str(text))
    for kind in TRANSFORMS:
        if not kind.name:
            kind.left_out("name", "the word of its text form")
        if match and match[1] == kind.name and (match[2] is None) == (kind.argument is None):
            return kind.parse(match[2], str(text))
    raise InputError(f"unknown transform {text!r}; valid forms: {transform_forms()}")


def transform_forms() -> str:
    """Return the text forms of all transformations, for messages."""
    return ", ".join(f"{kind.name}({kind.argument})" if kind.argument else kind.name for kind in TRANSFORMS)
