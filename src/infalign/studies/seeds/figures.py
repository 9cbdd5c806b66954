"""The spread between seeds of training beside the bootstrap interval over prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infalign.mathematics.statistics import t_interval
from infalign.presentation.curves import Resampling, interval_columns, measured_at_kl
from infalign.presentation.pareto import series_of
from infalign.presentation.style import BLUE, GREY, SERIES_KEY, VERMILION, print_style, procedure_name
from infalign.records.run_tables import RunTables

MATCHED_KL = 0.5
SEEDS_SCHEMA = {
    **dict.fromkeys(("task", "procedure", "series", "less"), pl.String),
    "kl": pl.Float64,
    **dict.fromkeys(("seed", "n_seeds"), pl.Int64),
    **dict.fromkeys(("estimate", "ci_low", "ci_high", "seed_sd", "seed_low", "seed_high"), pl.Float64),
}
Key = tuple[str, str | None, str | None, int | None]


def seeds_table(
    metrics: pl.DataFrame,
    prompt_metrics: pl.DataFrame,
    procedures: Sequence[tuple[str, str]],
    *,
    kl: float = MATCHED_KL,
    resampling: Resampling,
) -> pl.DataFrame:
    """Measure each PPO series, and its lead over the raw reward, at one KL: for each seed and for all together.

    Parameters
    ----------
    metrics, prompt_metrics : tables of the run.
    procedures : task and text form of a procedure.
    kl : in nats.
    resampling : of prompts, which the seeds share.

    Returns
    -------
    Columns SEEDS_SCHEMA. A row with a seed is that seed's policies alone; one without (null) has the policies of
    all seeds, averaged at each strength, and the spread of the rows above it: `seed_sd`, their standard deviation, and
    `seed_low` to `seed_high`, the t interval of their mean. `less` is the series taken away, null for a win rate
    itself. Numbers are null where the policies are not on both sides of the KL.

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
            facts = {"task": task, "procedure": procedure, "series": series_of(name, name[3]).label, "kl": kl}
            facts |= {"less": series_of(other, None).label if other else None}
            rows += [facts | row for row in _rows(policies, by_prompt, kl, resampling)]
    return pl.DataFrame(rows, schema=SEEDS_SCHEMA)


def _seeded_series(policies: pl.DataFrame) -> Mapping[Key, pl.DataFrame]:
    """Policies of each series that has several seeds."""
    parts = policies.sort("policy").partition_by(SERIES_KEY, as_dict=True, maintain_order=True)
    return {key: part for key, part in parts.items() if part["seed"].n_unique() > 1}  # type: ignore[misc]


def _rows(
    sides: Sequence[pl.DataFrame], by_prompt: pl.DataFrame, kl: float, resampling: Resampling
) -> Iterator[dict]:
    """A row for each seed that all sides have, then one for all seeds."""
    seeds = sorted(set.intersection(*({*side["seed"]} for side in sides)))
    own = [
        measured_at_kl([side.filter(seed=seed) for side in sides], by_prompt, kl, resampling)
        for seed in seeds
    ]
    for seed, found in zip(seeds, own, strict=True):
        yield {"seed": seed, "n_seeds": 1, **interval_columns(("estimate", "ci_low", "ci_high"), found)}
    together = measured_at_kl(
        [side.filter(pl.col("seed").is_in(seeds)) for side in sides], by_prompt, kl, resampling
    )
    estimates = [found.estimate for found in own if found is not None]
    spread: dict[str, float | None] = {}
    if len(estimates) == len(seeds) and len(seeds) > 1:
        interval = t_interval(estimates, resampling.level)
        spread = {
            "seed_sd": float(np.std(estimates, ddof=1)),
            "seed_low": interval.low,
            "seed_high": interval.high,
        }
    yield {"n_seeds": len(seeds), **interval_columns(("estimate", "ci_low", "ci_high"), together), **spread}


def figure_seeds(seeds: pl.DataFrame) -> Figure:
    """Draw each series' lead over the raw reward: by seed, over all seeds, and both kinds of interval.

    Parameters
    ----------
    seeds : table of `seeds_table`; a panel for each task and procedure.
    """
    leads = seeds.drop_nulls("less")
    panels = leads.select("task", "procedure").unique(maintain_order=True).rows()
    with print_style():
        figure = Figure(figsize=(7.2, 1.1 + 2.2 * -(-len(panels) // 2)), layout="constrained")
        axes = figure.subplots(-(-len(panels) // 2), 2, squeeze=False).ravel()
        for axis, (task, procedure) in zip(axes, panels, strict=False):
            _draw_leads(axis, leads.filter(task=task, procedure=procedure))
            axis.set_title(f"{task}, {procedure_name(procedure)}")
            axis.set_xlabel(f"Win rate less {leads['less'][0]},\nat KL {leads['kl'][0]:g} (points)")
        for axis in axes[len(panels) :]:
            axis.remove()
        looks = ((GREY, "o", "one seed"), (BLUE, "s", "all seeds, bootstrap over prompts"))
        for color, marker, label in (*looks, (VERMILION, "_", "all seeds, t interval over seeds")):
            axes[0].plot([], [], color=color, marker=marker, label=label)
        figure.legend(loc="outside lower center", ncols=3)
        figure.suptitle("How much the seed of training changes", fontsize=10.5)
    return figure


def _draw_leads(axis: Axes, rows: pl.DataFrame) -> None:
    """One line a series: seeds above, the two intervals of all of them below."""
    names = list(rows["series"].unique(maintain_order=True))
    for place, name in enumerate(names):
        part = rows.filter(series=name)
        single = part.drop_nulls(["seed", "estimate"])
        heights = place + np.linspace(-0.34, -0.06, single.height)
        _bars(axis, heights, single, ("ci_low", "ci_high"), GREY)
        axis.plot(100 * single["estimate"], heights, color=GREY, marker="o", markersize=4, linestyle="none")
        together = part.filter(pl.col("seed").is_null()).drop_nulls("estimate")
        for (ends, color), height in zip(
            ((("ci_low", "ci_high"), BLUE), (("seed_low", "seed_high"), VERMILION)), (0.15, 0.27), strict=True
        ):
            _bars(axis, np.full(together.height, place + height), together, ends, color)
        axis.plot(
            100 * together["estimate"],
            [place + 0.15] * together.height,
            color=BLUE,
            marker="s",
            linestyle="none",
        )
    axis.axvline(0, color=GREY, linewidth=0.9, linestyle=":")
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)


def _bars(axis: Axes, heights: np.ndarray, rows: pl.DataFrame, ends: tuple[str, str], color: str) -> None:
    low, high = (100 * rows[name].fill_null(np.nan).to_numpy() for name in ends)
    axis.hlines(heights, low, high, color=color, linewidth=1.0)


def compared_procedures(tasks: Sequence[str], goals: Mapping[str, str]) -> list[tuple[str, str]]:
    """List the tasks without a procedure and with that of their goal.

    Examples
    --------
    >>> compared_procedures(["helpful"], {"helpful": "bon(4)"})
    [('helpful', 'none'), ('helpful', 'bon(4)')]
    """
    return list(dict.fromkeys((task, text) for task in tasks for text in ("none", goals[task])))


def draw_seeds(tables: RunTables) -> Figure:
    return figure_seeds(tables["seeds"])
