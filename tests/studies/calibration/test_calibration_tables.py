"""Tables of calibration quality on prompts whose rewards follow known laws."""

import numpy as np
import polars as pl
import pytest
from scipy.special import logit

from infalign.errors import InputError
from infalign.records.config import Evaluation, Goal
from infalign.studies.calibration.block import Calibration
from infalign.studies.calibration.tables import (
    CALIBRATION_SCHEMAS,
    calibration_tables,
    measured_responses,
)

SETTINGS = Calibration(rollouts=[1, 7, 60], anchors=[1, 4], n_measured=40, draws=3, kl=[0.2, 0.5])
GOAL = Goal(procedure="bon(2)", transform="exp(10)")
FAST = Evaluation(resamples=100)


def scored(n, seed, n_prompts=24):
    """Rewards logit(u^(1/g)), u uniform, g the prompt's: a power law, which the median calibrates exactly."""
    rng = np.random.default_rng(seed)
    gammas = np.geomspace(0.2, 5.0, n_prompts)
    quantiles = rng.uniform(size=(n_prompts, n))
    return pl.DataFrame(
        {
            "prompt_id": np.repeat([f"p{i:02d}" for i in range(n_prompts)], n),
            "sample_id": np.tile(np.arange(n), n_prompts),
            "reward": logit(quantiles ** (1 / gammas[:, None])).ravel(),
            "judge": quantiles.ravel(),
        }
    )


@pytest.fixture(scope="module")
def tables():
    return calibration_tables(measured_responses("t", scored(60, 1), scored(40, 2)), GOAL, SETTINGS, FAST)


def by_case(table, value):
    return {tuple(key): part[value].mean() for key, part in table.group_by("calibrator", "n_rollouts")}


def test_tables_have_their_schemas_and_a_row_per_case(tables):
    assert {name: dict(table.schema) for name, table in tables.items()} == CALIBRATION_SCHEMAS
    cases = [
        (None, None),
        ("anchors(1)", 1),
        ("anchors(1)", 7),
        ("anchors(1)", 60),
        ("anchors(4)", 60),
        ("empirical", 60),
    ]
    errors, points = tables["calibration_error"], tables["calibration_frontier"]
    assert errors.select("calibrator", "n_rollouts").unique(maintain_order=True).rows() == cases
    assert errors.height == len(cases) * 51
    assert points.height == len(cases) * 2 * 2 * 2  # two goals, two KLs, two scorers
    assert tables["prompt_calibration_frontier"].height == 24 * points.height
    raw = points.filter(pl.col("calibrator").is_null())
    assert raw["transform"].unique().to_list() == ["raw"]
    assert sorted(points.select("transform", "procedure").unique().rows()) == [
        ("exp(10)", "bon(2)"), ("identity", "none"), ("raw", "bon(2)"), ("raw", "none"),
    ]  # fmt: skip


def test_errors_fall_with_the_rollouts(tables):
    errors = by_case(tables["prompt_calibration_error"], "error")
    assert errors[None, None] > errors["anchors(1)", 7] > errors["anchors(1)", 60]
    assert errors["anchors(1)", 1] > errors["anchors(1)", 7]
    exact = 0.3133 / np.sqrt(40)  # the error of the rank, of which nothing can get rid
    assert exact < errors["anchors(1)", 60] < 2.2 * exact


def test_distributions_rise_to_one_and_have_the_means_of_the_prompts(tables):
    for key, part in tables["calibration_error"].group_by("calibrator", "n_rollouts"):
        share = part.sort("error")["share"].to_numpy()
        assert np.all(np.diff(share) >= 0) and share[-1] == pytest.approx(1)
        assert (part["ci_low"] <= part["share"] + 1e-12).all() and (part["share"] <= part["ci_high"] + 1e-12).all()
        mean = 0.02 * (1 - (share[1:] + share[:-1]) / 2).sum()  # the area above the distribution
        assert mean == pytest.approx(by_case(tables["prompt_calibration_error"], "error")[key], abs=2e-3)


def test_means_of_the_frontier_are_those_of_the_prompts(tables):
    key = [
        name
        for name in CALIBRATION_SCHEMAS["calibration_frontier"]
        if name in CALIBRATION_SCHEMAS["prompt_calibration_frontier"]
    ]
    key.remove("win_rate")
    means = tables["prompt_calibration_frontier"].group_by(key).agg(pl.col("win_rate").mean().alias("mean"))
    both = tables["calibration_frontier"].join(means, on=key, nulls_equal=True)
    assert both.height == tables["calibration_frontier"].height
    assert (both["win_rate"] - both["mean"]).abs().max() < 1e-12


def test_better_calibration_wins_by_rank(tables):
    """Here the judge is the rank: the calibrated tilt is optimal, so nothing of the same KL wins more often."""
    points = tables["calibration_frontier"].filter(procedure="none", scorer="judge", kl=0.5)
    rates = by_case(points, "win_rate")
    assert rates["anchors(1)", 60] > rates["anchors(1)", 7] > rates["anchors(1)", 1]
    assert rates["anchors(1)", 60] > rates[None, None] + 0.01


def test_log_acts_on_strict_ranks():
    responses = measured_responses("t", scored(60, 1, 4), scored(20, 2, 4))
    goal = Goal(procedure="none", transform="log")
    settings = Calibration(rollouts=[1], anchors=[1], n_measured=20, kl=[0.3])
    points = calibration_tables(responses, goal, settings, FAST)["calibration_frontier"]
    assert points["win_rate"].is_finite().all()


def test_prompts_must_be_the_same_and_one_prompt_has_no_interval():
    with pytest.raises(InputError, match="have different prompts; sample both again"):
        measured_responses("t", scored(8, 1, 3), scored(8, 2, 4))
    one = measured_responses("t", scored(8, 1, 1), scored(8, 2, 1))
    settings = Calibration(rollouts=[1], anchors=[1], kl=[0.2])
    points = calibration_tables(one, GOAL, settings, FAST)["calibration_frontier"]
    assert points["ci_low"].null_count() == points.height and points["win_rate"].null_count() == 0
