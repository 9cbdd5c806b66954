"""Panels: integrals, running integrals, interpolation."""

import numpy as np
import pytest

from infalign.mathematics.quadrature import Panels

PANELS = Panels.graded(20, 100, per_octave=1)


@pytest.mark.parametrize("power", [0, 1, 5, 31])
def test_polynomials_are_exact(power):
    values = PANELS.u**power
    assert PANELS.integrate(values) == pytest.approx(1 / (power + 1), abs=1e-14)
    assert np.allclose(PANELS.from_zero(values), PANELS.u ** (power + 1) / (power + 1), atol=1e-14)


def test_running_integrals_add_up():
    values = np.exp(np.sin(9 * PANELS.u))
    total = PANELS.from_zero(values) + PANELS.to_one(values)
    assert np.allclose(total, PANELS.integrate(values), atol=1e-13)


def test_a_spike_of_width_1e_minus_25_at_the_top():
    density = np.exp(-PANELS.complement / 1e-25) / 1e-25
    assert PANELS.integrate(density) == pytest.approx(1.0, abs=1e-10)
    above = -np.expm1(-PANELS.complement / 1e-25)
    assert np.allclose(PANELS.to_one(density), above, atol=1e-10)


def test_splitting_and_interpolation_keep_a_smooth_function():
    marked = np.zeros(len(PANELS.half_widths), dtype=bool)
    marked[::3] = True
    finer = PANELS.split(marked)
    assert len(finer.half_widths) == len(marked) + marked.sum()
    assert finer.weights.sum() == pytest.approx(1.0, abs=1e-14)
    assert np.all(np.diff(finer.u) >= 0)
    assert np.allclose(PANELS.interpolate(np.sin(5 * PANELS.u), finer), np.sin(5 * finer.u), atol=1e-13)


def test_roughness_marks_the_panel_that_is_not_resolved():
    rough = PANELS.roughness(np.abs(PANELS.u - 0.3))
    assert np.argmax(rough) == np.searchsorted(PANELS.lower, 0.3) - 1
    assert np.sum(rough > 1e-10) == 1
