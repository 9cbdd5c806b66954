"""Tables of hedging: the choice on one half of a pool's prompts, the report on the other; and what theory says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from infalign.errors import InputError
from infalign.mathematics.families import Family, PoissonTiltGap, poisson_tilt_gap
from infalign.mathematics.hedging import Hedge, expected_rewards, hacking_curve, hedge, regime
from infalign.mathematics.planning import split_prompts
from infalign.mathematics.pools import Pools
from infalign.mathematics.statistics import Bootstrap, bootstrap_mean, interval_columns
from infalign.studies.hedging.block import HedgedPool

N_GRID = 41
_FLAT = 1e-12  # of the spread, differences below it count as none
RIVALS = ("reference", "largest", "grid", "front")
"""What a hedge is compared with: no selection, the largest parameter, the best of the grid, and the best grid
point of any method at no more KL."""
SERIES_SCHEMA = dict.fromkeys(("task", "true_reward", "proxy", "method"), pl.String) | {"n": pl.Int64}
EXPECTED = ("kl", "expected_true", "ci_low", "ci_high", "expected_proxy")
MOMENTS = ("reference_true", "spread_true", "reference_proxy", "spread_proxy")
HACKING_SCHEMA = {
    **SERIES_SCHEMA,
    **dict.fromkeys(("parameter", *EXPECTED, "gain", "gain_low", "gain_high", *MOMENTS), pl.Float64),
    "n_prompts": pl.Int64,
}
RIVAL_NUMBERS = ("parameter", "kl", "difference", "low", "high")
HEDGES_SCHEMA = {
    **SERIES_SCHEMA,
    "parameter": pl.Float64,
    "kind": pl.String,
    "n_extrema": pl.Int64,
    **dict.fromkeys(EXPECTED, pl.Float64),
    **{
        f"{rival}_{name}": pl.String if name == "method" else pl.Float64
        for rival in RIVALS
        for name in ("method", *RIVAL_NUMBERS)
    },
    "n_prompts": pl.Int64,
}
PROMPT_HEDGES_SCHEMA = {
    **SERIES_SCHEMA,
    "prompt_id": pl.String,
    **dict.fromkeys(("hedge", *RIVALS, "spread"), pl.Float64),
}
REGIMES_SCHEMA = {
    "shape": pl.String,
    "method": pl.String,
    "n": pl.Int64,
    **dict.fromkeys(("parameter", "kl", "expected_true"), pl.Float64),
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
    shift = 0.0 if family.kind.theta_range[0] > 0 else 1.0
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
        """Mean over prompts of each reward, and the root of its mean variance within a prompt."""
        moments = {}
        for name, rewards in (("true", self.true), ("proxy", self.proxy)):
            moments[f"reference_{name}"] = float(np.mean([row.mean() for row in rewards]))
            moments[f"spread_{name}"] = float(np.sqrt(np.mean([row.var() for row in rewards])))
            if moments[f"spread_{name}"] == 0:
                raise InputError(
                    f"hedging: the {name} reward is constant within every prompt of the half that reports; "
                    "raise hedging.n_prompts"
                )
        return moments


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
    bootstrap: Bootstrap,
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Follow every procedure of a pool over its parameter and hedge it, for one proxy.

    Parameters
    ----------
    prompt_ids : sequence of P str
        In increasing order.
    rewards : two sequences of P ndarrays, shapes (m,)
        Proxy and true rewards.
    bootstrap : Bootstrap
        Its seed also splits the prompts into halves.

    Returns
    -------
    three DataFrames
        All on the half of the prompts that reports. HACKING_SCHEMA: expected rewards over the grid, and the true
        reward's gain over the reference, paired by prompt. HEDGES_SCHEMA: the parameters that the other half chose
        and what they give. PROMPT_HEDGES_SCHEMA: their true rewards by prompt. The best grid points are chosen on
        the half that reports, which favours them.

    Raises
    ------
    InputError
        Fewer than two prompts; a reward is constant within every prompt of the half that reports; as `hedge`.
    """
    choosing, reporting = (
        _Half(*([column[i] for i in half] for column in (prompt_ids, *rewards)))
        for half in split_prompts(len(prompt_ids), bootstrap.seed)
    )
    m = min(choosing.pools.smallest, reporting.pools.smallest)
    curves = [_curve(family, reporting.pools, parameter_grid(family, m)) for family in pool.families]
    hacking, hedges, by_prompt = [], [], []
    for curve in curves:
        family = curve.family
        series: dict[str, object] = {"task": pool.task, "true_reward": pool.true_reward, "proxy": proxy}
        series |= {"method": family.method, "n": family.n}
        hacking += [{**series, **row} for row in _hacking_rows(curve, reporting, bootstrap)]
        low, high = family.domain(m)
        best = hedge(family, choosing.pools, low=low, high=high, seed=bootstrap.seed)
        row, prompts = _hedge_row(best, curve, curves, reporting, bootstrap)
        hedges.append({**series, **row})
        by_prompt.append(pl.DataFrame({**series, **prompts}, schema=PROMPT_HEDGES_SCHEMA))
    return (
        pl.DataFrame(hacking, schema=HACKING_SCHEMA),
        pl.DataFrame(hedges, schema=HEDGES_SCHEMA),
        pl.concat(by_prompt),
    )


def _curve(family: Family, pools: Pools, grid: NDArray[np.float64]) -> _Curve:
    kls = np.array([family.at(theta).kl for theta in grid.tolist()])
    return _Curve(family, grid, kls, expected_rewards(family, grid, pools)[0])


