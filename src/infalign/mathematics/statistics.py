"""Intervals by the bootstrap over prompts, paired comparisons, and comparisons at one KL."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, stdtrit

from infalign.errors import InputError
from infalign.mathematics.checks import finite_array, positive
from infalign.mathematics.kl_curves import Curve, rates_at_kl

METHODS = {"percentile": "percentile", "bca": "BCa"}
_BLOCK = 10_000_000
UNDEFINED = float("nan")


@dataclass(frozen=True)
class Bootstrap:
    """Options of a bootstrap over prompts; `*bootstrap` hands them to the functions below.

    The level of the interval lies in (0, 1); there is at least 1 resample.

    Examples
    --------
    >>> bootstrap_mean([0.5, 0.5], *Bootstrap(level=0.9))
    Interval(estimate=0.5, low=0.5, high=0.5)
    """

    level: float = 0.95
    resamples: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise InputError(f"level must lie between 0 and 1, got {self.level}; 0.95 is usual")
        if self.resamples < 1:
            raise InputError(f"resamples must be >= 1, got {self.resamples}; 2000 is usual")

    def __iter__(self) -> Iterator[Any]:
        return iter((self.level, self.resamples, self.seed))


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval; NaN where it is undefined."""

    estimate: float
    low: float
    high: float


def interval_columns(names: Sequence[str], interval: Interval | None) -> dict[str, float | None]:
    """Return estimate, low and high under three names, None where a number is undefined; none without an interval.

    Examples
    --------
    >>> interval_columns(("a", "low", "high"), Interval(0.5, 0.4, float("nan")))
    {'a': 0.5, 'low': 0.4, 'high': None}
    """
    if interval is None:
        return {}
    values = (interval.estimate, interval.low, interval.high)
    return {name: float(value) if np.isfinite(value) else None for name, value in zip(names, values, strict=True)}


