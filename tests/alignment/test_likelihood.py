"""The likelihood loss by hand, and the draws of the best of n against order statistics."""

import math

import numpy as np
import pytest
import torch

from infalign.alignment.likelihood import best_and_worst, check_draws, likelihood_loss
from infalign.errors import InputError


def test_likelihood_loss_by_hand_on_two_tokens():
    probabilities = torch.tensor([0.8, 0.2])
    assert likelihood_loss(probabilities.log()).tolist() == pytest.approx([math.log(5 / 4), math.log(5)])


def test_best_and_worst_follow_the_order_statistics():
    """The i-th of K is the best of n with probability C(i−1, n−1)/C(K, n), the worst with C(K−i, n−1)/C(K, n)."""
    k, n, m = 6, 3, 20_000
    rewards = np.tile(np.arange(k, dtype=float), (m, 1))
    best, worst = best_and_worst(rewards, n, np.random.default_rng(0))
    expected = np.array([math.comb(i, n - 1) for i in range(k)]) / math.comb(k, n)
    for drawn, p in ((best, expected), (worst, expected[::-1])):
        shares = np.bincount(drawn, minlength=k) / m
        assert (np.abs(shares - p) <= 5 * np.sqrt(p * (1 - p) / m)).all()


def test_all_of_k_give_the_extremes_whatever_the_draw():
    rewards = np.array([[2.0, 5.0, 1.0], [0.0, -1.0, 3.0]])
    best, worst = best_and_worst(rewards, 3, np.random.default_rng(0))
    assert best.tolist() == [1, 2] and worst.tolist() == [2, 1]


def test_ties_have_a_fixed_order():
    for seed in range(10):
        best, worst = best_and_worst(np.zeros((1, 5)), 5, np.random.default_rng(seed))
        assert (best[0], worst[0]) == (4, 0)


@pytest.mark.parametrize("n", [0, 11, 2.5])
def test_n_must_be_a_count_of_rollouts(n):
    with pytest.raises(InputError) as caught:
        check_draws(n, 10)
    assert f"must be a whole number from 1 to 10, the rollouts of a prompt, got {n:g}" in str(caught.value)
