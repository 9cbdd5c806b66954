"""Measure best-of-N of the reference's own responses against the reference."""

from pathlib import Path

import polars as pl
from tqdm import tqdm

from infalign.records.command import run_command
from infalign.records.config import Config, read_config, task_folder
from infalign.records.metrics import BEST_OF_SCHEMA, best_of_n_rows
from infalign.records.sweep import conditions, policies
from infalign.records.tables import read_table, write_table

COLUMNS = ["prompt_id", "sample_id", "reward", "judge"]


def evaluate_best_of_n(config: Path, /, *, tasks: Path, out: Path) -> None:
    """Write win rates and mean scores of best-of-N under all conditions, prompt by prompt.

    Parameters
    ----------
    config : Path
        The run's recorded configuration.
    tasks : Path
        Folder of the shared results.
    out : Path
        Table to write.
    """
    run = read_config(config)
    cases = [(name, condition) for name, task in run.tasks.items() for condition in conditions(task)]
    rows = []
    for name, condition in tqdm(cases, desc="conditions", disable=None):
        path = tasks / task_folder(run, name) / "scores" / f"{condition.name}.parquet"
        scores = read_table(path, COLUMNS, also=["gold"])
        rows += best_of_n_rows(name, condition, scores, sizes(run, name))
    write_table(pl.DataFrame(rows, schema=BEST_OF_SCHEMA), out, {"run": run.run})


def sizes(run: Config, task: str) -> list[int]:
    """List N: 1, those of the evaluation and those that the task's policies are trained for, below its rollouts."""
    trained = [int(p.strength) for p in policies(run) if p.task == task and p.strength_kind == "n"]
    return sorted(n for n in {1, *run.evaluation.n, *trained} if n < run.tasks[task].rollouts.n_rollouts)


if __name__ == "__main__":
    run_command(evaluate_best_of_n)
