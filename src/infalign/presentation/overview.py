"""Two figures of a whole run: shares of the attainable gain, and the judge beside the gold reward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from infalign.presentation.panels import (
    LIMIT_LINE,
    NARROWEST,
    Panel,
    say_empty,
    series_present,
    series_rows,
    trained_policies,
)
from infalign.presentation.style import BLACK, BLUE, VERMILION, print_style, procedure_name
from infalign.records.run_tables import RunTables


def draw_overview(tables: RunTables, *, panels: Sequence[Panel]) -> Figure:
    """Draw what share of the attainable gain each policy reached, a dot a policy.

    Policies without `share_of_limit` are left out, and the panel says how many they are.

    Parameters
    ----------
    tables : RunTables
    panels : sequence of (str, str)
        Task and procedure of each panel.

    Raises
    ------
    InputError
        A panel has no policy.
    """
    parts = [trained_policies(tables.main("metrics"), *panel) for panel in panels]
    with print_style():
        figure = Figure(figsize=(max(4.1 * len(panels), NARROWEST), 2.9), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axis, part, (task, procedure) in zip(axes, parts, panels, strict=True):
            _draw_shares(axis, part)
            absent = part["share_of_limit"].null_count()
            axis.set_title(
                f"{task}, {procedure_name(procedure)}\n({part.height - absent} policies, {absent} undefined)"
            )
        figure.suptitle("Share of the attainable gain at the policy's own KL, scored by its reward", fontsize=10.5)
    return figure


def _draw_shares(axis: Axes, part: pl.DataFrame) -> None:
    known = part.filter(pl.col("share_of_limit").is_not_null())
    names = series_present(known)
    axis.axvline(1.0, color=BLACK, linestyle=LIMIT_LINE, linewidth=1.0)
    for row, series in enumerate(reversed(names)):
        points = series_rows(known, series).sort("kl")
        look = series.look
        size = 18 + 45 * points["kl"].to_numpy().clip(0, 2)
        axis.scatter(
            points["share_of_limit"], np.full(points.height, row), s=size, marker=look.marker, alpha=0.8,
            edgecolors=look.color, facecolors=look.face, zorder=3,
        )  # fmt: skip
    axis.set_yticks(range(len(names)), [series.label for series in reversed(names)])
    axis.set(xlabel="Share of the limit (marker grows with KL)", ylim=(-0.6, max(len(names), 1) - 0.4))
    axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    values = [0.0, 1.05, *known["share_of_limit"]]
    axis.set_xlim(min(values), max(values))
    if not names:
        say_empty(axis, "no policy has a share of the limit\n(raw reward, or KL below 0.1)")


def draw_gold(tables: RunTables) -> Figure:
    """Draw the same differences as the judge and as the gold reward see them.

    Where the table has no rows (policies that miss the KL of the comparisons) the figure says so.

    Parameters
    ----------
    tables : RunTables
        Table `gold` is that of `claims.judge_and_gold`.
    """
    comparison = tables.read("gold", may_be_empty=True)
    with print_style():
        figure = Figure(figsize=(7.2, 0.30 * max(comparison.height, 2) + 1.5), layout="constrained")
        axis = figure.subplots()
        if comparison.is_empty():
            say_empty(axis, "no claim was evaluated by both the judge and the gold reward")
        axis.axvline(0.0, color=BLACK, linewidth=0.8)
        for suffix, shift, color, marker in (("", 0.14, BLUE, "o"), ("_gold", -0.14, VERMILION, "D")):
            _draw_differences(axis, comparison, suffix, shift, color, marker)
        labels = [
            f"{row['claim']}{' *' if row['verdict'] != row['verdict_gold'] else ''}"
            for row in comparison.iter_rows(named=True)
        ]
        axis.set_yticks(range(comparison.height), labels)
        axis.set_ylim(max(comparison.height, 1) - 0.4, -0.6)
        axis.set_xlabel("Measured difference in points, with its 95 % interval (* verdicts differ)")
        figure.legend(loc="outside lower center", ncols=2)
        figure.suptitle("The same comparisons scored by the judge and by the gold reward", fontsize=10.5)
    return figure


def _draw_differences(axis: Axes, comparison: pl.DataFrame, suffix: str, shift: float, color: str, marker: str) -> None:
    ours, low, high = (comparison[name + suffix].to_numpy() * 100 for name in ("ours", "ci_low", "ci_high"))
    axis.errorbar(
        ours, np.arange(comparison.height) - shift, xerr=[ours - low, high - ours], fmt=marker, color=color,
        markersize=4.5, elinewidth=1.1, label="scored by gold" if suffix else "scored by judge",
    )  # fmt: skip
