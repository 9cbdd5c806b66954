"""Alignment whose regulariser is KL(T(π) ‖ T(π_ref)), after the procedure T, in the continuous model."""

import numpy as np
from scipy.special import exprel

from infalign.errors import InputError
from infalign.mathematics.checks import positive
from infalign.mathematics.continuous import Density
from infalign.mathematics.procedures import Procedure
from infalign.mathematics.quadrature import Panels
from infalign.mathematics.tilting import solve_log
from infalign.mathematics.transforms import Transform


def carried_tilt(procedure: Procedure, rate: float) -> Density:
    """Return the policy π for which T(π) is the exact tilt of T(π_ref), by e^{rate v} in its quantile v.

    π solves alignment with KL(T(π) ‖ T(π_ref)) as regulariser. In v = G(u) the reference under T is uniform, and
    the win rate is the standard one, whose optimum is the tilt.

    Parameters
    ----------
    procedure : Procedure
        none, bon or won.
    rate : float
        1/β, > 0.

    Returns
    -------
    Density
        With best-of-n log f = rate uⁿ − (n−1)/n log[(e^{rate uⁿ} − 1)/(rate uⁿ)] up to a constant;
        with worst-of-n the same in 1 − u, with the rate's sign changed.

    Raises
    ------
    InputError
        If the procedure is another one, or the rate not above 0.

    References
    ----------
    Balashankar et al. 2025, InfAlign, remark after Theorem 4 ("a simple change of variables").

    Examples
    --------
    >>> from infalign.mathematics.procedures import NoProcedure
    >>> policy = carried_tilt(NoProcedure(), 2.0)
    >>> bool(np.isclose(policy.kl, 2 * (1 / (1 - np.exp(-2)) - 1 / 2) - np.log((np.e**2 - 1) / 2)))
    True
    """
    n, panels = _whole_draws(procedure), Panels.graded(56, 56, per_octave=2)
    if procedure.name == "won":
        exponent = -positive(rate, "rate") * panels.complement**n
    else:
        exponent = positive(rate, "rate") * panels.u**n
    return Density(panels, exponent - (n - 1) / n * np.log(exprel(exponent)))


def _whole_draws(procedure: Procedure) -> int:
    if procedure.name not in ("none", "bon", "won"):
        raise InputError(f"{procedure.text}: only none, bon(n) and won(n) are inverted here")
    return int(procedure.parameters[0]) if procedure.parameters else 1


def transformed_kl(density: Density, procedure: Procedure) -> float:
    """Return KL(T(π) ‖ T(π_ref)) in nats of a continuous policy under a procedure.

    Parameters
    ----------
    density : Density
        Of π.
    procedure : Procedure
        none, bon or won.

    Raises
    ------
    InputError
        If the procedure is another one.

    Examples
    --------
    >>> from infalign.mathematics.procedures import NoProcedure
    >>> density = carried_tilt(NoProcedure(), 2.0)
    >>> bool(np.isclose(transformed_kl(density, NoProcedure()), density.kl))
    True
    """
    n, panels = _whole_draws(procedure), density.panels
    if procedure.name == "won":
        level, base = density.above, panels.complement
    else:
        level, base = density.below, panels.u
    picked = n * level ** (n - 1) * density.f
    ratio = density.log_f + (n - 1) * (np.log(np.where(level > 0, level, 1.0)) - np.log(base))
    return panels.integrate(np.where(picked > 0, picked * ratio, 0.0))


def rate_at_transformed_kl(procedure: Procedure, kl: float) -> float:
    """Return the rate at which `carried_tilt` has a given KL(T(π) ‖ T(π_ref)).

    Parameters
    ----------
    procedure : Procedure
        none, bon or won.
    kl : float
        In nats, > 0.

    Examples
    --------
    >>> from infalign.mathematics.procedures import BestOf, NoProcedure
    >>> rates = [rate_at_transformed_kl(each, 0.5) for each in (NoProcedure(), BestOf(4))]
    >>> bool(np.isclose(*rates))
    True
    """
    kl = positive(kl, "kl")
    beta = solve_log(lambda trial: transformed_kl(carried_tilt(procedure, 1 / trial), procedure), kl, 1.0)
    return 1 / beta


def tilt_at_transformed_kl(transform: Transform, procedure: Procedure, kl: float) -> Density:
    """Return the policy ∝ exp(Φ(u)/β) with a given KL(T(π) ‖ T(π_ref)).

    Parameters
    ----------
    transform : Transform
        identity, log or exp(t).
    procedure : Procedure
        none, bon or won.
    kl : float
        In nats, > 0.

    Examples
    --------
    >>> from infalign.mathematics.procedures import NoProcedure
    >>> from infalign.mathematics.transforms import Identity
    >>> density = tilt_at_transformed_kl(Identity(), NoProcedure(), 0.5)
    >>> bool(np.isclose(density.kl, 0.5))
    True
    """
    panels = Panels.graded(56, 120, per_octave=2)
    excess = transform.below_top(panels.u, panels.complement)
    kl = positive(kl, "kl")
    beta = solve_log(lambda trial: transformed_kl(Density(panels, excess / trial), procedure), kl, 1.0)
    return Density(panels, excess / beta)
