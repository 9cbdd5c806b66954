"""The regression loss by hand, and its targets against the partition function."""

import math

import numpy as np
import pytest
import torch

from infalign.alignment.regression import regression_loss, regression_targets
from infalign.mathematics.tilting import tilt


def test_regression_loss_by_hand_on_two_tokens():
    # The reference gives ½ and ½, the tilt asked for ¾ and ¼ and the policy 0.8 and 0.2.
    targets = torch.tensor(regression_targets(np.array([[math.log(3.0), 0.0]]), 1.0)[0])
    assert targets.tolist() == pytest.approx([math.log(1.5), math.log(0.5)])
    loss = regression_loss(torch.tensor([0.8, 0.2], dtype=torch.float64).log() - math.log(0.5), targets)
    assert loss.tolist() == pytest.approx([math.log(0.8 / 0.75) ** 2, math.log(0.2 / 0.25) ** 2])


def test_targets_are_the_log_ratios_of_the_tilt_of_the_rollouts():
    values = np.random.default_rng(0).normal(size=(3, 50))
    assert np.exp(regression_targets(values, 0.2)) == pytest.approx(50 * tilt(values, 0.2))


@pytest.mark.parametrize("k", [100, 200])
def test_partition_function_of_untied_ranks_is_the_known_one(k):
    """Identity: Z = β(e^{1/β} − 1); the midpoint rule is off by the factor 1 − 1/(24 β² K²)."""
    beta = 0.1
    ranks = (np.arange(k) + 0.5) / k
    log_z = (ranks / beta - regression_targets(ranks[None], beta)[0]).mean()
    known = math.log(beta * math.expm1(1 / beta))
    assert log_z - known == pytest.approx(-1 / (24 * beta**2 * k**2), rel=0.01)


def test_ties_do_not_have_the_known_partition_function():
    """A reference of two responses alike likely has ranks ¼ and ¾ only, so the ratios' mean needs its own Z."""
    ranks = np.repeat([0.25, 0.75], 50)[None]
    assert np.exp(regression_targets(ranks, 0.1)).mean() == pytest.approx(1.0)
    assert np.exp(ranks / 0.1).mean() < 0.5 * 0.1 * math.expm1(10)
