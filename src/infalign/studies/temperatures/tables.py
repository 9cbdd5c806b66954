"""What policies reach at each sampling temperature, in and out of distribution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from infalign.mathematics.statistics import Bootstrap, interval_columns
from infalign.presentation.curves import measured_at_kl, most_seeds, trained_n
from infalign.presentation.examples import policy_label
from infalign.presentation.pareto import series_of
from infalign.presentation.style import SERIES_KEY, Series, series_order

SEVERAL = pl.col("temperature").n_unique().over("policy") > 1  # temperatures of a policy
QUANTITIES = ("win_rate", "mean_judge")
ORDER = ("label", "split", "temperature")
LEAD = ("lead", "lead_low", "lead_high")
LEADS_SCHEMA = {
    **dict.fromkeys(("task", "split", "procedure"), pl.String),
    "temperature": pl.Float64,
    **dict.fromkeys(("series", *SERIES_KEY[:3], "less"), pl.String),
    **dict.fromkeys(("kl", *LEAD), pl.Float64),
}


def temperature_curves(metrics: pl.DataFrame, best_of_n: pl.DataFrame) -> pl.DataFrame:
    """Arrange the measurements of one task, its rows of the tables, by what is drawn, split and temperature.

    Returns
    -------
    DataFrame
        label, the columns of the series (null for the reference and its best-of-N), split, temperature, and mean
        and standard deviation over seeds (suffix _sd; null for one seed) of win_rate and mean_judge.
    """
    rows = most_seeds(metrics.filter(SEVERAL, procedure="none", select="reward", scorer="judge"))
    labels = rows.select(pl.struct(pl.all()).map_elements(policy_label, return_dtype=pl.String)).to_series()
    deviations = [pl.col(name).std().alias(f"{name}_sd") for name in QUANTITIES]
    groups = rows.with_columns(labels.alias("label")).group_by(*SERIES_KEY, *ORDER)
    trained = groups.agg(pl.col(*QUANTITIES).mean(), *deviations)
    keys = trained.select(SERIES_KEY).rows()
    ordered = sorted(set(keys), key=lambda key: series_order(Series(*key)))
    places = pl.Series("place", [ordered.index(key) for key in keys], dtype=pl.Int64)
    trained = trained.with_columns(places).sort("place", *ORDER).drop("place")
    shown = best_of_n.filter(pl.col("n").is_in([1, trained_n(rows) or 1]), scorer="judge").with_columns(
        label=pl.when(n=1).then(pl.lit("reference")).otherwise(pl.format("best-of-{} of the reference", "n"))
    )
    means = shown.group_by(*ORDER).agg(pl.col(*QUANTITIES).mean())
    return pl.concat([trained, means.sort(*ORDER)], how="diagonal")


def temperature_leads(
    metrics: pl.DataFrame,
    prompt_metrics: pl.DataFrame,
    procedures: Sequence[tuple[str, str]],
    *,
    bootstrap: Bootstrap,
) -> pl.DataFrame:
    """Measure the lead of PPO series over the raw reward, at one KL, under each condition.

    The series that are sampled at several temperatures are compared. Win rates and KL are those under the condition:
    policy and reference are both sampled at its temperature. The KL of a task is `common_kl`.

    Parameters
    ----------
    metrics, prompt_metrics : DataFrame
        Tables of the run, all conditions.
    procedures : sequence of (str, str)
        Task and text form of a procedure.

    Returns
    -------
    DataFrame
        Columns LEADS_SCHEMA; `kl` and the lead are null where there is no such KL.
    """
    rows: list[dict] = []
    for task, procedure in procedures:
        key = {"task": task, "procedure": procedure, "select": "reward", "scorer": "judge"}
        compared = metrics.filter(SEVERAL, pl.col("method") == "ppo", **key)
        kl = common_kl(compared)
        for (split, temperature), part in compared.group_by("split", "temperature", maintain_order=True):
            condition = {"split": split, "temperature": temperature}
            by_prompt = prompt_metrics.filter(**key, **condition)
            case = {"task": task, "procedure": procedure, **condition, "kl": kl}
            rows += [case | row for row in _leads(part, by_prompt, kl, bootstrap)]
    return pl.DataFrame(rows, schema=LEADS_SCHEMA).sort("task", "procedure", "split", "temperature")


def common_kl(policies: pl.DataFrame) -> float | None:
    """Middle of the KLs that every series has policies on both sides of, under each condition; None without one.

    `policies` has the columns of the series, split, temperature and kl (nats).

    Examples
    --------
    >>> series = {"method": "ppo", "calibrator": None, "n_rollouts": None, "split": "evaluation"}
    >>> rows = [("raw", 1.0, 0.2), ("raw", 1.0, 0.8), ("raw", 0.5, 0.4), ("raw", 0.5, 1.5)]
    >>> table = pl.DataFrame([series | {"transform": a, "temperature": t, "kl": k} for a, t, k in rows])
    >>> round(common_kl(table), 12)
    0.6
    """
    groups = policies.group_by(*SERIES_KEY, "split", "temperature")
    ranges = groups.agg(low=pl.col("kl").min(), high=pl.col("kl").max())
    if ranges.is_empty():
        return None
    low, high = ranges["low"].to_numpy().max(), ranges["high"].to_numpy().min()
    return float(low + high) / 2 if low < high else None


def _leads(policies: pl.DataFrame, by_prompt: pl.DataFrame, kl: float | None, bootstrap: Bootstrap) -> Iterator[dict]:
    """A row for each series but the raw one, where that is there."""
    series = policies.sort("policy").partition_by(SERIES_KEY, as_dict=True, maintain_order=True)
    raw = next((key for key in series if key[1] == "raw"), None)
    for key in series:
        if raw is None or key == raw:
            continue
        sides = [series[key], series[raw]]
        interval = None if kl is None else measured_at_kl(sides, by_prompt, kl, bootstrap)
        names = {"series": series_of(key, key[3]).label, "less": series_of(raw, None).label}
        names |= dict(zip(SERIES_KEY[:3], key[:3], strict=True))
        yield names | interval_columns(LEAD, interval)
