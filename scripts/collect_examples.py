"""Collect example responses of the reference and of the policies at each temperature."""

from pathlib import Path

import polars as pl

from infalign.presentation.examples import EXAMPLES_SCHEMA, task_examples
from infalign.presentation.report import examples_html
from infalign.records.command import run_command
from infalign.records.config import read_config
from infalign.records.tables import write_table, write_text


def collect_examples(run: Path, /, *, tasks: Path, n_prompts: int = 2) -> None:
    """Write examples.parquet and examples.html into the run's folder.

    Prompts are shown for the embedded corpora only: no text of a data set leaves its folder.

    Parameters
    ----------
    run : folder of the run, with its configuration.
    tasks : folder of the shared results.
    n_prompts : of each split.
    """
    config = read_config(run / "config.json")
    rows = [row for name in config.tasks for row in task_examples(config, name, tasks, n_prompts)]
    frame = pl.DataFrame(rows, schema=EXAMPLES_SCHEMA)
    write_table(frame, run / "examples.parquet", {"run": config.run})
    write_text(examples_html(frame), run / "examples.html")


if __name__ == "__main__":
    run_command(collect_examples)
