"""Tables of hedging: chosen on one half of a pool's prompts, reported on the other; and what theory says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from infalign.errors import InputError
from infalign.mathematics.families import PoissonTiltGap, poisson_tilt_gap
from infalign.mathematics.hedging import (
    Family,
    Hedge,
    Pools,
    expected_rewards,
    hacking_curve,
    hedge,
    regime,
)
from infalign.mathematics.planning import split_prompts
from infalign.mathematics.statistics import bootstrap_mean
from infalign.records.config import Evaluation
from infalign.studies.hedging.block import HedgedPool
from infalign.studies.hedging.pools import families

N_GRID = 41
_FLAT = 1e-12  # of the spread, differences below it count as none
OTHERS = ("reference", "largest", "grid", "front")
"""What a hedge is compared with: no selection, the largest parameter, the best of the grid, and the best grid
point of any method at no more KL."""
SERIES_SCHEMA = {
    "task": pl.String,
    "true_reward": pl.String,
    "proxy": pl.String,
    "method": pl.String,
    "n": pl.Int64,
}
HACKING_SCHEMA = {
    **SERIES_SCHEMA,
    **dict.fromkeys(
        ("parameter", "kl", "expected_true", "ci_low", "ci_high", "expected_proxy", "gain", "gain_low", "gain_high",
         "reference_true", "spread_true", "reference_proxy", "spread_proxy"),
        pl.Float64,
    ),
    "n_prompts": pl.Int64,
}  # fmt: skip
HEDGES_SCHEMA = {
    **SERIES_SCHEMA,
    "parameter": pl.Float64,
    "kind": pl.String,
    "n_extrema": pl.Int64,
    **dict.fromkeys(("kl", "expected_true", "ci_low", "ci_high", "expected_proxy"), pl.Float64),
    **{
        f"{other}_{name}": kind
        for other in OTHERS
        for name, kind in {
            "method": pl.String,
            "parameter": pl.Float64,
            "kl": pl.Float64,
            "difference": pl.Float64,
            "low": pl.Float64,
            "high": pl.Float64,
        }.items()
    },
    "n_prompts": pl.Int64,
}
PROMPT_HEDGES_SCHEMA = {
    **SERIES_SCHEMA,
    "prompt_id": pl.String,
    **dict.fromkeys(("hedge", *OTHERS, "spread"), pl.Float64),
}
REGIMES_SCHEMA = {
    "shape": pl.String,
    "method": pl.String,
    "n": pl.Int64,
    "parameter": pl.Float64,
    "kl": pl.Float64,
    "expected_true": pl.Float64,
    "regime": pl.String,
}
POISSON_TILT_SCHEMA = dict.fromkeys(PoissonTiltGap.__dataclass_fields__, pl.Float64)


def parameter_grid(family: Family, m: int, n_points: int = N_GRID) -> NDArray[np.float64]:
    """Spread parameters over a family's domain, even in log n or log(1 + θ), both ends among them.

    Examples
    --------
    >>> parameter_grid(Family("bon"), 100, 3).round(9).tolist()
    [1.0, 10.0, 100.0]
    """
    low, high = family.domain(m)
    shift = 0.0 if family.method == "bon" else 1.0
    grid = np.exp(np.linspace(np.log(low + shift), np.log(high + shift), n_points)) - shift
    grid[[0, -1]] = low, high
    return grid


@dataclass(frozen=True, eq=False)
class _Half:
    """Half of a pool's prompts: their ids and rewards."""

    ids: list[str]
    proxy: list[NDArray[np.float64]]
    true: list[NDArray[np.float64]]

    @cached_property
    def pools(self) -> Pools:
        return Pools(self.proxy, self.true)

    @cached_property
    def moments(self) -> dict[str, float]:
        """Of either reward its mean over prompts, and the root of its mean variance within a prompt."""
        found = {}
        for name, rewards in (("true", self.true), ("proxy", self.proxy)):
            found[f"reference_{name}"] = float(np.mean([row.mean() for row in rewards]))
            found[f"spread_{name}"] = float(np.sqrt(np.mean([row.var() for row in rewards])))
            if found[f"spread_{name}"] == 0:
                raise InputError(
                    f"hedging: the {name} reward is constant within every prompt of the half that reports; "
                    "raise hedging.n_prompts"
                )
        return found


@dataclass(frozen=True, eq=False)
class _Curve:
    """A family on the prompts that report: its grid, their KLs and true rewards (P', T)."""

    family: Family
    grid: NDArray[np.float64]
    kls: NDArray[np.float64]
    true: NDArray[np.float64]


