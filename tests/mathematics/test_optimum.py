"""The optimal transformation: fixed point, closed laws, and optimality."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from infalign.errors import InputError
from infalign.mathematics.continuous import Density
from infalign.mathematics.frontier import ideal
from infalign.mathematics.optimum import (
    _newton,
    _starts,
    optimal,
    optimal_density,
)
from infalign.mathematics.procedures import parse_procedure
from infalign.mathematics.quadrature import Panels

EVERY = [
    "none",
    "bon(2)",
    "bon(4)",
    "won(2)",
    "won(4)",
    "bop(3.5)",
    "tilt(2.0)",
    "sbon(4, 5.0)",
    "sbon(2, 10.0)",
]


def some_density():
    panels = Panels.graded(8, 8)
    return Density(panels, np.sin(3 * panels.u) + 2 * panels.u**2)


@pytest.mark.parametrize("text", EVERY)
def test_derivative_by_finite_differences(text):
    """W(f + ε g) − W(f) = ε ∫ Φ g for any g of integral 0."""
    procedure, density = parse_procedure(text), some_density()
    panels = density.panels
    for wave in (np.cos(2 * np.pi * panels.u), np.cos(7 * np.pi * panels.u)):
        step = 1e-4 * (wave - panels.integrate(wave))
        ahead, behind = (Density(panels, np.log(density.f + s * step)) for s in (1, -1))
        difference = (procedure.win_rate(ahead) - procedure.win_rate(behind)) / 2
        assert panels.integrate(procedure.win_rate_derivative(density) * step) == pytest.approx(difference, abs=1e-11)


@pytest.mark.parametrize("text", EVERY)
def test_kernel_by_finite_differences(text):
    procedure, density = parse_procedure(text), some_density()
    panels = density.panels
    step = 1e-4 * np.cos(2 * np.pi * panels.u)
    step -= panels.integrate(step)
    ahead, behind = (procedure.win_rate_derivative(Density(panels, np.log(density.f + s * step))) for s in (1, -1))
    assert np.allclose(procedure.win_rate_kernel(density) @ step, (ahead - behind) / 2, atol=1e-9)


@pytest.mark.parametrize("n", [2, 4, 32])
def test_derivative_is_the_formula_of_corollary_2(n):
    density = some_density()
    u, panels = density.panels.u, density.panels
    best = -(n**2) * panels.to_one(density.below ** (n - 1) * u ** (n - 1))
    worst = -(n**2) * panels.to_one((1 - density.below) ** (n - 1) * (1 - u) ** (n - 1))
    assert np.allclose(parse_procedure(f"bon({n})").win_rate_derivative(density), best, atol=1e-13)
    assert np.allclose(parse_procedure(f"won({n})").win_rate_derivative(density), worst, atol=1e-13)


@pytest.mark.parametrize("beta", [1e-4, 0.1, 1.0, 1e3])
def test_without_a_procedure_the_identity_is_optimal(beta):
    solution, exact = optimal("none", beta=beta), ideal("identity", "none", beta=beta)
    assert solution.converged
    assert solution.win_rate == pytest.approx(exact.win_rate, abs=1e-12)
    assert solution.kl == pytest.approx(exact.kl, rel=1e-9)


@pytest.mark.parametrize("text", ["bon(1)", "won(1)", "bop(0)", "sbon(1, 3.0)", "sbon(4, 0)"])
def test_procedures_that_do_nothing_give_the_identity(text):
    assert optimal(text, beta=0.2).win_rate == pytest.approx(optimal("none", beta=0.2).win_rate, abs=1e-10)


STRENGTHS = [
    ("bon(4)", 1e-4),
    ("bon(4)", 0.1),
    ("bon(4)", 1e3),
    ("bon(2)", 0.01),
    ("won(2)", 0.01),
    ("won(4)", 1e-4),
    ("won(4)", 0.1),
    ("won(4)", 1e3),
    ("bon(1024)", 1e-4),
    ("bon(1024)", 1.0),
    ("won(1024)", 0.1),
]


@pytest.mark.parametrize(("text", "beta"), STRENGTHS)
def test_win_rate_and_density_at_the_ends_obey_the_exact_law(text, beta):
    """Integrating the fixed point by parts: W = (β/n)(f(1) − 1) for bon, 1 − (β/n)(1 − f(0)) for won."""
    solution, density = optimal_density(parse_procedure(text), beta=beta)
    n, panels = parse_procedure(text).n, density.panels
    assert solution.converged
    assert solution.residual < 1e-8
    if text.startswith("bon"):
        above = panels.to_one((density.below * panels.u) ** (n - 1))[-1]
        end = density.log_f[-1] + n**2 / beta * above
        assert solution.win_rate == pytest.approx(beta / n * np.expm1(end), rel=1e-8)
    else:
        below = panels.from_zero((density.above * panels.complement) ** (n - 1))[0]
        start = density.log_f[0] - n**2 / beta * below
        assert solution.win_rate == pytest.approx(1 + beta / n * np.expm1(start), rel=1e-8)


@pytest.mark.parametrize("beta", [0.05, 1.0])
def test_worst_of_4_against_shooting(beta):
    """With S(v) the mass above 1 − v: S'' = −(n²/β)(S v)^{n−1} S', S(0) = 0, S(1) = 1."""
    n = 4

    def slope(v, state):
        return [state[1], -(n**2) / beta * (state[0] * v) ** (n - 1) * state[1]]

    def shoot(start):
        return solve_ivp(slope, (0, 1), [0.0, start], rtol=1e-10, atol=1e-12).y[0, -1] - 1

    start = brentq(shoot, 0.5, 20.0, xtol=1e-12)
    _, density = optimal_density(parse_procedure("won(4)"), beta=beta)
    assert np.exp(density.log_f[-1]) == pytest.approx(start, rel=1e-6)


