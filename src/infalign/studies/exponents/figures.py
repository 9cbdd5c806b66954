"""Figure of the win rate over the exponent of exponential transforms."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from infalign.presentation.style import BLACK, BLUE, GREY, VERMILION, print_style, procedure_name
from infalign.records.run_tables import RunTables
from infalign.studies.exponents.mathematics import meant_sign

PAPER_T = (5, 10)
TICKS = (-100, -40, -10, -5, 0, 5, 10, 40, 100)


def draw_exponents(tables: RunTables) -> Figure:
    """Draw win rate over t: a row of panels for each task, a panel for each N.

    References
    ----------
    Balashankar et al. 2025, InfAlign, section 4.3 and the appendix on more inference-time compute.
    """
    exponents, best = tables["exponents"], tables["best_exponents"]
    tasks, counts = best["task"].unique(maintain_order=True), best["n"].unique().sort()
    with print_style():
        figure = Figure(figsize=(0.7 + 2.5 * len(counts), 2.6 * len(tasks) + 1.0), layout="constrained")
        axes = figure.subplots(len(tasks), len(counts), squeeze=False)
        for row, task in zip(axes, tasks, strict=True):
            for axis, chosen in zip(row, best.filter(task=task).sort("n").iter_rows(named=True), strict=True):
                procedure = chosen["procedure"]
                shown = exponents.filter(pl.col("task").is_null() | (pl.col("task") == task), procedure=procedure)
                _draw_panel(axis, shown, chosen)
                axis.set_title(f"{task}, {procedure_name(procedure)}")
            row[0].set_ylabel(f"Win rate at KL {best['kl'][0]:g} (%)")
        for axis in axes[-1]:
            axis.set_xlabel("Exponent t (0: identity)")
        _label(axes[0, 0])
        figure.legend(loc="outside lower center", ncols=3)
        figure.suptitle("Which exponential transform, for little and much compute", fontsize=10.5)
    return figure


def _draw_panel(axis: Axes, rows: pl.DataFrame, chosen: dict) -> None:
    """Ideal and offline curves, trained points, and the best exponent with the paper's."""
    for kind, color in (("ideal", BLACK), ("offline", BLUE)):
        part = rows.filter(pl.col("t").is_not_null(), kind=kind).sort("t")
        axis.plot(part["t"], part["win_rate"], color=color, linewidth=1.2)
        if kind == "offline":
            axis.fill_between(part["t"], part["ci_low"], part["ci_high"], color=color, alpha=0.15, linewidth=0)
    raw = rows.filter(kind="offline", transform="raw")
    axis.axhline(raw["win_rate"][0], color=GREY, linewidth=0.9, linestyle="--")
    trained = rows.filter(pl.col("t").is_not_null(), kind="trained")
    low, high = (trained[name].fill_null(np.nan) for name in ("ci_low", "ci_high"))
    axis.vlines(trained["t"], low, high, color=VERMILION, linewidth=0.9)
    axis.plot(trained["t"], trained["win_rate"], color=VERMILION, marker="s", markersize=4, linestyle="none")
    axis.plot(chosen["t"], chosen["win_rate"], color=BLACK, marker="*", markersize=9, clip_on=False)
    for t in PAPER_T:
        axis.axvline(meant_sign(chosen["procedure"]) * t, color=GREY, linewidth=0.7, linestyle=":")
    axis.set_xscale("asinh", linear_width=5)
    shown = [t for t in TICKS if rows["t"].min() <= t <= rows["t"].max()]  # type: ignore[operator]
    axis.set_xticks(shown, [f"{t}" for t in shown])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=""))


def _label(axis: Axes) -> None:
    """Entries of the legend, drawn without points."""
    axis.plot([], [], color=BLACK, label="ideal frontier")
    axis.plot([], [], color=BLACK, marker="*", markersize=9, linestyle="none", label="its best exponent")
    axis.plot([], [], color=BLUE, label="offline frontier")
    axis.plot([], [], color=GREY, linestyle="--", label="raw reward, offline")
    axis.plot([], [], color=VERMILION, marker="s", markersize=4, linestyle="none", label="trained")
    axis.plot([], [], color=GREY, linestyle=":", label="the paper's, 5 and 10")
