"""Methods against one another: fronts of win rate and reward, and differences at one KL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from infalign.errors import InputError
from infalign.mathematics.pareto_front import front_shares, on_front
from infalign.presentation.curves import without_reference
from infalign.presentation.panels import (
    Panel,
    draw_limit,
    draw_points,
    end_axis,
    format_axes,
    kl_edge,
    legend_marker,
    panel_axes,
    panel_rows,
    panel_title,
    say_empty,
    series_present,
    series_rows,
    share_legend,
    trained_policies,
)
from infalign.presentation.style import BLACK, GREY, SERIES_KEY, Series, print_style
from infalign.records.run_tables import RunTables


def draw_methods(tables: RunTables, *, panels: Sequence[Panel]) -> Figure:
    """Draw win rate against KL for every method, with the Pareto front of all policies.

    Policies that another one dominates (a higher win rate at no more KL) are faded. The front is the stair
    through the others. A thin line joins the policies of a series. Best-of-1 policies, which are the reference
    itself, are left out.

    Parameters
    ----------
    tables : RunTables
    panels : sequence of (str, str)
        Task and procedure of each panel.

    References
    ----------
    Amini et al., Variational best-of-N alignment (ICLR 2025), figure 2.
    """
    metrics, ideal = tables.main("metrics"), tables["ideal"]
    with print_style():
        figure = Figure(figsize=(9.0, 3.7 * -(-len(panels) // 2)), layout="constrained")
        handles: dict[str, Line2D] = {}
        for axis, (task, procedure) in zip(panel_axes(figure, len(panels)), panels, strict=True):
            trained = without_reference(trained_policies(metrics, task, procedure))
            handles |= _draw_methods(axis, trained, ideal.filter(procedure=procedure))
            axis.set_title(panel_title(task, procedure))
        share_legend(figure, handles)
        figure.suptitle("Every method: win rate against KL, and the Pareto front of all policies", fontsize=10.5)
    return figure


def _draw_methods(axis: Axes, trained: pl.DataFrame, ideal: pl.DataFrame) -> dict[str, Line2D]:
    edge = kl_edge(trained)
    best = trained.with_columns(front=pl.Series(on_front(trained["kl"].to_numpy(), trained["win_rate"].to_numpy())))
    handles = {"Pareto front of all policies": _draw_stair(axis, best.filter("front"), edge)}
    handles |= draw_limit(axis, ideal, edge)
    for series in series_present(best):
        rows, look = series_rows(best, series).sort("kl"), series.look
        axis.plot(rows["kl"], rows["win_rate"], color=look.color, linewidth=0.7, alpha=0.35, zorder=3)
        draw_points(axis, rows.filter(~pl.col("front")), look, alpha=0.35)
        draw_points(axis, rows.filter("front"), look)
        handles[series.label] = legend_marker(look)
    end_axis(axis, trained, edge)
    format_axes(axis)
    return handles


def _draw_stair(axis: Axes, front: pl.DataFrame, edge: float) -> Line2D:
    """Stair of what is reached at no more than each KL, from the reference's one half."""
    steps = front.sort("kl")
    kl, win_rate = [0.0, *steps["kl"], edge], [0.5, *steps["win_rate"]]
    return axis.step(kl, [*win_rate, win_rate[-1]], where="post", color=GREY, linewidth=1.1, alpha=0.8, zorder=2)[0]


def draw_front(tables: RunTables, *, task: str, methods: Sequence[str] | None = None, title: str) -> Figure:
    """Draw win rate and mean reward against KL, with best-of-n of the reference itself as the mark to reach.

    Policies that one of their own series dominates are faded. The legend gives each series' share of the
    pooled front of the series drawn, by win rate and by mean reward. Best-of-1 policies and those with fewer
    rollouts than others of their series are left out. The KL of best-of-n is taken as log n - (n - 1)/n nats.

    Parameters
    ----------
    tables : RunTables
    task : str
    methods : sequence of str, optional
        Names to draw. None: all.
    title : str

    Raises
    ------
    InputError
        The task has no policy of these methods.

    References
    ----------
    Amini et al., Variational best-of-N alignment (ICLR 2025), figures 2, 6 and 7.
    """
    metrics, best_of_n = tables.main("metrics"), tables.main("best_of_n").filter(task=task, scorer="judge")
    metrics = metrics if methods is None else metrics.filter(pl.col("method").is_in(methods))
    fewer = pl.col("n_rollouts") < pl.col("n_rollouts").max().over("task", *SERIES_KEY[:-1])
    metrics = metrics.filter(~fewer.fill_null(False)).with_columns(n_rollouts=pl.lit(None, pl.Int64))
    trained = without_reference(trained_policies(metrics, task, "none"))
    best_of_n = best_of_n.group_by("n").agg(pl.col("win_rate", "mean_reward").mean()).sort("n")
    best_of_n = best_of_n.with_columns(kl=pl.col("n").log() - (pl.col("n") - 1) / pl.col("n"))
    series = series_present(trained)
    members = np.array([series.index(Series(*key)) for key in trained.select(SERIES_KEY).rows()])
    with print_style():
        figure = Figure(figsize=(9.0, 3.7), layout="constrained")
        axes = figure.subplots(1, 2)
        shares = [
            _draw_fronts(axis, trained, best_of_n, value, members)
            for axis, value in zip(axes, ("win_rate", "mean_reward"), strict=True)
        ]
        format_axes(axes[0])
        axes[1].set(xlabel="KL divergence from the reference (nats)", ylabel="Mean reward")
        handles = {
            f"{item.label}: {by_rate:.0%}, {by_reward:.0%} of the fronts": legend_marker(item.look)
            for item, by_rate, by_reward in zip(series, *shares, strict=True)
        }
        handles["best-of-n of the reference"] = Line2D([], [], color=BLACK, marker=".", linewidth=1.1)
        share_legend(figure, handles)
        figure.suptitle(f"{title}: {task} (wins decided by judge)", fontsize=10.5)
    return figure


