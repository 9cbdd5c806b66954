"""The best-of-N objective and its bounds over enumerated responses."""

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from infalign.errors import InputError
from infalign.studies.bounds.mathematics import (
    best_of_n_log_probs,
    vbon_loose_bound,
    vbon_lower_bound,
    vbon_value,
)

ROUNDING = 1e-9
REFERENCE = np.array([0.4, 0.1, 0.3, 0.2])
REWARDS = np.array([1.0, 0.0, 2.0, 2.0])
TOP = np.array([0.0, 0.0, 1.0, 0.0])  # of the two best the likelier


@st.composite
def worlds(draw):
    """Policy, reference, rewards; half of the policies never return a response of the lowest reward."""
    count = draw(st.integers(2, 7))

    def weights(smallest):
        values = draw(st.lists(st.floats(smallest, 1), min_size=count, max_size=count))
        return np.array(values) ** 3

    rewards = np.array(draw(st.lists(st.integers(0, 5), min_size=count, max_size=count)), dtype=float)
    policy, reference = weights(0), weights(1e-3)
    if draw(st.booleans()):
        policy[rewards == rewards.min()] = 0
    if policy.sum() < 1e-6:
        policy[np.argmax(rewards)] = 1
    return policy / policy.sum(), reference / reference.sum(), rewards


def divergence(p, q):
    kept = p > 0
    return np.sum(p[kept] * np.log(p[kept] / q[kept]))


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_best_of_n_is_that_of_all_draws(n):
    expected = np.zeros(4)
    for draws in product(range(4), repeat=n):
        best = max(draws, key=lambda y: (REWARDS[y], REFERENCE[y]))
        expected[best] += np.prod(REFERENCE[list(draws)])
    assert np.exp(best_of_n_log_probs(REFERENCE, REWARDS, n)) == pytest.approx(expected, rel=1e-12)


@settings(deadline=None)
@given(worlds(), st.floats(1, 1e4))
def test_best_of_n_is_a_distribution(world, n):
    _, reference, rewards = world
    assert np.exp(best_of_n_log_probs(reference, rewards, n)).sum() == pytest.approx(1, abs=1e-9)


def test_tiny_probabilities_keep_their_digits():
    log_probs = best_of_n_log_probs([0.5, 1e-30, 0.5], [0.0, 1.0, 2.0], 3)
    assert log_probs[1] == pytest.approx(np.log(3 * 0.5**2 * 1e-30), rel=1e-12)


def test_responses_that_the_reference_never_returns():
    assert best_of_n_log_probs([0.0, 1.0], [0.0, 1.0], 4).tolist() == [-np.inf, 0.0]
    assert best_of_n_log_probs([1.0, 0.0], [0.0, 1.0], 4).tolist() == [0.0, -np.inf]
    assert vbon_value([0.5, 0.5], [1.0, 0.0], [0.0, 1.0], 4) == -np.inf


@settings(deadline=None)
@given(worlds(), st.integers(1, 64))
def test_objective_is_minus_the_divergence(world, n):
    policy, reference, rewards = world
    best = np.exp(best_of_n_log_probs(reference, rewards, n))
    assert vbon_value(policy, reference, rewards, n) <= ROUNDING
    assert vbon_value(best / best.sum(), reference, rewards, n) == pytest.approx(0, abs=1e-9)
    if np.all(best[policy > 0] > 0):
        value = -divergence(policy, best)
        assert vbon_value(policy, reference, rewards, n) == pytest.approx(value, rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=300)
@given(worlds(), st.one_of(st.integers(1, 1000), st.floats(1, 20)))
def test_both_bounds_are_below_the_objective(world, n):
    exact, tight, loose = (f(*world, n) for f in (vbon_value, vbon_lower_bound, vbon_loose_bound))
    assert exact - np.log(n) >= tight - ROUNDING * (1 + abs(tight)) or tight == -np.inf
    assert exact >= loose - ROUNDING * (1 + abs(loose)) or loose == -np.inf


