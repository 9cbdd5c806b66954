"""Win rate against KL: limit, offline prediction and trained policies together."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from infalign.errors import InputError
from infalign.presentation.panels import (
    NARROWEST,
    Panel,
    draw_curve,
    draw_limit,
    draw_points,
    end_axis,
    format_axes,
    kl_edge,
    panel_axes,
    panel_rows,
    panel_title,
    series_present,
    series_rows,
    share_legend,
    smooth_curve,
    trained_policies,
)
from infalign.presentation.style import (
    GREY,
    Look,
    print_style,
    procedure_name,
    transform_look,
    transform_order,
)
from infalign.records.run_tables import RunTables

TRANSFORM_PANELS = ("none", "bon(2)", "bon(4)", "won(2)", "won(4)")


def draw_transforms(tables: RunTables) -> Figure:
    """Draw the ideal frontiers: win rate against KL for each procedure and transform.

    Parameters
    ----------
    tables : RunTables
        Of table `ideal` it draws the procedures none, bon(2), bon(4), won(2) and won(4).

    Raises
    ------
    InputError
        The table has none of these procedures.

    References
    ----------
    Balashankar et al., InfAlign (arXiv:2412.19792v1), section 4.3, figure 1.
    """
    ideal = tables["ideal"]
    present = set(ideal["procedure"])
    if present.isdisjoint(TRANSFORM_PANELS):
        raise InputError(
            f"ideal table: none of the procedures {', '.join(TRANSFORM_PANELS)}; it has "
            f"{', '.join(sorted(present))}; evaluate N = 2 or 4"
        )
    with print_style():
        figure = Figure(figsize=(7.6, 5.0), layout="constrained")
        axes = figure.subplots(2, 3).flatten()
        places = dict(zip(TRANSFORM_PANELS, (axes[0], axes[1], axes[2], axes[4], axes[5]), strict=True))
        handles: dict[str, Line2D] = {}
        for procedure, axis in places.items():
            if procedure not in present:
                axis.axis("off")
                continue
            handles |= _draw_frontiers(axis, ideal.filter(procedure=procedure))
            axis.set_title(procedure_name(procedure).capitalize())
            format_axes(axis)
            axis.set_xlabel("KL divergence (nats)")
        axes[3].axis("off")
        axes[3].legend(handles.values(), handles.keys(), loc="center", title="Transform of the calibrated reward")
        figure.suptitle("Ideal frontier of each transform: win rate against the reference policy", fontsize=10.5)
    return figure


def _draw_frontiers(axis: Axes, ideal: pl.DataFrame) -> dict[str, Line2D]:
    handles = {}
    for transform in sorted(ideal["transform"].unique(), key=transform_order):
        color, _, line = transform_look(transform)
        kl, win_rate = smooth_curve(ideal.filter(transform=transform))
        optimal = transform.startswith("optimal")
        label = "optimal for the procedure" if optimal else transform
        handles[label] = axis.plot(
            kl, win_rate, color=color, linestyle=line, linewidth=1.9 if optimal else 1.3, zorder=4 if optimal else 3
        )[0]  # fmt: skip
    axis.margins(x=0)
    axis.set_ylim(bottom=0.5)
    return handles


def draw_win_rates(tables: RunTables, *, panels: Sequence[Panel], select: str, title: str) -> Figure:
    """Draw `figure_win_rates` from a run's tables, with the winner decided by the judge."""
    metrics, offline, ideal = tables.main("metrics"), tables["offline"], tables["ideal"]
    return figure_win_rates(metrics, offline, ideal, panels, select=select, title=title)


def figure_win_rates(
    metrics: pl.DataFrame,
    offline: pl.DataFrame,
    ideal: pl.DataFrame,
    panels: Sequence[Panel],
    *,
    select: str = "reward",
    scorer: str = "judge",
    title: str,
) -> Figure:
    """Draw win rate against KL: the limit, the offline frontier and the trained policies.

    Each panel shows, for one task and procedure: the limit (dotted: optimal transform of an exact reward in
    the continuous model), the offline frontier of each reward (line: the exact tilt of the scored rollouts)
    and the trained policies (markers with 95 % intervals in both directions).

    Parameters
    ----------
    metrics : DataFrame
        The run's metrics at each task's main condition.
    offline : DataFrame
        Columns task, transform, procedure, select, scorer, kl, win_rate.
    ideal : DataFrame
        Columns transform, procedure, kl, win_rate.
    panels : sequence of (str, str)
        Task and procedure of each panel.
    select : {"reward", "judge"}
        Whose scores pick the response of a procedure.
    scorer : str
        Who decides the winner, e.g. "judge" or "gold".
    title : str

    Raises
    ------
    InputError
        A panel has no trained policy.

    References
    ----------
    Balashankar et al., InfAlign (arXiv:2412.19792v1), sections 6.3 to 6.5, figures 3 and 4, and appendix.
    """
    columns = min(2, len(panels))
    width, height = max(3.65 * columns, NARROWEST), 3.0 * -(-len(panels) // columns)
    with print_style():
        figure = Figure(figsize=(width, height), layout="constrained")
        handles: dict[str, Line2D] = {}
        for axis, (task, procedure) in zip(panel_axes(figure, len(panels), columns), panels, strict=True):
            trained = trained_policies(metrics, task, procedure, select, scorer)
            predicted = panel_rows(offline, task, procedure, select, scorer)
            handles |= _draw_panel(axis, trained, predicted, ideal.filter(procedure=procedure))
            axis.set_title(panel_title(task, procedure, select, scorer))
        share_legend(figure, handles)
        figure.suptitle(title, fontsize=10.5)
    return figure


def _draw_panel(axis: Axes, trained: pl.DataFrame, offline: pl.DataFrame, ideal: pl.DataFrame) -> dict[str, Line2D]:
    edge = kl_edge(trained)
    handles = draw_limit(axis, ideal, edge)
    series = series_present(trained)
    for transform in dict.fromkeys(item.transform for item in series if item.transform):
        curve = offline.filter(transform=transform)
        if not curve.is_empty():
            color, _, line = transform_look(transform)
            draw_curve(axis, curve, Look(color, "", line, True), edge, width=1.2)
            handles["offline frontier (reward's colour)"] = Line2D([], [], color=GREY, linewidth=1.2)
    for item in series:
        handles[item.label] = draw_points(axis, series_rows(trained, item), item.look)
    end_axis(axis, trained, edge)
    format_axes(axis)
    return handles
