"""Win rates over the exponent: rows of the trained policies from a small known world, and the figure."""

import numpy as np
import polars as pl
import pytest

from infalign.mathematics.statistics import Bootstrap
from infalign.studies.exponents.figures import draw_exponents
from infalign.studies.exponents.tables import EXPONENTS_SCHEMA, trained_rows
from presentation.result_tables import GAINS
from presentation.stored_tables import Tables
from studies.exponents.best_exponents import best_exponents

CASES = [("helpful", f"bon({n})", n) for n in (2, 4)] + [("harmless", f"won({n})", n) for n in (2, 4)]


@pytest.fixture(scope="module")
def trained(metrics, prompt_metrics):
    rows = trained_rows(metrics, prompt_metrics, CASES, 0.5, Bootstrap(resamples=100))
    return pl.DataFrame(list(rows), schema=EXPONENTS_SCHEMA)


def test_trained_series_are_those_with_an_exponent_and_the_raw_reward(trained):
    part = trained.filter(procedure="bon(4)").sort("t", nulls_last=True)
    assert part["transform"].to_list() == ["identity", "exp(10)", "raw"]
    assert part["t"].to_list() == [0.0, 10.0, None]
    expected = [0.5 + GAINS[name] for name in part["transform"]]
    assert part["win_rate"].to_numpy() == pytest.approx(expected, abs=0.01)
    assert (part["ci_low"] < part["win_rate"]).all() and set(part["kind"]) == {"trained"}
    assert trained.filter(procedure="won(2)")["t"].drop_nulls().sort().to_list() == [-10.0, 0.0]


def test_a_kl_beyond_the_policies_has_no_row(metrics, prompt_metrics):
    assert list(trained_rows(metrics, prompt_metrics, CASES, 5.0, Bootstrap(resamples=100))) == []


def test_the_figure_has_a_panel_a_task_and_n(trained):
    table = best_exponents().filter(pl.col("n") < 32)
    curves = [
        (kind, task if kind == "offline" else None, procedure, n, "x", t, 0.5, 0.8 - 0.001 * (t - 4) ** 2, 0.7, 0.9)
        for kind in ("ideal", "offline")
        for task, procedure, n in CASES
        for t in (-10.0, 0.0, 10.0)
    ]  # fmt: skip
    raw = [("offline", *case, "raw", None, 0.5, 0.6, 0.5, 0.7) for case in CASES]
    rows = pl.DataFrame([*curves, *raw], schema=EXPONENTS_SCHEMA, orient="row")
    figure = draw_exponents(Tables(exponents=pl.concat([rows, trained]), best_exponents=table))
    assert [axis.get_title() for axis in figure.axes] == [
        "helpful, best-of-2", "helpful, best-of-4", "harmless, worst-of-2", "harmless, worst-of-4",
    ]  # fmt: skip
    axis = figure.axes[1]
    stars = [line for line in axis.lines if line.get_marker() == "*"]
    np.testing.assert_allclose([line.get_xydata()[0] for line in stars], [[8.0, 0.9]])
    (points,) = (line for line in axis.lines if line.get_marker() == "s")
    assert sorted(points.get_xdata()) == [0.0, 10.0]
    assert "-10" in [label.get_text() for label in axis.get_xticklabels()]
    figure.canvas.draw()