@settings(deadline=None, max_examples=300)
@given(worlds(), st.one_of(st.just(1), st.integers(2, 1000), st.floats(2, 20)))
def test_the_printed_order_of_the_bounds(world, n):
    tight, loose = vbon_lower_bound(*world, n), vbon_loose_bound(*world, n)
    assert tight >= loose - ROUNDING * (1 + abs(loose)) or loose == -np.inf


@pytest.mark.parametrize(("n", "beta", "gamma"), [(1, 1, 0), (2, 3, 1), (3, 6, 3), (10, 55, 45)])
def test_the_loose_bound_is_that_of_its_proof(n, beta, gamma):
    policy = np.array([0.5, 0.0, 0.2, 0.3])  # F is 0.1 for the first, 0.5 for the two best
    log_f = 0.5 * np.log(0.1) + 0.5 * np.log(0.5)
    log_policy = 0.5 * np.log(0.5) + 0.2 * np.log(0.2) + 0.3 * np.log(0.3)
    log_reference = 0.5 * np.log(0.4) + 0.2 * np.log(0.3) + 0.3 * np.log(0.2)
    expected = beta * log_reference + gamma * log_f - log_policy  # equation 17g
    assert vbon_loose_bound(policy, REFERENCE, REWARDS, n) == pytest.approx(expected)


def test_between_one_and_two_draws_the_loose_bound_can_be_the_tighter():
    world = np.array([0.0, 1.0]), np.array([0.01, 0.99]), np.array([0.0, 1.0])
    n = 1 / 5 + 1  # β = 5, of the paper's list
    tight, loose = vbon_lower_bound(*world, n), vbon_loose_bound(*world, n)
    assert tight == pytest.approx(0.2 * np.log(0.01) + np.log(0.99))
    assert loose == pytest.approx(0.12 * np.log(0.01) + 1.32 * np.log(0.99))
    assert tight < loose - 0.3
    assert loose < vbon_value(*world, n)


def test_the_bounds_are_minus_infinity_where_the_worst_is_possible():
    even = np.full(4, 0.25)
    assert vbon_lower_bound(even, REFERENCE, REWARDS, 2) == -np.inf
    assert vbon_loose_bound(even, REFERENCE, REWARDS, 2) == -np.inf
    assert vbon_value(even, REFERENCE, REWARDS, 2) > -2


@settings(deadline=None)
@given(worlds())
def test_one_draw_is_the_reference(world):
    policy, reference, rewards = world
    expected = -divergence(policy, reference)
    for function in (vbon_value, vbon_lower_bound, vbon_loose_bound):
        assert function(policy, reference, rewards, 1) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert vbon_value(policy, reference, rewards, 1 + 1e-9) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_with_many_draws_only_the_best_response_is_left():
    other = np.array([0.1, 0.0, 0.6, 0.3])
    exact = [
        (vbon_value(TOP, REFERENCE, REWARDS, n), vbon_value(other, REFERENCE, REWARDS, n)) for n in (10, 100, 1000)
    ]
    assert exact[-1][0] == pytest.approx(0, abs=1e-12)
    assert exact[0][1] > exact[1][1] > exact[2][1]
    assert exact[-1][1] < -100


def test_the_bound_of_the_best_response_falls_without_end():
    distinct = np.array([1.0, 0.0, 2.0, 3.0])
    last = np.array([0.0, 0.0, 0.0, 1.0])
    for n in (10, 1000):
        expected = (n - 1) * np.log(0.8) + np.log(0.2)
        assert vbon_lower_bound(last, REFERENCE, distinct, n) == pytest.approx(expected)


def best_of_bound(reference, rewards, n):
    """The policy at which L is highest, ∝ π_ref·F^(n−1)."""
    below = np.array([reference[rewards < reward].sum() for reward in rewards])
    weights = reference * below ** (n - 1)
    return weights / weights.sum(), np.log(weights.sum())


