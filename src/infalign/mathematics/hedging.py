"""Hedging against reward hacking: the parameter of an inference-time procedure that is best by the true reward.

A procedure selects by a proxy reward, and what counts is the true reward. Each prompt's m scored responses,
sorted by the proxy, stand for the quantiles of the reference policy: the k-th has probability
P_θ(k/m) − P_θ((k − 1)/m). That gives the expected rewards as functions of θ, without resampling.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from infalign.errors import InputError
from infalign.mathematics.checks import finite_array
from infalign.mathematics.families import Family
from infalign.mathematics.pools import Pools
from infalign.mathematics.ranks import mid_ranks
from infalign.mathematics.statistics import bootstrap_mean

_GRID = 129
_ROUNDING = 1e-10


def expected_rewards(
    family: Family, parameters: ArrayLike, pools: Pools
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each prompt's expected true and proxy reward, shape (P, T), at T values of θ within `family.limits`.

    Σ_k reward_(k) [P_θ(k/m) − P_θ((k − 1)/m)]: the procedure on independent draws from the m responses.

    Examples
    --------
    >>> expected_rewards(Family("bon"), [1, 2], Pools([[0.0, 1.0]], [[1.0, 0.0]]))
    (array([[0.5 , 0.25]]), array([[0.5 , 0.75]]))
    """
    parameters = finite_array(parameters, "parameters", 1)
    _check_range(family, pools, parameters.min(), parameters.max())
    true, proxy = (np.empty((len(pools.proxy), len(parameters))) for _ in range(2))
    for group in pools.groups:
        levels = [family.at(theta).distribution(group.edges) for theta in parameters.tolist()]
        masses = np.diff(np.stack(levels, axis=1), axis=0)
        masses /= masses.sum(axis=0)
        true[group.places], proxy[group.places] = group.true @ masses, group.proxy @ masses
    return true, proxy


def _check_range(family: Family, pools: Pools, low: float, high: float) -> None:
    lowest, highest = family.limits(pools.smallest)
    if not lowest <= low <= high <= highest:
        got = f"{low:.10g}" if low == high else f"{low:.10g} to {high:.10g}"
        raise InputError(
            f"the parameter of {family.method} must lie in [{lowest:g}, {highest:.17g}] (the smallest pool has "
            f"{pools.smallest} responses), got {got}; stay within it or sample more"
        )


def residual(family: Family, theta: float, pools: Pools) -> float:
    """Return R(θ) = E_{u ~ p_θ}[r_true(u) ψ(u, θ)], the derivative of the expected true reward, mean over prompts.

    r_true is the k-th smallest-by-proxy response's true reward on ((k − 1)/m, k/m]; θ is within `family.limits`.

    References
    ----------
    Khalaf et al. 2025, Inference-time reward hacking in large language models, Algorithm 4 (HedgeTune).

    Examples
    --------
    >>> bool(np.isclose(residual(Family("bon"), 1.0, Pools([[0.0, 1.0]], [[1.0, 0.0]])), -np.log(2) / 2))
    True
    """
    _check_range(family, pools, theta, theta)
    changes = [np.diff(family.at(theta).distribution_derivative(group.edges)) for group in pools.groups]
    terms = [group.total @ change for group, change in zip(pools.groups, changes, strict=True)]
    return float(sum(terms) / len(pools.proxy))


@dataclass(frozen=True)
class Hedge:
    """The parameter with the best expected true reward, and what it gives.

    Parameters
    ----------
    kind : {"interior", "at_lower", "at_upper"}
        Whether it is an extremum inside the range or an end of it.
    n_extrema : int
        Maxima and minima of the expected true reward inside the range.
    expected_true, ci_low, ci_high, expected_proxy : float
        Means over prompts, in the reward's own units; the bounds are NaN for one prompt.
    kl : float
        To the reference policy, in nats.
    n : int or None
        bon: the better whole number next to the parameter within the range, None if there is none.
        sbon: the draws. Else None.
    """

    method: str
    parameter: float
    kind: str
    n_extrema: int
    expected_true: float
    ci_low: float
    ci_high: float
    expected_proxy: float
    kl: float
    n: int | None


