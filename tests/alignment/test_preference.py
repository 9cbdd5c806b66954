"""Losses on pairs, and the pairs, by hand on two tokens."""

import math

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import norm

from infalign.alignment import preference
from infalign.errors import InputError

# A response is one of two tokens: the reference gives them ½ and ½, the policy 0.8 and 0.2.
FIRST, SECOND = math.log(0.8 / 0.5), math.log(0.2 / 0.5)  # log-ratios; their difference is log 4


def pair(chosen, rejected):
    return torch.tensor([chosen], dtype=torch.float64), torch.tensor([rejected], dtype=torch.float64)


def test_dpo_loss_by_hand_on_two_tokens():
    # beta ½: sigma(½ log 4) = 2/3 for the right order, 1/3 for the wrong one
    right, wrong = (preference.dpo_loss(*pair(*sides), 0.5).item() for sides in ((FIRST, SECOND), (SECOND, FIRST)))
    assert right == pytest.approx(math.log(3 / 2))
    assert wrong == pytest.approx(math.log(3))


def test_ipo_loss_by_hand_on_two_tokens():
    # 1/(2 tau) = 2: log 4 is 0.6137 short of it
    assert preference.ipo_loss(*pair(FIRST, SECOND), 0.25).item() == pytest.approx((math.log(4) - 2) ** 2)
    assert preference.ipo_loss(*pair(SECOND, FIRST), 0.25).item() == pytest.approx((math.log(4) + 2) ** 2)


def test_bonbon_loss_by_hand_on_two_tokens():
    # n = 3: the target is 2·(1 + ½) = 3; alpha = ¼
    best, worst = pair(FIRST, SECOND)
    loss = preference.bonbon_loss(torch.tensor([math.log(0.8)]), best, worst, 3, 0.25).item()
    assert loss == pytest.approx(0.25 * -math.log(0.8) + 0.75 * (math.log(4) - 3) ** 2)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_bonbon_target_is_the_mean_log_ratio_of_best_against_worst(n):
    """Under best-of-n the log-ratio is log n + (n−1) log u: 200,000 draws, within five standard errors."""
    u = np.random.default_rng(0).random((200_000, n))
    h = (n - 1) * (np.log(u.max(axis=1)) - np.log(u.min(axis=1)))
    error = h.std() / math.sqrt(len(h))
    assert abs(h.mean() - preference.bonbon_target(n)) < norm.isf(3e-7) * error


def test_best_of_one_has_target_zero():
    assert preference.bonbon_target(1) == 0.0


def test_balanced_alpha_makes_both_terms_equal_at_the_reference():
    log_probs = np.array([-4.0, -8.0])
    alpha = preference.balanced_alpha(log_probs, 4)
    assert alpha * 6.0 == pytest.approx((1 - alpha) * preference.bonbon_target(4) ** 2)


def test_pairs_are_distinct_ordered_and_of_one_prompt():
    rewards = np.random.default_rng(0).normal(size=(5, 20))
    pairs, dropped = preference.rollout_pairs(rewards, 6, 12, seed=0)
    assert dropped == 0 and len(pairs) == 5 * 12
    assert (rewards.ravel()[pairs[:, 0]] > rewards.ravel()[pairs[:, 1]]).all()
    assert (pairs[:, 0] // 20 == pairs[:, 1] // 20).all()
    assert len({frozenset(one) for one in pairs.tolist()}) == 60
    for prompt in range(5):
        assert len(np.unique(pairs[pairs[:, 0] // 20 == prompt])) <= 6


def test_pairs_depend_on_the_seed_only():
    rewards = np.random.default_rng(0).normal(size=(5, 20))
    again, other = (preference.rollout_pairs(rewards, 6, 12, seed=seed)[0] for seed in (0, 1))
    assert np.array_equal(preference.rollout_pairs(rewards, 6, 12, seed=0)[0], again)
    assert not np.array_equal(again, other)


def test_every_pair_of_responses_is_alike_likely():
    pairs, _ = preference.rollout_pairs(np.tile(np.arange(6.0), (3000, 1)), 6, 12, seed=0)
    counts = np.unique(pairs % 6, axis=0, return_counts=True)[1]
    assert len(counts) == 15
    assert np.abs(counts / 3000 - 12 / 15).max() < 5 * math.sqrt(0.8 * 0.2 / 3000)


def test_equal_pairs_are_dropped_and_counted():
    pairs, dropped = preference.rollout_pairs(np.array([[1.0, 1.0, 2.0], [0.0, 0.0, 0.0]]), 3, 3, seed=0)
    assert sorted(pairs.tolist()) == [[2, 0], [2, 1]] and dropped == 4


def test_no_pair_left_is_an_input_error():
    with pytest.raises(InputError, match="no pair is left: the rewards are equal in all 6 pairs"):
        preference.rollout_pairs(np.zeros((2, 3)), 3, 3, seed=0)


def test_fewer_rollouts_than_responses_is_an_input_error():
    with pytest.raises(InputError, match="n_responses must be <= 3, the rollouts of a prompt, got 6"):
        preference.rollout_pairs(np.zeros((2, 3)), 6, 12, seed=0)


def corpus_pairs():
    rows = [
        ("p", "good", "bad", "p", "reward_train"),
        ("p", "good", "other", "q", "reward_train"),
        ("q", "same", "same", "q", "reward_train"),
        ("q", "good", "bad", "q", "judge_train"),
    ]
    return pl.DataFrame(rows, schema=["prompt", "chosen", "rejected", "rejected_prompt", "split"], orient="row")


def test_pairs_of_the_corpus_answer_one_prompt_and_are_the_reward_models():
    kept, dropped = preference.dataset_pairs(corpus_pairs())
    assert kept.rows() == [("p", "good", "bad")] and dropped == 2


def test_corpus_without_a_usable_pair_is_an_input_error():
    with pytest.raises(InputError, match="none of the 2 pairs of the split reward_train"):
        preference.dataset_pairs(corpus_pairs()[1:])
