"""Which exponential transform is best for each N: in theory, offline, and among the trained policies."""

from pathlib import Path

from infalign.records.command import run_command
from infalign.records.responses import main_scores
from infalign.records.run_tables import RunTables
from infalign.records.tables import read_table, write_table
from infalign.studies.exponents.block import Exponents
from infalign.studies.exponents.tables import exponent_tables

COLUMNS = ["prompt_id", "sample_id", "reward", "judge"]


def exponents(run: Path, /, *, tasks: Path) -> None:
    """Write exponents.parquet and best_exponents.parquet into the run's folder.

    Parameters
    ----------
    run : folder of the run, with its configuration and metrics.
    tasks : folder of the shared results.
    """
    measured = RunTables(run, tasks)
    block = measured.block("exponents", Exponents)
    tables = exponent_tables(
        block,
        measured.config,
        measured.main("metrics"),
        measured.main("prompt_metrics"),
        lambda task: read_table(
            tasks.parent / f"{main_scores(measured.config, task)}.parquet", COLUMNS, also=()
        ),
    )
    for name, table in tables.items():
        write_table(table, run / f"{name}.parquet", {"kl": block.kl})


if __name__ == "__main__":
    run_command(exponents)
