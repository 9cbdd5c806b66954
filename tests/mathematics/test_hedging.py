"""Hedging: expected rewards against enumeration, optima against closed forms and Monte Carlo, and sampling."""

from dataclasses import asdict
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from infalign.errors import InputError
from infalign.mathematics.families import Family
from infalign.mathematics.hedging import (
    Pools,
    expected_rewards,
    hacking_curve,
    hedge,
    regime,
    residual,
    sample,
)
from infalign.mathematics.statistics import bootstrap_mean
from infalign.mathematics.tilting import tilt
from infalign.mathematics.winrate import selection_weights
from mathematics.score_functions import score_function

BON, BOP, TILT, SBON = Family("bon"), Family("bop"), Family("tilt"), Family("sbon", 4)
EVERY = [BON, BOP, SBON, TILT]
names = [family.method for family in EVERY]
integers = st.lists(st.tuples(st.integers(0, 3), st.integers(-3, 3)), min_size=3, max_size=6)


def polynomial(u):
    """Best of 2.78 is best: d/dθ (θ/(θ + 1) − 0.8 θ/(θ + 2)) = 0."""
    return u - 0.8 * u**2


def mixture(u):
    """Two good regions of the proxy, a poor one between them, and a bad end."""
    return norm.pdf(u, 0.25, 0.12) + 1.5 * norm.pdf(u, 0.8, 0.07) - 4 * u**20


def pool(reward, m=400):
    """One prompt whose true reward is a function of the quantile of a proxy with an unusual scale."""
    u = (np.arange(m) + 0.5) / m
    order = np.random.default_rng(0).permutation(m)
    return Pools([np.exp(7 * u)[order]], [reward(u)[order]])


def random_pools(seed, sizes=(5, 8, 8, 13), levels=4):
    """Prompts of different sizes with ties in the proxy."""
    rng = np.random.default_rng(seed)
    return Pools([rng.integers(0, levels, m).astype(float) for m in sizes], [rng.normal(size=m) for m in sizes])


# Expected rewards


@settings(max_examples=30, deadline=None)
@given(integers, st.integers(1, 3))
def test_best_of_n_is_the_mean_over_all_independent_draws(responses, n):
    """Every tuple of n responses drawn with replacement; the best by proxy, ties alike."""
    proxy, true = np.array(responses, dtype=float).T
    total = np.zeros(2)
    for draw in product(range(len(proxy)), repeat=n):
        best = [i for i in draw if proxy[i] == proxy[list(draw)].max()]
        total += [true[best].mean(), proxy[best].mean()]
    got = expected_rewards(BON, [n], Pools([proxy], [true]))
    assert np.allclose(np.ravel(got), total / len(proxy) ** n, atol=1e-12)


def test_tilt_is_the_tilt_of_mid_ranks():
    proxy, true = np.arange(6.0), np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0])
    weights = tilt((np.arange(6) + 0.5) / 6, 1 / 2.5)
    got_true, got_proxy = expected_rewards(TILT, [2.5], Pools([proxy], [true]))
    assert np.allclose([got_true[0, 0], got_proxy[0, 0]], [weights @ true, weights @ proxy])


@pytest.mark.parametrize("family", EVERY, ids=names)
@pytest.mark.parametrize("theta", [1.0, 2.5])
def test_large_pools_give_the_integral(family, theta):
    expected = quad(lambda u: mixture(u) * float(family.at(theta).density(u)), 0, 1, limit=100)[0]
    assert float(expected_rewards(family, [theta], pool(mixture))[0][0, 0]) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("family", EVERY, ids=names)
def test_smallest_parameter_is_the_reference(family):
    pools = random_pools(1)
    true, proxy = expected_rewards(family, [family.domain(5)[0]], pools)
    assert np.allclose(true[:, 0], [row.mean() for row in pools.true])
    assert np.allclose(proxy[:, 0], [row.mean() for row in pools.proxy])


# The residual


@pytest.mark.parametrize("family", EVERY, ids=names)
@pytest.mark.parametrize("theta", [1.2, 2.0])
def test_residual_is_the_derivative_of_the_expected_reward(family, theta):
    pools, step = random_pools(2, sizes=(16, 20, 20)), 1e-4
    values = expected_rewards(family, [theta - step, theta + step], pools)[0].mean(axis=0)
    assert residual(family, theta, pools) == pytest.approx(np.diff(values)[0] / (2 * step), abs=1e-7)


