"""Win rate against KL: the ideal frontier of Theorem 3 and the offline frontier of scored rollouts."""

import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infalign.errors import InputError
from infalign.mathematics.checks import finite_array, strength
from infalign.mathematics.continuous import Density
from infalign.mathematics.procedures import Procedure, parse_procedure
from infalign.mathematics.ranks import tie_bounds
from infalign.mathematics.tilting import tilt, tilt_kl
from infalign.mathematics.transforms import LARGEST_KL, Transform, parse_transform

SELECTORS = ("reward", "judge")


@dataclass(frozen=True)
class FrontierPoint:
    """A point of the ideal frontier: the paper's β, the KL in nats, the win rate through the procedure."""

    transform: str
    procedure: str
    beta: float
    kl: float
    win_rate: float


def ideal(
    transform: str | Transform,
    procedure: str | Procedure,
    *,
    kl: float | None = None,
    beta: float | None = None,
) -> FrontierPoint:
    """Return the point of the ideal frontier at a KL budget or a β.

    Parameters
    ----------
    transform : str or Transform
        Any but raw, which is not a function of the quantile.
    procedure : str or Procedure
        Applied to the policy and to the reference policy.
    kl : float, optional
        KL budget in nats, in (0, 60].
    beta : float, optional
        β > 0 of the raw Φ as the paper writes it (e^{tu} unscaled); for optimal(T) that of W − β KL.
        Exactly one of `kl` and `beta` is given.

    References
    ----------
    Balashankar et al. 2025, InfAlign, Theorem 3.

    Examples
    --------
    >>> point = ideal("log", "none", beta=1.0)
    >>> round(point.win_rate, 12), bool(np.isclose(point.kl, np.log(2) - 1 / 2))
    (0.666666666667, True)
    """
    transform, procedure = parse_transform(transform), parse_procedure(procedure)
    density, paper_beta = _ideal_density(transform, *strength(kl, beta))
    win_rate = procedure.win_rate(procedure.resolving(density))
    return FrontierPoint(transform.text, procedure.text, paper_beta, density.kl, win_rate)


@lru_cache(maxsize=256)
def _ideal_density(transform: Transform, kind: str, value: float) -> tuple[Density, float]:
    """The policy a transform asks for, and the paper's β."""
    if kind == "kl" and value > LARGEST_KL:
        raise InputError(
            f"kl must be at most {LARGEST_KL:g} nats, the largest the ideal frontier reaches, got {value:g}"
        )
    return transform.ideal_density(kind, value)


def transformed_values(
    transform: str | Transform,
    calibrated: ArrayLike,
    *,
    kl: float | None = None,
    beta: float | None = None,
    n_rollouts: int | None = None,
) -> tuple[NDArray[np.float64], float]:
    """Return Φ of calibrated rewards and the β with which policies ∝ exp(values / β) are the ones asked for.

    Φ is scaled; for optimal(T) it is the solution at that strength, interpolated.

    Parameters
    ----------
    transform : str or Transform
        Any but raw.
    calibrated : array-like, shape (P, K) or (K,)
        Calibrated rewards of the reference rollouts, in [0, 1].
    kl, beta : float, optional
        Exactly one: a KL budget in nats, met by the tilt of `calibrated` itself; or the paper's β.
    n_rollouts : int, optional
        K, for log: `calibrated` is then the strict calibration (see `Transform.scaled`).

    Examples
    --------
    >>> values, beta = transformed_values("exp(10)", [0.5, 1.0], beta=1.0)
    >>> bool(values[1] == 1.0), bool(np.isclose(beta, np.exp(-10.0)))
    (True, True)
    """
    u = finite_array(calibrated, "calibrated reward")
    return parse_transform(transform).tilt_of(u, *strength(kl, beta), n_rollouts)


@dataclass(frozen=True)
class OfflinePoint:
    """A point of the offline frontier: the paper's β (for raw of the reward), means, and values by prompt (P,)."""

    beta: float
    kl: float
    win_rate: float
    win_rate_by_prompt: NDArray[np.float64]
    kl_by_prompt: NDArray[np.float64]


