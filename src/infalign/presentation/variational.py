"""What rollouts bring and cost, a figure of variational best-of-N."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from infalign.errors import InputError
from infalign.presentation.style import Series, print_style


# Amini et al. 2025, table 1: M to the share of 5,000 prompts.
def figure_cost(
    metrics: pl.DataFrame,
    policies: Sequence[str],
    task: str,
    seconds_per_rollout: float,
    *,
    scorer: str = "judge",
) -> Figure:
    """Draw mean reward and win rate against the rollouts M behind F, and what M rollouts of all prompts took.

    Parameters
    ----------
    metrics : the run's metrics table.
    policies : names of those that differ in the number of rollouts and the seed; a line per method and n.
    task : its name.
    seconds_per_rollout : seconds of sampling and scoring one rollout of every training prompt.
    scorer : who decides the winner.

    Raises
    ------
    InputError
        The table has none of the policies.

    References
    ----------
    Amini et al., Variational best-of-N alignment (ICLR 2025), figure 4.
    """
    rows = metrics.filter(
        pl.col("policy").is_in(policies), task=task, procedure="none", select="reward", scorer=scorer
    )
    if rows.is_empty():
        raise InputError(
            f"metrics: none of the policies {', '.join(policies)} of task {task}, scorer {scorer}"
        )
    with print_style():
        figure = Figure(figsize=(8.2, 3.6), layout="constrained")
        axes = figure.subplots(1, 2)
        for axis, value, name in zip(
            axes, ("mean_reward", "win_rate"), ("Mean reward", "Win rate (%)"), strict=True
        ):
            for (method, n), part in rows.group_by("method", "strength", maintain_order=True):
                _draw_means(axis, part, value, f"{Series(str(method), None).label}, n = {n:g}")
            _scale_by_rollouts(axis, sorted(rows["n_rollouts"].unique()), seconds_per_rollout)
            axis.set_ylabel(name)
        axes[1].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=""))
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        figure.suptitle(f"What rollouts bring and cost: {task}", fontsize=10.5)
    return figure


def _draw_means(axis: Axes, part: pl.DataFrame, value: str, label: str) -> None:
    """Mean and standard deviation over seeds at each M."""
    means = part.group_by("n_rollouts").agg(
        mean=pl.col(value).mean(), deviation=pl.col(value).std(), seeds=pl.len()
    )
    means = means.sort("n_rollouts")
    look = Series(part["method"][0], None).look
    axis.errorbar(
        means["n_rollouts"], means["mean"], yerr=means["deviation"].fill_null(float("nan")), color=look.color,
        marker=look.marker, markerfacecolor=look.color if look.filled else "white", markersize=5.5, elinewidth=0.9,
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
