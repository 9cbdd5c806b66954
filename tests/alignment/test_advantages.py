"""Advantages against sums written out by hand, and against their definition."""

import numpy as np
import pytest

from infalign.alignment.advantages import generalised_advantages, token_rewards


def test_two_tokens_by_hand():
    rewards, values = np.array([[0.5, 2.0]]), np.array([[1.0, -1.0]])
    advantages, returns = generalised_advantages(rewards, values, np.array([2]), discount=0.9, gae_lambda=0.5)
    second = 2.0 - (-1.0)
    first = 0.5 + 0.9 * (-1.0) - 1.0 + 0.9 * 0.5 * second
    assert advantages == pytest.approx(np.array([[first, second]]))
    assert returns == pytest.approx(np.array([[first + 1.0, second - 1.0]]))


def test_lambda_one_is_the_return_less_the_value():
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=(2, 5, 4))
    lengths = np.array([4, 1, 3, 2, 4])
    advantages, returns = generalised_advantages(rewards, values, lengths, discount=1.0, gae_lambda=1.0)
    for row, length in enumerate(lengths):
        to_go = np.cumsum(rewards[row, :length][::-1])[::-1]
        assert advantages[row, :length] == pytest.approx(to_go - values[row, :length])
        assert returns[row, :length] == pytest.approx(to_go)
        assert not advantages[row, length:].any() and not returns[row, length:].any()


def test_what_stands_past_the_end_does_not_count():
    rewards, values = np.ones((1, 3)), np.ones((1, 3))
    dirty = np.array([[1.0, 7.0, np.inf]])
    clean = generalised_advantages(rewards, values, np.array([1]), discount=1.0, gae_lambda=0.95)
    other = generalised_advantages(dirty, dirty, np.array([1]), discount=1.0, gae_lambda=0.95)
    assert np.array_equal(clean, other)


def test_group_baseline_is_the_others_return_from_the_same_position():
    rng = np.random.default_rng(1)
    lengths = np.array([1, 3, 2, 3])
    terminal = rng.normal(size=4)
    penalties = rng.normal(size=(4, 3)) * (np.arange(3) < lengths[:, None])
    rewards = token_rewards(terminal, penalties, lengths, 2)
    plain = token_rewards(terminal, penalties, lengths, None)
    to_go = np.cumsum(rewards[:, ::-1], axis=1)[:, ::-1]
    plain_to_go = np.cumsum(plain[:, ::-1], axis=1)[:, ::-1]
    for row, other in ((0, 1), (1, 0), (2, 3), (3, 2)):
        for t in range(lengths[row]):
            baseline = terminal[other] + penalties[other, t:].sum()
            assert to_go[row, t] == pytest.approx(plain_to_go[row, t] - baseline)
