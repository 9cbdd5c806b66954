"""The ideal frontier, against closed forms, invariances and sampling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infalign.errors import InputError
from infalign.mathematics.continuous import Density
from infalign.mathematics.frontier import ideal, transformed_values
from infalign.mathematics.procedures import parse_procedure
from infalign.mathematics.quadrature import Panels
from infalign.mathematics.tilting import tilt_kl
from infalign.mathematics.transforms import parse_transform

BETAS = [1e-4, 1e-2, 0.3, 1.0, 30.0, 1e3]
PROCEDURES = ["none", "bon(4)", "won(4)", "bop(3.5)", "sbon(4, 5.0)"]


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("n", [1, 2, 4, 1024])
def test_log_transform_in_closed_form(beta, n):
    """f = (1+a) u^a, a = 1/β: the distribution function is u^{1+a}, so best-of-n wins (1+a)/(2+a)."""
    a = 1 / beta
    point = ideal("log", f"bon({n})", beta=beta)
    assert point.win_rate == pytest.approx((1 + a) / (2 + a), abs=1e-12)
    assert point.kl == pytest.approx(np.log1p(a) - a / (1 + a), rel=1e-9)


@pytest.mark.parametrize("beta", BETAS)
def test_identity_transform_in_closed_form(beta):
    """The exact tilt λ = 1/β: mean quantile 1/(1 − e^{−λ}) − 1/λ, which is the standard win rate."""
    rate = 1 / beta
    if rate < 0.1:
        mean, divergence = 0.5 + rate / 12 - rate**3 / 720 + rate**5 / 30240, rate**2 / 24 - rate**4 / 960
    else:
        mean = 1 / -np.expm1(-rate) - 1 / rate
        divergence = rate * mean - (rate + np.log(-np.expm1(-rate) / rate))
    point = ideal("identity", "none", beta=beta)
    assert point.win_rate == pytest.approx(mean, abs=1e-12)
    assert point.kl == pytest.approx(divergence, rel=1e-6)


@pytest.mark.parametrize("n", [2, 8, 1024])
def test_log_at_the_divergence_of_best_of_n_is_best_of_n(n):
    point = ideal("log", "none", kl=parse_procedure(f"bon({n})").kl)
    assert point.beta == pytest.approx(1 / (n - 1), rel=1e-9)
    assert point.win_rate == pytest.approx(n / (n + 1), abs=1e-10)


@pytest.mark.parametrize("text", ["identity", "log", "exp(10)", "exp(-10)", "exp(50)", "exp(-50)"])
@pytest.mark.parametrize("beta", [1e-4, 0.05, 1.0, 1e3])
@pytest.mark.parametrize("procedure", ["none", "bon(1024)", "won(1024)", "bon(2)", "bop(30)"])
def test_integrals_do_not_change_on_a_finer_grid(text, beta, procedure):
    transform = parse_transform(text)
    panels = Panels.graded(60, 124, per_octave=5)
    excess = transform.below_top(panels.u, panels.complement)
    finer = Density(panels, excess / (beta * np.exp(-transform.log_scale)))
    point = ideal(text, procedure, beta=beta)
    assert point.win_rate == pytest.approx(parse_procedure(procedure).win_rate(finer), abs=1e-10)
    assert point.kl == pytest.approx(finer.kl, rel=1e-6)


@pytest.mark.parametrize("procedure", ["sbon(4, 5.0)", "sbon(2, 100.0)", "sbon(4, 500.0)"])
@pytest.mark.parametrize("text", ["identity", "exp(10)"])
def test_soft_best_of_n_does_not_change_on_a_finer_grid(procedure, text):
    transform = parse_transform(text)
    panels = Panels.graded(20, 60, per_octave=1).limited(0.006)
    excess = transform.below_top(panels.u, panels.complement)
    for beta in (1e-3, 1.0):
        finer = Density(panels, excess / beta)
        rate = ideal(text, procedure, beta=beta * np.exp(transform.log_scale)).win_rate
        assert rate == pytest.approx(parse_procedure(procedure).win_rate(finer), abs=1e-9)


def draws(density, size, rng):
    """Quantiles drawn from a density by inverting its distribution function."""
    return np.interp(rng.random(size), density.below, density.panels.u)


def picked(u, procedure, rng):
    """The procedure's pick in each row of draws, which are quantiles under the reference."""
    if procedure.name == "bon":
        return u.max(axis=1)
    if procedure.name == "won":
        return u.min(axis=1)
    if procedure.name == "bop":
        sizes = 1 + rng.poisson(procedure.parameters[0], size=len(u))
        return np.where(np.arange(u.shape[1]) < sizes[:, None], u, 0.0).max(axis=1)
    weights = np.exp(procedure.parameters[1] * u)
    cumulative = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)
    return u[np.arange(len(u)), np.sum(cumulative < rng.random((len(u), 1)), axis=1)]


@pytest.mark.parametrize("text", ["bon(4)", "won(4)", "bop(3.5)", "sbon(4, 5.0)"])
@pytest.mark.parametrize("transform", ["exp(5)", "log"])
def test_win_rate_by_sampling(text, transform):
    rng = np.random.default_rng(11)
    procedure, size = parse_procedure(text), 60_000
    width = 30 if procedure.name == "bop" else 4
    density, _ = parse_transform(transform).ideal_density("kl", 0.4)
    policy = picked(draws(density, (size, width), rng), procedure, rng)
    reference = picked(rng.random((size, width)), procedure, rng)
    error = 0.5 / np.sqrt(size)
    assert abs(np.mean(policy > reference) - ideal(transform, text, kl=0.4).win_rate) < 4.5 * error