@pytest.mark.parametrize("family", EVERY, ids=names)
def test_residual_of_a_large_pool_is_that_of_the_paper(family):
    def weighted(u):
        return float(polynomial(u) * family.at(1.7).density(u) * score_function(family, 1.7, u))

    expected = quad(weighted, 1e-12, 1, limit=100)[0]
    assert residual(family, 1.7, pool(polynomial)) == pytest.approx(expected, abs=2e-6)


def test_residual_of_rewards_far_from_zero():
    pools = pool(polynomial)
    far = Pools(pools.proxy, [true + 1e6 for true in pools.true])
    assert residual(Family("sbon", 400), 2.0, far) == pytest.approx(
        residual(Family("sbon", 400), 2.0, pools), abs=1e-11
    )


# The hedge


def test_best_of_n_optimum_of_a_polynomial_is_its_closed_form():
    found = hedge(BON, pool(polynomial))
    root = np.sqrt(1.6)
    assert (found.kind, found.n_extrema, found.n) == ("interior", 1, 3)
    assert found.parameter == pytest.approx((2 - root) / (root - 1), abs=1e-3)
    assert abs(residual(BON, found.parameter, pool(polynomial))) < 1e-10


def test_tilt_optimum_makes_the_covariance_vanish():
    found = hedge(TILT, pool(polynomial))
    x, w = np.polynomial.legendre.leggauss(60)
    u = (1 + x) / 2
    p = w * np.exp(found.parameter * u)
    p /= p.sum()
    assert found.kind == "interior"
    assert p @ (polynomial(u) * u) - (p @ polynomial(u)) * (p @ u) == pytest.approx(0, abs=1e-6)


def monte_carlo(method, thetas, reward, draws):
    """Mean and standard error of the reward at each θ, from `draws` simulated outcomes."""
    rng = np.random.default_rng(11)
    v = rng.random(draws)
    candidates = rng.random((draws, 4)) if method == "sbon" else None
    for theta in thetas:
        if method == "bon":
            values = reward(v ** (1 / theta))
        elif method == "bop":
            values = reward(v ** (1 / (1 + rng.poisson(theta, draws))))
        elif method == "tilt":
            values = reward(np.log1p(v * np.expm1(theta)) / theta)
        else:
            chances = np.cumsum(np.exp(theta * candidates), axis=1)
            place = (chances < v[:, None] * chances[:, -1:]).sum(axis=1)
            values = reward(candidates[np.arange(draws), place])
        yield values.mean(), values.std() / np.sqrt(draws)


@pytest.mark.parametrize("reward", [polynomial, mixture], ids=["polynomial", "mixture"])
@pytest.mark.parametrize("family", EVERY, ids=names)
def test_hedge_against_a_grid_search_by_monte_carlo(family, reward):
    """10⁶ simulated outcomes at each of 9 parameters, from hardly any selection to far too much."""
    pools = pool(reward)
    found = hedge(family, pools)
    assert found.kind == "interior"
    low, multiples = family.domain(400)[0], np.geomspace(0.2, 5, 9)
    grid = low + (found.parameter - low) * multiples
    exact = expected_rewards(family, grid, pools)[0][0]
    estimates, errors = np.transpose(list(monte_carlo(family.method, grid, reward, 1_000_000)))
    assert np.all(np.abs(estimates - exact) < 5 * errors + 2e-4)
    assert np.all(estimates < found.expected_true + 5 * errors + 2e-4)
    assert estimates.max() > estimates[[0, -1]].max() + 10 * errors.max()
    assert np.argmax(estimates) in (3, 4, 5)


