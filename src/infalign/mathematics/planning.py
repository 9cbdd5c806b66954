"""Which policy to train for which procedure: the best point of the offline frontier under two budgets.

The KL budget bounds the trained policy's KL to the reference, the budget of draws what the procedure
costs at inference. One side is the tilted policy through the procedure, which selects by reward; the
other is one plain sample of the reference; the judge decides.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infalign.errors import InputError
from infalign.mathematics import procedures, transforms
from infalign.mathematics.checks import finite_array
from infalign.mathematics.frontier import score_arrays
from infalign.mathematics.procedures import BestOf, Procedure
from infalign.mathematics.ranks import mid_ranks
from infalign.mathematics.statistics import bootstrap_mean
from infalign.mathematics.tilting import largest_kl, tilt
from infalign.mathematics.transforms import Optimal, Transform, parse_transform

FRACTIONS = (np.arange(1, 9) / 8) ** 2
OPTIMAL_N, OPTIMAL_KL = 16, 2.5
_TIE = 1e-9


@dataclass(frozen=True)
class Plan:
    """What to train and how to decode it.

    Parameters
    ----------
    transform, beta : str or None, float or None
        What to train on, and the paper's β at that KL; None where the reference itself is best, untrained.
    kl : float
        KL in nats to train to, 0 where nothing is trained.
    n_mean : float
        Mean number of draws of the procedure.
    win_rate, ci_low, ci_high : float
        Against one reference sample, on prompts that took no part in the choice; the bounds are NaN for
        a single prompt.
    """

    transform: str | None
    kl: float
    beta: float | None
    procedure: str
    n_mean: float
    win_rate: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True, eq=False)
class _Policy:
    """A tilt of the rollouts, weights (P, K); transform and beta are None for the reference."""

    transform: str | None
    kl: float
    beta: float | None
    weights: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Scores:
    """Half of the prompts: their places, and reward and share of others beaten, (P', K)."""

    prompts: NDArray[np.int64]
    reward: NDArray[np.float64]
    beaten: NDArray[np.float64]


def plan(
    reward: ArrayLike,
    judge: ArrayLike,
    max_kl: Sequence[float],
    max_n: Sequence[float],
    *,
    transforms: Sequence[str | Transform] | None = None,
    try_optimal: bool = True,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Plan]:
    """Return the best transform, KL and procedure for each KL budget and, within it, each budget of draws.

    All transforms at the KLs (j/8)² × budget, j = 1..8, and the untrained reference are combined with
    the procedures of `candidate_procedures`. A random half of the prompts chooses the combination with
    the highest mean win rate; the other half reports it. Of equals the smallest KL wins, then the
    transform named first, then the fewest draws. If the best procedure is bon(n) with n <= 16 and the
    best KL at most 2.5 nats, optimal(bon(n)) at that KL is tried too. It is optimal for bon(n) on both
    sides, not against a plain sample, and takes longer to solve. The β of a KL is set on all prompts:
    it takes no judge. A UserWarning says what K rollouts cannot reach or estimate well.

    Parameters
    ----------
    reward, judge : array-like, shape (P, K)
        Scores of the K reference rollouts of each prompt, P >= 2 and K >= 2, not all tied.
    max_kl, max_n : sequence of float
        Budgets in nats, >= 0, for the policy's KL from the reference before the procedure; and for the
        mean number of draws, >= 1.
    transforms : sequence of str or Transform, optional
        Of the grid; by default `candidate_transforms`.
    try_optimal : bool
        Whether optimal(bon(n)) is tried too.
    level, resamples, seed
        As in `Bootstrap`; the seed also splits the prompts.
    """
    reward, judge = score_arrays(reward, judge)
    kl_budgets = _budgets(max_kl, "max_kl", 0.0, "nats, such as 0.5")
    draw_budgets = _budgets(max_n, "max_n", 1.0, "mean draws, such as 4")
    _check_untied(reward, "reward")
    _check_untied(judge, "judge")
    halves = split_prompts(len(reward), seed)
    beaten = beaten_others(judge)
    choosing, reporting = (_Scores(half, reward[half], beaten[half]) for half in halves)
    _warn_about_reach(kl_budgets, largest_kl(reward), draw_budgets, reward.shape[1])
    candidates = [candidate_procedures(min(budget, reward.shape[1])) for budget in draw_budgets]
    phis = [parse_transform(phi) for phi in (candidate_transforms() if transforms is None else transforms)]
    plans = []
    for budget in kl_budgets:
        for policy, procedure in _best(_policies(reward, budget, phis), candidates, choosing):
            trained = _or_optimal(policy, procedure, reward, choosing) if try_optimal else policy
            interval = bootstrap_mean(_win_rates(trained, procedure, reporting), level, resamples, seed)
            settings = (trained.transform, trained.kl, trained.beta, procedure.text, procedure.mean_draws)
            plans.append(Plan(*settings, interval.estimate, interval.low, interval.high))
    return plans


def _budgets(values: Sequence[float], name: str, least: float, advice: str) -> list[float]:
    """Budgets as floats; each must be finite and at least `least`."""
    for value in values:
        if not least <= value < float("inf"):
            raise InputError(f"{name} must be a finite number >= {least:g}, got {value}; give {advice}")
    return [float(value) for value in values]


def _check_untied(scores: NDArray[np.float64], name: str) -> None:
    if np.all(scores == scores[:, :1]):
        raise InputError(
            f"all values of {name} are tied within every prompt, so no choice is better than another; "
            "score the responses again"
        )


def _warn_about_reach(kl_budgets: list[float], limit: float, draw_budgets: list[float], k: int) -> None:
    """Say which candidates K rollouts cannot serve, and which they serve badly."""
    asked = [kl for budget in kl_budgets for kl in budget * FRACTIONS]
    beyond = sum(kl >= limit for kl in asked)
    most = max(draw_budgets, default=1.0)
    if beyond:
        warnings.warn(
            f"left out of the grid: {beyond} of {len(asked)} KLs, as {k} rollouts per prompt reach less than "
            f"{limit:.6g} nats; sample more rollouts or lower max_kl",
            stacklevel=3,
        )
    if most > k:
        warnings.warn(
            f"left out of the grid: procedures of more than {k} draws, though max_n is {most:g}, as there are "
            f"{k} rollouts per prompt; sample more rollouts or lower max_n",
            stacklevel=3,
        )
    elif most > max(k / 10, 1):
        warnings.warn(
            f"up to {most:g} draws from {k} rollouts per prompt: above a tenth of them the win rate of a "
            "procedure rests on few responses and is biased; sample more rollouts or lower max_n",
            stacklevel=3,
        )


def split_prompts(n_prompts: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of the prompts that choose and that report, increasing, from a seeded permutation of >= 2.

    The second half has the odd prompt. With 2 prompts a UserWarning says that there is no interval.

    Examples
    --------
    >>> [len(part) for part in split_prompts(5, seed=0)]
    [2, 3]
    """
    if n_prompts < 2:
        raise InputError(
            f"planning needs at least 2 prompts, one half to choose and one to report, got {n_prompts}; "
            "score rollouts of more prompts"
        )
    if n_prompts == 2:
        warnings.warn("a single prompt is left to report: its win rate has no interval", stacklevel=3)
    order = np.random.default_rng(seed).permutation(n_prompts)
    return np.sort(order[: n_prompts // 2]), np.sort(order[n_prompts // 2 :])


def candidate_procedures(max_n: float) -> list[Procedure]:
    """Return the procedures of the grid within a budget of mean draws, >= 1, the cheapest first.

    Examples
    --------
    >>> [procedure.text for procedure in candidate_procedures(2.5)]
    ['none', 'bon(2)', 'sbon(2, 5.0)', 'sbon(2, 20.0)', 'bop(1.0)', 'bop(1.5)']
    """
    candidates = [each for kind in procedures.PROCEDURES for each in kind.candidates(max_n)]
    return sorted(candidates, key=lambda procedure: procedure.mean_draws)


def candidate_transforms() -> list[str]:
    """Return the transforms of the grid, by their text forms.

    Examples
    --------
    >>> candidate_transforms()
    ['raw', 'identity', 'log', 'exp(5)', 'exp(10)', 'exp(-5)', 'exp(-10)']
    """
    for kind in transforms.TRANSFORMS:
        if kind.candidates is None:
            kind.left_out("candidates", "which of its kind `plan` tries; () for none")
    return [text for kind in transforms.TRANSFORMS for text in kind.candidates or ()]


def beaten_others(judge: ArrayLike) -> NDArray[np.float64]:
    """Return the share of its prompt's other rollouts that each rollout beats, shape (P, K) of `judge`, ties ½, K >= 2.

    Examples
    --------
    >>> beaten_others([[1.0, 2.0, 2.0, 5.0]])
    array([[0. , 0.5, 0.5, 1. ]])
    """
    judge = finite_array(judge, "judge", 2)
    k = judge.shape[1]
    return (k * mid_ranks(judge) - 0.5) / (k - 1)


def _policies(reward: NDArray[np.float64], max_kl: float, phis: Sequence[Transform]) -> list[_Policy]:
    """The untrained reference and every tilt within the budget that the rollouts can reach, by KL."""
    untrained = _Policy(None, 0.0, None, np.full_like(reward, 1 / reward.shape[1]))
    within = max_kl * FRACTIONS
    reached = within[(within > 0) & (within < largest_kl(reward))].tolist()
    return [untrained, *(_tilted(reward, phi, kl) for kl in reached for phi in phis)]


def _tilted(reward: NDArray[np.float64], transform: Transform, kl: float) -> _Policy:
    values, values_beta, beta = transform.tilt_of_rewards(reward, "kl", kl)
    return _Policy(transform.text, kl, beta, tilt(values, values_beta))


def _best(
    policies: list[_Policy], candidates: list[list[Procedure]], scores: _Scores
) -> list[tuple[_Policy, Procedure]]:
    """For each list of procedures the first of the best combinations."""
    every = list(dict.fromkeys(procedure for within_budget in candidates for procedure in within_budget))
    rates = np.array([[_win_rates(policy, procedure, scores).mean() for procedure in every] for policy in policies])
    best = []
    for within_budget in candidates:
        allowed = rates[:, [every.index(procedure) for procedure in within_budget]]
        row, column = np.argwhere(allowed >= allowed.max() - _TIE)[0]
        best.append((policies[row], within_budget[column]))
    return best


def _or_optimal(policy: _Policy, procedure: Procedure, reward: NDArray[np.float64], scores: _Scores) -> _Policy:
    """The policy of optimal(T) at the same KL, where that is soon solved and wins more; else the policy."""
    n = procedure.n if isinstance(procedure, BestOf) else None
    if policy.transform is None or n is None or n > OPTIMAL_N or policy.kl > OPTIMAL_KL:
        return policy
    optimal = _tilted(reward, Optimal(procedure), policy.kl)
    gain = _win_rates(optimal, procedure, scores).mean() - _win_rates(policy, procedure, scores).mean()
    return optimal if gain > _TIE else policy


def _win_rates(policy: _Policy, procedure: Procedure, scores: _Scores) -> NDArray[np.float64]:
    """Each prompt's chance, shape (P',), that the procedure's pick beats another rollout."""
    picks = procedure.offline_weights(policy.weights[scores.prompts], scores.reward)
    return np.sum(picks * scores.beaten, axis=1)
