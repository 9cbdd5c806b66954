"""Calibration errors: by hand, and by what a quantile map must leave out of sample."""

import numpy as np
import polars as pl
import pytest

from infalign.errors import InputError
from infalign.presentation.calibration_errors import errors_by_map, sigmoid_table


def test_scores_are_centred_over_all_prompts():
    table = sigmoid_table(pl.DataFrame({"prompt_id": ["a", "a", "b", "b"], "reward": [0.0, 0.0, 2.0, 2.0]}))
    np.testing.assert_allclose(table["score"], 1 / (1 + np.exp([1.0, 1.0, -1.0, -1.0])))
    assert table["rank"].to_list() == [0.5] * 4


def test_calibrated_rewards_have_no_identity_error():
    ranks = (np.arange(50) + 0.5) / 50
    logits = np.log(ranks / (1 - ranks))
    frame = pl.DataFrame({"prompt_id": ["a"] * 50 + ["b"] * 50, "reward": np.tile(logits, 2)})
    errors = errors_by_map(frame, seed=0)
    assert errors["identity"].max() < 1e-12
    assert errors["cube"].mean() > 0.15


def test_quantile_map_leaves_sampling_error_only(scores):
    errors = errors_by_map(scores, seed=0)
    # two independent halves of 50: sqrt(2/pi) sqrt(2/50) pi/8 = 0.0627, pi/8 the mean of sqrt(u(1-u))
    assert errors["quantile"].mean() == pytest.approx(0.0627, abs=0.012)
    assert errors["identity"].mean() > 0.15


def test_halves_depend_on_the_seed_only(scores):
    first, again, other = (errors_by_map(scores, seed=seed)["quantile"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_too_few_and_uneven_rollouts_are_errors():
    frame = pl.DataFrame({"prompt_id": ["a"] * 3, "reward": [1.0, 2.0, 3.0]})
    with pytest.raises(InputError, match="3 rollouts a prompt; at least 4 are needed"):
        errors_by_map(frame, seed=0)
    uneven = pl.DataFrame({"prompt_id": ["a"] * 3 + ["b"], "reward": [1.0, 2.0, 3.0, 4.0]})
    with pytest.raises(InputError, match="the same number of rollouts, got from 1 to 3"):
        sigmoid_table(uneven)