@pytest.mark.parametrize("family", EVERY, ids=names)
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_all_extrema_and_both_ends_are_compared(family, seed):
    """Random responses have several extrema: as many as a fine grid shows, and no grid point is better."""
    rng = np.random.default_rng(seed)
    pools = Pools(rng.normal(size=(2, 20)), rng.normal(size=(2, 20)))
    found = hedge(family, pools)
    low, high = family.domain(20)
    scale = (np.log, np.exp) if family is BON else (np.log1p, np.expm1)
    grid = np.clip(scale[1](np.linspace(scale[0](low), scale[0](high), 1201)), low, high)
    values = expected_rewards(family, grid, pools)[0].mean(axis=0)
    steps = np.diff(values)
    signs = np.sign(steps[np.abs(steps) > 1e-12])
    assert found.n_extrema == np.sum(signs[1:] != signs[:-1])
    assert found.expected_true >= values.max() - 1e-12
    assert found.expected_true == pytest.approx(values.max(), abs=1e-4)
    assert found.kind == {0: "at_lower", 1200: "at_upper"}.get(int(np.argmax(values)), "interior")


def test_a_reward_of_several_turns_has_a_maximum_and_a_minimum():
    turning = pool(lambda u: np.sin(9 * u) - 2 * (u > 0.97), m=300)
    found = hedge(BON, turning)
    theta = np.geomspace(1, 300, 400)
    values = expected_rewards(BON, theta, turning)[0][0]
    turns = np.flatnonzero(np.diff(np.sign(np.diff(values)))) + 1
    assert found.n_extrema == len(turns) == 2
    assert found.kind == "interior" and found.expected_true == pytest.approx(values.max(), abs=1e-4)
    assert found.parameter == pytest.approx(theta[turns[np.argmax(values[turns])]], rel=0.02)


@pytest.mark.parametrize(
    ("family", "end"), [(BON, 300.0), (BOP, BOP.domain(300)[1]), (SBON, 100.0), (TILT, 100.0)], ids=names
)
def test_rewards_in_one_direction_lead_to_an_end(family, end):
    up, down = hedge(family, pool(lambda u: u, 300)), hedge(family, pool(lambda u: -u, 300))
    assert (up.kind, up.parameter, up.n_extrema) == ("at_upper", end, 0)
    assert (down.kind, down.n_extrema) == ("at_lower", 0) and down.kl == pytest.approx(0, abs=1e-15)


def test_hedge_reports_the_bootstrap_over_prompts_and_the_proxy_in_its_units():
    pools = random_pools(4, sizes=(16,) * 12, levels=90)
    found = hedge(BON, pools, level=0.9, resamples=300, seed=5)
    true, proxy = expected_rewards(BON, [found.parameter], pools)
    interval = bootstrap_mean(true[:, 0], 0.9, 300, 5)
    got = [found.expected_true, found.ci_low, found.ci_high, found.expected_proxy]
    assert got == pytest.approx([interval.estimate, interval.low, interval.high, proxy.mean()], abs=1e-12)
    assert found.kl == BON.at(found.parameter).kl


def test_one_prompt_has_no_interval():
    found = hedge(BON, pool(polynomial))
    assert np.isnan([found.ci_low, found.ci_high]).all() and np.isfinite(found.expected_true)


def test_a_smaller_range():
    pools = pool(polynomial)
    left, right = hedge(BON, pools, high=2.5), hedge(BON, pools, low=3.5, high=7.5)
    assert (left.kind, left.parameter, left.n) == ("at_upper", 2.5, 2)
    assert (right.kind, right.parameter, right.n) == ("at_lower", 3.5, 4)
    assert hedge(BON, pools, low=2.2, high=2.5).n is None
    assert hedge(TILT, pool(lambda u: u), high=500.0).parameter == 500.0


def test_rewards_that_cancel_over_prompts_need_no_selection():
    rewards = np.linspace(-1, 1, 50) ** 3
    found = hedge(BON, Pools([np.arange(50.0)] * 2, [rewards, -rewards]))
    assert (found.kind, found.parameter, found.n_extrema) == ("at_lower", 1.0, 0)


def test_one_draw_leaves_nothing_to_choose():
    """Rounding errors, here of rewards far from 0, are no extrema."""
    pools = random_pools(3)
    found = hedge(Family("sbon", 1), Pools(pools.proxy, [true + 1e4 for true in pools.true]))
    assert (found.kind, found.parameter, found.n_extrema) == ("at_lower", 0.0, 0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([BON, BOP, TILT]), st.floats(0.1, 10), st.floats(-5, 5))
