"""The spread between seeds of training beside the bootstrap interval over prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from infalign.mathematics.statistics import Bootstrap, interval_columns, t_interval
from infalign.presentation.curves import measured_at_kl
from infalign.presentation.pareto import series_of
from infalign.presentation.style import SERIES_KEY

ESTIMATE = ("estimate", "ci_low", "ci_high")
SEEDS_SCHEMA = {
    **dict.fromkeys(("task", "procedure", "series", "less"), pl.String),
    "kl": pl.Float64,
    **dict.fromkeys(("seed", "n_seeds"), pl.Int64),
    **dict.fromkeys((*ESTIMATE, "seed_sd", "seed_low", "seed_high"), pl.Float64),
}
SeriesKey = tuple[str, str | None, str | None, int | None]


def seeds_table(
    metrics: pl.DataFrame,
    prompt_metrics: pl.DataFrame,
    procedures: Sequence[tuple[str, str]],
    *,
    kl: float,
    bootstrap: Bootstrap,
) -> pl.DataFrame:
    """Measure each PPO series, and its lead over the raw reward, at one KL: for each seed and for all together.

    Parameters
    ----------
    metrics, prompt_metrics : DataFrame
        Tables of the run, main condition.
    procedures : sequence of (str, str)
        Task and text form of a procedure.
    kl : float
        Nats.

    Returns
    -------
    DataFrame
        Columns SEEDS_SCHEMA. A row with a seed measures the policies of that seed. The row below, without a seed,
        measures the policies of all seeds, averaged at each strength. It also has the standard deviation of the
        seeds' estimates, `seed_sd`, and the t interval of their mean, `seed_low` to `seed_high`. `less` is the
        series taken away; null: the row is a win rate. Numbers are null where a series has no policies on both
        sides of the KL.

    References
    ----------
    Agarwal et al. 2021, Deep reinforcement learning at the edge of the statistical precipice (few seeds).
    """
    rows: list[dict] = []
    for task, procedure in procedures:
        key = {"task": task, "procedure": procedure, "select": "reward", "scorer": "judge"}
        by_prompt = prompt_metrics.filter(**key)
        series = _seeded_series(metrics.filter(pl.col("method") == "ppo", **key))
        raw = next((name for name in series if name[1] == "raw"), None)
        pairs = [(name, other) for name in series for other in (None, raw) if other != name]
        for name, other in dict.fromkeys(pairs):
            policies = [series[name], *([series[other]] if other else [])]
            case = {"task": task, "procedure": procedure, "series": series_of(name, name[3]).label, "kl": kl}
            case |= {"less": series_of(other, None).label if other else None}
            rows += [case | row for row in _rows(policies, by_prompt, kl, bootstrap)]
    return pl.DataFrame(rows, schema=SEEDS_SCHEMA)


def _seeded_series(policies: pl.DataFrame) -> Mapping[SeriesKey, pl.DataFrame]:
    """Policies of each series that has several seeds."""
    parts = policies.sort("policy").partition_by(SERIES_KEY, as_dict=True, maintain_order=True)
    return {key: part for key, part in parts.items() if part["seed"].n_unique() > 1}  # type: ignore[misc]


def _rows(sides: Sequence[pl.DataFrame], by_prompt: pl.DataFrame, kl: float, bootstrap: Bootstrap) -> Iterator[dict]:
    """A row for each seed that all sides have, then one for all seeds."""
    seeds = sorted(set.intersection(*({*side["seed"]} for side in sides)))
    estimates = []
    for seed in seeds:
        of_seed = [side.filter(seed=seed) for side in sides]
        interval = measured_at_kl(of_seed, by_prompt, kl, bootstrap)
        estimates += [] if interval is None else [interval.estimate]
        yield {"seed": seed, "n_seeds": 1, **interval_columns(ESTIMATE, interval)}
    of_all = [side.filter(pl.col("seed").is_in(seeds)) for side in sides]
    together = measured_at_kl(of_all, by_prompt, kl, bootstrap)
    spread: dict[str, float | None] = {}
    if len(estimates) == len(seeds) and len(seeds) > 1:
        mean = t_interval(estimates, bootstrap.level)
        deviation = float(np.std(estimates, ddof=1))
        spread = {"seed_sd": deviation, "seed_low": mean.low, "seed_high": mean.high}
    yield {"n_seeds": len(seeds), **interval_columns(ESTIMATE, together), **spread}
