"""What rollouts bring and cost, a figure of variational best-of-N."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from infalign.errors import InputError
from infalign.presentation.panels import panel_rows
from infalign.presentation.style import Series, print_style
from infalign.records.run_tables import RunTables


def draw_rollout_cost(tables: RunTables, *, task: str, names: Sequence[str]) -> Figure:
    """Draw mean reward and win rate against the rollouts M behind F, and what M rollouts of all prompts took.

    Parameters
    ----------
    tables : RunTables
    task : str
    names : sequence of str
        Policies that differ in the number of rollouts and the seed; a line for each method and n.

    Raises
    ------
    InputError
        The run has none of the policies.

    References
    ----------
    Amini et al., Variational best-of-N alignment (ICLR 2025), figure 4.
    """
    rows = panel_rows(tables.main("metrics").filter(pl.col("policy").is_in(names)), task, "none")
    if rows.is_empty():
        raise InputError(f"metrics: none of the policies {', '.join(names)} of task {task}")
    seconds = tables.rollout_seconds(task)
    with print_style():
        figure = Figure(figsize=(8.2, 3.6), layout="constrained")
        axes = figure.subplots(1, 2)
        labels = {"mean_reward": "Mean reward", "win_rate": "Win rate (%)"}
        for axis, (value, label) in zip(axes, labels.items(), strict=True):
            for (method, n), part in rows.group_by("method", "strength", maintain_order=True):
                _draw_means(axis, part, value, f"{Series(str(method), None).label}, n = {n:g}")
            _scale_by_rollouts(axis, sorted(rows["n_rollouts"].unique()), seconds)
            axis.set_ylabel(label)
        axes[1].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=""))
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        figure.suptitle(f"What rollouts bring and cost: {task}", fontsize=10.5)
    return figure


def _draw_means(axis: Axes, part: pl.DataFrame, value: str, label: str) -> None:
    """Mean and standard deviation over seeds at each M."""
    means = part.group_by("n_rollouts").agg(mean=pl.col(value).mean(), deviation=pl.col(value).std(), seeds=pl.len())
    means = means.sort("n_rollouts")
    look = Series(part["method"][0], None).look
    axis.errorbar(
        means["n_rollouts"], means["mean"], yerr=means["deviation"].fill_null(float("nan")), color=look.color,
        marker=look.marker, markerfacecolor=look.face, markersize=5.5, elinewidth=0.9,
        capsize=2, label=f"{label} ({means['seeds'].to_numpy().max()} seeds)",
    )  # fmt: skip


def _scale_by_rollouts(axis: Axes, sizes: Sequence[int], seconds: float) -> None:
    """Axes of M, and above it of seconds."""
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, [str(size) for size in sizes], minor=False)
    axis.set_xlabel("Rollouts M behind F")
    above = axis.secondary_xaxis("top", functions=(_times(seconds), _times(1 / seconds)))
    above.set_xticks([size * seconds for size in sizes], [f"{size * seconds:.3g}" for size in sizes])
    for scaled in (axis, above):
        scaled.xaxis.set_minor_locator(NullLocator())
    above.set_xlabel("Sampling and scoring them (s)")


def _times(factor: float) -> Callable[[Any], Any]:
    return lambda values: values * factor