def test_only_the_order_of_the_proxy_counts(seed, family, scale, shift):
    rng = np.random.default_rng(seed)
    proxy, true = rng.normal(size=(3, 12)), rng.normal(size=(3, 12))
    order = rng.permutation(12)
    first = hedge(family, Pools(proxy, true), resamples=10)
    again = hedge(family, Pools(np.exp(proxy)[::-1, order], (scale * true + shift)[::-1, order]), resamples=10)
    assert (again.kind, again.n_extrema) == (first.kind, first.n_extrema)
    assert again.parameter == pytest.approx(first.parameter, abs=1e-6)
    assert again.expected_true == pytest.approx(scale * first.expected_true + shift, abs=1e-9)


# Curves and regimes


def test_hacking_curve_has_the_rewards_and_their_intervals():
    pools = random_pools(7, sizes=(8,) * 10, levels=50)
    rows = hacking_curve(BON, pools, [1, 2.5, 8], level=0.8, resamples=200, seed=3)
    true, proxy = expected_rewards(BON, [1, 2.5, 8], pools)
    keys = ["parameter", "expected_true", "ci_low", "ci_high", "expected_proxy", "kl"]
    assert [list(row) for row in rows] == [keys] * 3
    for i, row in enumerate(rows):
        interval = bootstrap_mean(true[:, i], 0.8, 200, 3)
        expected = [interval.estimate, interval.low, interval.high, proxy[:, i].mean()]
        assert [row[key] for key in keys[1:5]] == expected
    assert [row["parameter"] for row in rows] == [1.0, 2.5, 8.0]
    assert rows[1]["kl"] == pytest.approx(np.log(2.5) - 0.6)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([BON, BOP, TILT]),
    st.lists(st.integers(0, 5), min_size=6, max_size=20),
    st.integers(0, 20),
    st.booleans(),
)
def test_rewards_that_turn_once_have_one_extremum_at_most(family, steps, turn, valley):
    """The theorem: rising then falling in u gives one of the four regimes, and the hedge agrees with it."""
    true = np.cumsum([step if i < turn else -step for i, step in enumerate([0, *steps])]).astype(float)
    true = -true if valley else true
    assume(np.ptp(true) > 0)
    pools = Pools([np.arange(len(true))], [true])
    low, high = family.domain(len(true))
    scale = (np.log, np.exp) if family is BON else (np.log1p, np.expm1)
    grid = np.clip(scale[1](np.linspace(scale[0](low), scale[0](high), 200)), low, high)
    shape = regime(expected_rewards(family, grid, pools)[0][0], tolerance=1e-10)
    forward, backward = ("initial decline", "hacking") if valley else ("hacking", "initial decline")
    assert shape in ("monotone up", "monotone down", forward) and shape != backward
    found = hedge(family, pools)
    if shape == "hacking":
        assert (found.kind, found.n_extrema) == ("interior", 1)
    if shape == "initial decline":
        assert found.kind != "interior" and found.n_extrema == 1


def test_regimes_of_shapes():
    assert regime([0, 1, 2]) == "monotone up" and regime([2, 2, 1]) == "monotone down"
    assert regime([0, 2, 2, 1]) == "hacking" and regime([2, 0, 1]) == "initial decline"
    assert regime([1, 1, 1]) == "flat" and regime([0, 1, 0, 1]) == "several extrema"
    assert regime([0, 1, 1 - 1e-9, 2], tolerance=1e-8) == "monotone up"


# Sampling


@pytest.mark.parametrize(
    ("family", "theta", "text"),
    [(BON, 3, "bon(3)"), (BOP, 0.2, "bop(0.2)"), (Family("sbon", 3), 4.0, "sbon(3, 4)"), (TILT, 2.0, None)],
)
def test_sampled_responses_have_the_weights_of_all_subsets(family, theta, text):
    proxy = np.array([4.0, 1.0, 1.0, 7.0, 3.0, 3.0, 3.0, 2.0])
    ranks = np.array([6.5, 1.0, 1.0, 7.5, 4.5, 4.5, 4.5, 2.5]) / 8
    weights = tilt(ranks, 1 / theta) if text is None else selection_weights(proxy, text)
    draws = 100_000
    picks = sample(family, theta, proxy, np.random.default_rng(2), draws)
    shares = np.bincount(picks, minlength=8) / draws
    assert np.all(np.abs(shares - weights) <= 5 * np.sqrt(weights * (1 - weights) / draws))