def hedge(
    family: Family,
    pools: Pools,
    *,
    low: float | None = None,
    high: float | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Hedge:
    """Return the parameter with the largest expected true reward: HedgeTune, with all roots and both ends.

    Every root of the residual that a grid of 129 points (even in log n, log(1 + μ) or log(1 + λ)) separates
    is refined (Khalaf et al. 2025, Algorithm 4). The best of the roots and the two ends is taken, the
    smallest parameter in a tie. Differences below 1e-10 of the largest spread within a prompt count as none.

    Parameters
    ----------
    low, high : float, optional
        The range of θ, low < high; by default `family.domain` of the smallest pool. λ may go up to 500.
    level, resamples, seed
        As in `Bootstrap`.

    Examples
    --------
    >>> u = (np.arange(1000) + 0.5) / 1000
    >>> best = hedge(Family("bon"), Pools([u], [u - 0.8 * u**2]))
    >>> best.kind, best.n, bool(np.isclose(best.parameter, (2 - 1.6**0.5) / (1.6**0.5 - 1), atol=1e-4))
    ('interior', 3, True)
    """
    domain = family.domain(pools.smallest)
    low, high = (float(end if asked is None else asked) for end, asked in zip(domain, (low, high), strict=True))
    if not low < high:
        raise InputError(f"the range of the parameter must have min < max, got min {low:g} and max {high:g}")
    _check_range(family, pools, low, high)
    roots = _extrema(family, pools, low, high)
    thetas = np.array([low, *roots, high])
    true, proxy = expected_rewards(family, thetas, pools)
    means = true.mean(axis=0)
    best = int(np.argmax(means >= means.max() - _ROUNDING * pools.spread))
    interval = bootstrap_mean(true[:, best], level, resamples, seed)
    parameter = float(thetas[best])
    return Hedge(
        method=family.method,
        parameter=parameter,
        kind="at_lower" if best == 0 else "at_upper" if best == len(thetas) - 1 else "interior",
        n_extrema=len(roots),
        expected_true=interval.estimate,
        ci_low=interval.low,
        ci_high=interval.high,
        expected_proxy=float(proxy[:, best].mean()),
        kl=family.at(parameter).kl,
        n=_neighbouring_n(family, pools, parameter, (low, high)),
    )


def _extrema(family: Family, pools: Pools, low: float, high: float) -> list[float]:
    """The parameters strictly between low and high at which the residual changes its sign."""
    to_scale, from_scale = (np.log, np.exp) if family.kind.theta_range[0] > 0 else (np.log1p, np.expm1)
    grid = from_scale(np.linspace(to_scale(low), to_scale(high), _GRID))
    grid[[0, -1]] = low, high
    values = np.array([residual(family, theta, pools) for theta in grid.tolist()])
    clear = np.flatnonzero((1 + grid) * np.abs(values) > _ROUNDING * pools.spread)
    turns = [(grid[i], grid[j]) for i, j in pairwise(clear) if values[i] * values[j] < 0]
    return [float(brentq(lambda x: residual(family, x, pools), *turn, xtol=1e-12)) for turn in turns]


def _neighbouring_n(family: Family, pools: Pools, parameter: float, bounds: tuple[float, float]) -> int | None:
    """The better whole number beside the parameter where that is n, else the family's n."""
    if family.kind.theta != "n":
        return family.n
    neighbours = [n for n in {int(np.floor(parameter)), int(np.ceil(parameter))} if bounds[0] <= n <= bounds[1]]
    if not neighbours:
        return None
    return max(sorted(neighbours), key=lambda n: expected_rewards(family, [n], pools)[0].mean())


def hacking_curve(
    family: Family,
    pools: Pools,
    parameters: ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> list[dict[str, float]]:
    """Return a row for each parameter, of the rewards of `expected_rewards` with interval, and the KL in nats.

    All parameters share the resamples of the bootstrap; the bounds are NaN for one prompt.
    """
    true, proxy = expected_rewards(family, parameters, pools)
    rows = []
    for i, theta in enumerate(np.asarray(parameters, dtype=np.float64).tolist()):
        interval = bootstrap_mean(true[:, i], level, resamples, seed)
        rows.append(
            {
                "parameter": theta,
                "expected_true": interval.estimate,
                "ci_low": interval.low,
                "ci_high": interval.high,
                "expected_proxy": float(proxy[:, i].mean()),
                "kl": family.at(theta).kl,
            }
        )
    return rows


def regime(expected_true: ArrayLike, tolerance: float = 0.0) -> str:
    """Return how the expected true reward, given at increasing parameters, shape (T,), moves as the parameter grows.

    A reward of at most one extremum has one of four regimes: "monotone up", "monotone down", "hacking" (a maximum
    inside), "initial decline" (a minimum inside); else it is "flat" or has "several extrema". Steps no larger than
    the tolerance count as none.

    References
    ----------
    Khalaf et al. 2025, Inference-time reward hacking in large language models: for greedy methods the
    expected true reward has at most one extremum, if the true reward changes direction at most once in u.

    Examples
    --------
    >>> regime([0.0, 1.0, 0.5]), regime([0.0, -1.0]), regime([1.0, 0.5, 0.7, 0.7])
    ('hacking', 'monotone down', 'initial decline')
    """
    values = finite_array(expected_true, "expected true reward", 1)
    if len(values) < 2 or not tolerance >= 0:
        raise InputError(f"a regime needs at least 2 values and a tolerance >= 0, got {len(values)} and {tolerance}")
    steps = np.diff(values)
    signs = np.sign(steps[np.abs(steps) > tolerance])
    if not len(signs):
        return "flat"
    turns = int(np.sum(signs[1:] != signs[:-1]))
    if turns > 1:
        return "several extrema"
    names = ("monotone down", "monotone up") if turns == 0 else ("initial decline", "hacking")
    return names[int(signs[0] > 0)]


def sample(family: Family, theta: float, proxy: ArrayLike, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
    """Draw indices of the responses that a deployer would show, shape (size,), from one prompt's pool of m responses.

    bon, bop and sbon see n of the m responses, without replacement; sbon and tilt use the mid-rank of each proxy
    in the whole pool as its quantile; ties are broken at random. θ is a whole number for bon; an InputError if
    best-of-Poisson draws more than m responses.

    Examples
    --------
    >>> sample(Family("bon"), 3, [0.0, 9.0, 1.0], np.random.default_rng(0), 2)
    array([1, 1])
    """
    u = mid_ranks(finite_array(proxy, "proxy reward", 1))
    m = len(u)
    lowest, highest = family.limits(m)
    if not lowest <= theta or (theta > highest and not family.kind.random_draws):
        raise InputError(
            f"the parameter of {family.method} must lie in [{lowest:g}, {highest:g}] for a pool of {m} "
            f"responses, got {theta}"
        )
    return family.at(theta).sample(u, rng, size)
