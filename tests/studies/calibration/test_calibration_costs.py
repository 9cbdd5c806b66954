"""Costs of calibration: shares of the median training, and the page that shows them."""

import pytest

from infalign.studies.calibration.costs import (
    CALIBRATION_COSTS_SCHEMA,
    calibration_costs,
    calibration_costs_html,
)


def test_costs_are_shares_of_the_median_training():
    table = calibration_costs("t", 100, 20.0, 40.0, [100.0, 300.0, 110.0])
    assert dict(table.schema) == CALIBRATION_COSTS_SCHEMA
    assert table["seconds"].to_list() == [20.0, 40.0, 60.0, 110.0]
    assert table["training_share"].to_list() == pytest.approx([20 / 110, 40 / 110, 60 / 110, 1.0])
    none = calibration_costs("t", 100, 20.0, 40.0, [])
    assert none["training_share"].null_count() == 4 and none["seconds"].null_count() == 1


def test_costs_page_says_seconds_and_their_share():
    page = calibration_costs_html(calibration_costs("helpful", 100, 20.0, 10.0, [60.0]))
    assert "rollouts and scores, 100 a prompt" in page and "training a policy, median of 1" in page
    assert "30.0" in page and "0.50" in page
