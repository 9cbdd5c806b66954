"""Claims on calibration quality, against values known by hand."""

import polars as pl
import pytest

from infalign.errors import InputError
from infalign.mathematics.statistics import Bootstrap
from infalign.presentation.claims import evaluate_claims, judge_and_gold
from presentation.stored_tables import Tables, parse_claims
from studies.calibration.known_calibrations import known_tables

FAST = Bootstrap(resamples=200)


@pytest.fixture(scope="module")
def tables():
    return known_tables()


def claim(measure, expect=None):
    entry = {"claim": "a", "source": "b", "text": "c", "paper_value": "d", "about": "measurement"}
    expect = expect or {"direction": "greater", "effect": 0.01}
    return parse_claims({"claims": [{**entry, "expect": expect, "measure": {"task": "helpful", **measure}}]})


def row_of(measure, tables):
    return evaluate_claims(claim(measure), tables, bootstrap=FAST).row(0, named=True)


def rates(kind, **more):
    return {"kind": kind, "value": "win_rate", "transform": "exp(10)", "procedure": "bon(4)", **more}


def median(n=None):
    return {"calibrator": "anchors(1)"} | ({"n_rollouts": n} if n else {})


def test_a_difference_is_paired_and_the_least_favourable_counts(tables):
    row = row_of(rates("calibration_difference", a=median(), b=[median(1), {}]), tables)
    assert row["ours"] == pytest.approx(0.72 - 0.70)  # the median of the most rollouts less the uncalibrated
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((0.02, 0.02))  # the prompts' waves cancel
    assert row["verdict"] == "reproduced" and "KL 0.5, out of sample" in row["text"]


def test_errors_are_compared_too(tables):
    measure = {
        "kind": "calibration_difference",
        "value": "error",
        "a": median(),
        "b": [{"calibrator": "anchors(2)"}],
    }
    assert row_of(measure, tables)["ours"] == pytest.approx(0.04)


def test_saturation_needs_a_first_step(tables):
    steps = [median(), {"calibrator": "anchors(2)"}, {"calibrator": "anchors(10)"}]
    row = row_of(rates("calibration_saturation", steps=steps), tables)
    assert row["ours"] == pytest.approx((0.75 - 0.72) - (0.76 - 0.75))
    error = {"kind": "calibration_saturation", "value": "error", "steps": steps}
    assert row_of(error, tables)["ours"] == pytest.approx((0.12 - 0.08) - (0.08 - 0.06))
    back = row_of(rates("calibration_saturation", steps=[steps[1], steps[0], median(1)]), tables)
    assert back["ours"] == pytest.approx(0.72 - 0.75) and back["verdict"] == "not reproduced"


def test_gold_judges_win_rates_and_no_errors(tables):
    measure = rates("calibration_difference", a=median(), b=[{}])
    assert judge_and_gold(claim(measure), tables, bootstrap=FAST)["ours_gold"].to_list() == pytest.approx([0.02])
    error = {"kind": "calibration_difference", "value": "error", "a": median(), "b": [{}]}
    assert judge_and_gold(claim(error), tables, bootstrap=FAST).is_empty()


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        (
            rates("calibration_difference", a=median(7), b=[{}]),
            "no calibration anchors(1) K=7 of task helpful",
        ),
        (rates("calibration_difference", a=median(), b=[{}], kl=0.7), "with bon(4) at KL 0.7"),
        (rates("calibration_difference", a=median(), b=[{}], task="sums"), "of task sums"),
    ],
)
def test_what_was_not_compared_is_not_run(tables, measure, said):
    row = row_of(measure, tables)
    assert row["verdict"] == "not run" and said in row["text"]
    assert "no calibrations were compared" in row_of(measure, Tables())["text"]


def test_different_prompts_are_an_error(tables):
    some = tables.prompt_calibration_error.filter(
        ~((pl.col("prompt_id") == "p0") & (pl.col("calibrator") == "anchors(2)"))
    )
    measure = {
        "kind": "calibration_difference",
        "value": "error",
        "a": median(),
        "b": [{"calibrator": "anchors(2)"}],
    }
    with pytest.raises(InputError, match="different prompts"):
        row_of(measure, Tables(**tables.stored | {"prompt_calibration_error": some}))
