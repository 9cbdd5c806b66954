"""The variational best-of-N objective J and its bounds L and L1, in numbers over random listed distributions."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl

from infalign.records.command import run_command
from infalign.records.tables import write_table
from infalign.studies.bounds.mathematics import loose_bound, lower_bound, objective

# The paper's beta of L (appendix F) as N = 1/beta + 1.
BETAS = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)
MAPS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (np.exp, lambda r: r**3, lambda r: 3 * r - 100)
N_RESPONSES = 6


def best_of_n_bounds(*, out: Path, n_worlds: int = 500, seed: int = 0) -> None:
    """Write for each N the smallest slack of each inequality, and how much increasing maps change J and L.

    Columns: n, n_worlds, `j_less_l` (theorem 2), `j_less_l1` (theorem 3), `l_less_l1` (theorem 4), each the
    smallest over the worlds, in nats, negative where the inequality fails; `change`, the largest under the maps.

    Parameters
    ----------
    out : table to write.
    n_worlds : random policies, references and rewards of six responses. The policies never return the response
        of the lowest reward, for which both bounds are minus infinity.
    seed : of the worlds.
    """
    rng = np.random.default_rng(seed)
    worlds = [random_world(rng) for _ in range(n_worlds)]
    rows = [bounds_row(1 / beta + 1, worlds) for beta in sorted(BETAS, reverse=True)]
    write_table(pl.DataFrame(rows), out, {"seed": seed, "responses": N_RESPONSES})


def random_world(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Policy, reference and rewards; the lowest reward comes first."""
    concentration = rng.choice([0.3, 1.0, 3.0])
    policy = rng.dirichlet(np.full(N_RESPONSES - 1, concentration))
    reference = rng.dirichlet(np.full(N_RESPONSES, concentration))
    return np.r_[0.0, policy], reference, np.sort(rng.normal(size=N_RESPONSES))


def bounds_row(n: float, worlds: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> dict[str, float]:
    """The smallest slacks and the largest change at one N."""
    functions = (objective, lower_bound, loose_bound)
    exact, tight, loose = (np.array([f(*world, n) for world in worlds]) for f in functions)
    mapped = [
        abs(f(policy, reference, rising(rewards), n) - f(policy, reference, rewards, n))
        for (policy, reference, rewards), rising, f in product(worlds, MAPS, (objective, lower_bound))
    ]
    slacks = {"j_less_l": exact - tight, "j_less_l1": exact - loose, "l_less_l1": tight - loose}
    smallest = {name: float(values.min()) for name, values in slacks.items()}
    return {"n": n, "n_worlds": len(worlds), **smallest, "change": float(max(mapped))}


if __name__ == "__main__":
    run_command(best_of_n_bounds)
