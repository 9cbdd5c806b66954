"""The spread between seeds of training beside the bootstrap interval over prompts."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infalign.presentation.style import BLUE, GREY, VERMILION, print_style, procedure_name
from infalign.records.run_tables import RunTables

BAR_LOOKS = (  # columns of the ends, colour, and how far below the series' line
    (("ci_low", "ci_high"), BLUE, 0.15),
    (("seed_low", "seed_high"), VERMILION, 0.27),
)
LEGEND = (
    (GREY, "o", "one seed"),
    (BLUE, "s", "all seeds, bootstrap over prompts"),
    (VERMILION, "_", "all seeds, t interval over seeds"),
)


def figure_seeds(seeds: pl.DataFrame) -> Figure:
    """Draw each series' lead in the table of `seeds_table`, a panel for each task and procedure.

    Each has the leads by seed, the lead over all seeds, and both kinds of interval.
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
        for color, marker, label in LEGEND:
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
        for ends, color, shift in BAR_LOOKS:
            _bars(axis, np.full(together.height, place + shift), together, ends, color)
        heights = np.full(together.height, place + BAR_LOOKS[0][2])
        axis.plot(100 * together["estimate"], heights, color=BLUE, marker="s", linestyle="none")
    axis.axvline(0, color=GREY, linewidth=0.9, linestyle=":")
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)


def _bars(axis: Axes, heights: np.ndarray, rows: pl.DataFrame, ends: tuple[str, str], color: str) -> None:
    low, high = (100 * rows[name].fill_null(np.nan).to_numpy() for name in ends)
    axis.hlines(heights, low, high, color=color, linewidth=1.0)


def draw_seeds(tables: RunTables) -> Figure:
    return figure_seeds(tables["seeds"])
