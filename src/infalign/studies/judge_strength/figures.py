"""How verdicts change with the judge: its size, and whether it learnt from the reward model's own pairs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from infalign.presentation.style import BLACK, BLUE, GREEN, GREY, VERMILION, print_style, procedure_name
from infalign.records.run_tables import RunTables
from infalign.studies.judge_strength.sizes import GOLD, LEAKED, REWARD_MODEL

JUDGE_LOOKS = {
    "independent": (BLUE, "o", "own pairs"),
    LEAKED: (VERMILION, "s", "the reward model's pairs"),
    REWARD_MODEL: (BLACK, "X", "the reward model itself"),
    GOLD: (GREEN, "*", "gold reward"),
}

SHIFTS = {LEAKED: 1.08, REWARD_MODEL: 0.93}  # judges of one size stand side by side


def figure_judge_strength(strengths: pl.DataFrame, policies: pl.DataFrame, goals: Mapping[str, str]) -> Figure:
    """Draw the main comparison by the judge's size, and by how much each judge is above gold as KL grows.

    Each task of the tables of `strength_table` and `policy_table` has a row of two panels. `goals` says by task the
    procedure whose win rates are drawn.
    """
    tasks = list(strengths["task"].unique(maintain_order=True))
    with print_style():
        figure = Figure(figsize=(7.4, 2.9 * len(tasks) + 0.9), layout="constrained")
        for row, task in zip(figure.subplots(len(tasks), 2, squeeze=False), tasks, strict=True):
            procedure = goals[task]
            _draw_differences(row[0], strengths.filter(task=task, procedure=procedure))
            _draw_excess(row[1], policies.filter(task=task, procedure=procedure, transform="raw"))
            row[0].set_title(f"{task}, {procedure_name(procedure)}")
            row[1].set_title(f"{task}: policies on the raw reward")
        for axis, kind in product(figure.axes[:1], JUDGE_LOOKS):
            color, marker, label = JUDGE_LOOKS[kind]
            axis.plot([], [], color=color, marker=marker, linestyle="none", label=f"judge: {label}")
        figure.legend(loc="outside lower center", ncols=2)
        figure.suptitle("What the judge's size and its training pairs change", fontsize=10.5)
    return figure


def _draw_differences(axis: Axes, rows: pl.DataFrame) -> None:
    """Difference at matched KL against the judge's parameters; gold, which has none, as a band."""
    known = rows.drop_nulls("difference")
    for row in known.iter_rows(named=True):
        color, marker, _ = JUDGE_LOOKS[row["kind"]]
        ends = [100 * row[name] for name in ("difference_low", "difference_high") if row[name] is not None]
        if row["kind"] == GOLD:
            axis.axhline(100 * row["difference"], color=color, linewidth=1.0)
            axis.axhspan(*(ends or [0, 0]), color=color, alpha=0.12, linewidth=0)
            continue
        place = row["n_parameters"] * SHIFTS.get(row["kind"], 1.0)
        axis.vlines(place, *(ends or [np.nan, np.nan]), color=color, linewidth=0.9)
        axis.plot(place, 100 * row["difference"], color=color, marker=marker, linestyle="none")
    axis.axhline(0, color=GREY, linewidth=0.9, linestyle=":")
    axis.set_xscale("log")
    sizes = rows.filter(kind="independent")["n_parameters"].unique().sort()
    axis.set_xticks(sizes, [f"{size:.2g}" if size >= 1e6 else f"{size / 1e3:.0f}k" for size in sizes])
    axis.xaxis.set_minor_locator(NullLocator())
    first = rows.row(0, named=True)
    axis.set(xlabel="Parameters of the judge")
    axis.set_ylabel(f"{first['a']} less {first['b']}\nat KL {first['kl']:g} (points)")


def _draw_excess(axis: Axes, rows: pl.DataFrame) -> None:
    """Win rate less that by gold against KL, a line a judge; by the equal judge where there is no gold."""
    column = "over_gold" if rows["over_gold"].is_not_null().any() else "over_independent"
    for _, part in rows.drop_nulls(column).sort("kl").group_by("judge", maintain_order=True):
        color, marker, _ = JUDGE_LOOKS[part["kind"][0]]
        low, high = (100 * part[f"{column}_{end}"].fill_null(np.nan) for end in ("low", "high"))
        axis.vlines(part["kl"], low, high, color=color, linewidth=0.7)
        axis.plot(part["kl"], 100 * part[column], color=color, marker=marker, markersize=4, linewidth=0.9)
    axis.axhline(0, color=GREY, linewidth=0.9, linestyle=":")
    over = "gold" if column == "over_gold" else "the independent judge of its size"
    axis.set(xlabel="KL to the reference (nats)", ylabel=f"Win rate less that by\n{over} (points)")


def draw_judge_strength(tables: RunTables) -> Figure:
    procedures = {task: goal.procedure for task, goal in tables.config.goals.items()}
    return figure_judge_strength(tables["judge_strength"], tables["judge_policies"], procedures)
