"""The figure of KL estimates: a marker for each policy, none where a ratio is undefined."""

import numpy as np
import polars as pl

from infalign.studies.kl_estimators.figures import figure_kl_estimators
from infalign.studies.kl_estimators.tables import ESTIMATOR_SCHEMA


def test_the_figure_of_estimates_has_a_marker_a_policy_and_leaves_out_the_undefined():
    rows = [
        ("t", name, estimator, kl, kl, kl, gap, gap, gap, 1.0, ratio, ratio, ratio, 4, 4)
        for name, kl, ratio in (("a", 0.3, 5.0), ("b", 0.6, None))
        for estimator, gap in (("full_vocabulary", 0.0), ("k1", 0.01), ("k3", -0.02))
    ]
    figure = figure_kl_estimators(pl.DataFrame(rows, schema=ESTIMATOR_SCHEMA, orient="row"))
    left, right = figure.axes
    points = {line.get_label(): line for line in left.lines if not line.get_label().startswith("_")}
    assert [list(line.get_xdata()) for line in points.values()] == [[0.3, 0.6]] * 2
    assert points["k1: log-ratio, t"].get_ydata().tolist() == [0.01, 0.01]
    assert np.isnan(right.lines[0].get_ydata()[1]) and right.lines[0].get_ydata()[0] == 5.0