def offline(
    reward: ArrayLike,
    judge: ArrayLike,
    transform: str | Transform,
    procedure: str | Procedure,
    select: str = "judge",
    *,
    kl: float | None = None,
    beta: float | None = None,
) -> OfflinePoint:
    """Return the point of the offline frontier: the exact tilt of scored reference rollouts.

    The policy puts weights p ∝ exp(Φ(u)/β) on each prompt's K rollouts, u the mid-rank by reward; the
    procedure acts on independent draws from p on one side and from uniform weights on the other.
    Draws repeat, more often from p than from uniform weights, so the policy's side sees fewer distinct
    responses: the win rate is biased unless N is far below K (K = 100, KL 0.5, best of 4, a reward
    unrelated to the judge: −0.9 points; K = 1000: −0.1). A UserWarning if it draws more than K / 10 times.

    Parameters
    ----------
    reward, judge : array-like, shape (P, K)
        Scores of the K reference rollouts of each prompt, K >= 2.
    transform : str or Transform
        Any; raw tilts by exp(reward / β).
    procedure : str or Procedure
    select : {"reward", "judge"}
        The score the procedure selects by. The winner is by judge; a tie, and a response against
        itself, counts ½.
    kl, beta : float, optional
        Exactly one: the mean KL over prompts in nats, below log K; or the paper's β.

    Examples
    --------
    >>> scores = np.arange(4.0)[None]
    >>> offline(scores, scores, "identity", "none", "judge", beta=1e6).win_rate.__round__(5)
    0.5
    """
    reward, judge = score_arrays(reward, judge)
    if select not in SELECTORS:
        raise InputError(f"select must be one of {', '.join(SELECTORS)}, got {select!r}")
    transform, procedure = parse_transform(transform), parse_procedure(procedure)
    _warn_about_draws(procedure, reward.shape[1])
    values, values_beta, paper_beta = transform.tilt_of_rewards(reward, *strength(kl, beta))
    weights = tilt(values, values_beta)
    rates = win_rates(weights, reward if select == "reward" else judge, judge, procedure)
    divergences = tilt_kl(values, values_beta)
    return OfflinePoint(paper_beta, float(divergences.mean()), float(rates.mean()), rates, divergences)


def score_arrays(reward: ArrayLike, judge: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both scores of the rollouts as finite arrays of one shape (P, K), K >= 2."""
    reward, judge = finite_array(reward, "reward", 2), finite_array(judge, "judge", 2)
    if reward.shape != judge.shape:
        raise InputError(f"reward has shape {reward.shape}, judge {judge.shape}: they must agree")
    if reward.shape[1] < 2:
        raise InputError(f"the offline frontier needs at least 2 rollouts per prompt, got {reward.shape[1]}")
    return reward, judge


def _warn_about_draws(procedure: Procedure, n_rollouts: int) -> None:
    draws = procedure.mean_draws
    if draws > max(n_rollouts / 10, 1):
        warnings.warn(
            f"{procedure.text} draws {draws:g} times from {n_rollouts} rollouts: above a tenth of them the "
            "offline win rate is biased towards 1/2",
            stacklevel=3,
        )


def win_rates(
    weights: NDArray[np.float64],
    select: NDArray[np.float64],
    judge: NDArray[np.float64],
    procedure: Procedure,
) -> NDArray[np.float64]:
    """Return each prompt's win rate of draws from weights over draws from uniform weights, shape (P,).

    Both sides go through the procedure; a tie, and a response against itself, counts ½.

    Parameters
    ----------
    weights, select, judge : ndarray, shape (P, K)
        Probabilities of the rollouts, the score the procedure selects by, and that which decides the winner.
    procedure : Procedure

    Examples
    --------
    >>> scores = np.array([[0.0, 1.0]])
    >>> win_rates(np.array([[0.2, 0.8]]), scores, scores, parse_procedure("none"))
    array([0.65])
    """
    uniform = np.full_like(weights, 1 / weights.shape[1])
    policy, reference = (procedure.offline_weights(side, select) for side in (weights, uniform))
    order = np.argsort(judge, axis=1, kind="stable")
    first, last = tie_bounds(np.take_along_axis(judge, order, axis=1))
    below = np.pad(np.cumsum(np.take_along_axis(reference, order, axis=1), axis=1), ((0, 0), (1, 0)))
    beaten = np.take_along_axis(below, first, axis=1) + np.take_along_axis(below, last, axis=1)
    return np.clip(np.sum(np.take_along_axis(policy, order, axis=1) * beaten, axis=1) / 2, 0.0, 1.0)
