"""The best exponent against brute force, and its known limits."""

import numpy as np
import pytest

from infalign.errors import InputError
from infalign.mathematics.frontier import ideal
from infalign.mathematics.optimum import optimal
from infalign.studies.exponents.mathematics import ENOUGH, best_exponent, exponential


def rate(t, procedure, kl):
    return ideal(exponential(t), procedure, kl=kl).win_rate


@pytest.mark.parametrize(("procedure", "kl"), [("bon(2)", 0.5), ("bon(4)", 0.1), ("won(4)", 0.5)])
def test_no_exponent_of_a_fine_grid_is_better(procedure, kl):
    best = best_exponent(procedure, kl, 60)
    rates = [rate(t, procedure, kl) for t in np.arange(-60, 60.1, 0.5)]
    assert max(rates) - 1e-6 < best.win_rate <= optimal(procedure, kl=kl).win_rate
    assert rate(best.t, procedure, kl) == pytest.approx(best.win_rate, abs=1e-12)
    assert (best.t > 0) == procedure.startswith("bon") and not best.at_bound


def test_enough_is_within_a_tenth_of_a_point_and_nothing_nearer_to_0_is():
    best = best_exponent("bon(4)", 0.5, 100)
    assert 0 < best.enough < best.t
    assert rate(best.enough, "bon(4)", 0.5) == pytest.approx(best.win_rate - ENOUGH, abs=1e-6)
    assert rate(best.enough - 0.1, "bon(4)", 0.5) < best.win_rate - ENOUGH


def test_without_a_procedure_it_is_the_identity():
    best = best_exponent("none", 0.5, 50)
    assert (best.t, best.enough, best.at_bound) == (0.0, 0.0, False)
    assert best.win_rate == ideal("identity", "none", kl=0.5).win_rate
    assert rate(1e-4, "bon(4)", 0.5) == pytest.approx(rate(0, "bon(4)", 0.5), abs=1e-4)


def test_the_bound_is_said():
    best = best_exponent("bon(32)", 0.5, 30)
    assert best.t == 30 and best.at_bound
    with pytest.raises(InputError, match="largest must be"):
        best_exponent("bon(2)", 0.5, 0)
