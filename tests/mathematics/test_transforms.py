"""Transformations: text forms, bounded values, and precision near u = 1."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infalign.errors import InputError
from infalign.mathematics.transforms import Exponential, parse_transform


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("raw", "raw"),
        (" identity ", "identity"),
        ("log", "log"),
        ("exp(10)", "exp(10)"),
        ("exp( -10.0 )", "exp(-10)"),
        ("exp(0.5)", "exp(0.5)"),
        ("exp(1e1)", "exp(10)"),
        ("optimal( bon(4) )", "optimal(bon(4))"),
        ("optimal(sbon(4,5))", "optimal(sbon(4, 5.0))"),
    ],
)
def test_text_forms_round_trip(text, canonical):
    transform = parse_transform(text)
    assert transform.text == str(transform) == canonical
    assert parse_transform(canonical) == transform
    assert parse_transform(transform) is transform


@pytest.mark.parametrize("text", ["square", "exp", "exp()", "identity(2)", "optimal", "", "exp(10", "raw()"])
def test_unknown_transform_lists_the_valid_ones(text):
    with pytest.raises(InputError, match=r"valid forms: raw, identity, log, exp\(t\).*optimal") as raised:
        parse_transform(text)
    assert repr(text) in str(raised.value)


@pytest.mark.parametrize("text", ["exp(0)", "exp(nan)", "exp(inf)", "exp(ten)"])
def test_exponent_must_be_a_finite_number_other_than_zero(text):
    with pytest.raises(InputError, match="must be a finite number other than 0"):
        parse_transform(text)


def test_optimal_names_an_unknown_procedure():
    with pytest.raises(InputError, match=r"unknown procedure 'best\(4\)'; valid forms: none, bon\(n\)"):
        parse_transform("optimal(best(4))")


@given(st.floats(0, 1), st.floats(-50, 50).filter(lambda t: abs(t) > 1e-3))
def test_scaled_exponential_is_the_papers_up_to_its_scale(u, t):
    transform = Exponential(t)
    paper = np.sign(t) * np.exp(t * u)
    assert np.isclose(transform.scaled([u])[0] * np.exp(transform.log_scale), paper, rtol=1e-12)
    assert abs(transform.scaled([u])[0]) <= 1


@pytest.mark.parametrize("text", ["identity", "log", "exp(50)", "exp(3)", "exp(-3)", "exp(-50)"])
def test_difference_to_the_top_agrees_with_the_values(text):
    u = np.linspace(0.01, 0.99, 99)
    difference = parse_transform(text).below_top(u, 1 - u)
    assert np.allclose(
        difference,
        parse_transform(text).scaled(u) - parse_transform(text).scaled([1.0]),
        rtol=1e-9,
        atol=1e-15,
    )


@pytest.mark.parametrize(("text", "slope"), [("identity", 1), ("log", 1), ("exp(50)", 50)])
def test_difference_to_the_top_is_precise_where_one_minus_u_is_tiny(text, slope):
    tiny = np.array([1e-30])
    assert np.isclose(parse_transform(text).below_top(np.ones(1), tiny)[0], -slope * 1e-30, rtol=1e-12)


def test_log_acts_on_strict_calibration_with_rollouts():
    assert np.allclose(parse_transform("log").scaled([0.0, 0.99], n_rollouts=100), np.log([1 / 101, 100 / 101]))


def test_log_of_zero_says_what_to_do():
    with pytest.raises(InputError, match="pass n_rollouts=K with the strict calibration"):
        parse_transform("log").scaled([0.0, 0.5])


@pytest.mark.parametrize(
    ("text", "reason"),
    [("raw", "not a function of the calibrated reward"), ("optimal(bon(4))", "solve it first")],
)
def test_transforms_without_closed_form(text, reason):
    with pytest.raises(InputError, match=reason):
        parse_transform(text).scaled([0.5])


def test_calibrated_rewards_outside_the_unit_interval():
    with pytest.raises(InputError, match=r"must lie in \[0, 1\], got 0.5 to 1.5"):
        parse_transform("identity").scaled([0.5, 1.5])
