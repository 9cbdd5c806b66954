"""The figure of reward hacking: what reward models trained on poisoned pairs still order right."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from infalign.presentation.style import BLUE, GREEN, GREY, VERMILION, print_style
from infalign.records.run_tables import RunTables

MODEL_LOOKS = {
    "bradley_terry": (VERMILION, "s", "Bradley-Terry"),
    "calibrated_pairs": (BLUE, "o", "calibrated, pointwise on the pairs"),
    "calibrated_rollouts": (GREEN, "^", "calibrated, pointwise on rollouts"),
}
TEST_SETS = ("clean", "poisoned")
SHIFT = 0.08  # of models that stand side by side, in steps of the axis of rates


def draw_poisoning(tables: RunTables) -> Figure:
    """Draw the accuracy on clean and on poisoned held-out pairs against the share of training pairs poisoned.

    Each task has a row of two panels. Markers are single seeds with their intervals, lines the means of seeds.

    References
    ----------
    Balashankar et al., InfAlign (arXiv:2412.19792v1), appendix on reward hacking, figure 6.
    """
    accuracy = tables["poisoning"]
    tasks = list(accuracy["task"].unique(maintain_order=True))
    with print_style():
        figure = Figure(figsize=(7.2, 2.9 * len(tasks) + 0.8), layout="constrained")
        axes = figure.subplots(len(tasks), len(TEST_SETS), squeeze=False, sharey=True)
        for row, task in zip(axes, tasks, strict=True):
            for axis, test_set in zip(row, TEST_SETS, strict=True):
                part = accuracy.filter(task=task, test_set=test_set)
                _draw_accuracies(axis, part)
                axis.set_title(f"{task}, {test_set} held-out pairs")
            row[0].set_ylabel("Pairs ordered right (%)")
        for axis in axes[-1]:
            axis.set_xlabel("Training pairs poisoned (%)")
        handles = [
            Line2D([], [], color=color, marker=marker, label=label) for color, marker, label in MODEL_LOOKS.values()
        ]
        handles.append(Line2D([], [], color=GREY, linestyle=":", label="knows nothing"))
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
        figure.suptitle("Reward models trained on pairs whose preferred responses carry a phrase", fontsize=10.5)
    return figure


def _draw_accuracies(axis: Axes, rows: pl.DataFrame) -> None:
    """Each model's accuracy at each rate; rates stand at equal distances."""
    rates = sorted(rows["rate"].unique())
    for number, (model, (color, marker, _)) in enumerate(MODEL_LOOKS.items()):
        part = rows.filter(model=model).sort("rate", "seed")
        places = np.array([rates.index(rate) for rate in part["rate"]]) + SHIFT * (number - 1)
        low, high = (part[name].fill_null(np.nan) for name in ("ci_low", "ci_high"))
        axis.vlines(places, low, high, color=color, linewidth=0.9)
        axis.plot(places, part["accuracy"], color=color, marker=marker, markersize=5, linestyle="none")
        means = part.group_by("rate").agg(pl.col("accuracy").mean()).sort("rate")
        axis.plot(np.unique(places), means["accuracy"], color=color, linewidth=1.3)
    axis.axhline(0.5, color=GREY, linewidth=0.9, linestyle=":")
    axis.set_ylim(-0.03, 1.03)
    axis.set_xticks(range(len(rates)), [f"{100 * rate:g}" for rate in rates])
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=""))
