"""Tilts of weights: KL, and β for a budget."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infalign.errors import InputError
from infalign.mathematics.tilting import beta_for_kl, largest_kl, tilt, tilt_kl

RNG = np.random.default_rng(21)
VALUES = RNG.normal(size=(20, 50))


@settings(deadline=None)
@given(st.floats(1e-6, 2.5))
def test_the_budget_is_met(kl):
    assert tilt_kl(VALUES, beta_for_kl(VALUES, kl)).mean() == pytest.approx(kl, rel=1e-9)


def test_divergence_is_that_of_the_weights():
    for beta in (0.05, 1.0, 20.0):
        p = tilt(VALUES, beta)
        assert np.allclose(p.sum(axis=1), 1)
        assert np.allclose(tilt_kl(VALUES, beta), np.sum(p * np.log(50 * p), axis=1), atol=1e-12)


def test_the_largest_divergence_is_the_limit_of_small_beta():
    values = np.round(VALUES * 2)  # with ties at the top of some rows
    assert largest_kl(values) < np.log(50)
    assert tilt_kl(values, 1e-3).mean() == pytest.approx(largest_kl(values), abs=1e-12)


def test_divergence_decreases_in_beta():
    kls = [tilt_kl(VALUES, beta).mean() for beta in np.geomspace(1e-4, 1e3, 30)]
    assert np.all(np.diff(kls) < 0)


@settings(deadline=None)
@given(st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_affine_maps_only_rescale_beta(factor, shift):
    beta = beta_for_kl(VALUES, 0.5)
    assert beta_for_kl(factor * VALUES + shift, 0.5) == pytest.approx(factor * beta, rel=1e-6)


def test_one_prompt_may_be_a_vector():
    assert beta_for_kl(VALUES[0], 0.3) == beta_for_kl(VALUES[:1], 0.3)


@pytest.mark.parametrize("k", [2, 100_000])
def test_smallest_and_largest_numbers_of_rollouts(k):
    values = np.linspace(0, 1, k)
    kl = 0.4 * np.log(k)
    assert tilt_kl(values, beta_for_kl(values, kl)) == pytest.approx(kl, rel=1e-9)


def test_values_of_very_different_size():
    values = np.array([[0.0, 1e-9], [0.0, 1e9]])
    assert tilt_kl(values, beta_for_kl(values, 0.4)).mean() == pytest.approx(0.4, rel=1e-9)


def test_budget_out_of_reach_names_the_limit():
    with pytest.raises(InputError, match=r"kl must be below 0.693147 nats.*2 rollouts per prompt.*got 0.7"):
        beta_for_kl([0.0, 1.0], 0.7)
    with pytest.raises(InputError, match=r"kl must be below 0\.405465 nats"):
        beta_for_kl([0.0, 1.0, 1.0], 0.5)


def test_tied_rewards_cannot_be_tilted():
    with pytest.raises(InputError, match="all rewards are tied within every prompt, so no tilt moves the policy"):
        beta_for_kl(np.zeros((3, 10)), 0.1)


@pytest.mark.parametrize("kl", [0.0, -1.0, np.nan, np.inf])
def test_budget_must_be_positive(kl):
    with pytest.raises(InputError, match="kl must be a finite number > 0"):
        beta_for_kl([0.0, 1.0], kl)
