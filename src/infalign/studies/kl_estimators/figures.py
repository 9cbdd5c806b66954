"""Three estimates of the KL divergence: whether they agree, and how much each varies."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infalign.presentation.style import BLACK, BLUE, VERMILION, print_style
from infalign.records.run_tables import RunTables
from infalign.studies.kl_estimators.tables import DIFFERENCE, RATIO

ESTIMATOR_LOOKS = {"k1": (BLUE, "k1: log-ratio"), "k3": (VERMILION, "k3: (r − 1) − log r")}
TASK_MARKERS = ("o", "s", "^", "D", "v", "P")


def figure_kl_estimators(estimates: pl.DataFrame) -> Figure:
    """Draw k1 and k3 less the full-vocabulary KL, and their variance over its variance.

    Parameters
    ----------
    estimates : DataFrame
        Columns ESTIMATOR_SCHEMA. A marker for each policy, with its interval.

    References
    ----------
    Schulman 2020, Approximating KL divergence.
    """
    full = estimates.filter(estimator="full_vocabulary").select("task", "policy", at="kl")
    tasks = estimates["task"].unique(maintain_order=True).to_list()
    with print_style():
        figure = Figure(figsize=(7.6, 3.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        for index, task in enumerate(tasks):
            marker = TASK_MARKERS[index % len(TASK_MARKERS)]
            for name, (color, label) in ESTIMATOR_LOOKS.items():
                rows = estimates.filter(task=task, estimator=name).join(full, on=["task", "policy"])
                for axis, columns in ((left, DIFFERENCE), (right, RATIO)):
                    _draw_points(axis, rows, columns, color, marker, f"{label}, {task}")
        left.axhline(0.0, color=BLACK, linewidth=0.8)
        left.set_title("Mean less that of the full vocabulary")
        left.set_ylabel("Nats")
        right.axhline(1.0, color=BLACK, linewidth=0.8)
        right.set_yscale("log")
        right.set_title("Variance over that of the full vocabulary")
        for axis in (left, right):
            axis.set_xlabel("KL by the full vocabulary (nats)")
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        figure.suptitle("Three estimates of each policy's KL from the same responses", fontsize=10.5)
    return figure


def _draw_points(
    axis: Axes, rows: pl.DataFrame, columns: tuple[str, str, str], color: str, marker: str, label: str
) -> None:
    """Markers with their intervals; what is undefined is not drawn."""
    value, low, high = (rows[name].fill_null(np.nan) for name in columns)
    axis.vlines(rows["at"], low, high, color=color, linewidth=0.9)
    axis.plot(rows["at"], value, color=color, marker=marker, markersize=5, linestyle="none", label=label)


def draw_kl_estimators(tables: RunTables) -> Figure:
    return figure_kl_estimators(tables["kl_estimators"])
