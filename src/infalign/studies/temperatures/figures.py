"""Figures of what policies reach at each sampling temperature, in and out of distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from infalign.presentation.style import BLACK, GREY, SERIES_KEY, Look, Series, print_style, procedure_name
from infalign.records.run_tables import RunTables
from infalign.records.sweep import conditions
from infalign.studies.temperatures.tables import temperature_curves

SPLIT_LINES: dict[str, Literal["-", "--"]] = {"evaluation": "-", "evaluation_out": "--"}
SPLIT_NAMES = {"evaluation": "in distribution", "evaluation_out": "out of distribution"}
AXIS_LABELS = {"win_rate": "Win rate (%)", "mean_judge": "Mean judge score"}


def figure_temperatures(metrics: pl.DataFrame, best_of_n: pl.DataFrame, tasks: Sequence[str]) -> Figure:
    """Draw win rate and mean judge score against the sampling temperature, without a procedure.

    Solid lines are prompts in distribution, dashed ones out of distribution. A series has one colour, with mean and
    standard deviation over seeds. Drawn are the policies that were sampled at several temperatures, of these the
    ones trained from the most seeds. Beside them stand the reference and best-of-N of its own responses, N being
    that of the best-of-n policies.

    `metrics` and `best_of_n` are tables of the run, all conditions. Each task has a row of two panels.

    References
    ----------
    Amini et al., Variational best-of-N alignment (ICLR 2025), figure 5.
    """
    with print_style():
        figure = Figure(figsize=(7.6, 3.0 * len(tasks) + 0.9), layout="constrained")
        axes = figure.subplots(len(tasks), 2, squeeze=False)
        handles: dict[str, Line2D] = {}
        for row, task in zip(axes, tasks, strict=True):
            curves = temperature_curves(metrics.filter(task=task), best_of_n.filter(task=task))
            for axis, (quantity, label) in zip(row, AXIS_LABELS.items(), strict=True):
                handles |= _draw_curves(axis, curves, quantity)
                axis.set(title=task, xlabel="Sampling temperature", ylabel=label)
                axis.set_xticks(curves["temperature"].unique().sort())
            row[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=""))
        for split, name in SPLIT_NAMES.items():
            handles[name] = Line2D([], [], color=BLACK, linestyle=SPLIT_LINES[split])
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
        figure.suptitle("Win rate and judge score at each sampling temperature", fontsize=10.5)
    return figure


def _draw_curves(axis: Axes, curves: pl.DataFrame, quantity: str) -> dict[str, Line2D]:
    """Mean and standard deviation; the legend's line is that in distribution."""
    handles = {}
    for (label, split), part in curves.group_by("label", "split", maintain_order=True):
        drawn = _draw_line(axis, part, str(split), part[quantity], part[f"{quantity}_sd"].to_numpy())
        if split == "evaluation" or str(label) not in handles:
            handles[str(label)] = drawn
    return handles


def figure_temperature_leads(leads: pl.DataFrame) -> Figure:
    """Draw every series' lead in the table of `temperature_leads`, a panel for each task and procedure."""
    panels = leads.select("task", "procedure").unique(maintain_order=True).rows()
    n_rows = -(-len(panels) // 2)
    with print_style():
        figure = Figure(figsize=(7.2, 0.9 + 2.5 * n_rows), layout="constrained")
        axes = figure.subplots(n_rows, 2, squeeze=False).ravel()
        handles: dict[str, Line2D] = {}
        for axis, (task, procedure) in zip(axes, panels, strict=False):
            part = leads.filter(task=task, procedure=procedure).drop_nulls("lead")
            handles |= _draw_leads(axis, part)
            axis.axhline(0, color=GREY, linewidth=0.9, linestyle=":")
            axis.set(title=f"{task}, {procedure_name(procedure)}", xlabel="Sampling temperature")
            at = f"at KL {part['kl'][0]:.2f} (points)" if len(part) else "no KL that all reach"
            axis.set_ylabel(f"Win rate less {leads['less'][0]},\n{at}")
            axis.set_xticks(leads["temperature"].unique().sort())
        for axis in axes[len(panels) :]:
            axis.remove()
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
        figure.suptitle("What the temperature at evaluation changes", fontsize=10.5)
    return figure


def _draw_leads(axis: Axes, leads: pl.DataFrame) -> dict[str, Line2D]:
    handles: dict[str, Line2D] = {}
    for (label, split), part in leads.group_by("series", "split", maintain_order=True):
        lead, low, high = (100 * part[name].to_numpy() for name in ("lead", "lead_low", "lead_high"))
        drawn = _draw_line(axis, part, str(split), lead, (lead - low, high - lead))
        handles.setdefault(str(label), drawn)
    return handles


def _draw_line(axis: Axes, rows: pl.DataFrame, split: str, values: Any, errors: Any) -> Line2D:
    """Values of one series over the temperature, with bars."""
    look = _look(rows.row(0, named=True))
    face = look.color if look.filled else "white"
    drawn = axis.errorbar(
        rows["temperature"], values, yerr=errors, color=look.color, marker=look.marker, markerfacecolor=face,
        markersize=5, linestyle=SPLIT_LINES[split], linewidth=1.3, elinewidth=0.9, capsize=2,
    )  # fmt: skip
    return drawn.lines[0]


def _look(row: Mapping) -> Look:
    """That of the series; of what the reference does by itself grey and black."""
    if row["method"] is None:
        return Look(GREY if row["label"] == "reference" else BLACK, "", "-", True)
    return Series(*(row[name] for name in SERIES_KEY[:3])).look


def draw_temperatures(tables: RunTables) -> Figure:
    tasks = [name for name, task in tables.config.tasks.items() if len(conditions(task)) > 1]
    return figure_temperatures(tables["metrics"], tables["best_of_n"], tasks)


def draw_temperature_leads(tables: RunTables) -> Figure:
    return figure_temperature_leads(tables["temperature_leads"])
