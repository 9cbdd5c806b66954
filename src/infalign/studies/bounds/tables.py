"""Table of the variational best-of-N objective J and its bounds L and L1, over random listed distributions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import polars as pl
from numpy.typing import NDArray

from infalign.studies.bounds.mathematics import vbon_loose_bound, vbon_lower_bound, vbon_value

Array = NDArray[np.float64]
World = tuple[Array, Array, Array]
"""Policy, reference and rewards of N_RESPONSES responses."""
# The paper's beta of L (appendix F) as N = 1/beta + 1.
BETAS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)
INCREASING_MAPS: tuple[Callable[[Array], Array], ...] = (np.exp, lambda r: r**3, lambda r: 3 * r - 100)
N_RESPONSES = 6


def bounds_table(n_worlds: int, seed: int) -> pl.DataFrame:
    """Compute for each N the smallest slack of each inequality, and how much increasing maps change J and L.

    Returns
    -------
    DataFrame
        Columns n, n_worlds, `j_less_l` (theorem 2), `j_less_l1` (theorem 3), `l_less_l1` (theorem 4) and `change`.
        The slacks are the smallest over the worlds in nats, negative where the inequality fails. `change` is the
        largest change of J or L when a map is applied to the rewards.
    """
    rng = np.random.default_rng(seed)
    worlds = [random_world(rng) for _ in range(n_worlds)]
    return pl.DataFrame([_bounds_row(1 / beta + 1, worlds) for beta in sorted(BETAS, reverse=True)])


def random_world(rng: np.random.Generator) -> World:
    """Draw a policy, a reference and rewards; the lowest reward comes first.

    The policy never returns the response of the lowest reward, for which both bounds are minus infinity.
    """
    concentration = rng.choice([0.3, 1.0, 3.0])
    policy = rng.dirichlet(np.full(N_RESPONSES - 1, concentration))
    reference = rng.dirichlet(np.full(N_RESPONSES, concentration))
    return np.r_[0.0, policy], reference, np.sort(rng.normal(size=N_RESPONSES))


def _bounds_row(n: float, worlds: list[World]) -> dict[str, float]:
    """The smallest slacks and the largest change at one N."""
    functions = (vbon_value, vbon_lower_bound, vbon_loose_bound)
    objective, lower, loose = (np.array([f(*world, n) for world in worlds]) for f in functions)
    changes = [
        abs(f(policy, reference, rising(rewards), n) - f(policy, reference, rewards, n))
        for (policy, reference, rewards), rising, f in product(worlds, INCREASING_MAPS, functions[:2])
    ]
    slacks = {"j_less_l": objective - lower, "j_less_l1": objective - loose, "l_less_l1": lower - loose}
    smallest = {name: float(values.min()) for name, values in slacks.items()}
    return {"n": n, "n_worlds": len(worlds), **smallest, "change": float(max(changes))}
