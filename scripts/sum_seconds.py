"""Add up what Snakemake measured of several jobs."""

from pathlib import Path

import polars as pl
from tyro.conf import Positional

from infalign.records.command import run_command
from infalign.records.tables import measured_seconds, write_atomically


def sum_seconds(measured: Positional[tuple[Path, ...]], *, out: Path) -> None:
    """Write the sum in the form of a measurement.

    Parameters
    ----------
    measured : files of Snakemake's `benchmark`.
    out : file to write.
    """
    total = pl.DataFrame({"s": [sum(map(measured_seconds, measured))]})
    write_atomically(out, lambda partial: total.write_csv(partial, separator="\t"))


if __name__ == "__main__":
    run_command(sum_seconds)
