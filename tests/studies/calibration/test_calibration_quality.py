"""Calibrations measured on other rollouts than their own, against closed forms and the offline frontier."""

import numpy as np
import pytest
from scipy.special import logit

from infalign.errors import InputError
from infalign.mathematics.frontier import offline
from infalign.mathematics.ranks import mid_ranks
from infalign.mathematics.tilting import tilt_kl
from infalign.studies.calibration.mathematics import (
    calibrated_rewards,
    disjoint_draws,
    rank_errors,
    tilt_values,
    tilted_win_rates,
)

RNG = np.random.default_rng(11)


def test_draws_share_no_rollout_and_the_first_is_that_of_training():
    table = np.arange(20.0).reshape(2, 10)
    draws = disjoint_draws(table, 3, most=4)
    assert draws.shape == (3, 2, 3)
    assert np.array_equal(draws[0], table[:, :3])
    for prompt in range(2):
        assert len(np.unique(draws[:, prompt])) == 9
    assert disjoint_draws(table, 3, most=2).shape[0] == 2
    with pytest.raises(InputError, match="from 1 to 10 rollouts, those of a prompt, got 11"):
        disjoint_draws(table, 11, most=1)
    with pytest.raises(InputError, match="at least one set of rollouts, got 0"):
        disjoint_draws(table, 1, most=0)


def test_a_power_law_is_calibrated_exactly_by_its_median():
    """Scores v = u^(1/g), u uniform: C = v^g, which is the curve through the median."""
    gammas = np.array([0.5, 1.0, 3.0])
    quantiles = (np.arange(101) + 0.5) / 101
    table = logit(quantiles[None] ** (1 / gammas[:, None]))
    measured = logit(np.array([[0.1, 0.6, 0.9]]) ** (1 / gammas[:, None]))
    assert np.allclose(calibrated_rewards(measured, table, "anchors(1)", 0.0), [[0.1, 0.6, 0.9]], atol=1e-9)


def test_one_rollout_is_calibrated_to_one_half_by_itself():
    table = RNG.normal(size=(4, 1))
    assert np.allclose(calibrated_rewards(table, table, "anchors(1)", 0.0), 0.5)
    with pytest.raises(InputError, match="at least 2 reference rollouts"):
        calibrated_rewards(table, table, "empirical", 0.0)


def test_error_of_the_rank_itself_is_that_of_the_binomial():
    """An exact quantile is off its rank among M by sqrt(2/pi) E sqrt(u(1-u)/M); a table of M more adds as much."""
    exact = RNG.uniform(size=(400, 100))
    means = rank_errors(exact, exact).mean(axis=1)
    wanted = np.sqrt(2 / np.pi) * (np.pi / 8) / np.sqrt(100)
    assert abs(means.mean() - wanted) < 0.02 * wanted + 4 * means.std() / np.sqrt(400)
    table = RNG.uniform(size=(400, 100))
    means = rank_errors(calibrated_rewards(exact, table, "empirical", None), exact).mean(axis=1)
    assert abs(means.mean() - np.sqrt(2) * wanted) < 0.03 * wanted + 4 * means.std() / np.sqrt(400)


def test_ranks_of_the_measured_themselves_give_the_offline_frontier():
    reward, judge = RNG.normal(size=(2, 5, 30))
    for transform, text, kl in (
        ("identity", "none", 0.3),
        ("exp(10)", "bon(3)", 0.5),
        ("raw", "won(2)", 0.2),
    ):
        by = reward if transform == "raw" else mid_ranks(reward)
        values, beta = tilt_values(by[None], transform, kl=kl)
        point = offline(reward, judge, transform, text, "reward", kl=kl)
        rates = tilted_win_rates(values, beta, reward, judge, text)
        assert np.allclose(rates, point.win_rate_by_prompt, atol=1e-12)


def test_one_beta_gives_all_sets_the_budget_and_their_win_rates_are_averaged():
    reward, judge = RNG.normal(size=(2, 5, 30))
    calibrated = RNG.uniform(size=(3, 5, 30))
    values, beta = tilt_values(calibrated, "exp(-10)", kl=0.4)
    assert values.shape == (3, 5, 30)
    assert tilt_kl(values, beta).mean() == pytest.approx(0.4, abs=1e-9)
    each = [tilted_win_rates(values[i : i + 1], beta, reward, judge, "won(2)") for i in range(3)]
    assert np.allclose(tilted_win_rates(values, beta, reward, judge, "won(2)"), np.mean(each, axis=0))


def test_prompts_must_be_the_same():
    with pytest.raises(InputError, match="measured has 2 prompts, table has 3"):
        calibrated_rewards(np.zeros((2, 4)), np.zeros((3, 4)), "anchors(1)", 0.0)
