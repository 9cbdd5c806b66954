"""Figures of calibration quality: errors and frontiers by the number of rollouts, and by that of the anchors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from infalign.presentation.style import BLACK, GREY, print_style, procedure_name
from infalign.records.run_tables import RunTables
from infalign.studies.calibration.block import Calibration
from infalign.studies.calibration.tables import calibrations

Case = tuple[str | None, int | None]
"""A calibrator and its number of rollouts; None and None: the uncalibrated reward."""
MARKERS = ("o", "s", "^", "v", "D", "P", "h", "<", ">")


def case_label(case: Case, *, by_rollouts: bool) -> str:
    """Legend text of a calibration.

    Examples
    --------
    >>> case_label(("anchors(1)", 7), by_rollouts=True), case_label(("anchors(2)", 100), by_rollouts=False)
    ('median of 7', 'anchors(2)')
    >>> case_label((None, None), by_rollouts=True), case_label(("empirical", 100), by_rollouts=True)
    ('uncalibrated', 'empirical, K = 100')
    """
    calibrator, n = case
    if calibrator is None:
        return "uncalibrated"
    if calibrator == "empirical":
        return f"empirical, K = {n}"
    return f"median of {n}" if by_rollouts else calibrator


def figure_calibration_quality(
    errors: pl.DataFrame,
    prompt_errors: pl.DataFrame,
    frontier: pl.DataFrame,
    metrics: pl.DataFrame,
    *,
    task: str,
    goal: tuple[str, str],
    cases: Sequence[Case],
    by_rollouts: bool,
    scorer: str = "judge",
) -> Figure:
    """Draw the distribution of the calibration error, and win rate against KL, of several calibrations.

    Parameters
    ----------
    errors, prompt_errors, frontier : tables calibration_error, prompt_calibration_error and
        calibration_frontier.
    metrics : the run's metrics, rows of the main condition; trained policies are drawn as markers.
    task : its name.
    goal : its transform and procedure.
    cases : calibrations in the order of the legend.
    by_rollouts : whether they differ in rollouts, else in anchors.
    scorer : who decides the winner.

    References
    ----------
    Balashankar et al., InfAlign (arXiv:2412.19792v1), appendix on anchor points, figures of rollouts and anchors.
    """
    looks = dict(zip(cases, _looks(cases), strict=True))
    transform, procedure = goal
    frontier = frontier.filter(task=task, procedure=procedure, scorer=scorer)
    trained = metrics.filter(task=task, procedure=procedure, select="reward", scorer=scorer)
    with print_style():
        figure = Figure(figsize=(7.6, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        handles = []
        for case, (color, line, marker) in looks.items():
            wanted = "raw" if case[0] is None else transform
            mean: Any = _of_case(prompt_errors.filter(task=task), case)["error"].mean()
            label = f"{case_label(case, by_rollouts=by_rollouts)} (error {mean:.3f})"
            rows = _of_case(errors.filter(task=task), case).sort("error")
            left.plot(rows["error"], rows["share"], color=color, linestyle=line)
            handles.append(
                Line2D([], [], color=color, linestyle=line, marker=marker, markersize=5, label=label)
            )
            rows = _of_case(frontier.filter(transform=wanted), case).sort("kl")
            kl, rates = np.r_[0.0, rows["kl"]], np.r_[0.5, rows["win_rate"]]
            right.plot(kl, rates, color=color, linestyle=line, linewidth=1.2)
            _draw_trained(right, _of_case(trained.filter(transform=wanted), case), color, marker)
        _finish(left, right, f"{task}, {procedure_name(procedure)}, scored by {scorer}")
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
        said = "rollouts" if by_rollouts else "anchors"
        figure.suptitle(f"Calibration by the number of {said}: {task}", fontsize=10.5)
    return figure


def _looks(cases: Sequence[Case]) -> list[tuple]:
    """Colour, line and marker: grey for the uncalibrated reward, black for the empirical, shades between."""
    shaded = [case for case in cases if case[0] not in (None, "empirical")]
    shades = dict(zip(shaded, sns.color_palette("viridis", len(shaded)), strict=True))
    looks: list[tuple] = []
    for case in cases:
        if case[0] is None:
            looks.append((GREY, "-", "X"))
        elif case[0] == "empirical":
            looks.append((BLACK, (0, (4, 1.5)), "*"))
        else:
            looks.append((shades[case], "-", MARKERS[shaded.index(case) % len(MARKERS)]))
    return looks


def _of_case(frame: pl.DataFrame, case: Case) -> pl.DataFrame:
    calibrator, n = case
    same = pl.col("calibrator").eq_missing(pl.lit(calibrator, pl.String))
    return frame.filter(same, pl.col("n_rollouts").eq_missing(pl.lit(n, pl.Int64)))


def _draw_trained(axis: Axes, rows: pl.DataFrame, color: object, marker: str) -> None:
    """Markers with their intervals, which are not drawn where they are undefined."""
    low, high = (rows[name].fill_null(np.nan) for name in ("ci_low", "ci_high"))
    axis.vlines(rows["kl"], low, high, color=color, linewidth=0.8)
    low, high = (rows[name].fill_null(np.nan) for name in ("kl_low", "kl_high"))
    axis.hlines(rows["win_rate"], low, high, color=color, linewidth=0.8)
    axis.plot(rows["kl"], rows["win_rate"], color=color, marker=marker, markersize=5, linestyle="none")


def _finish(left: Axes, right: Axes, title: str) -> None:
    left.set(
        xlim=(0, 0.8),
        ylim=(0, 1.01),
        xlabel="Absolute error |calibrated − rank|",
        ylabel="Share of responses",
    )
    left.set_title("Distribution of the error, out of sample")
    trained = [line for line in right.lines if line.get_linestyle() == "None"]
    drawn = [float(kl) for line in trained for kl in np.asarray(line.get_xdata())]
    right.set(
        xlim=(0, max([1.5, *(1.05 * kl for kl in drawn)])),
        xlabel="KL divergence from the reference (nats)",
        ylabel="Win rate (%)",
    )
    right.set_title(title)
    right.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=""))


def draw_calibration_quality(tables: RunTables, *, varied: str, task: str) -> Figure:
    block, goal = tables.block("calibration", Calibration), tables.config.goals[task]
    kept = block.model_copy(update={"anchors" if varied == "rollouts" else "rollouts": []})
    return figure_calibration_quality(
        *(tables[name] for name in ("calibration_error", "prompt_calibration_error", "calibration_frontier")),
        tables.main("metrics"),
        task=task,
        goal=(goal.transform, goal.procedure),
        cases=calibrations(kept, tables.config.tasks[task].rollouts.n_rollouts),
        by_rollouts=varied == "rollouts",
    )
