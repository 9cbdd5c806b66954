"""Ideal frontiers of a run's transforms under its procedures (Theorem 3), before any training."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import polars as pl
from tqdm import tqdm

from infalign.mathematics.frontier import ideal
from infalign.mathematics.optimum import OptimalSolution, optimal
from infalign.records.block import parse_block
from infalign.records.command import run_command
from infalign.records.config import Evaluation, Theory
from infalign.records.metrics import procedures
from infalign.records.tables import write_table

SATURATED = 0.999  # win rate from which a larger KL buys nothing, and soon cannot be spent
SCHEMA = {
    **dict.fromkeys(("transform", "procedure"), pl.String),
    **dict.fromkeys(("kl", "beta", "win_rate"), pl.Float64),
}


def ideal_frontier(*, theory: str, evaluation: str, out: Path) -> None:
    """Write the ideal frontiers, with the optimal transform of each procedure.

    Parameters
    ----------
    theory : str
        JSON of the configuration's block `theory`: transforms and KLs.
    evaluation : str
        JSON of the block `evaluation`: the procedures.
    out : Path
        Table to write.
    """
    grid, measured = parse_block(Theory, theory), parse_block(Evaluation, evaluation)
    rows = []
    for procedure in tqdm(procedures(measured), desc="procedures", disable=None):
        points = [(kl, ideal(name, procedure.text, kl=kl)) for name, kl in product(grid.transforms, grid.kl)]
        points += optimal_points(procedure.text, grid.kl)
        # the budget, not the KL that the solver reached, which differs from it by rounding
        rows += [{**{name: getattr(point, name) for name in SCHEMA}, "kl": kl} for kl, point in points]
    write_table(pl.DataFrame(rows, schema=SCHEMA), out, {"theory": grid.model_dump()})


def optimal_points(procedure: str, budgets: Sequence[float]) -> list[tuple[float, OptimalSolution]]:
    """Budgets and points of the optimal transform by rising KL, up to the first that wins almost always."""
    points: list[tuple[float, OptimalSolution]] = []
    for kl in sorted(budgets):
        points.append((kl, optimal(procedure, kl=kl)))
        if points[-1][1].win_rate > SATURATED:
            break
    return points


if __name__ == "__main__":
    run_command(ideal_frontier)