@pytest.mark.parametrize(("family", "theta"), [(BON, 4), (BOP, 2.5), (SBON, 6.0), (TILT, 3.0)], ids=names)
def test_sampled_rewards_have_the_expected_mean(family, theta):
    m, draws = 1000, 4000
    rng = np.random.default_rng(9)
    proxy = rng.normal(size=m)
    true = polynomial(norm.cdf(proxy)) + 0.02 * rng.normal(size=m)
    picked = true[sample(family, theta, proxy, rng, draws)]
    expected = expected_rewards(family, [theta], Pools([proxy], [true]))[0][0, 0]
    assert abs(picked.mean() - expected) < 5 * picked.std() / np.sqrt(draws) + 1e-3


# Bad input


@pytest.mark.parametrize(
    ("proxy", "true", "message"),
    [
        ([], [], "need the same prompts, at least 1, got 0 and 0"),
        ([[1, 2]], [[1, 2], [3, 4]], "need the same prompts, at least 1, got 1 and 2"),
        ([[1, 2]], [[1, 2, 3]], "a prompt has 2 proxy rewards but 3 true rewards"),
        ([[1, 2], [1]], [[1, 2], [1]], "every prompt needs at least 2 responses to choose from, got 1"),
        ([[1, np.nan]], [[1, 2]], "proxy reward must be finite, got nan"),
        ([[1, 2]], [[1, np.inf]], "true reward must be finite, got inf"),
    ],
)
def test_pools_that_cannot_be_used(proxy, true, message):
    with pytest.raises(InputError, match=message):
        Pools(proxy, true)


@pytest.mark.parametrize(
    ("family", "low", "high", "message"),
    [
        (BON, None, 9.0, r"bon must lie in \[1, 8\] \(the smallest pool has 8 responses\), got 1 to 9"),
        (BON, 0.5, None, "got 0.5 to 8"),
        (BOP, None, 2.0, r"bop must lie in \[0, 0.72534666"),
        (BOP, None, float("nan"), "must have min < max"),
        (TILT, None, 501.0, r"tilt must lie in \[0, 500\]"),
        (TILT, 5.0, 5.0, "must have min < max, got min 5 and max 5"),
        (TILT, 150.0, None, "must have min < max, got min 150 and max 100"),
        (Family("sbon", 9), None, None, "sbon with n = 9 needs at least 9 responses a prompt, got 8"),
    ],
)
def test_ranges_that_cannot_be_used(family, low, high, message):
    with pytest.raises(InputError, match=message):
        hedge(family, random_pools(0, sizes=(8, 20)), low=low, high=high)


def test_further_bad_input():
    pools = random_pools(0, sizes=(8, 8))
    for call in (lambda: expected_rewards(BOP, [0.1, 3.0], pools), lambda: residual(BOP, 3.0, pools)):
        with pytest.raises(InputError, match="bop must lie in"):
            call()
    with pytest.raises(InputError, match="level must lie between 0 and 1"):
        hedge(TILT, pools, level=1.0)
    with pytest.raises(InputError, match="at least 2 values"):
        regime([1.0])


@pytest.mark.parametrize(
    ("family", "theta", "message"),
    [
        (BON, 2.5, "a whole number of responses, got 2.5"),
        (BON, 9, r"bon must lie in \[1, 8\] for a pool of 8 responses, got 9"),
        (BOP, -1.0, "bop must lie in"),
        (BOP, 20.0, r"best-of-Poisson with mean 20 drew n = \d+ from a pool of 8 responses"),
        (TILT, -1.0, "tilt must lie in"),
        (Family("sbon", 9), 1.0, "needs at least 9 responses"),
    ],
)
def test_samples_that_cannot_be_drawn(family, theta, message):
    with pytest.raises(InputError, match=message):
        sample(family, theta, np.arange(8.0), np.random.default_rng(0), 100)


def test_hedge_is_a_plain_record():
    keys = "method parameter kind n_extrema expected_true ci_low ci_high expected_proxy kl n"
    assert list(asdict(hedge(BON, pool(polynomial, 20)))) == keys.split()