def _hacking_rows(curve: _Curve, reporting: _Half, bootstrap: Bootstrap) -> list[dict]:
    """A row of the table of hacking for each grid point, without the series."""
    rows = hacking_curve(curve.family, reporting.pools, curve.grid, **asdict(bootstrap))
    gains = [bootstrap_mean(true - curve.true[:, 0], *bootstrap) for true in curve.true.T]
    names, more = ("gain", "gain_low", "gain_high"), {**reporting.moments, "n_prompts": len(reporting.ids)}
    return [{**row, **interval_columns(names, gain), **more} for row, gain in zip(rows, gains, strict=True)]


def _hedge_row(
    best: Hedge, curve: _Curve, curves: Sequence[_Curve], reporting: _Half, bootstrap: Bootstrap
) -> tuple[dict, dict]:
    """A row of the hedges and the columns of its prompts' true rewards, both without the series."""
    true, proxy = (values[:, 0] for values in expected_rewards(curve.family, [best.parameter], reporting.pools))
    if best.parameter in curve.grid:  # the same numbers, so that rounding makes no difference between equals
        true = curve.true[:, np.flatnonzero(curve.grid == best.parameter)[0]]
    mean = bootstrap_mean(true, *bootstrap)
    row: dict[str, object] = {
        **{name: getattr(best, name) for name in ("parameter", "kind", "n_extrema", "kl")},
        **interval_columns(("expected_true", "ci_low", "ci_high"), mean),
        "expected_proxy": float(proxy.mean()),
        "n_prompts": len(reporting.ids),
    }
    prompts: dict[str, object] = {"prompt_id": reporting.ids, "hedge": true}
    for rival, (place, i) in _rivals(curve, curves, best.kl).items():
        prompts[rival] = place.true[:, i]
        gap = bootstrap_mean(true - place.true[:, i], *bootstrap)
        numbers = (float(place.grid[i]), float(place.kls[i]), *astuple(gap))
        row[f"{rival}_method"] = place.family.method
        row |= {f"{rival}_{name}": value for name, value in zip(RIVAL_NUMBERS, numbers, strict=True)}
    return row, {**prompts, "spread": reporting.moments["spread_true"]}


def _rivals(curve: _Curve, curves: Sequence[_Curve], hedge_kl: float) -> dict[str, tuple[_Curve, int]]:
    """The grid points of RIVALS; among equal ones, those of the hedge's own procedure."""
    places = [curve, *(other for other in curves if other is not curve)]
    within = [(place, i) for place in places for i in np.flatnonzero(place.kls <= hedge_kl + 1e-12).tolist()]
    means = np.array([place.true[:, i].mean() for place, i in within])
    front = within[int(np.argmax(means >= means.max() - _FLAT * np.ptp(curve.true)))]
    best = int(np.argmax(curve.true.mean(axis=0)))
    return dict(zip(RIVALS, [(curve, 0), (curve, len(curve.grid) - 1), (curve, best), front], strict=True))


SHAPES = {  # true rewards as functions of u, one for each regime of the theorem
    "rises": lambda u: u,
    "falls": lambda u: 1 - u,
    "rises, then falls": lambda u: u - 0.8 * u**2,
    "falls, then rises": lambda u: (u - 0.7) ** 2,
}
THEORY_FAMILIES = (Family("bon"), Family("sbon", 16), Family("bop"), Family("tilt"))
THEORY_M = 1000


def regime_table() -> pl.DataFrame:
    """Compute the expected true reward of each procedure for the true rewards SHAPES, at 1000 quantiles.

    Returns
    -------
    DataFrame
        Columns REGIMES_SCHEMA, a row for each shape, procedure and parameter; `regime` is that of the whole curve.

    References
    ----------
    Khalaf et al. 2025, Inference-time reward hacking in large language models: the theorem on greedy methods.
    """
    u = (np.arange(THEORY_M) + 0.5) / THEORY_M
    return _theory_rows(u, {name: shape(u) for name, shape in SHAPES.items()})


def extrema_table() -> pl.DataFrame:
    """Find the regimes of many true rewards that change direction at most once.

    Returns
    -------
    DataFrame
        Columns shape, method, n, regime. The rewards rise or fall by a power of the distance to a turning point
        between 0 and 1, with another slope on its other side.
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
    """Rows of REGIMES_SCHEMA; the true rewards are the prompts of one pool."""
    pools = Pools([u] * len(shapes), list(shapes.values()))
    parts = []
    for family in THEORY_FAMILIES:
        curve = _curve(family, pools, parameter_grid(family, THEORY_M, 2 * N_GRID - 1))
        for name, values in zip(shapes, curve.true, strict=True):
            columns: dict[str, object] = {"shape": name, "method": family.method, "n": family.n}
            columns |= {"parameter": curve.grid, "kl": curve.kls, "expected_true": values}
            columns |= {"regime": regime(values, tolerance=_FLAT * float(np.ptp(shapes[name])))}
            parts.append(pl.DataFrame(columns, schema=REGIMES_SCHEMA))
    return pl.concat(parts)


def poisson_tilt_table() -> pl.DataFrame:
    """Compare best-of-Poisson with the tilt from μ = 0.01 to 1000: a row of `PoissonTiltGap` for each μ."""
    rows = [asdict(poisson_tilt_gap(mu)) for mu in np.geomspace(0.01, 1000, 201).tolist()]
    return pl.DataFrame(rows, schema=POISSON_TILT_SCHEMA)
