"""From an interval to a verdict: the rule by which a claim counts as reproduced."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator
from scipy.stats import norm

from infalign.mathematics.statistics import Interval, power
from infalign.records.block import Block

VERDICTS = ("reproduced", "partly", "not reproduced", "underpowered", "not run")
POWER_NEEDED = 0.8
LEVEL = 0.95


class Expectation(Block):
    """What a claim says about the measured number.

    `greater` and `less`: it lies above or below `reference`. Where the paper states numbers, it also lies in
    `paper_range` or beyond it. Power is that of seeing the end of the range nearest to the reference, or
    `effect` (a distance from the reference) where the paper states no number.
    `equivalent`: the whole interval lies within `margin` of the reference. `not_worse`: it lies above the reference
    less `margin` ("almost as good as").
    """

    direction: Literal["greater", "less", "equivalent", "not_worse"]
    reference: float = 0.0
    paper_range: tuple[float | None, float | None] | None = Field(None, description="low and high; null is open")
    effect: float | None = Field(None, gt=0)
    margin: float | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _complete(self) -> Expectation:
        directional = self.direction in ("greater", "less")
        if directional and self.margin is not None:
            raise ValueError(f"direction {self.direction} takes no margin; remove it")
        if directional and (self.nearest_end is None) == (self.effect is None):
            end = "low" if self.direction == "greater" else "high"
            raise ValueError(f"direction {self.direction} needs either paper_range with its {end} end, or effect")
        if not directional and (self.margin is None or self.paper_range is not None or self.effect is not None):
            raise ValueError(f"direction {self.direction} needs margin, and neither paper_range nor effect")
        return self

    @property
    def tolerance(self) -> float:
        """The margin; 0 for a claim of direction, which has none."""
        return self.margin or 0.0

    @property
    def nearest_end(self) -> float | None:
        """The end of the paper's range that is easiest to reach."""
        if self.paper_range is None:
            return None
        return self.paper_range[0] if self.direction == "greater" else self.paper_range[1]


def verdict(interval: Interval | None, expectation: Expectation) -> str:
    """Judge one interval by what the claim expects.

    Parameters
    ----------
    interval : Interval or None
        Estimate with its 95 % interval, on the scale of the expectation; None or NaN: not measured.
    expectation : Expectation
        What the claim says.

    Returns
    -------
    str
        One of VERDICTS.

    Notes
    -----
    For `greater` (and mirrored for `less`):

    - `reproduced`: the interval lies above the reference and meets the paper's range or lies above it. An effect
      larger than the paper's counts, and the note says so.
    - `partly`: it lies above the reference but wholly short of the range.
    - `not reproduced`: it lies below the reference, or holds it with power of at least 0.8 to see the paper's effect.
    - `underpowered`: else.

    For `equivalent` and `not_worse`:

    - `reproduced`: the whole interval is within the margin.
    - `not reproduced`: it is wholly outside.
    - If it straddles the margin, `underpowered` where the power to show a true difference of 0 is below 0.8. Else
      `partly` or `not reproduced`, by the side that the estimate is on.

    References
    ----------
    Schuirmann (1987) for equivalence by two one-sided tests.

    Examples
    --------
    >>> gain = Expectation(direction="greater", paper_range=(0.08, 0.12))
    >>> verdict(Interval(0.09, 0.06, 0.12), gain), verdict(Interval(0.03, 0.01, 0.05), gain)
    ('reproduced', 'partly')
    """
    if interval is None or not all(map(math.isfinite, (interval.estimate, interval.low, interval.high))):
        return "not run"
    if expectation.direction in ("greater", "less"):
        return _directional(interval, expectation)
    return _within_margin(interval, expectation)


def _directional(interval: Interval, expectation: Expectation) -> str:
    sign = 1.0 if expectation.direction == "greater" else -1.0
    ends = sign * (interval.low - expectation.reference), sign * (interval.high - expectation.reference)
    low, high = min(ends), max(ends)
    target = expectation.nearest_end
    effect = expectation.effect or 0.0 if target is None else sign * (target - expectation.reference)
    if low > 0:
        return "reproduced" if target is None or high >= effect else "partly"
    if high < 0 or power_to_see(effect, interval) >= POWER_NEEDED:
        return "not reproduced"
    return "underpowered"


def _within_margin(interval: Interval, expectation: Expectation) -> str:
    estimate, low, high = (value - expectation.reference for value in (interval.estimate, interval.low, interval.high))
    margin, two_sided = expectation.tolerance, expectation.direction == "equivalent"
    if low >= -margin and (high <= margin or not two_sided):
        return "reproduced"
    if high < -margin or (two_sided and low > margin):
        return "not reproduced"
    if power_to_bound(margin, interval, two_sided) < POWER_NEEDED:
        return "underpowered"
    return "partly" if estimate >= -margin and (estimate <= margin or not two_sided) else "not reproduced"


def standard_error(interval: Interval) -> float:
    """Standard error behind a 95 % interval.

    Examples
    --------
    >>> round(standard_error(Interval(0.0, -1.96, 1.96)), 3)
    1.0
    """
    return float((interval.high - interval.low) / (2 * norm.ppf(0.5 + LEVEL / 2)))


def power_to_see(effect: float, interval: Interval) -> float:
    """Probability that an interval this wide excludes the reference when the true distance is `effect` > 0.

    Examples
    --------
    >>> round(power_to_see(2.8, Interval(0.0, -1.96, 1.96)), 2)
    0.8
    """
    error = standard_error(interval)
    return 1.0 if error == 0 else power(effect, error, LEVEL)


def power_to_bound(margin: float, interval: Interval, two_sided: bool) -> float:
    """Probability that an interval this wide lies within the margin when the true difference is 0."""
    error = standard_error(interval)
    if error == 0:
        return 1.0
    one_sided = float(norm.cdf(margin / error - norm.ppf(0.5 + LEVEL / 2)))
    return max(0.0, 2 * one_sided - 1) if two_sided else one_sided


def least_favourable(intervals: Sequence[Interval], expectation: Expectation) -> Interval | None:
    """Pick the interval that satisfies a claim least, of several that all must.

    A claim over several comparisons holds only if each does (intersection-union test). So its error rate is
    that of a single comparison.

    Returns
    -------
    Interval or None
        None if there are no intervals or one of them is undefined.
    """
    if not intervals or not all(math.isfinite(item.estimate) for item in intervals):
        return None
    keys = {
        "greater": lambda item: item.low,
        "not_worse": lambda item: item.low,
        "less": lambda item: -item.high,
        "equivalent": lambda item: -max(abs(item.low - expectation.reference), abs(item.high - expectation.reference)),
    }
    return min(intervals, key=keys[expectation.direction])
