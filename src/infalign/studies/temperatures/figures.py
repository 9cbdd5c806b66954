"""What policies reach at each sampling temperature, in and out of distribution, and what they write there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from infalign.presentation.curves import Resampling, interval_columns, measured_at_kl, most_seeds, trained_n
from infalign.presentation.pareto import series_of
from infalign.presentation.style import (
    BLACK,
    GREY,
    SERIES_KEY,
    Look,
    Series,
    print_style,
    procedure_name,
    series_order,
)
from infalign.records.run_tables import RunTables
from infalign.records.sweep import conditions

SPLIT_LINES: dict[str, Literal["-", "--"]] = {"evaluation": "-", "evaluation_out": "--"}
SPLIT_NAMES = {"evaluation": "in distribution", "evaluation_out": "out of distribution"}
STRENGTH_SIGNS = {"kl": "KL", "beta": "β =", "n": "n ="}
QUANTITIES = {"win_rate": "Win rate (%)", "mean_judge": "Mean judge score"}
ORDER = ("label", "split", "temperature")
LEADS_SCHEMA = {
    **dict.fromkeys(("task", "split", "procedure"), pl.String),
    "temperature": pl.Float64,
    **dict.fromkeys(("series", *SERIES_KEY[:3], "less"), pl.String),
    "kl": pl.Float64,
    **dict.fromkeys(("lead", "lead_low", "lead_high"), pl.Float64),
}
EXAMPLES_SCHEMA = {
    "task": pl.String,
    "split": pl.String,
    "temperature": pl.Float64,
    "prompt_id": pl.String,
    "prompt": pl.String,
    "source": pl.String,
    "response": pl.String,
    "reward": pl.Float64,
    "judge": pl.Float64,
}


def policy_label(row: dict) -> str:
    """Name a policy by its series and strength.

    Parameters
    ----------
    row : columns of `Policy.row`.

    Examples
    --------
    >>> row = {"method": "vbon", "transform": None, "calibrator": None, "n_rollouts": 100}
    >>> policy_label(row | {"strength_kind": "n", "strength": 8.0})
    'vBoN, n = 8'
    """
    name = Series(row["method"], row["transform"], row["calibrator"]).label
    return f"{name}, {STRENGTH_SIGNS[row['strength_kind']]} {row['strength']:g}"


def figure_temperatures(metrics: pl.DataFrame, best_of_n: pl.DataFrame, tasks: Sequence[str]) -> Figure:
    """Draw win rate and mean judge score against the sampling temperature, without a procedure.

    Solid lines are prompts in distribution, dashed ones out of distribution; one colour a series, mean and
    standard deviation over seeds. Drawn are the policies that were sampled at several temperatures, of these
    the ones trained from the most seeds, the reference, and
    best-of-N of the reference's own responses, N being that of the best-of-n policies.

    Parameters
    ----------
    metrics : the run's metrics table, all conditions.
    best_of_n : the run's table of best-of-N.
    tasks : a row of two panels each.

    References
    ----------
    Amini et al., Variational best-of-N alignment (ICLR 2025), figure 5.
    """
    with print_style():
        figure = Figure(figsize=(7.6, 3.0 * len(tasks) + 0.9), layout="constrained")
        axes = figure.subplots(len(tasks), 2, squeeze=False)
        handles: dict[str, Line2D] = {}
        for row, task in zip(axes, tasks, strict=True):
            curves = temperature_curves(metrics.filter(task=task), best_of_n.filter(task=task))
            for axis, quantity in zip(row, QUANTITIES, strict=True):
                handles |= _draw_curves(axis, curves, quantity)
                axis.set(title=task, xlabel="Sampling temperature", ylabel=QUANTITIES[quantity])
                axis.set_xticks(curves["temperature"].unique().sort())
            row[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=""))
        for split, name in SPLIT_NAMES.items():
            handles[name] = Line2D([], [], color=BLACK, linestyle=SPLIT_LINES[split])
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
        figure.suptitle("Win rate and judge score at each sampling temperature", fontsize=10.5)
    return figure


def temperature_curves(metrics: pl.DataFrame, best_of_n: pl.DataFrame) -> pl.DataFrame:
    """Arrange one task's measurements by what is drawn, split and temperature.

    Parameters
    ----------
    metrics, best_of_n : the task's rows.

    Returns
    -------
    label, the columns of the series (null for the reference and its best-of-N), split, temperature, and mean
    and standard deviation over seeds (suffix _sd; null for one seed) of win_rate and mean_judge.
    """
    several = pl.col("temperature").n_unique().over("policy") > 1
    rows = most_seeds(metrics.filter(several, procedure="none", select="reward", scorer="judge"))
    labels = rows.select(pl.struct(pl.all()).map_elements(policy_label, return_dtype=pl.String)).to_series()
    trained = (
        rows.with_columns(labels.alias("label"))
        .group_by(*SERIES_KEY, *ORDER)
        .agg(
            pl.col(*QUANTITIES).mean(),
            *(pl.col(name).std().alias(f"{name}_sd") for name in QUANTITIES),
        )
    )
    keys = trained.select(SERIES_KEY).rows()
    places = {
        key: place for place, key in enumerate(sorted(set(keys), key=lambda key: series_order(Series(*key))))
    }
    trained = trained.with_columns(place=pl.Series([places[key] for key in keys], dtype=pl.Int64))
    trained = trained.sort("place", *ORDER).drop("place")
    n = trained_n(rows)
    own = best_of_n.filter(pl.col("n").is_in([1, n or 1]), scorer="judge").with_columns(
        label=pl.when(n=1).then(pl.lit("reference")).otherwise(pl.format("best-of-{} of the reference", "n"))
    )
    means = own.group_by(*ORDER).agg(pl.col(*QUANTITIES).mean())
    return pl.concat([trained, means.sort(*ORDER)], how="diagonal")


def _draw_curves(axis: Axes, curves: pl.DataFrame, quantity: str) -> dict[str, Line2D]:
    handles = {}
    for (label, split), part in curves.group_by("label", "split", maintain_order=True):
        row = part.row(0, named=True)
        look = _look(row)
        drawn = axis.errorbar(
            part["temperature"], part[quantity], yerr=part[f"{quantity}_sd"].to_numpy(), color=look.color,
            marker=look.marker, markerfacecolor=look.color if look.filled else "white", markersize=5,
            linestyle=SPLIT_LINES[str(split)], linewidth=1.3, elinewidth=0.9, capsize=2,
        )  # fmt: skip
        if split == "evaluation" or str(label) not in handles:
            handles[str(label)] = drawn.lines[0]
    return handles


def _look(row: dict) -> Look:
    if row["method"] is None:
        return Look(GREY if row["label"] == "reference" else BLACK, "", "-", True)
    return Series(*(row[name] for name in SERIES_KEY[:3])).look


def temperature_leads(
    metrics: pl.DataFrame,
    prompt_metrics: pl.DataFrame,
    procedures: Sequence[tuple[str, str]],
    *,
    resampling: Resampling,
) -> pl.DataFrame:
    """Measure the lead of PPO series over the raw reward, at one KL, under each condition.

    Compared are the series that are sampled at several temperatures. Win rates and KL are those under the condition:
    policy and reference are both sampled at its temperature. The KL of a task is the middle of those that all its
    series have policies on both sides of, at every temperature.

    Parameters
    ----------
    metrics, prompt_metrics : tables of the run, all conditions.
    procedures : task and text form of a procedure.
    resampling : of prompts, the same ones for both sides.

    Returns
    -------
    Columns LEADS_SCHEMA; `kl` and the lead are null where there is no such KL.
    """
    several = pl.col("temperature").n_unique().over("policy") > 1
    rows: list[dict] = []
    for task, procedure in procedures:
        key = {"task": task, "procedure": procedure, "select": "reward", "scorer": "judge"}
        own = metrics.filter(several, pl.col("method") == "ppo", **key)
        kl = common_kl(own)
        for (split, temperature), part in own.group_by("split", "temperature", maintain_order=True):
            condition = {"split": split, "temperature": temperature}
            by_prompt = prompt_metrics.filter(**key, **condition)
            facts = {"task": task, "procedure": procedure, **condition, "kl": kl}
            rows += [facts | row for row in _leads(part, by_prompt, kl, resampling)]
    return pl.DataFrame(rows, schema=LEADS_SCHEMA).sort("task", "procedure", "split", "temperature")


def common_kl(policies: pl.DataFrame) -> float | None:
    """Middle of the KLs that every series has policies on both sides of, under each condition; None without one.

    Parameters
    ----------
    policies : columns of the series, split, temperature and kl (nats).

    Examples
    --------
    >>> series = {"method": "ppo", "calibrator": None, "n_rollouts": None, "split": "evaluation"}
    >>> rows = [("raw", 1.0, 0.2), ("raw", 1.0, 0.8), ("raw", 0.5, 0.4), ("raw", 0.5, 1.5)]
    >>> table = pl.DataFrame([series | {"transform": a, "temperature": t, "kl": k} for a, t, k in rows])
    >>> round(common_kl(table), 12)
    0.6
    """
    ranges = policies.group_by(*SERIES_KEY, "split", "temperature").agg(
        low=pl.col("kl").min(), high=pl.col("kl").max()
    )
    if ranges.is_empty():
        return None
    low, high = ranges["low"].to_numpy().max(), ranges["high"].to_numpy().min()
    return float(low + high) / 2 if low < high else None


def _leads(
    policies: pl.DataFrame, by_prompt: pl.DataFrame, kl: float | None, resampling: Resampling
) -> list[dict]:
    """A row for each series but the raw one, where that is there."""
    series = policies.sort("policy").partition_by(SERIES_KEY, as_dict=True, maintain_order=True)
    raw = next((key for key in series if key[1] == "raw"), None)
    if raw is None:
        return []
    rows = []
    for key in series:
        if key != raw:
            sides = [series[key], series[raw]]
            found = None if kl is None else measured_at_kl(sides, by_prompt, kl, resampling)
            facts = {
                "series": series_of(key, key[3]).label,
                **dict(zip(SERIES_KEY[:3], key[:3], strict=True)),
            }
            facts |= {"less": series_of(raw, None).label}
            rows.append(facts | interval_columns(("lead", "lead_low", "lead_high"), found))
    return rows


def figure_temperature_leads(leads: pl.DataFrame) -> Figure:
    """Draw every series' lead over the raw reward against the sampling temperature.

    Parameters
    ----------
    leads : table of `temperature_leads`; a row of panels a task, a panel a procedure.
    """
    panels = leads.select("task", "procedure").unique(maintain_order=True).rows()
    n_rows = -(-len(panels) // 2)
    with print_style():
        figure = Figure(figsize=(7.2, 0.9 + 2.5 * n_rows), layout="constrained")
        axes = figure.subplots(n_rows, 2, squeeze=False).ravel()
        handles: dict[str, Line2D] = {}
        for axis, (task, procedure) in zip(axes, panels, strict=False):
            part = leads.filter(task=task, procedure=procedure).drop_nulls("lead")
            handles |= _draw_leads(axis, part)
            axis.axhline(0, color=GREY, linewidth=0.9, linestyle=":")
            axis.set(title=f"{task}, {procedure_name(procedure)}", xlabel="Sampling temperature")
            at = f"at KL {part['kl'][0]:.2f} (points)" if len(part) else "no KL that all reach"
            axis.set_ylabel(f"Win rate less {leads['less'][0]},\n{at}")
            axis.set_xticks(leads["temperature"].unique().sort())
        for axis in axes[len(panels) :]:
            axis.remove()
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
        figure.suptitle("What the temperature at evaluation changes", fontsize=10.5)
    return figure


def _draw_leads(axis: Axes, leads: pl.DataFrame) -> dict[str, Line2D]:
    handles: dict[str, Line2D] = {}
    for (label, split), part in leads.group_by("series", "split", maintain_order=True):
        look = _look(part.row(0, named=True))
        lead, low, high = (100 * part[name].to_numpy() for name in ("lead", "lead_low", "lead_high"))
        drawn = axis.errorbar(
            part["temperature"], lead, yerr=(lead - low, high - lead), color=look.color, marker=look.marker,
            markerfacecolor=look.color if look.filled else "white", markersize=5, linestyle=SPLIT_LINES[str(split)],
            linewidth=1.3, elinewidth=0.9, capsize=2,
        )  # fmt: skip
        handles.setdefault(str(label), drawn.lines[0])
    return handles


def examples(
    task: str,
    condition: dict,
    reference: pl.DataFrame,
    policies: Sequence[tuple[str, pl.DataFrame]],
    *,
    n: int | None,
    n_prompts: int,
) -> list[dict]:
    """First responses of the reference, its best-of-n and each policy to the first prompts of a split.

    Parameters
    ----------
    task : name of the task.
    condition : split and temperature of the tables.
    reference : scored rollouts of the reference, with `prompt` (null where it is not to be shown).
    policies : label and scored samples of each policy.
    n : of the best-of-n, by the reward, among the first n rollouts; None: left out.
    n_prompts : how many, in the order of their ids.

    Returns
    -------
    Rows of a table with the columns EXAMPLES_SCHEMA.

    References
    ----------
    Amini et al., Variational best-of-N alignment (ICLR 2025), tables 2 and 4 to 7.
    """
    prompts = reference.select("prompt_id", "prompt").unique().sort("prompt_id").head(n_prompts)
    rows = []
    for prompt_id, prompt in prompts.rows():
        own = reference.filter(prompt_id=prompt_id).sort("sample_id")
        shown = [("reference", own)]
        shown += (
            [(f"best-of-{n}", own.head(n).sort("reward", descending=True, maintain_order=True))] if n else []
        )
        shown += [(label, scores.filter(prompt_id=prompt_id).sort("sample_id")) for label, scores in policies]
        rows += [
            {
                **condition,
                **{"task": task, "prompt_id": prompt_id, "prompt": prompt, "source": source},
                **responses.select("response", "reward", "judge").row(0, named=True),
            }
            for source, responses in shown
        ]
    return rows


def draw_temperatures(tables: RunTables) -> Figure:
    tasks = [name for name, task in tables.config.tasks.items() if len(conditions(task)) > 1]
    return figure_temperatures(tables["metrics"], tables["best_of_n"], tasks)


def draw_temperature_leads(tables: RunTables) -> Figure:
    return figure_temperature_leads(tables["temperature_leads"])
