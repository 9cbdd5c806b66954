"""What theory says of hedging: the four regimes, at most one extremum, and best-of-Poisson against the tilt."""

from pathlib import Path

from infalign.records.command import run_command
from infalign.records.tables import write_table
from infalign.studies.hedging.tables import extrema_table, poisson_tilt_table, regime_table


def hedging_theory(*, regimes: Path, extrema: Path, poisson_tilt: Path) -> None:
    """Write three tables, computed for the continuous model; no language model is involved.

    Parameters
    ----------
    regimes : table to write, the expected true reward over the parameter for one true reward of each regime.
    extrema : table to write, the regime of many true rewards that change direction at most once.
    poisson_tilt : table to write, KL and reward of best-of-Poisson and the tilt.
    """
    for out, make in ((regimes, regime_table), (extrema, extrema_table), (poisson_tilt, poisson_tilt_table)):
        write_table(make(), out, {})


if __name__ == "__main__":
    run_command(hedging_theory)
