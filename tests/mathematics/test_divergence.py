"""The three KL estimators: same mean, non-negative per position."""

import numpy as np
import pytest

from infalign.errors import InputError
from infalign.mathematics.divergence import k3_kl, log_ratio_kl


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def full_vocabulary_kl(log_p, log_q):
    """The KL of the next-token distributions at each position, (T,), from log-probabilities of shape (T, V)."""
    p = np.exp(log_p)
    difference = np.where(p > 0, log_p - np.where(p > 0, log_q, 0.0), 0.0)
    return np.maximum(np.sum(p * difference, axis=-1), 0.0)


def test_both_estimators_have_one_mean():
    rng = np.random.default_rng(3)
    log_p, log_q = log_softmax(rng.normal(size=(1, 7))), log_softmax(rng.normal(size=(1, 7)))
    exact = full_vocabulary_kl(log_p, log_q)[0]
    tokens = rng.choice(7, size=100_000, p=np.exp(log_p[0]))
    ratios = log_ratio_kl(log_p[0, tokens], log_q[0, tokens])
    assert abs(ratios.mean() - exact) < 5 * ratios.std() / np.sqrt(len(ratios))
    assert exact == pytest.approx(np.sum(np.exp(log_p) * (log_p - log_q)), abs=1e-14)


def test_full_vocabulary_kl_is_zero_for_one_policy_and_positive_else():
    rng = np.random.default_rng(4)
    log_p = log_softmax(rng.normal(size=(50, 11)))
    assert np.all(full_vocabulary_kl(log_p, log_p) == 0)
    assert np.all(full_vocabulary_kl(log_p, log_softmax(rng.normal(size=(50, 11)))) > 0)


def test_tokens_of_probability_zero():
    log_p, log_q = np.array([[0.0, -np.inf]]), np.log([[0.5, 0.5]])
    assert full_vocabulary_kl(log_p, log_q)[0] == pytest.approx(np.log(2))
    assert full_vocabulary_kl(log_p, np.array([[np.log(0.5), -np.inf]]))[0] == pytest.approx(np.log(2))
    assert full_vocabulary_kl(log_q, log_p)[0] == np.inf


def test_shapes_and_nan_are_refused():
    with pytest.raises(InputError, match=r"log_probs has shape \(2,\), reference_log_probs \(1,\)"):
        log_ratio_kl([0.0, 1.0], [0.0])
    with pytest.raises(InputError, match="log_probs must be finite, got nan at index"):
        log_ratio_kl([np.nan], [0.0])


def two_step_model(rng):
    """Log-probabilities of all 3 x 3 responses of two tokens: the steps' own, (9, 2, 3) rows, and the sum."""
    first, second = log_softmax(rng.normal(size=(1, 3))), log_softmax(rng.normal(size=(3, 3)))
    rows = [(np.stack([first[0], second[i]]), first[0, i] + second[i, j]) for i in range(3) for j in range(3)]
    return np.stack([steps for steps, _ in rows]), np.array([total for _, total in rows])


def test_the_three_estimates_have_the_exact_mean_of_a_model_of_two_tokens():
    rng = np.random.default_rng(5)
    (steps_p, log_p), (steps_q, log_q) = two_step_model(rng), two_step_model(rng)
    p = np.exp(log_p)
    exact = np.sum(p * (log_p - log_q))
    full = np.array([full_vocabulary_kl(a, b).sum() for a, b in zip(steps_p, steps_q, strict=True)])
    estimates = {"k1": log_ratio_kl(log_p, log_q), "k3": k3_kl(log_p, log_q), "full": full}
    assert p.sum() == pytest.approx(1)
    assert {name: pytest.approx(p @ value, abs=1e-12) for name, value in estimates.items()} == dict.fromkeys(
        estimates, exact
    )
    assert estimates["k3"].min() >= 0 > estimates["k1"].min()
    spread = {name: p @ (value - exact) ** 2 for name, value in estimates.items()}
    assert spread["full"] < min(spread["k1"], spread["k3"])


def test_k3_is_second_order_where_the_policies_are_close():
    gap = 1e-4
    assert k3_kl([0.0], [gap])[0] == pytest.approx(gap**2 / 2, rel=1e-3)
    with pytest.raises(InputError, match=r"k3: the reference is e\^800 times as likely"):
        k3_kl([-800.0], [0.0])
