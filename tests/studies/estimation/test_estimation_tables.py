"""Tables of the estimation error: what stands in them, and prompts of one reward."""

import numpy as np
import pytest

from infalign.errors import InputError
from infalign.studies.estimation.block import Estimation
from infalign.studies.estimation.mathematics import ks_table
from infalign.studies.estimation.tables import (
    ESTIMATION_SCHEMA,
    LOG_DISTRIBUTION_SCHEMA,
    estimation_table,
    log_distribution_table,
    shown_prompts,
)

SETTINGS = Estimation(task="sentiment", n_full=200, sizes=[10, 50])


def gumbel(count, b, seed):
    """Rewards whose log F is -exp(-b reward)."""
    return np.random.default_rng(seed).gumbel(scale=1 / b, size=count)


@pytest.fixture
def rewards():
    """Five prompts, one of them with one reward; means rise from the second."""
    rows = [np.zeros(250)] + [shift + gumbel(250, 2.0, seed) for seed, shift in enumerate((-4, 0, 3, 8))]
    return np.array(rows)


def test_the_table_holds_both_samplings_and_counts_equal_rewards(rewards):
    table = estimation_table(rewards, SETTINGS, seed=3)
    assert dict(table.schema) == ESTIMATION_SCHEMA
    assert table.select("sampling", "size").rows() == [
        ("nested", 10), ("nested", 50), ("independent", 10), ("independent", 50),
    ]  # fmt: skip
    assert set(table["n_constant"]) == {1} and set(table["n_prompts"]) == {5}
    apart = ks_table(rewards, [10, 50], nested=False, n_full=200, seed=3)
    assert table.filter(sampling="independent")["n_rejected"].to_list() == [row.n_rejected for row in apart]


def test_prompts_of_low_median_and_high_mean_are_shown_and_those_of_one_reward_are_not(rewards):
    assert shown_prompts(rewards) == [1, 3, 4]
    with pytest.raises(InputError, match="2 of 3 prompts have rewards that differ, 3 are shown; raise"):
        shown_prompts(rewards[:3])


def test_log_f_and_the_fit_are_those_of_the_law(rewards):
    curves = log_distribution_table(list("abcde"), rewards, SETTINGS)
    assert dict(curves.schema) == LOG_DISTRIBUTION_SCHEMA
    assert curves["kind"].unique(maintain_order=True).to_list() == ["adversarial", "neutral", "positive"]
    assert sorted(curves["size"].unique()) == [10, 50, 200]
    part = curves.filter(kind="neutral", size=200)
    assert part["prompt_id"].unique().to_list() == ["d"]
    np.testing.assert_array_equal(part["reward"], np.sort(rewards[3, :200]))
    np.testing.assert_allclose(part["log_f"], np.log((1 + np.arange(200)) / 201))
    # reward = 3 + gumbel: log F = -exp(6) exp(-2 reward)
    assert part["b"][0] == pytest.approx(2.0, rel=0.15)
    assert part["log_a"][0] == pytest.approx(3 * part["b"][0], abs=0.3)