@pytest.mark.parametrize("procedure", PROCEDURES)
def test_a_weak_policy_is_even_and_a_strong_one_wins(procedure):
    assert ideal("identity", procedure, beta=1e3).win_rate == pytest.approx(0.5, abs=1e-3)
    assert ideal("identity", procedure, beta=1e-4).win_rate > 0.999


@settings(max_examples=25, deadline=None)
@given(st.floats(1e-3, 6.0), st.sampled_from(["identity", "log", "exp(10)", "exp(-5)"]))
def test_the_budget_is_met(kl, transform):
    point = ideal(transform, "none", kl=kl)
    assert point.kl == pytest.approx(kl, rel=1e-10)
    again = ideal(transform, "none", beta=point.beta)
    assert again.kl == pytest.approx(kl, rel=1e-8)
    assert again.win_rate == pytest.approx(point.win_rate, abs=1e-9)


def test_kl_decreases_and_standard_win_rate_increases_with_strength():
    points = [ideal("exp(10)", "none", beta=b) for b in np.geomspace(1, 1e6, 13)]
    assert np.all(np.diff([p.kl for p in points]) < 0)
    assert np.all(np.diff([p.win_rate for p in points]) < 0)


def test_exponentials_tend_to_the_identity_for_small_t():
    exact = ideal("identity", "bon(4)", kl=0.5).win_rate
    for text in ("exp(0.0001)", "exp(-0.0001)"):
        assert ideal(text, "bon(4)", kl=0.5).win_rate == pytest.approx(exact, abs=1e-4)


def test_the_paper_s_orderings_at_kl_one_half():
    def rate(transform, procedure):
        return ideal(transform, procedure, kl=0.5).win_rate

    assert rate("identity", "none") >= max(rate(t, "none") for t in ("log", "exp(5)", "exp(10)", "exp(-10)"))
    assert rate("optimal(bon(4))", "bon(4)") > rate("exp(10)", "bon(4)") > rate("identity", "bon(4)")
    assert rate("optimal(won(4))", "won(4)") > rate("exp(-10)", "won(4)") > rate("log", "won(4)")
    assert rate("log", "won(4)") > rate("identity", "won(4)")
    assert rate("identity", "bon(4)") > rate("log", "bon(4)")


def test_worst_of_n_of_the_mirrored_density_mirrors_best_of_n():
    """Under u → 1 − u a density's best-of-n win rate w becomes the worst-of-n win rate 1 − w."""
    panels = Panels.graded(40, 40, per_octave=2)
    rising = Density(panels, 3 * panels.u)
    falling = Density(panels, -3 * panels.u)
    for n in (2, 4, 32):
        best, worst = parse_procedure(f"bon({n})"), parse_procedure(f"won({n})")
        assert best.win_rate(rising) == pytest.approx(1 - worst.win_rate(falling), abs=1e-12)


def test_raw_has_no_ideal():
    with pytest.raises(InputError, match="raw has no ideal frontier"):
        ideal("raw", "none", kl=0.5)


@pytest.mark.parametrize(
    ("strength", "message"),
    [
        ({"beta": 0}, "beta must be a finite number > 0, got 0"),
        ({"beta": -1.0}, "beta must be a finite number > 0, got -1.0"),
        ({"kl": float("nan")}, "kl must be a finite number > 0, got nan"),
        ({"kl": 0.0}, "kl must be a finite number > 0, got 0.0"),
        ({"kl": 100.0}, "kl must be at most 60 nats, the largest the ideal frontier reaches, got 100"),
        ({}, "give exactly one of kl and beta, got kl=None and beta=None"),
        ({"kl": 1.0, "beta": 1.0}, "give exactly one of kl and beta"),
    ],
)
def test_strength_out_of_range(strength, message):
    with pytest.raises(InputError, match=message):
        ideal("identity", "none", **strength)


def test_beta_too_small_to_resolve():
    with pytest.raises(InputError, match=r"beta 1e-20 is too small for exp\(50\)"):
        ideal("exp(50)", "none", beta=1e-20)


def test_transformed_values_meet_the_budget_on_the_rollouts():
    u = (np.arange(100) + 0.5) / 100
    for text in ("identity", "log", "exp(10)", "exp(-10)", "optimal(bon(4))"):
        values, beta = transformed_values(text, u, kl=0.5)
        assert tilt_kl(values, beta) == pytest.approx(0.5, rel=1e-9)
        assert np.all(np.diff(values) > 0)


def test_transformed_values_at_the_papers_beta():
    values, beta = transformed_values("exp(10)", [0.0, 1.0], beta=7.0)
    assert np.allclose(values / beta, np.exp([0.0, 10.0]) / 7.0)
    values, _ = transformed_values("log", [0.0, 0.5], beta=1.0, n_rollouts=3)
    assert np.allclose(values, np.log([1 / 4, 2.5 / 4]))


def test_transformed_values_refuse_what_is_no_quantile():
    for text in ("identity", "optimal(bon(2))"):
        with pytest.raises(InputError, match=r"must lie in \[0, 1\], got 2.0 to 2.0"):
            transformed_values(text, [2.0], beta=1.0)