def bootstrap_mean(
    values: ArrayLike, level: float = 0.95, resamples: int = 2000, seed: int = 0, method: str = "percentile"
) -> Interval:
    """Return the mean over prompts, shape (P,), with its bootstrap interval by scipy.stats.bootstrap.

    Prompts are resampled, never pairs within them. The bounds are NaN for a single prompt, and equal the mean where
    all values are equal. Options as in `Bootstrap`; the method is "percentile" or "bca".

    Examples
    --------
    >>> bootstrap_mean([0.5, 0.5, 0.5])
    Interval(estimate=0.5, low=0.5, high=0.5)
    """
    values = finite_array(values, "values", 1)
    Bootstrap(level, resamples)
    from scipy.stats import bootstrap  # takes most of a second to load, which every job would pay

    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    estimate = float(values.mean())
    if len(values) < 2:
        return Interval(estimate, UNDEFINED, UNDEFINED)
    if np.ptp(values) == 0:
        return Interval(float(values[0]), float(values[0]), float(values[0]))
    interval = bootstrap(
        (values,),
        np.mean,
        confidence_level=level,
        n_resamples=resamples,
        batch=max(1, _BLOCK // len(values)),
        method=METHODS[method],
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(estimate, float(interval.low), float(interval.high))


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    method: str = "percentile",
) -> Interval:
    """Return the mean of a − b over prompts, in the same order, with its interval as in `bootstrap_mean`.

    Examples
    --------
    >>> paired_difference([0.75, 1.0], [0.25, 0.5])
    Interval(estimate=0.5, low=0.5, high=0.5)
    """
    a, b = finite_array(a, "a", 1), finite_array(b, "b", 1)
    if a.shape != b.shape:
        raise InputError(f"paired values need the same prompts, got {len(a)} and {len(b)}")
    return bootstrap_mean(a - b, level, resamples, seed, method)


def value_at_kl(curve: Curve, kl: float, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Interval:
    """Return a curve's win rate interpolated at a KL in nats, > 0, with its bootstrap interval over prompts.

    It is linear in √KL between the policies' means and the known point (0, ½); each resample interpolates at its own
    mean KLs, so the KL's error is carried. It is NaN outside the range of the policies; the bounds are NaN too where
    more than (1 − level)/2 of the resamples fall outside.

    Examples
    --------
    >>> value_at_kl(Curve([[0.25, 0.25]], [[0.75, 0.75]]), 0.0625)
    Interval(estimate=0.625, low=0.625, high=0.625)
    """
    Bootstrap(level, resamples)
    counts = resample_weights(curve.kl.shape[1], resamples, seed)
    return percentile_interval(rates_at_kl(curve, kl, counts), level)


def difference_at_kl(
    curve_a: Curve, curve_b: Curve, kl: float, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Return the difference of two curves' win rates at one KL, NaN as in `value_at_kl`.

    The curves are measured on the same prompts in the same order, which are resampled jointly.

    Examples
    --------
    >>> a, b = Curve([[0.25, 0.25]], [[0.75, 0.75]]), Curve([[0.25, 0.25]], [[0.5, 0.5]])
    >>> difference_at_kl(a, b, 0.25)
    Interval(estimate=0.25, low=0.25, high=0.25)
    """
    Bootstrap(level, resamples)
    prompts = curve_a.kl.shape[1]
    if curve_b.kl.shape[1] != prompts:
        raise InputError(f"curves need the same prompts, got {prompts} and {curve_b.kl.shape[1]}")
    counts = resample_weights(prompts, resamples, seed)
    return percentile_interval(rates_at_kl(curve_a, kl, counts) - rates_at_kl(curve_b, kl, counts), level)


@lru_cache(maxsize=2)
def resample_weights(prompts: int, resamples: int, seed: int) -> NDArray[np.float64]:
    """Return the read-only weights of the prompts in a bootstrap, shape (1 + resamples, P): 1/P, then its resamples.

    Examples
    --------
    >>> resample_weights(2, 3, seed=0)[0]
    array([0.5, 0.5])
    """
    chances = np.full(prompts, 1 / prompts)
    drawn = np.random.default_rng(seed).multinomial(prompts, chances, size=resamples)
    weights = np.vstack([chances, drawn / prompts])
    weights.setflags(write=False)
    return weights


def percentile_interval(values: NDArray[np.float64], level: float = 0.95) -> Interval:
    """Return the first value, the estimate, with the percentile interval of the others, those of the resamples.

    NaN says that a value is undefined. The bounds are NaN where the estimate or more than (1 − level)/2 of the
    resamples are undefined.

    Examples
    --------
    >>> percentile_interval(np.array([0.5, 0.0, 1.0]), level=0.5)
    Interval(estimate=0.5, low=0.25, high=0.75)
    """
    estimate, resampled = float(values[0]), values[1:]
    undefined = np.isnan(resampled)
    if np.isnan(estimate) or undefined.mean() > (1 - level) / 2:
        return Interval(estimate, UNDEFINED, UNDEFINED)
    low, high = np.quantile(resampled[~undefined], [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))


def bootstrap_ratio(
    totals: ArrayLike, sizes: ArrayLike, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Return sum(totals) / sum(sizes), the mean over all items of all prompts, with an interval over prompts.

    Prompts are resampled with all their items. The bounds are NaN for a single prompt.

    Parameters
    ----------
    totals, sizes : array-like, shape (P,)
        Sum of the values of each prompt's items, and their number, > 0.

    References
    ----------
    Davison and Hinkley 1997, Bootstrap Methods and their Application, section 3.8 (clustered data).

    Examples
    --------
    >>> bootstrap_ratio([3.0, 1.0], [6, 2])
    Interval(estimate=0.5, low=0.5, high=0.5)
    """
    totals, sizes = finite_array(totals, "totals", 1), finite_array(sizes, "sizes", 1)
    Bootstrap(level, resamples)
    if totals.shape != sizes.shape or sizes.min() <= 0:
        raise InputError(
            f"each of the {len(totals)} totals needs a size above 0, got {len(sizes)} sizes, the smallest "
            f"{sizes.min():g}"
        )
    if len(totals) < 2:
        return Interval(float(totals[0] / sizes[0]), UNDEFINED, UNDEFINED)
    weights = resample_weights(len(totals), resamples, seed)
    return percentile_interval((weights @ totals) / (weights @ sizes), level)


def t_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Return the mean of a few independent runs, shape (R,), with its t interval; its bounds are NaN for a single run.

    A value a run, e.g. a seed of training, is taken as normal, of unknown spread.

    Examples
    --------
    >>> interval = t_interval([1.0, 2.0, 3.0])
    >>> interval.estimate, round(interval.high - interval.estimate, 3)
    (2.0, 2.484)
    """
    values = finite_array(values, "values", 1)
    Bootstrap(level)
    mean, runs = float(values.mean()), len(values)
    if runs < 2:
        return Interval(mean, UNDEFINED, UNDEFINED)
    half = float(stdtrit(runs - 1, (1 + level) / 2) * values.std(ddof=1) / np.sqrt(runs))
    return Interval(mean, mean - half, mean + half)


def power(effect: float, standard_error: float, level: float = 0.95) -> float:
    """Return the chance that a two-sided interval of a normal estimate excludes 0 when the true effect is `effect`.

    Examples
    --------
    >>> round(power(2.8, 1.0), 2), round(power(0.0, 1.0), 2)
    (0.8, 0.05)
    """
    Bootstrap(level)
    standard_error = positive(standard_error, "standard error")
    bound = ndtri((1 + level) / 2)
    shift = effect / standard_error
    return float(ndtr(shift - bound) + ndtr(-bound - shift))
