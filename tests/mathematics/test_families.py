"""Families of one parameter: densities, derivatives in the parameter, divergences, and Poisson against tilt."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import poisson

from infalign.errors import InputError
from infalign.mathematics import procedures
from infalign.mathematics.families import Family, parse_family, poisson_tilt_gap
from mathematics.score_functions import score_function

BON, BOP, TILT = Family("bon"), Family("bop"), Family("tilt")
EVERY = [
    (BON, 1.0),
    (BON, 1.4),
    (BON, 7.3),
    (BOP, 0.0),
    (BOP, 0.3),
    (BOP, 12.0),
    (TILT, 0.0),
    (TILT, 0.05),
    (TILT, 0.7),
    (TILT, 60.0),
    (Family("sbon", 1), 3.0),
    (Family("sbon", 4), 0.01),
    (Family("sbon", 4), 5.0),
    (Family("sbon", 16), 30.0),
]
INSIDE = [(family, theta) for family, theta in EVERY if theta not in (0.0, 1.0)]
ids = [f"{family.method}{family.n or ''}-{theta}" for family, theta in EVERY]
inside_ids = [f"{family.method}{family.n or ''}-{theta}" for family, theta in INSIDE]
U = np.linspace(0.05, 0.95, 19)


@pytest.mark.parametrize(("family", "theta"), EVERY, ids=ids)
def test_density_is_the_slope_of_the_distribution(family, theta):
    step = 1e-5
    slope = (family.at(theta).distribution(U + step) - family.at(theta).distribution(U - step)) / (2 * step)
    assert np.allclose(slope, family.at(theta).density(U), rtol=1e-6, atol=1e-8)
    assert np.allclose(family.at(theta).distribution([0.0, 1.0]), [0.0, 1.0], atol=1e-12)


@pytest.mark.parametrize("text", ["bon(5)", "bop(3.5)", "sbon(4, 5.0)"])
def test_whole_parameters_are_the_procedures(text):
    procedure = procedures.parse_procedure(text)
    family, theta = Family(procedure.name, 4 if procedure.name == "sbon" else None), procedure.parameters[-1]
    assert np.array_equal(family.at(theta).density(U), procedure.density(U))
    assert family.at(theta).kl == procedure.kl
    assert family.at(theta).mean_quantile == procedure.mean_quantile


@pytest.mark.parametrize(("family", "theta"), INSIDE, ids=inside_ids)
def test_score_function_is_the_slope_of_the_log_density(family, theta):
    step = 1e-4 * theta
    logs = [np.log(family.at(theta + s).density(U)) for s in (step, -step)]
    assert np.allclose((logs[0] - logs[1]) / (2 * step), score_function(family, theta, U), rtol=1e-5, atol=1e-7)


def test_score_of_soft_best_of_n_at_zero():
    score = score_function(Family("sbon", 4), 0.0, [0.0, 0.5, 1.0])
    np.testing.assert_allclose(score, [-0.375, 0.0, 0.375], atol=1e-12)


@pytest.mark.parametrize(("family", "theta"), INSIDE, ids=inside_ids)
def test_derivative_in_the_parameter_by_differences(family, theta):
    step = 1e-4 * theta
    levels = [family.at(theta + s).distribution(U) for s in (step, -step)]
    derivative = family.at(theta).distribution_derivative(U)
    assert np.allclose((levels[0] - levels[1]) / (2 * step), derivative, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("family", "theta"), EVERY, ids=ids)
def test_derivative_in_the_parameter_is_the_integral_of_the_score(family, theta):
    def slope(u):
        return float(family.at(theta).density(u) * score_function(family, theta, u))

    for u in (0.3, 0.9, 1.0):
        near_zero = 1e-12 if family.method == "bon" else 0.0
        integral = quad(slope, near_zero, u, points=[u * 0.9] if theta > 10 else None, limit=100)[0]
        assert float(family.at(theta).distribution_derivative(u)) == pytest.approx(integral, abs=2e-9)


@pytest.mark.parametrize(("family", "theta"), EVERY, ids=ids)
def test_divergence_and_mean_by_quadrature(family, theta):
    def f(u):
        return float(family.at(theta).density(u))

    assert quad(lambda u: u * f(u), 0, 1)[0] == pytest.approx(family.at(theta).mean_quantile, abs=1e-9)
    divergence = quad(lambda u: f(u) * np.log(f(u)) if f(u) > 0 else 0.0, 0, 1)[0]
    assert divergence == pytest.approx(family.at(theta).kl, abs=1e-8)


@pytest.mark.parametrize("inverse_temperature", [1e-7, 1e-3, 0.0999999, 0.1000001])
def test_tilt_of_little_strength_has_its_series(inverse_temperature):
    x = inverse_temperature
    assert TILT.at(x).mean_quantile - 0.5 == pytest.approx(x / 12 - x**3 / 720 + x**5 / 30240, rel=1e-7)
    assert TILT.at(x).kl == pytest.approx(x**2 / 24 - x**4 / 960 + x**6 / 36288, rel=1e-7)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([BON, BOP, TILT, Family("sbon", 3)]), st.floats(0, 99), st.floats(0, 1))
def test_every_family_is_greedy(family, strength, u):
    theta = strength + 1 if family.method == "bon" else strength
    assert float(family.at(theta).distribution_derivative(u)) <= 1e-9


def test_soft_best_of_n_derivative_is_the_covariance_within_the_softmax():
    """For the reward u² the residual is the expected covariance of reward and u in the softmax over n draws."""
    family, inverse_temperature = Family("sbon", 4), 5.0
    u = np.random.default_rng(3).random((200_000, 4))
    weights = np.exp(inverse_temperature * u)
    weights /= weights.sum(axis=1, keepdims=True)
    mean = np.sum(weights * u, axis=1)
    covariance = np.sum(weights * u**2 * u, axis=1) - np.sum(weights * u**2, axis=1) * mean
    x, w = np.polynomial.legendre.leggauss(60)
    nodes = (1 + x) / 2
    slope = family.at(inverse_temperature).density(nodes) * score_function(family, inverse_temperature, nodes)
    assert abs(covariance.mean() - np.sum(w / 2 * nodes**2 * slope)) < 5 * covariance.std() / np.sqrt(len(u))
    total = np.sum(weights * u**2 * u, axis=1).mean() - np.sum(weights * u**2, axis=1).mean() * mean.mean()
    assert total > covariance.mean() + 20 * covariance.std() / np.sqrt(len(u))


def test_soft_best_of_n_lies_between_tilt_and_best_of_n():
    assert np.allclose(Family("sbon", 4).at(500.0).distribution(U), U**4, atol=0.01)
    assert np.allclose(Family("sbon", 2000).at(3.0).distribution(U), TILT.at(3.0).distribution(U), atol=1e-3)
    assert np.allclose(Family("sbon", 4).at(1e-9).distribution_derivative(U), 0.75 * U * (U - 1) / 2, atol=1e-12)


@pytest.mark.parametrize("m", [2, 16, 128, 1000])
def test_domains(m):
    assert BON.domain(m) == BON.limits(m) == (1.0, m)
    low, high = BOP.domain(m)
    assert low == 0.0 and poisson.sf(m - 1, high) == pytest.approx(1e-6, rel=1e-6)
    assert procedures.parse_procedure(f"bop({high * (1 - 1e-6)})").min_samples <= m
    assert procedures.parse_procedure(f"bop({high * (1 + 1e-6)})").min_samples == m + 1
    assert TILT.domain(m) == Family("sbon", 2).domain(m) == (0.0, 100.0)
    assert TILT.limits(m) == (0.0, 500.0)


def independent_gap(mu):
    """KL gap at equal mean quantile, by quadrature and a root search of its own."""

    def poisson_density(u):
        return (1 + mu * u) * np.exp(mu * (u - 1))

    def tilt_density(u, x):
        return x * np.exp(x * (u - 1)) / (1 - np.exp(-x))

    mean = quad(lambda u: u * poisson_density(u), 0, 1)[0]
    x = brentq(lambda x: quad(lambda u: u * tilt_density(u, x), 0, 1)[0] - mean, 1e-3, 100)
    gap = quad(lambda u: poisson_density(u) * np.log(poisson_density(u)), 0, 1)[0]
    return x, gap - quad(lambda u: tilt_density(u, x) * np.log(tilt_density(u, x)), 0, 1)[0]


@pytest.mark.parametrize("mu", [0.5, 3.5, 12.0])
def test_poisson_tilt_gap_by_quadrature(mu):
    gap = poisson_tilt_gap(mu)
    inverse_temperature, kl_gap = independent_gap(mu)
    assert gap.inverse_temperature == pytest.approx(inverse_temperature, rel=1e-8)
    assert gap.kl_gap == pytest.approx(kl_gap, abs=1e-10)
    better = brentq(lambda x: TILT.at(x).kl - gap.kl, 1e-3, 100, xtol=1e-13)
    assert gap.reward_gap == pytest.approx(TILT.at(better).mean_quantile - gap.mean_quantile, abs=1e-10)


def test_largest_gap_of_best_of_poisson():
    """6.75e-4 nats at μ = 3.36, KL 0.56; at equal KL the tilt's mean quantile is at most 1.7e-4 higher."""
    mus = np.geomspace(1e-3, 400, 120)
    gaps = [poisson_tilt_gap(mu) for mu in mus]
    peak = mus[int(np.argmax([gap.kl_gap for gap in gaps]))]
    found = minimize_scalar(lambda mu: -poisson_tilt_gap(mu).kl_gap, bounds=(peak / 1.3, peak * 1.3), method="bounded")
    assert found.x == pytest.approx(3.358, abs=1e-2) and -found.fun == pytest.approx(6.7508e-4, abs=1e-8)
    assert max(gap.kl_gap for gap in gaps) <= -found.fun < 8e-4
    assert min(gap.kl_gap for gap in gaps) > -1e-12
    assert min(gap.reward_gap for gap in gaps) > -1e-12
    assert max(gap.reward_gap for gap in gaps) == pytest.approx(1.69e-4, abs=2e-6)


