"""Win rate against KL: limit, offline prediction and trained policies together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from infalign.errors import InputError
from infalign.presentation.panels import (
    LIMIT,
    LIMIT_LINE,
    NARROWEST,
    draw_curve,
    draw_points,
    format_axes,
    kl_edge,
    panel_rows,
    panel_title,
    say_beyond,
    series_present,
    series_rows,
    share_legend,
    smooth_curve,
    trained_policies,
)
from infalign.presentation.style import (
    BLACK,
    GREY,
    Look,
    Series,
    print_style,
    procedure_name,
    transform_look,
    transform_order,
)

TRANSFORM_PANELS = ("none", "bon(2)", "bon(4)", "won(2)", "won(4)")


def figure_transforms(ideal: pl.DataFrame) -> Figure:
    """Draw the ideal frontiers: win rate against KL for each procedure and transform.

    Parameters
    ----------
    ideal : columns transform, procedure, kl (nats), win_rate (in [0, 1]). Panels are none, bon(2), bon(4),
        won(2) and won(4), those that the table has; a run evaluates them with N = 2 and 4.

    Raises
    ------
    InputError
        The table has none of these procedures.

    References
    ----------
    Balashankar et al., InfAlign (arXiv:2412.19792v1), section 4.3, figure 1.
    """
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
            handles |= _draw_frontiers(axis, ideal.filter(pl.col("procedure") == procedure))
            axis.set_title(procedure_name(procedure).capitalize())
            format_axes(axis)
            axis.set_xlabel("KL divergence (nats)")
        axes[3].axis("off")
        axes[3].legend(
            handles.values(), handles.keys(), loc="center", title="Transform of the calibrated reward"
        )
        figure.suptitle(
            "Ideal frontier of each transform: win rate against the reference policy", fontsize=10.5
        )
    return figure


def _draw_frontiers(axis: Axes, ideal: pl.DataFrame) -> dict[str, Line2D]:
    handles = {}
    order = sorted(ideal["transform"].unique(), key=transform_order)
    for transform in order:
        color, _, line = transform_look(transform)
        kl, win_rate = smooth_curve(ideal.filter(pl.col("transform") == transform))
        optimal = transform.startswith("optimal")
        label = "optimal for the procedure" if optimal else transform
        handles[label] = axis.plot(
            kl,
            win_rate,
            color=color,
            linestyle=line,
            linewidth=1.9 if optimal else 1.3,
            zorder=4 if optimal else 3,
        )[0]
    axis.margins(x=0)
    axis.set_ylim(bottom=0.5)
    return handles


def figure_win_rates(
    metrics: pl.DataFrame,
    offline: pl.DataFrame,
    ideal: pl.DataFrame,
    panels: Sequence[tuple[str, str]],
    series: Sequence[Series] | None = None,
    *,
    select: str = "reward",
    scorer: str = "judge",
    title: str = "Win rate against the reference policy",
    columns: int = 2,
) -> Figure:
    """Draw win rate against KL: the limit, the offline frontier and the trained policies.

    Each panel shows, for one task and procedure: the limit (dotted: optimal transform of an exact reward in
    the continuous model), the offline frontier of each reward (line: the exact tilt of the scored rollouts)
    and the trained policies (markers with 95 % intervals in both directions).

    Parameters
    ----------
    metrics : the run's metrics table; rows of each task's main condition.
    offline : columns task, transform, procedure, select, scorer, kl, win_rate.
    ideal : columns transform, procedure, kl, win_rate.
    panels : pairs (task, procedure text).
    series : what to draw, in this order; None draws every series of the metrics.
    select : "reward" or "judge", which scores pick the response of a procedure.
    scorer : "judge" or "gold", who decides the winner.

    Raises
    ------
    InputError
        A panel has no trained policy.
    """
    rows = -(-len(panels) // columns)
    with print_style():
        figure = Figure(figsize=(max(3.65 * columns, NARROWEST), 3.0 * rows), layout="constrained")
        axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).flatten()
        handles: dict[str, Line2D] = {}
        for axis, (task, procedure) in zip(axes, panels, strict=False):
            trained = trained_policies(metrics, task, procedure, select, scorer)
            drawn = series_present(trained, series)
            predicted = panel_rows(offline, task, procedure, select, scorer)
            limit = ideal.filter(pl.col("procedure") == procedure)
            handles |= _draw_panel(axis, trained, predicted, limit, drawn)
            axis.set_title(panel_title(task, procedure, select, scorer))
        for axis in axes[len(panels) :]:
            axis.axis("off")
        share_legend(figure, handles)
        figure.suptitle(title, fontsize=10.5)
    return figure


def _draw_panel(axis, trained, offline, ideal, drawn: Sequence[Series]) -> dict[str, Line2D]:
    handles = {}
    limit = ideal.filter(pl.col("transform").str.starts_with("optimal"))
    edge = kl_edge(trained)
    if not limit.is_empty():
        look = Look(BLACK, "", LIMIT_LINE, True)
        handles[LIMIT] = draw_curve(axis, limit, look, edge, width=1.3)
    for transform in dict.fromkeys(series.transform for series in drawn if series.transform):
        curve = offline.filter(pl.col("transform") == transform)
        if not curve.is_empty():
            color, _, line = transform_look(transform)
            draw_curve(axis, curve, Look(color, "", line, True), edge, width=1.2)
            handles["offline frontier (reward's colour)"] = Line2D([], [], color=GREY, linewidth=1.2)
    for series in drawn:
        handles[series.label] = draw_points(axis, series_rows(trained, series), series.look)
    axis.set_xlim(0, edge)
    say_beyond(axis, trained, edge)
    format_axes(axis)
    return handles


def figure_standard(
    metrics, offline, ideal, tasks: Sequence[str], *, select="reward", scorer="judge"
) -> Figure:
    """Draw the standard win rate (no inference-time procedure), a panel per task.

    Parameters are those of `figure_win_rates`; median-calibrated policies are drawn too where trained.

    References
    ----------
    Balashankar et al., InfAlign (arXiv:2412.19792v1), section 6.3, figure 3.
    """
    panels = [(task, "none") for task in tasks]
    title = "Standard win rate against the reference policy"
    return figure_win_rates(
        metrics,
        offline,
        ideal,
        panels,
        select=select,
        scorer=scorer,
        title=title,
        columns=min(2, len(panels)),
    )


def figure_inference_time(
    metrics,
    offline,
    ideal,
    panels: Sequence[tuple[str, str]] = (("helpful", "bon(4)"), ("harmless", "won(4)")),
    *,
    select="reward",
    scorer="judge",
) -> Figure:
    """Draw the win rates after the inference-time procedure each task is meant for.

    Parameters are those of `figure_win_rates`.

    References
    ----------
    Balashankar et al., InfAlign (arXiv:2412.19792v1), sections 6.4 and 6.5, figure 4.
    """
    title = "Inference-time win rate: both policies go through the same procedure"
    return figure_win_rates(
        metrics,
        offline,
        ideal,
        panels,
        select=select,
        scorer=scorer,
        title=title,
        columns=min(2, len(panels)),
    )


def figure_scaling(
    metrics,
    offline,
    ideal,
    panels: Sequence[tuple[str, str]] = (
        ("helpful", "bon(2)"),
        ("helpful", "bon(32)"),
        ("harmless", "won(2)"),
        ("harmless", "won(32)"),
    ),
    *,
    select="reward",
    scorer="judge",
) -> Figure:
    """Draw little against much inference-time compute: N = 2 and N = 32.

    Parameters are those of `figure_win_rates`.

    References
    ----------
    Balashankar et al., InfAlign (arXiv:2412.19792v1), appendix, "Gains are higher with more inference-time
    compute available".
    """
    title = "Inference-time win rate with little and with much compute"
    return figure_win_rates(metrics, offline, ideal, panels, select=select, scorer=scorer, title=title)
