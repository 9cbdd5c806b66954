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
    run : Path
        Folder of the run, with its configuration and metrics.
    tasks : Path
        Folder of the shared results.
    """
    stored = RunTables(run, tasks)
    block = stored.block("exponents", Exponents)
    paths = {task: tasks.parent / f"{main_scores(stored.config, task)}.parquet" for task in stored.config.goals}
    scores = {task: read_table(path, COLUMNS, also=()) for task, path in paths.items()}
    metrics, prompt_metrics = stored.main("metrics"), stored.main("prompt_metrics")
    for name, table in exponent_tables(block, stored.config, metrics, prompt_metrics, scores).items():
        write_table(table, run / f"{name}.parquet", {"kl": block.kl})


if __name__ == "__main__":
    run_command(exponents)
