"""Put tables of the same columns under one another."""

from pathlib import Path

import polars as pl
from tyro.conf import Positional

from infalign.records.command import run_command
from infalign.records.tables import read_table, write_table


def collect(tables: Positional[tuple[Path, ...]], *, out: Path) -> None:
    """Concatenate tables.

    Parameters
    ----------
    tables : tables of the same columns.
    out : table to write.
    """
    write_table(pl.concat([read_table(path) for path in tables]), out, {"tables": len(tables)})


if __name__ == "__main__":
    run_command(collect)
