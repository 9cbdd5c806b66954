"""Figures of calibration quality: a line for each calibration, a marker for each policy."""

from types import SimpleNamespace

import polars as pl
import pytest

from infalign.presentation.panels import save_figure
from infalign.records.config import Goal
from infalign.studies.calibration.block import Calibration
from infalign.studies.calibration.figures import draw_calibration_quality
from infalign.studies.calibration.tables import CALIBRATION_SCHEMAS
from presentation.stored_tables import Tables
from studies.calibration.known_calibrations import VALUES, known_tables, of_case, stacked


def test_the_figure_has_a_line_a_case_and_a_marker_a_policy(tmp_path):
    tables = known_tables()
    grid = [0.0, 0.5, 1.0]
    interval = {"ci_low": [0.0, 0.4, 1.0], "ci_high": [0.0, 0.6, 1.0]}
    errors = stacked(
        "calibration_error",
        [of_case(case, {"task": "helpful"}, error=grid, share=[0.0, 0.5, 1.0], **interval) for case in VALUES],
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
    drawn = Tables(
        **tables.stored | {"calibration_error": errors, "calibration_frontier": frontier, "metrics": metrics},
        blocks={"calibration": Calibration(rollouts=[1, 100], anchors=[1, 2])},
    )
    drawn.config = SimpleNamespace(
        goals={"helpful": Goal(procedure="bon(4)", transform="exp(10)")},
        tasks={"helpful": SimpleNamespace(rollouts=SimpleNamespace(n_rollouts=100))},
    )
    figure = draw_calibration_quality(drawn, varied="rollouts", task="helpful")
    left, right = figure.axes
    assert len(left.lines) == 4
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "uncalibrated (error 0.200)", "median of 1 (error 0.210)", "median of 100 (error 0.120)",
        "empirical, K = 100 (error 0.060)",
    ]  # fmt: skip
    curves = [line for line in right.lines if line.get_linestyle() != "None"]
    assert [line.get_ydata()[-1] for line in curves] == pytest.approx([0.70, 0.69, 0.72, 0.77])
    markers = [kl for line in right.lines if line.get_linestyle() == "None" for kl in line.get_xdata()]
    assert markers == [0.4, 0.5]  # neither that of three rollouts nor of another transform
    again = draw_calibration_quality(drawn, varied="rollouts", task="helpful")
    first, second = (save_figure(each, tmp_path / name) for name, each in (("a", figure), ("b", again)))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
