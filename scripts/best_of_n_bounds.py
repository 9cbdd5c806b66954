"""The variational best-of-N objective J and its bounds L and L1, in numbers over random listed distributions."""

from pathlib import Path

from infalign.records.command import run_command
from infalign.records.tables import write_table
from infalign.studies.bounds.tables import N_RESPONSES, bounds_table


def best_of_n_bounds(*, out: Path, n_worlds: int = 500, seed: int = 0) -> None:
    """Write for each N the smallest slack of each inequality, and how much increasing maps change J and L.

    Parameters
    ----------
    out : Path
        Table to write.
    n_worlds : int
        Random policies, references and rewards of six responses.
    seed : int
        Of the worlds.
    """
    write_table(bounds_table(n_worlds, seed), out, {"seed": seed, "responses": N_RESPONSES})


if __name__ == "__main__":
    run_command(best_of_n_bounds)
