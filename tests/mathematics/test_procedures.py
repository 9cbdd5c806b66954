"""Procedures: text forms, densities, divergences and mean quantiles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import poisson

from infalign.errors import InputError
from infalign.mathematics.procedures import BestOf, WorstOf, parse_procedure

EVERY = ["none", "bon(4)", "won(3)", "bop(3.5)", "bop(0.2)", "sbon(4, 5.0)", "sbon(2, 20.0)", "sbon(1, 3.0)"]
EVERY += ["tilt(0.0)", "tilt(2.0)"]


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("none", "none"),
        (" bon( 4 ) ", "bon(4)"),
        ("won(1024)", "won(1024)"),
        ("sbon(4,5)", "sbon(4, 5.0)"),
        ("bop(3.5)", "bop(3.5)"),
        ("bop(0)", "bop(0.0)"),
        ("tilt(2)", "tilt(2.0)"),
    ],
)
def test_text_forms_round_trip(text, canonical):
    procedure = parse_procedure(text)
    assert procedure.text == str(procedure) == canonical
    assert parse_procedure(canonical) == procedure


@pytest.mark.parametrize("text", ["best(4)", "", "bon(4", "BON(4)", "beam"])
def test_unknown_procedure_lists_the_valid_ones(text):
    with pytest.raises(
        InputError,
        match=r"valid forms: none, bon\(n\), won\(n\), sbon\(n, lambda\), bop\(mu\), tilt\(lambda\)",
    ):
        parse_procedure(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bon(0)", "must be a whole number >= 1, got '0'"),
        ("bon(2.5)", "must be a whole number >= 1, got '2.5'"),
        ("bon", r"'bon' needs 1 number\(s\), got 0"),
        ("none(1)", r"needs 0 number\(s\), got 1"),
        ("sbon(4)", r"needs 2 number\(s\), got 1"),
        ("sbon(4, -1)", "needs a finite number >= 0, got '-1'"),
        ("sbon(4, 501)", "must be at most 500, got 501.0"),
        ("bop(nan)", "needs a finite number >= 0, got 'nan'"),
        ("bop(x)", "needs a finite number >= 0, got 'x'"),
    ],
)
def test_numbers_out_of_range(text, message):
    with pytest.raises(InputError, match=message):
        parse_procedure(text)


@pytest.mark.parametrize("text", EVERY)
def test_density_is_the_slope_of_the_distribution(text):
    u = np.linspace(0.05, 0.95, 19)
    step = 1e-5
    slope = (parse_procedure(text).distribution(u + step) - parse_procedure(text).distribution(u - step)) / (2 * step)
    assert np.allclose(slope, parse_procedure(text).density(u), rtol=1e-6, atol=1e-9)
    assert np.allclose(parse_procedure(text).distribution([0.0, 1.0]), [0.0, 1.0], atol=1e-12)


@pytest.mark.parametrize("text", EVERY)
def test_divergence_and_mean_are_those_of_the_density(text):
    def f(u):
        return float(parse_procedure(text).density(u))

    assert quad(lambda u: u * f(u), 0, 1)[0] == pytest.approx(parse_procedure(text).mean_quantile, abs=1e-10)
    assert quad(lambda u: f(u) * np.log(f(u)) if f(u) > 0 else 0.0, 0, 1)[0] == pytest.approx(
        parse_procedure(text).kl, abs=1e-8
    )


@given(st.integers(1, 1024))
def test_best_and_worst_of_n_have_the_known_divergence(n):
    assert (
        parse_procedure(f"bon({n})").kl
        == parse_procedure(f"won({n})").kl
        == pytest.approx(np.log(n) - (n - 1) / n, abs=1e-14)
    )
    assert parse_procedure(f"bon({n})").mean_quantile + parse_procedure(f"won({n})").mean_quantile == pytest.approx(1.0)


@given(st.integers(1, 50), st.floats(0, 1))
def test_worst_of_n_mirrors_best_of_n(n, u):
    assert float(WorstOf(n).density(u)) == pytest.approx(float(BestOf(n).density(1 - u)), abs=1e-12)


@pytest.mark.parametrize("mu", [1e-6, 1e-3, 0.5, 0.999, 1.001, 10.0, 48.9, 49.1, 800.0, 1e5])
def test_poisson_closed_forms_hold_from_small_to_large(mu):
    """Against the mixture over n, computed with integrals in v = μ (1 − u)."""

    def f(v):
        return (1 + mu - v) * np.exp(-v)

    top = min(mu, 60.0)
    divergence = quad(lambda v: f(v) * (np.log1p(mu - v) - v), 0, top, epsrel=1e-12)[0] / mu
    gap = quad(lambda v: f(v) * v, 0, top, epsrel=1e-12)[0] / mu**2
    assert parse_procedure(f"bop({mu})").kl == pytest.approx(divergence, rel=1e-8, abs=1e-10)
    assert 1 - parse_procedure(f"bop({mu})").mean_quantile == pytest.approx(gap, rel=1e-9)


def test_poisson_is_the_mixture_of_best_of_n():
    u, mu = np.linspace(0, 1, 11), 3.5
    mixture = sum(poisson.pmf(n - 1, mu) * u**n for n in range(1, 80))
    assert np.allclose(parse_procedure(f"bop({mu})").distribution(u), mixture, atol=1e-14)


def test_small_poisson_divergence_is_mu_squared_over_six():
    assert parse_procedure("bop(1e-5)").kl == pytest.approx(1e-10 / 6, rel=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.floats(0, 30))
def test_soft_best_of_n_lies_between_its_limits(n, inverse_temperature):
    mean = parse_procedure(f"sbon({n}, {inverse_temperature})").mean_quantile
    assert 0.5 - 1e-9 <= mean <= n / (n + 1) + 1e-9


def test_soft_best_of_n_at_its_limits():
    u = np.linspace(0, 1, 21)
    assert np.allclose(parse_procedure("sbon(8, 0)").density(u), 1.0, atol=1e-12)
    assert parse_procedure("sbon(8, 500)").mean_quantile == pytest.approx(
        parse_procedure("bon(8)").mean_quantile, abs=1e-4
    )
    assert parse_procedure("sbon(1024, 500)").kl < parse_procedure("bon(1024)").kl


def test_soft_best_of_n_by_sampling():
    rng = np.random.default_rng(7)
    u = rng.random((200_000, 4))
    weights = np.exp(5.0 * u)
    means = np.sum(weights * u, axis=1) / weights.sum(axis=1)
    error = means.std() / np.sqrt(len(means))
    assert abs(means.mean() - parse_procedure("sbon(4, 5)").mean_quantile) < 5 * error


@pytest.mark.parametrize(
    "text",
    [
        "none",
        "bon(1)",
        "bon(2)",
        "bon(5)",
        "won(1)",
        "won(2)",
        "won(5)",
        "bop(3.5)",
        "tilt(0.0)",
        "tilt(2.0)",
    ],
)
def test_slope_and_bend_of_the_curve(text):
    p, step = np.linspace(0.1, 0.9, 9), 1e-5
    procedure = parse_procedure(text)
    value, slope, bend = procedure.curve(p, 1 - p)
    above, below = (procedure.curve(p + s, 1 - p - s)[0] for s in (step, -step))
    assert np.allclose((above - below) / (2 * step), slope, atol=1e-8)
    assert np.allclose((above - 2 * value + below) / step**2, bend, atol=1e-4)


@pytest.mark.parametrize("mu", [0.0, 0.5, 3.5, 30.0])
def test_samples_needed_for_best_of_poisson(mu):
    m = parse_procedure(f"bop({mu})").min_samples
    assert poisson.sf(m - 1, mu) <= 1e-6
    assert m == 1 or poisson.sf(m - 2, mu) > 1e-6


def test_samples_needed_else():
    assert [parse_procedure(text).min_samples for text in ("none", "bon(4)", "won(32)", "sbon(8, 2)")] == [
        1,
        4,
        32,
        8,
    ]


def test_mean_draws_is_that_of_the_number_drawn():
    draws = 1 + np.arange(60)
    assert parse_procedure("bop(3.5)").mean_draws == pytest.approx(np.sum(draws * poisson.pmf(draws - 1, 3.5)))
    assert [parse_procedure(text).mean_draws for text in ("none", "bon(4)", "won(32)", "sbon(8, 2)")] == [
        1,
        4,
        32,
        8,
    ]


def test_quantiles_outside_the_unit_interval():
    with pytest.raises(InputError, match=r"u must lie in \[0, 1\]"):
        parse_procedure("bon(2)").density([1.5])