@pytest.mark.parametrize(
    ("method", "n", "message"),
    [
        ("won", None, "unknown method 'won'; valid methods: bon, bop, sbon, tilt"),
        ("sbon", None, "sbon needs n, the number of draws"),
        ("sbon", 0, "the n of sbon must be a whole number >= 1, got 0"),
        ("bon", 4, "n belongs to the method sbon only, got n = 4 for bon"),
    ],
)
def test_names_and_n(method, n, message):
    with pytest.raises(InputError, match=message):
        parse_family(method, n)


@pytest.mark.parametrize(
    ("family", "theta", "message"),
    [
        (BON, 0.99, "bon must be >= 1 and finite, got 0.99"),
        (BOP, -0.1, "bop must be >= 0 and finite, got -0.1"),
        (BOP, np.nan, "bop must be >= 0 and finite, got nan"),
        (TILT, 501, "tilt must be >= 0 and <= 500, got 501"),
        (Family("sbon", 2), np.inf, "sbon must be >= 0 and <= 500, got inf"),
    ],
)
def test_parameters_out_of_range(family, theta, message):
    with pytest.raises(InputError, match=message):
        family.at(theta)


def test_further_bad_input():
    with pytest.raises(InputError, match=r"u must lie in \[0, 1\]"):
        TILT.at(1.0).density([1.5])
    with pytest.raises(InputError, match="sbon with n = 8 needs at least 8 responses a prompt, got 4"):
        Family("sbon", 8).domain(4)
    with pytest.raises(InputError, match="mu must be a finite number > 0, got 0"):
        poisson_tilt_gap(0.0)
