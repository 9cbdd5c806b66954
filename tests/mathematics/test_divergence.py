"""The two KL estimators: same mean, non-negative per position."""

import numpy as np
import pytest

from infalign.errors import InputError
from infalign.mathematics.divergence import full_vocabulary_kl, log_ratio_kl


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


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
    with pytest.raises(InputError, match=r"must be \(T, V\) alike"):
        full_vocabulary_kl([[0.0]], [[0.0, 0.0]])
    with pytest.raises(InputError, match="must not be NaN"):
        full_vocabulary_kl([[np.nan]], [[0.0]])
    with pytest.raises(InputError, match="log_probs must be finite, got nan at index"):
        log_ratio_kl([np.nan], [0.0])