@settings(deadline=None)
@given(worlds(), st.integers(2, 50))
def test_the_bound_is_highest_at_its_tilted_reference(world, n):
    policy, reference, rewards = world
    if np.ptp(rewards) == 0:
        rewards = rewards + np.arange(len(rewards))
    best, value = best_of_bound(reference, rewards, n)
    assert vbon_lower_bound(best, reference, rewards, n) == pytest.approx(value, rel=1e-6, abs=1e-6)
    assert vbon_lower_bound(policy, reference, rewards, n) <= value + ROUNDING * (1 + abs(value))


def test_equal_best_rewards_part_the_limits():
    tilted, _ = best_of_bound(REFERENCE, REWARDS, 1000)  # as of the KL-constrained objective for β → 0
    assert tilted == pytest.approx([0, 0, 0.6, 0.4], abs=1e-12)
    exact = np.exp(best_of_n_log_probs(REFERENCE, REWARDS, 1000))
    assert exact == pytest.approx(TOP, abs=1e-12)


@settings(deadline=None)
@given(worlds(), st.sampled_from([0.01, 0.05, 0.5, 1.0, 5.0]))
def test_the_bound_is_the_constrained_objective_of_log_f(world, beta):
    policy, reference, rewards = world
    policy = np.where(rewards > rewards.min(), policy, 0)
    assume(policy.sum() > 1e-6)
    policy = policy / policy.sum()
    below = np.array([reference[rewards < reward].sum() for reward in rewards])
    kept = policy > 0
    constrained = policy[kept] @ np.log(below[kept]) - beta * divergence(policy, reference)
    n = 1 / beta + 1
    expected = (n - 1) * constrained
    assert vbon_lower_bound(policy, reference, rewards, n) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_a_hundred_draws_are_not_a_strength_of_a_twentieth():
    distinct = np.array([1.0, 0.0, 2.0, 3.0])
    optimum = {n: best_of_bound(REFERENCE, distinct, n)[0] for n in (21, 100)}
    log_f = np.log([0.1, 0.5, 0.8])  # of the responses above the worst
    weights = REFERENCE[[0, 2, 3]] * np.exp(log_f / 0.05)
    assert optimum[21][[0, 2, 3]] == pytest.approx(weights / weights.sum())
    assert optimum[100][2] < 1e-15 < optimum[21][2]


@settings(deadline=None)
@given(worlds(), st.integers(1, 100), st.sampled_from([np.exp, np.arctan, lambda r: r**3 - 7]))
def test_only_the_order_of_rewards_counts(world, n, increasing):
    policy, reference, rewards = world
    for function in (vbon_value, vbon_lower_bound, vbon_loose_bound):
        assert function(policy, reference, increasing(rewards), n) == function(policy, reference, rewards, n)


@pytest.mark.parametrize(
    ("policy", "reference", "rewards", "n", "message"),
    [
        ([0.5, 0.5], [0.5, 0.5], [0.0, 1.0], 0.5, "n of best-of-n must be a finite number >= 1, got 0.5"),
        ([0.5, 0.5], [0.5, 0.5], [0.0, 1.0], np.inf, "n of best-of-n must be a finite number >= 1, got inf"),
        ([0.5, 0.6], [0.5, 0.5], [0.0, 1.0], 2, "policy must be probabilities .* a sum of 1.1"),
        ([0.5, 0.5], [1.5, -0.5], [0.0, 1.0], 2, "reference must be probabilities .* a smallest of -0.5"),
        ([1.0], [0.5, 0.5], [0.0, 1.0], 2, r"policy must have a probability for each of \(2,\) responses"),
        ([0.5, 0.5], [0.5, 0.5], [0.0], 2, r"rewards must be one for each response, got 1 for \(2,\)"),
        ([0.5, 0.5], [0.5, 0.5], [0.0, np.nan], 2, "rewards must be finite, got nan"),
    ],
)
@pytest.mark.parametrize("function", [vbon_value, vbon_lower_bound, vbon_loose_bound])
def test_worlds_that_cannot_be_used(function, policy, reference, rewards, n, message):
    with pytest.raises(InputError, match=message):
        function(policy, reference, rewards, n)