def _draw_fronts(
    axis: Axes, trained: pl.DataFrame, best_of_n: pl.DataFrame, value: str, members: np.ndarray
) -> np.ndarray:
    """Draw every series with its own front, and return the shares of the pooled one."""
    rows = trained if value == "win_rate" else _as_rewards(trained)
    gain = rows["win_rate"].to_numpy() - best_of_n[value][0] + 0.5
    shares = front_shares(rows["kl"].to_numpy(), gain, members, members.max() + 1)
    edge = kl_edge(rows)
    seen = best_of_n.filter(pl.col("kl") <= edge)
    axis.plot(seen["kl"], seen[value], color=BLACK, marker=".", linewidth=1.1, zorder=2)
    for series in series_present(rows):
        part, look = series_rows(rows.with_columns(gain=gain), series).sort("kl"), series.look
        best = pl.Series(on_front(part["kl"].to_numpy(), part["gain"].to_numpy()))
        draw_points(axis, part.filter(~best), look, alpha=0.35)
        draw_points(axis, part.filter(best), look)
    end_axis(axis, rows, edge)
    return shares


def _as_rewards(trained: pl.DataFrame) -> pl.DataFrame:
    """The same policies with their mean reward, which has no interval, in place of the win rate."""
    unknown = pl.lit(None, pl.Float64)
    return trained.with_columns(win_rate=pl.col("mean_reward"), ci_low=unknown, ci_high=unknown)


def draw_matched_kl(tables: RunTables, *, panels: Sequence[Panel], kl: float) -> Figure:
    """Draw each series' win rate less that of CTRL at one KL, with intervals, paired by prompt.

    Parameters
    ----------
    tables : RunTables
    panels : sequence of (str, str)
        Task and procedure of each panel.
    kl : float
        In nats, one of the table's.

    Raises
    ------
    InputError
        The table does not have this KL for a panel.
    """
    methods = tables["methods"]
    parts = [panel_rows(methods, *panel).filter(kl=kl) for panel in panels]
    for (task, procedure), part in zip(panels, parts, strict=True):
        if part.is_empty():
            raise InputError(
                f"methods: no row of task {task} with {procedure}, select reward, scorer judge and KL {kl:g}; "
                f"KLs are {', '.join(f'{value:g}' for value in methods['kl'].unique().sort())}"
            )
    heights = [0.24 * max(part.height for part in parts[row : row + 2]) for row in range(0, len(parts), 2)]
    with print_style():
        figure = Figure(figsize=(9.0, sum(heights) + 1.1 * len(heights) + 0.3), layout="constrained")
        axes = panel_axes(figure, len(panels), height_ratios=[height + 0.2 for height in heights])
        for axis, panel, part in zip(axes, panels, parts, strict=True):
            _draw_forest(axis, part)
            axis.set_title(panel_title(*panel))
        figure.suptitle(f"Win rate at KL {kl:g} less that of CTRL, paired by prompt", fontsize=10.5)
    return figure


def _draw_forest(axis: Axes, part: pl.DataFrame) -> None:
    control = part["control"][0]
    others = part.filter(pl.col("series") != control) if control else part
    others = others.sort("difference", descending=True, nulls_last=True, maintain_order=True)
    axis.axvline(0.0, color=BLACK, linewidth=0.8)
    for place, row in enumerate(others.iter_rows(named=True)):
        if row["difference"] is None:
            _say_missing(axis, place, row)
        else:
            _draw_difference(axis, place, row)
    axis.set_yticks(range(others.height), others["series"].to_list())
    axis.set_ylim(max(others.height, 1) - 0.4, -0.6)
    if control is None:
        say_empty(axis, "no CTRL series was trained for this goal")
    elif others.is_empty():
        say_empty(axis, f"{control} is the only series")
    axis.set_xlabel(f"Points above {control or 'CTRL'}, with interval")


def _draw_difference(axis: Axes, place: int, row: Mapping) -> None:
    look = Series(row["method"], row["transform"], row["calibrator"]).look
    ours, low, high = (
        np.nan if row[name] is None else 100 * row[name] for name in ("difference", "difference_low", "difference_high")
    )
    axis.errorbar(
        [ours], [place], xerr=[[ours - low], [high - ours]], fmt=look.marker, color=look.color, markersize=5.5,
        markerfacecolor=look.face, elinewidth=1.2,
    )  # fmt: skip


def _say_missing(axis: Axes, place: int, row: Mapping) -> None:
    """Say in a row of its own who has not reached the KL, next to the line of no difference."""
    reached = row["win_rate"] is not None
    reason = "CTRL does not reach it" if reached else "not reached"
    spans = "" if reached else f": KL {row['kl_lowest']:.2f}–{row['kl_highest']:.2f}"
    axis.text(
        0.02, place, reason + spans, transform=axis.get_yaxis_transform(), va="center", fontsize=7.5, color="#595959",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
    )  # fmt: skip
