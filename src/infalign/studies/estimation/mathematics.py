"""How well M rollouts estimate F, the reference's distribution function of the reward.

Three questions about one prompt's rollouts. Does a Kolmogorov–Smirnov test tell M of them from many? How does the
estimate of log F settle as M grows? Which exponential curve fits it best?
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest, ks_2samp

from infalign.errors import InputError
from infalign.mathematics.checks import finite_array
from infalign.mathematics.exponential_curve import fit_exponential_curve


@dataclass(frozen=True)
class KSRow:
    """Two-sample Kolmogorov–Smirnov tests of M rollouts against many, over all prompts.

    Attributes
    ----------
    size : int
        M.
    n_prompts : int
        All prompts, those with equal rewards too.
    n_constant : int
        Prompts for which all the rewards that were drawn from are equal.
    n_rejected : int
        Prompts whose p value is at most the level.
    rejection_rate, ci_low, ci_high : float
        n_rejected / n_prompts with its 95 % Wilson interval.
    mean_statistic, mean_p : float or None
        Over the rejected prompts; None where there is none.
    """

    size: int
    n_prompts: int
    n_constant: int
    n_rejected: int
    rejection_rate: float
    ci_low: float
    ci_high: float
    mean_statistic: float | None
    mean_p: float | None


def ks_table(
    rewards: ArrayLike,
    sizes: Sequence[int],
    *,
    nested: bool,
    n_full: int = 600,
    level: float = 0.05,
    seed: int = 0,
) -> list[KSRow]:
    """Test M rollouts of each prompt against `n_full` of them, for each M.

    Parameters
    ----------
    rewards : array-like, shape (P, K)
        Of each prompt's rollouts. The first `n_full` columns are what is compared with, in both tables;
        the M rollouts come from the columns after them where they are not nested.
    sizes : sequence of int
        Each M, >= 1.
    nested : bool
        True: the M are drawn without replacement from the `n_full` themselves, K >= n_full. The two samples
        then share rollouts, which the test does not know. It rejects less often than `level`, and the more
        so the larger M is. False: the M are drawn from the other columns, K >= n_full + max(sizes).
    n_full : int
        Rollouts of the larger sample, >= 1.
    level : float
        Of the test, in (0, 1).
    seed : int
        Of the draws. A larger sample contains the smaller ones.

    Returns
    -------
    list of KSRow
        In the order of `sizes`. Equal rewards of a prompt give the statistic 0 and p = 1: never rejected.
        The p values are scipy's exact ones, up to 10,000 rollouts; ties between rewards make them larger.

    Raises
    ------
    InputError
        If a reward is NaN or infinite, an option is out of range, or there are too few rollouts.

    References
    ----------
    Amini et al. 2025, Variational best-of-N alignment, section 5.1, table 1. The paper does not say whether its
    samples are nested. The decline of its numbers with M is that of nested samples.

    Examples
    --------
    >>> [row] = ks_table([[0.0] * 5 + [1.0] * 5, [3.0] * 10], [5], nested=False, n_full=5)
    >>> row.n_rejected, row.n_constant, row.mean_statistic, round(row.mean_p, 4)
    (1, 1, 1.0, 0.0079)
    """
    rewards = finite_array(rewards, "rewards", 2)
    sizes = _check_sizes(sizes, n_full if nested else None)
    _check_test(rewards.shape[1], n_full, 0 if nested else max(sizes), level)
    full = rewards[:, :n_full]
    pool = full if nested else rewards[:, n_full:]
    drawn = np.take_along_axis(pool, np.random.default_rng(seed).random(pool.shape).argsort(axis=1), axis=1)
    n_constant = int(np.sum(np.ptp(full if nested else rewards, axis=1) == 0))
    return [_ks_row(drawn[:, :size], full, level, n_constant) for size in sizes]


def _check_test(n_rollouts: int, n_full: int, n_apart: int, level: float) -> None:
    """Enough rollouts for both samples, `n_apart` of them in the smaller one alone."""
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, got {level}; 0.05 is usual")
    if n_full < 1 or n_rollouts < n_full + n_apart:
        raise InputError(
            f"a sample of n_full = {n_full} (at least 1) and one of up to {n_apart} apart from it need at least "
            f"{n_full + n_apart} rollouts a prompt, got {n_rollouts}; roll out more, or lower n_full or sizes"
        )


def _check_sizes(sizes: Sequence[int], most: int | None) -> list[int]:
    """The sizes as whole numbers from 1 to `most`."""
    wrong = [size for size in sizes if int(size) != size or size < 1 or (most is not None and size > most)]
    if wrong or not len(sizes):
        allowed = "of at least 1" if most is None else f"from 1 to {most} (the rollouts there are)"
        raise InputError(f"sizes must be whole numbers {allowed}, got {list(sizes)}; change {wrong or 'it'}")
    return [int(size) for size in sizes]


def _ks_row(samples: NDArray[np.float64], full: NDArray[np.float64], level: float, n_constant: int) -> KSRow:
    """One test for each prompt, counted and averaged."""
    tests = [ks_2samp(*pair) for pair in zip(samples, full, strict=True)]
    rejected = [test for test in tests if test.pvalue <= level]
    interval = binomtest(len(rejected), len(tests)).proportion_ci(method="wilson")
    return KSRow(
        size=samples.shape[1],
        n_prompts=len(tests),
        n_constant=n_constant,
        n_rejected=len(rejected),
        rejection_rate=len(rejected) / len(tests),
        ci_low=float(interval.low),
        ci_high=float(interval.high),
        mean_statistic=float(np.mean([test.statistic for test in rejected])) if rejected else None,
        mean_p=float(np.mean([test.pvalue for test in rejected])) if rejected else None,
    )


def log_distribution_estimates(
    rewards: ArrayLike, sizes: Sequence[int], at: ArrayLike, added: float = 1.0
) -> NDArray[np.float64]:
    """Estimate log F at given rewards from the first M rollouts of one prompt, for each M.

    F̂ = (added + #below) / (added + M), #below of the M rollouts with a lower reward; equal ones do not count.

    Parameters
    ----------
    rewards : array-like, shape (K,)
        Of the prompt's rollouts, in the order they were drawn.
    sizes : sequence of int
        Each M, from 1 to K.
    at : array-like, shape (R,)
        Where F is wanted.
    added : float
        >= 0. 1 is what vBoN trains with: finite everywhere, its bias in log F is about
        +(1 − F)/(2·F·M). 0 is the plain share, −inf where nothing is below, so that its mean is −inf at
        every M; where it is finite its bias is about −(1 − F)/(2·F·M). ½ cancels the two to first order.

    Returns
    -------
    array, shape (S, R)
        In nats, at most 0; one row a size.

    Raises
    ------
    InputError
        If a reward is NaN or infinite, a size is out of range or `added` is negative.

    References
    ----------
    Amini et al. 2025, Variational best-of-N alignment, section 3 and figure 3 (added = 0).

    Examples
    --------
    >>> np.exp(log_distribution_estimates([3.0, 1.0, 2.0], [1, 3], [2.5]))
    array([[0.5 ],
           [0.75]])
    """
    rewards, at = finite_array(rewards, "rewards", 1), finite_array(at, "at", 1)
    if not 0 <= added < math.inf:
        raise InputError(f"added must be a finite number >= 0, got {added}; 1 is usual")
    below = np.cumsum(rewards[:, None] < at, axis=0)
    size = np.array(_check_sizes(sizes, len(rewards)))
    with np.errstate(divide="ignore"):
        return np.log((added + below[size - 1]) / (added + size[:, None]))


@dataclass(frozen=True)
class ExponentialFit:
    """The curve log F = −a·exp(−b·reward), a Gumbel law; made by `exponential_fit`.

    Attributes
    ----------
    log_a : float
        Kept as a logarithm: a itself overflows where rewards lie far from 0.
    b : float
        > 0, per unit of reward.

    Examples
    --------
    >>> ExponentialFit(0.0, 1.0).log_distribution([0.0])
    array([-1.])
    """

    log_a: float
    b: float

    def log_distribution(self, rewards: ArrayLike) -> NDArray[np.float64]:
        """Return log F at rewards of any shape, in nats, at most 0."""
        return -np.exp(self.log_a - self.b * np.asarray(rewards, dtype=np.float64))


_FLATTEST, _STEEPEST = 1e-6, 30.0  # b times the range of the rewards; b times the gap above the lowest
_STARTS = 200
_ROUNDING = 1e-9


def exponential_fit(rewards: ArrayLike, log_f: ArrayLike, prompt_id: str) -> ExponentialFit:
    """Fit log F = −a·exp(−b·reward) of one prompt by least squares, a and b above 0.

    Parameters
    ----------
    rewards : array-like, shape (M,)
        At least two different ones.
    log_f : array-like, shape (M,)
        Their log F in nats, finite, at most 0, and nowhere lower at a higher reward.
    prompt_id : str
        Names the prompt in messages.

    Raises
    ------
    InputError
        If the shapes differ, a value is not finite, log F is above 0 or falls, all rewards are equal, or no
        b above 0 is best: log F is the same everywhere, or 0 above the lowest reward.

    References
    ----------
    Amini et al. 2025, Variational best-of-N alignment, section 6, footnote 17.

    Examples
    --------
    >>> fit = exponential_fit([0.0, np.log(2)], [-2.0, -1.0], "a")
    >>> round(math.exp(fit.log_a), 6), round(fit.b, 6)
    (2.0, 1.0)
    """
    rewards, log_f = _check_curve(rewards, log_f, prompt_id)
    x = rewards - rewards.min()
    start = _start(x, log_f, prompt_id)
    log_a, log_b = fit_exponential_curve(x, log_f, start, prompt_id, xtol=1e-14, ftol=1e-14, gtol=1e-14)
    b = float(np.exp(log_b))
    return ExponentialFit(float(log_a + b * rewards.min()), b)


def _start(x: NDArray[np.float64], log_f: NDArray[np.float64], prompt_id: str) -> NDArray[np.float64]:
    """Log a and log b to start from; x are the rewards less the lowest of them."""
    # For a given b the best a is known. A grid of b finds the deepest minimum, or that there is none.
    gap = max(x[x > 0].min(), np.finfo(float).eps * x.max())
    slopes = np.geomspace(_FLATTEST / x.max(), _STEEPEST / gap, _STARTS)
    decays = np.exp(-slopes[:, None] * x)
    scales = decays @ -log_f / np.sum(decays**2, axis=1)
    best = int(np.argmin(np.sum((scales[:, None] * decays + log_f) ** 2, axis=1)))
    if best in (0, _STARTS - 1):
        where = "is the same everywhere" if best == 0 else "is 0 above the lowest reward"
        raise InputError(
            f"log F of prompt_id {prompt_id!r} cannot be fitted by -a exp(-b x): it {where}, so that no b > 0 "
            "is best; leave out the smooth fit, or roll out more"
        )
    return np.log([scales[best], slopes[best]])


def _check_curve(
    rewards: ArrayLike, log_f: ArrayLike, prompt_id: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rewards and log F as arrays that a curve can be fitted to."""
    rewards = finite_array(rewards, f"rewards of prompt_id {prompt_id!r}", 1)
    log_f = finite_array(log_f, f"log F of prompt_id {prompt_id!r}", 1)
    if rewards.shape != log_f.shape or log_f.max() > 0:
        raise InputError(
            f"log F of prompt_id {prompt_id!r} must be at most 0 and one for each of {len(rewards)} rewards, "
            f"got {len(log_f)} up to {log_f.max()}"
        )
    if np.diff(log_f[np.lexsort((log_f, rewards))]).min(initial=0) < -_ROUNDING:
        raise InputError(
            f"log F of prompt_id {prompt_id!r} falls where the reward rises, which no distribution function "
            "does; pair each reward with its own log F"
        )
    if np.ptp(rewards) == 0:
        raise InputError(
            f"log F of prompt_id {prompt_id!r} cannot be fitted: its {len(rewards)} rollouts have one reward; "
            "leave out the smooth fit, or the prompt"
        )
    return rewards, log_f
