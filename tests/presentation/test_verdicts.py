"""The verdict rule, case by case, and its power."""

import math

import pytest
from pydantic import ValidationError

from infalign.mathematics.statistics import Interval
from infalign.presentation.verdicts import (
    Expectation,
    least_favourable,
    power_to_bound,
    power_to_see,
    standard_error,
    verdict,
)

RANGE = Expectation(direction="greater", paper_range=(0.08, 0.12))
DIRECTION = Expectation(direction="greater", effect=0.02)


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (Interval(0.10, 0.08, 0.12), "reproduced"),
        (Interval(0.07, 0.05, 0.09), "reproduced"),  # meets the range
        (Interval(0.20, 0.18, 0.22), "reproduced"),  # above the range
        (Interval(0.05, 0.03, 0.07), "partly"),  # short of the range
        (Interval(-0.02, -0.03, -0.01), "not reproduced"),
        (Interval(0.01, -0.02, 0.04), "not reproduced"),  # power to see 0.08 is about 1
        (Interval(0.03, -0.04, 0.10), "underpowered"),
        (Interval(math.nan, math.nan, math.nan), "not run"),
        (None, "not run"),
    ],
)
def test_range_claim(interval, expected):
    assert verdict(interval, RANGE) == expected


def test_direction_claim_needs_no_range():
    assert verdict(Interval(0.003, 0.001, 0.005), DIRECTION) == "reproduced"
    assert verdict(Interval(0.000, -0.005, 0.005), DIRECTION) == "not reproduced"
    assert verdict(Interval(0.010, -0.020, 0.040), DIRECTION) == "underpowered"


def test_less_mirrors_greater():
    less = Expectation(direction="less", reference=0.15, paper_range=(0.0, 0.025))
    assert verdict(Interval(0.02, 0.015, 0.03), less) == "reproduced"
    assert verdict(Interval(0.06, 0.05, 0.07), less) == "partly"
    assert verdict(Interval(0.20, 0.18, 0.22), less) == "not reproduced"
    assert verdict(Interval(0.14, 0.00, 0.28), less) == "underpowered"


def test_margin_claims_need_the_whole_interval_inside():
    alike = Expectation(direction="equivalent", margin=0.01)
    assert verdict(Interval(0.002, -0.005, 0.009), alike) == "reproduced"
    assert verdict(Interval(0.06, 0.05, 0.07), alike) == "not reproduced"
    assert verdict(Interval(0.0, -0.02, 0.02), alike) == "underpowered"
    assert verdict(Interval(0.009, 0.006, 0.012), alike) == "partly"
    assert verdict(Interval(0.012, 0.009, 0.015), alike) == "not reproduced"
    close = Expectation(direction="not_worse", margin=0.01)
    assert verdict(Interval(0.05, 0.04, 0.06), close) == "reproduced"
    assert verdict(Interval(-0.03, -0.04, -0.02), close) == "not reproduced"


def test_exact_numbers_are_never_underpowered():
    assert verdict(Interval(0.0, 0.0, 0.0), DIRECTION) == "not reproduced"
    assert verdict(Interval(1e-9, 1e-9, 1e-9), DIRECTION) == "reproduced"


def test_power_is_that_of_a_two_sided_interval():
    unit = Interval(0.0, -1.959964, 1.959964)
    assert standard_error(unit) == pytest.approx(1.0, abs=1e-6)
    assert power_to_see(0.0, unit) == pytest.approx(0.05, abs=1e-6)
    assert power_to_see(1.959964, unit) == pytest.approx(0.5, abs=1e-4)
    assert power_to_bound(1.959964, unit, two_sided=False) == pytest.approx(0.5, abs=1e-6)
    assert power_to_bound(1.0, unit, two_sided=True) == 0.0


def test_several_comparisons_stand_by_the_least_favourable():
    good, bad = Interval(0.05, 0.04, 0.06), Interval(0.05, -0.01, 0.11)
    assert least_favourable([good, bad], DIRECTION) is bad
    assert least_favourable([good, Interval(math.nan, math.nan, math.nan)], DIRECTION) is None
    assert least_favourable([], DIRECTION) is None
    alike = Expectation(direction="equivalent", margin=0.01)
    far_below = Interval(-0.2, -0.3, -0.1)
    assert least_favourable([good, far_below, bad], alike) is far_below


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"direction": "greater"}, "needs either paper_range with its low end, or effect"),
        ({"direction": "less", "paper_range": (0.1, None)}, "needs either paper_range with its high end"),
        ({"direction": "greater", "effect": 0.1, "margin": 0.1}, "takes no margin; remove it"),
        ({"direction": "equivalent"}, "needs margin, and neither paper_range nor effect"),
    ],
)
def test_incomplete_expectations_say_what_is_needed(fields, message):
    with pytest.raises(ValidationError, match=message):
        Expectation(**fields)
