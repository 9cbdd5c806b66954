"""Figures of calibration quality: a line for each calibration, a marker for each policy."""

import polars as pl
import pytest

from infalign.presentation.panels import save_figure
from infalign.studies.calibration.figures import figure_calibration_quality
from infalign.studies.calibration.tables import CALIBRATION_SCHEMAS
from studies.calibration.known_calibrations import VALUES, known_tables, of_case, stacked


def test_the_figure_has_a_line_a_case_and_a_marker_a_policy(tmp_path):
    tables = known_tables()
    grid = [0.0, 0.5, 1.0]
    interval = {"ci_low": [0.0, 0.4, 1.0], "ci_high": [0.0, 0.6, 1.0]}
    errors = stacked(
        "calibration_error",
        [
            of_case(case, {"task": "helpful"}, error=grid, share=[0.0, 0.5, 1.0], **interval)
            for case in VALUES
        ],
    )
    frontier = tables.prompt_calibration_frontier.group_by(
        *(name for name in CALIBRATION_SCHEMAS["calibration_frontier"] if name not in ("win_rate", *interval))
    ).agg(pl.col("win_rate").mean())
    metrics = pl.DataFrame(
        {
            "task": "helpful", "procedure": "bon(4)", "select": "reward", "scorer": "judge",
            "transform": ["raw", "exp(10)", "exp(10)", "identity"],
            "calibrator": [None, "anchors(1)", "anchors(1)", "anchors(1)"],
            "n_rollouts": [None, 100, 3, 100], "kl": [0.4, 0.5, 0.6, 0.7], "kl_low": [0.3, 0.4, 0.5, None],
            "kl_high": [0.5, 0.6, 0.7, None], "win_rate": [0.7, 0.71, 0.72, 0.73], "ci_low": [0.6, None, 0.6, 0.6],
            "ci_high": [0.8, None, 0.8, 0.8],
        }
    )  # fmt: skip
    options = {
        "task": "helpful",
        "goal": ("exp(10)", "bon(4)"),
        "cases": list(VALUES)[:3],
        "varied": "rollouts",
    }
    figure = figure_calibration_quality(errors, tables.prompt_calibration_error, frontier, metrics, **options)
    left, right = figure.axes
    assert len(left.lines) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "uncalibrated (error 0.200)", "median of 1 (error 0.210)", "median of 100 (error 0.120)",
    ]  # fmt: skip
    curves = [line for line in right.lines if line.get_linestyle() != "None"]
    assert [line.get_ydata()[-1] for line in curves] == pytest.approx([0.70, 0.69, 0.72])
    markers = [kl for line in right.lines if line.get_linestyle() == "None" for kl in line.get_xdata()]
    assert markers == [0.4, 0.5]  # neither that of three rollouts nor of another transform
    first = [path.read_bytes() for path in save_figure(figure, tmp_path / "a")]
    assert first == [path.read_bytes() for path in save_figure(figure, tmp_path / "b")]