def hedge_tables(
    pool: HedgedPool,
    proxy: str,
    prompt_ids: Sequence[str],
    rewards: tuple[Sequence[NDArray[np.float64]], Sequence[NDArray[np.float64]]],
    settings: Evaluation,
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Follow every procedure of a pool over its parameter and hedge it, for one proxy.

    Parameters
    ----------
    pool : its task, true reward and procedures.
    proxy : its name.
    prompt_ids : P of them, in increasing order.
    rewards : proxy and true rewards, of each prompt an array (m,).
    settings : level, resamples and seed of the intervals; the seed is that of the halves too.

    Returns
    -------
    Three tables on the half of the prompts that reports: expected rewards over the grid, and the true reward's
    gain over the reference, paired by prompt (HACKING_SCHEMA); the parameters that the other half chose and
    what they give (HEDGES_SCHEMA); and their true rewards by prompt (PROMPT_HEDGES_SCHEMA). The best grid
    points are chosen on the half that reports, which favours them.

    Raises
    ------
    InputError
        Fewer than two prompts; a reward is constant within every prompt of the half that reports; as `hedge`.
    """
    choosing, reporting = (
        _Half(*([column[i] for i in half] for column in (prompt_ids, *rewards)))
        for half in split_prompts(len(prompt_ids), settings.seed)
    )
    facts = {"task": pool.task, "true_reward": pool.true_reward, "proxy": proxy}
    own_families = families(pool)
    m = min(choosing.pools.smallest, reporting.pools.smallest)
    curves = [_curve(family, reporting.pools, parameter_grid(family, m)) for family in own_families]
    hacking = [row for curve in curves for row in _hacking_rows(facts, curve, reporting, settings)]
    hedges, by_prompt = [], []
    for curve in curves:
        low, high = curve.family.domain(m)
        found = hedge(curve.family, choosing.pools, low=low, high=high, seed=settings.seed)
        row, prompts = _hedge_rows(facts, found, curve, curves, reporting, settings)
        hedges.append(row)
        by_prompt.append(prompts)
    return (
        pl.DataFrame(hacking, schema=HACKING_SCHEMA),
        pl.DataFrame(hedges, schema=HEDGES_SCHEMA),
        pl.concat(by_prompt),
    )


def _curve(family: Family, pools: Pools, grid: NDArray[np.float64]) -> _Curve:
    kls = np.array([family.at(theta).kl for theta in grid.tolist()])
    return _Curve(family, grid, kls, expected_rewards(family, grid, pools)[0])


def _hacking_rows(
    facts: dict[str, str], curve: _Curve, reporting: _Half, settings: Evaluation
) -> list[dict[str, object]]:
    series = {**facts, "method": curve.family.method, "n": curve.family.n, **reporting.moments}
    rows = hacking_curve(
        curve.family, reporting.pools, curve.grid, level=settings.level, resamples=settings.resamples,
        seed=settings.seed,
    )  # fmt: skip
    options = (settings.level, settings.resamples, settings.seed)
    gains = [bootstrap_mean(true - curve.true[:, 0], *options) for true in curve.true.T]
    return [
        {**series, **row, "gain": gain.estimate, "gain_low": gain.low, "gain_high": gain.high,
         "n_prompts": len(reporting.ids)}
        for row, gain in zip(rows, gains, strict=True)
    ]  # fmt: skip


def _hedge_rows(
    facts: dict[str, str],
    found: Hedge,
    curve: _Curve,
    curves: Sequence[_Curve],
    reporting: _Half,
    settings: Evaluation,
) -> tuple[dict[str, object], pl.DataFrame]:
    """A row of the hedges and its prompts' true rewards."""
    true, proxy = (values[:, 0] for values in expected_rewards(curve.family, [found.parameter], reporting.pools))
    if found.parameter in curve.grid:  # the very numbers, so that rounding makes no difference of none
        true = curve.true[:, np.flatnonzero(curve.grid == found.parameter)[0]]
    options = (settings.level, settings.resamples, settings.seed)
    interval = bootstrap_mean(true, *options)
    series = {**facts, "method": curve.family.method, "n": curve.family.n}
    row: dict[str, object] = {
        **series, "parameter": found.parameter, "kind": found.kind, "n_extrema": found.n_extrema, "kl": found.kl,
        "expected_true": interval.estimate, "ci_low": interval.low, "ci_high": interval.high,
        "expected_proxy": float(proxy.mean()), "n_prompts": len(reporting.ids),
    }  # fmt: skip
    columns: dict[str, object] = {"prompt_id": reporting.ids, "hedge": true}
    for other, (place, i) in _others(curve, curves, found.kl).items():
        gap = bootstrap_mean(true - place.true[:, i], *options)
        values = (
            place.family.method,
            float(place.grid[i]),
            float(place.kls[i]),
            gap.estimate,
            gap.low,
            gap.high,
        )
        names = ("method", "parameter", "kl", "difference", "low", "high")
        row |= {f"{other}_{name}": value for name, value in zip(names, values, strict=True)}
        columns[other] = place.true[:, i]
    columns["spread"] = reporting.moments["spread_true"]
    return row, pl.DataFrame({**series, **columns}, schema=PROMPT_HEDGES_SCHEMA)


def _others(curve: _Curve, curves: Sequence[_Curve], hedge_kl: float) -> dict[str, tuple[_Curve, int]]:
    """The grid points that a hedge is compared with, in the order of OTHERS; of equal ones its own procedure's."""
    places = [curve, *(other for other in curves if other is not curve)]
    within = [(place, i) for place in places for i in np.flatnonzero(place.kls <= hedge_kl + 1e-12).tolist()]
    means = np.array([place.true[:, i].mean() for place, i in within])
    front = within[int(np.argmax(means >= means.max() - _FLAT * np.ptp(curve.true)))]
    best = int(np.argmax(curve.true.mean(axis=0)))
    return dict(zip(OTHERS, [(curve, 0), (curve, len(curve.grid) - 1), (curve, best), front], strict=True))


SHAPES = {  # true rewards as functions of u, one for each regime of the theorem
    "rises": lambda u: u,
    "falls": lambda u: 1 - u,
    "rises, then falls": lambda u: u - 0.8 * u**2,
    "falls, then rises": lambda u: (u - 0.7) ** 2,
}
THEORY_FAMILIES = (Family("bon"), Family("sbon", 16), Family("bop"), Family("tilt"))
THEORY_M = 1000


def regime_table() -> pl.DataFrame:
    """Follow the expected true reward of each procedure for true rewards of the four regimes.

    Returns
    -------
    Columns REGIMES_SCHEMA, a row per shape, procedure and parameter; the true rewards are those of SHAPES at
    the middles of 1000 equal steps in u, and `regime` is that of the whole curve.

    References
    ----------
    Khalaf et al. 2025, Inference-time reward hacking in large language models: the theorem on greedy methods.
    """
    u = (np.arange(THEORY_M) + 0.5) / THEORY_M
    return _theory_rows(u, {name: shape(u) for name, shape in SHAPES.items()})


def extrema_table() -> pl.DataFrame:
    """Do the same for many true rewards that change direction at most once, keeping each curve's regime only.

    Returns
    -------
    Columns shape, method, n, regime. The rewards rise or fall by a power of the distance to a turning point
    between 0 and 1, by another slope on its other side.
    """
    u = (np.arange(THEORY_M) + 0.5) / THEORY_M
    shapes = {}
    for at in (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99, 0.999):
        for power in (0.5, 1.0, 3.0):
            for slope in (0.2, 1.0, 5.0):
                distance = np.abs(u - at) ** power * np.where(u < at, 1.0, slope)
                for sign, name in ((1.0, "falls, then rises"), (-1.0, "rises, then falls")):
                    shapes[f"{name} at {at:g}, power {power:g}, slopes 1 and {slope:g}"] = sign * distance
    return _theory_rows(u, shapes).select("shape", "method", "n", "regime").unique(maintain_order=True)


def _theory_rows(u: NDArray[np.float64], shapes: dict[str, NDArray[np.float64]]) -> pl.DataFrame:
    """All true rewards at once, each as the prompt of a pool of its own."""
    pools = Pools([u] * len(shapes), list(shapes.values()))
    parts = []
    for family in THEORY_FAMILIES:
        curve = _curve(family, pools, parameter_grid(family, THEORY_M, 2 * N_GRID - 1))
        for name, values in zip(shapes, curve.true, strict=True):
            found = regime(values, tolerance=_FLAT * float(np.ptp(shapes[name])))
            columns = {"parameter": curve.grid, "kl": curve.kls, "expected_true": values}
            facts = {"shape": name, "method": family.method, "n": family.n, "regime": found}
            parts.append(pl.DataFrame({**facts, **columns}, schema=REGIMES_SCHEMA))
    return pl.concat(parts)


def poisson_tilt_table() -> pl.DataFrame:
    """Compare best-of-Poisson with the tilt from μ = 0.01 to 1000.

    Returns
    -------
    Columns of `PoissonTiltGap`, a row per μ.
    """
    rows = [asdict(poisson_tilt_gap(mu)) for mu in np.geomspace(0.01, 1000, 201).tolist()]
    return pl.DataFrame(rows, schema=POISSON_TILT_SCHEMA)