@pytest.mark.parametrize("text", ["bop(3.5)", "bop(100)", "sbon(4, 5.0)", "sbon(8, 20.0)"])
@pytest.mark.parametrize("beta", [1e-2, 1.0])
def test_other_procedures_converge(text, beta):
    solution = optimal(text, beta=beta)
    assert solution.converged
    assert solution.residual < 1e-8


@pytest.mark.parametrize("text", ["bon(4)", "won(4)", "bop(3.5)"])
def test_the_optimal_transform_increases_for_selection_by_order(text):
    solution = optimal(text, beta=0.1)
    assert np.all(np.diff(solution.phi) >= -1e-12)


def test_the_optimal_transform_of_soft_best_of_n_falls_near_zero():
    """Among losers the lowest is the least likely to be picked over a better draw."""
    solution = optimal("sbon(4, 5.0)", beta=1.0)
    low = solution.phi[solution.u < 0.01]
    assert low[-1] < low[0] - 1e-5


@pytest.mark.parametrize("text", ["bon(4)", "won(4)", "bop(3.5)", "sbon(4, 5.0)"])
def test_no_other_transform_does_better_at_the_same_kl(text):
    best = optimal(text, kl=0.5)
    assert best.converged
    assert best.kl == pytest.approx(0.5, abs=1e-9)
    for transform in ("identity", "log", "exp(3)", "exp(5)", "exp(10)", "exp(-5)", "exp(-10)"):
        assert ideal(transform, text, kl=0.5).win_rate <= best.win_rate + 1e-12


@pytest.mark.parametrize("text", ["bon(4)", "won(4)", "sbon(4, 5.0)"])
def test_nearby_densities_have_a_lower_objective(text):
    procedure, beta = parse_procedure(text), 0.2
    solution, density = optimal_density(procedure, beta=beta)
    best = solution.win_rate - beta * solution.kl
    rng = np.random.default_rng(9)
    for _ in range(10):
        waves = sum(rng.normal() * np.cos(k * np.pi * density.panels.u) for k in range(1, 6))
        moved = Density(density.panels, density.log_f + 0.05 * waves)
        assert procedure.win_rate(moved) - beta * moved.kl < best


def test_the_budget_finds_the_beta_that_gives_it():
    by_beta = optimal("bon(4)", beta=0.3)
    by_kl = optimal("bon(4)", kl=by_beta.kl)
    assert by_kl.beta == pytest.approx(0.3, rel=1e-7)
    assert by_kl.win_rate == pytest.approx(by_beta.win_rate, abs=1e-10)


def test_the_transform_read_back_between_the_nodes():
    solution = optimal("bon(4)", beta=0.2)
    finer = Panels.graded(8, 30, per_octave=3)
    density = Density(finer, solution.at(finer.u) / 0.2)
    assert parse_procedure("bon(4)").win_rate(density) == pytest.approx(solution.win_rate, abs=1e-9)
    assert solution.at([0.0, 1.0])[1] == pytest.approx(0.0, abs=1e-4)


def test_optimal_as_a_transform_of_another_procedure():
    point = ideal("optimal(bon(4))", "won(4)", kl=0.5)
    assert point.transform == "optimal(bon(4))"
    assert point.kl == pytest.approx(0.5, abs=1e-9)
    assert point.win_rate < optimal("won(4)", kl=0.5).win_rate


def test_budget_out_of_reach_names_the_largest():
    with pytest.raises(InputError, match=r"kl must be at most 3.562 nats for optimal\(won\(4\)\).*got 5"):
        optimal("won(4)", kl=5.0)


@pytest.mark.parametrize("beta", [0.0, -0.1, float("inf")])
def test_beta_must_be_positive(beta):
    with pytest.raises(InputError, match="beta must be a finite number > 0"):
        optimal("bon(4)", beta=beta)


def test_a_solution_that_did_not_converge_is_not_used():
    solution = replace(optimal("bon(4)", beta=0.2), converged=False, residual=0.5)
    with pytest.raises(InputError, match=r"optimal\(bon\(4\)\) did not converge at beta 0.2: the residual is 0.5"):
        solution.at([0.5])


@pytest.mark.parametrize("n", [2, 4, 32])
def test_worst_of_n_has_one_solution_whatever_the_start(n):
    """Every mass S(v) above 1 − v that solves the equation is a rescaling of one function: starts agree."""
    procedure = parse_procedure(f"won({n})")
    panels = procedure.optimum_panels(0.05)
    ends = [_newton(procedure, start, 0.05, climbing=False) for start in _starts(procedure, panels, 0.05)]
    assert all(converged for _, _, converged in ends)
    assert np.ptp([end.kl for end, _, _ in ends]) < 1e-9
