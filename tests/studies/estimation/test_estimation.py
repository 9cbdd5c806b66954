"""Estimates of F: Kolmogorov–Smirnov tables, log F from M rollouts, the exponential fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from infalign.errors import InputError
from infalign.studies.estimation.mathematics import (
    ExponentialFit,
    exponential_fit,
    ks_table,
    log_distribution_estimates,
)

RNG = np.random.default_rng(53)
UNIFORM = RNG.random((1500, 700))


def nested_rate(size, full, level=0.05):
    """Asymptotic rejection rate where the M are among the K: √(1/M − 1/K) is the scale, not √(1/M + 1/K)."""
    bound = -np.log(level / 2) / 2 * (1 / size + 1 / full) / (1 / size - 1 / full)
    return 2 * np.exp(-2 * bound)


def test_independent_samples_are_rejected_at_the_level():
    for row in ks_table(UNIFORM, [20, 100], nested=False):
        assert 0.035 < row.rejection_rate < 0.062
        assert row.ci_low < 0.05 < row.ci_high
        assert row.mean_p < 0.05


def test_nested_samples_are_rejected_less_the_larger_they_are():
    rows = ks_table(UNIFORM, [20, 100, 250], nested=True)
    rates = [row.rejection_rate for row in rows]
    assert rates[0] > rates[1] > rates[2]
    assert nested_rate(100, 600) == pytest.approx(0.0114, abs=1e-4)  # 1.14 % in table 1
    for row in rows[:2]:
        expected = nested_rate(row.size, 600)
        assert abs(row.rejection_rate - expected) < 4 * np.sqrt(expected / len(UNIFORM))
    assert rates[2] < 0.003


def test_only_the_order_of_rewards_counts():
    few = UNIFORM[:50]
    for nested in (True, False):
        table = ks_table(few, [20], nested=nested, level=0.3)
        assert table[0].n_rejected > 0
        assert ks_table(norm.ppf(few), [20], nested=nested, level=0.3) == table


def test_another_distribution_is_rejected():
    shifted = UNIFORM[:40].copy()
    shifted[:, 600:] += 0.5
    [row] = ks_table(shifted, [50], nested=False)
    assert row.n_rejected == row.n_prompts == 40
    assert row.rejection_rate == row.ci_high == 1.0
    assert 0.4 < row.mean_statistic < 0.8  # 0.5 is the distance of the two distributions


def test_a_table_without_rejections_has_no_means():
    rewards = np.vstack([np.full(20, 3.0), np.arange(20.0)])
    [row] = ks_table(rewards, [20], nested=True, n_full=20)  # all of them against themselves
    assert (row.n_prompts, row.n_constant, row.n_rejected) == (2, 1, 0)
    assert row.mean_statistic is row.mean_p is None
    assert row.ci_high == pytest.approx(1.96**2 / (2 + 1.96**2), abs=1e-4)  # Wilson at 0 of 2


def test_equal_rewards_are_counted_where_the_other_sample_shares_them():
    rewards = np.zeros((2, 12))
    rewards[1, 6:] = 1.0
    assert ks_table(rewards, [6], nested=True, n_full=6)[0].n_constant == 2
    [row] = ks_table(rewards, [6], nested=False, n_full=6)
    assert (row.n_constant, row.n_rejected, row.mean_statistic) == (1, 1, 1.0)
    assert row.mean_p == pytest.approx(2 / 924)  # two of the 12 choose 6 orders


def test_the_seed_decides_the_draws():
    def table(seed):
        return ks_table(UNIFORM[:100], [20], nested=True, level=0.5, seed=seed)

    assert table(1) == table(1)
    assert table(1) != table(2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": [5, 20], "nested": False, "n_full": 10}, "at least 30 rollouts a prompt, got 15"),
        ({"sizes": [5], "nested": True, "n_full": 16}, "at least 16 rollouts a prompt, got 15"),
        ({"sizes": [11], "nested": True, "n_full": 10}, r"from 1 to 10 .* got \[11\]"),
        ({"sizes": [0], "nested": False, "n_full": 10}, r"at least 1, got \[0\]"),
        ({"sizes": [], "nested": True, "n_full": 10}, r"got \[\]"),
        ({"sizes": [5], "nested": True, "n_full": 10, "level": 1.0}, "between 0 and 1, got 1.0"),
    ],
)
def test_tables_that_cannot_be_made(options, message):
    with pytest.raises(InputError, match=message):
        ks_table(UNIFORM[:2, :15], **options)


def test_rewards_must_be_finite():
    with pytest.raises(InputError, match="rewards must be finite, got nan"):
        ks_table([[0.0, np.nan]], [1], nested=True, n_full=2)


def test_estimates_settle_on_the_true_distribution():
    rewards, at = RNG.normal(size=40_000), np.array([-1.5, 0.0, 1.0])
    estimates = log_distribution_estimates(rewards, [100, 40_000], at)
    errors = np.abs(estimates - norm.logcdf(at))
    deviation = np.sqrt((1 - norm.cdf(at)) / norm.cdf(at) / 40_000)
    assert np.all(errors[1] < 4 * deviation)
    assert np.all(estimates <= 0)


def test_equal_rewards_are_not_below():
    plain = log_distribution_estimates([1.0, 1.0, 2.0, 0.0], [2, 4], [1.0, 2.0], added=0)
    assert np.exp(plain).round(12).tolist() == [[0.0, 1.0], [0.25, 0.75]]


def exact_bias(f, size, added):
    """E[log F̂] − log F, over the counts where it is finite."""
    counts = np.arange(0 if added else 1, size + 1)
    weights = binom.pmf(counts, size, f)
    return np.log((added + counts) / (added + size)) @ weights / weights.sum() - np.log(f)


@pytest.mark.parametrize(("added", "sign"), [(0.0, -1), (1.0, 1)])
def test_bias_of_log_f(added, sign):
    f, size, repeats = 0.4, 30, 4000
    draws = RNG.random((repeats, size))
    estimates = np.array([log_distribution_estimates(row, [size], [f], added)[0, 0] for row in draws])
    estimates = estimates[np.isfinite(estimates)]
    bias, error = estimates.mean() - np.log(f), estimates.std() / np.sqrt(len(estimates))
    assert sign * bias > 4 * error  # Jensen's sign for the plain share, the opposite one with the added count
    assert abs(bias - exact_bias(f, size, added)) < 4 * error
    assert exact_bias(f, 500, added) == pytest.approx(sign * (1 - f) / (2 * f * 500), rel=0.05)


def test_half_a_count_cancels_the_bias():
    for f in (0.2, 0.5, 0.9):
        assert abs(exact_bias(f, 200, 0.5)) < 0.05 * min(abs(exact_bias(f, 200, added)) for added in (0, 1))


def test_the_plain_share_is_minus_infinity_where_nothing_is_below():
    assert log_distribution_estimates([1.0], [1], [0.0], added=0).tolist() == [[-np.inf]]
    assert np.exp(log_distribution_estimates([1.0], [1], [0.0])).tolist() == [[0.5]]


def test_estimates_that_cannot_be_made():
    with pytest.raises(InputError, match=r"from 1 to 2 .* got \[3\]"):
        log_distribution_estimates([1.0, 2.0], [3], [0.0])
    with pytest.raises(InputError, match="added must be a finite number >= 0, got -1"):
        log_distribution_estimates([1.0, 2.0], [1], [0.0], added=-1)


@settings(deadline=None, max_examples=60)
@given(st.floats(0.05, 20), st.floats(0.05, 20), st.floats(-50, 50), st.integers(2, 40))
def test_the_fit_recovers_the_curve(a, b, shift, count):
    rewards = shift + np.linspace(0, 3 / b, count)
    log_a = np.log(a) + b * shift  # a itself may be e^1000
    fit = exponential_fit(rewards, -np.exp(log_a - b * rewards), "p")
    assert fit.b == pytest.approx(b, rel=1e-6)
    assert fit.log_a == pytest.approx(log_a, rel=1e-6, abs=1e-6)


def test_the_fit_is_the_least_squares_one():
    rewards = RNG.normal(size=200)
    log_f = log_distribution_estimates(rewards, [200], rewards)[0]
    fit = exponential_fit(rewards, log_f, "p")

    def squares(log_a, b):
        return np.sum((ExponentialFit(log_a, b).log_distribution(rewards) - log_f) ** 2)

    best = squares(fit.log_a, fit.b)
    for step in (1e-3, -1e-3):
        assert squares(fit.log_a + step, fit.b) > best
        assert squares(fit.log_a, fit.b + step) > best
    assert best < 0.2 * np.sum((log_f - log_f.mean()) ** 2)


def test_the_fit_finds_the_law_of_gumbel_rewards():
    a, b = 2.0, 0.5  # F = exp(−a·exp(−b·x))
    rewards = -np.log(-np.log(RNG.random(5000)) / a) / b
    fit = exponential_fit(rewards, log_distribution_estimates(rewards, [5000], rewards)[0], "p")
    assert np.exp(fit.log_a) == pytest.approx(a, rel=0.1)
    assert fit.b == pytest.approx(b, rel=0.1)


@settings(deadline=None, max_examples=30)
@given(st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_the_curve_moves_with_the_rewards(factor, shift):
    rewards = np.array([0.0, 0.3, 1.0, 1.5, 4.0])
    log_f = np.log([0.1, 0.2, 0.5, 0.8, 0.9])
    moved = exponential_fit(factor * rewards + shift, log_f, "p").log_distribution(factor * rewards + shift)
    assert moved == pytest.approx(exponential_fit(rewards, log_f, "p").log_distribution(rewards), rel=1e-5)


@pytest.mark.parametrize(
    ("rewards", "log_f", "message"),
    [
        ([1.0, 1.0], [-0.5, -0.5], "'review 7' cannot be fitted: its 2 rollouts have one reward"),
        ([1.0, 2.0, 3.0], [-0.5, -0.5, -0.5], "'review 7' .* is the same everywhere"),
        ([1.0, 3.0, 2.0], [-1.0, -0.5, -0.1], "'review 7' falls where the reward rises"),
        ([1.0, 2.0], [-0.5, 0.0], "'review 7' .* is 0 above the lowest reward"),
        ([0.0, 10.0, 10.001], [-1.0, 0.0, 0.0], "'review 7' .* is 0 above the lowest reward"),
        ([1.0, 2.0], [0.0, 0.0], "'review 7' .* is the same everywhere"),
        ([1.0, 2.0], [-1.0, 0.5], "'review 7' must be at most 0 .* up to 0.5"),
        ([1.0, 2.0], [-1.0], "'review 7' must be .* one for each of 2 rewards, got 1"),
        ([1.0, 2.0], [-np.inf, -1.0], "log F of prompt_id 'review 7' must be finite, got -inf"),
    ],
)
def test_curves_that_cannot_be_fitted(rewards, log_f, message):
    with pytest.raises(InputError, match=message):
        exponential_fit(rewards, log_f, "review 7")
