"""Figures of calibration quality: errors and frontiers by the number of rollouts, and by that of the anchors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

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
from infalign.studies.calibration.tables import CalibrationCase, calibrations

Varied = Literal["rollouts", "anchors"]
MARKERS = ("o", "s", "^", "v", "D", "P", "h", "<", ">")


def draw_calibration_quality(tables: RunTables, *, varied: Varied, task: str) -> Figure:
    """Draw the distribution of the calibration error, and win rate against KL, of several calibrations.

    References
    ----------
    Balashankar et al., InfAlign (arXiv:2412.19792v1), appendix on anchor points, figures of rollouts and anchors.
    """
    goal, cases = tables.config.goals[task], _shown_calibrations(tables, varied, task)
    errors = tables["calibration_error"].filter(task=task)
    prompt_errors = tables["prompt_calibration_error"].filter(task=task)
    measured = {"task": task, "procedure": goal.procedure, "scorer": "judge"}
    frontier = tables["calibration_frontier"].filter(**measured)
    trained = tables.main("metrics").filter(**measured, select="reward")
    with print_style():
        figure = Figure(figsize=(7.6, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        handles = []
        for case, look in zip(cases, _looks(cases), strict=True):
            meant = {"transform": "raw" if case[0] is None else goal.transform}
            mean: Any = _of_case(prompt_errors, case)["error"].mean()
            label = f"{case_label(case, varied)} (error {mean:.3f})"
            handles.append(Line2D([], [], **look, markersize=5, label=label))
            _draw_errors(left, _of_case(errors, case), look)
            _draw_frontier(right, _of_case(frontier.filter(**meant), case), look)
            _draw_trained(right, _of_case(trained.filter(**meant), case), look)
        _finish(left, right, f"{task}, {procedure_name(goal.procedure)}, scored by judge")
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
        figure.suptitle(f"Calibration by the number of {varied}: {task}", fontsize=10.5)
    return figure


def _shown_calibrations(tables: RunTables, varied: Varied, task: str) -> list[CalibrationCase]:
    """Those that differ in what is varied, with the uncalibrated reward and the rank itself."""
    block = tables.block("calibration", Calibration)
    shown = block.model_copy(update={"anchors" if varied == "rollouts" else "rollouts": []})
    return calibrations(shown, tables.config.tasks[task].rollouts.n_rollouts)


def case_label(case: CalibrationCase, varied: Varied) -> str:
    """Legend text of a calibration.

    Examples
    --------
    >>> case_label(("anchors(1)", 7), "rollouts"), case_label(("anchors(2)", 100), "anchors")
    ('median of 7', 'anchors(2)')
    >>> case_label((None, None), "rollouts"), case_label(("empirical", 100), "rollouts")
    ('uncalibrated', 'empirical, K = 100')
    """
    calibrator, n = case
    if calibrator is None:
        return "uncalibrated"
    if calibrator == "empirical":
        return f"empirical, K = {n}"
    return f"median of {n}" if varied == "rollouts" else calibrator


def _looks(cases: Sequence[CalibrationCase]) -> list[dict[str, Any]]:
    """Colour, line and marker: grey for the uncalibrated reward, black for the empirical, shades between."""
    shaded = [case for case in cases if case[0] not in (None, "empirical")]
    shades = sns.color_palette("viridis", len(shaded))
    looks: dict[CalibrationCase, tuple] = {
        case: (shade, "-", MARKERS[place % len(MARKERS)])
        for place, (case, shade) in enumerate(zip(shaded, shades, strict=True))
    }
    fixed = {None: (GREY, "-", "X"), "empirical": (BLACK, (0, (4, 1.5)), "*")}
    looks |= {case: fixed[case[0]] for case in cases if case[0] in fixed}
    return [dict(zip(("color", "linestyle", "marker"), looks[case], strict=True)) for case in cases]


def _of_case(frame: pl.DataFrame, case: CalibrationCase) -> pl.DataFrame:
    calibrator, n = case
    same = pl.col("calibrator").eq_missing(pl.lit(calibrator, pl.String))
    return frame.filter(same, pl.col("n_rollouts").eq_missing(pl.lit(n, pl.Int64)))


def _draw_errors(axis: Axes, rows: pl.DataFrame, look: Mapping[str, Any]) -> None:
    """The distribution of the error."""
    rows = rows.sort("error")
    axis.plot(rows["error"], rows["share"], color=look["color"], linestyle=look["linestyle"])


def _draw_frontier(axis: Axes, rows: pl.DataFrame, look: Mapping[str, Any]) -> None:
    """The offline frontier, from the reference on."""
    rows = rows.sort("kl")
    kl, rates = np.r_[0.0, rows["kl"]], np.r_[0.5, rows["win_rate"]]
    axis.plot(kl, rates, color=look["color"], linestyle=look["linestyle"], linewidth=1.2)


def _draw_trained(axis: Axes, rows: pl.DataFrame, look: Mapping[str, Any]) -> None:
    """Markers with their intervals, which are not drawn where they are undefined."""
    color, kl, rate = look["color"], rows["kl"], rows["win_rate"]
    ends = {name: rows[name].fill_null(np.nan) for name in ("ci_low", "ci_high", "kl_low", "kl_high")}
    axis.vlines(kl, ends["ci_low"], ends["ci_high"], color=color, linewidth=0.8)
    axis.hlines(rate, ends["kl_low"], ends["kl_high"], color=color, linewidth=0.8)
    axis.plot(kl, rate, color=color, marker=look["marker"], markersize=5, linestyle="none")


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
