"""Measure the spread between seeds of training beside the bootstrap interval over prompts."""

from pathlib import Path

from infalign.records.command import run_command
from infalign.records.comparisons import compared_procedures, several_seeds
from infalign.records.config import read_config
from infalign.records.metrics import main_condition
from infalign.records.sweep import policies
from infalign.records.tables import read_table, write_table
from infalign.studies.seeds.study import MATCHED_KL
from infalign.studies.seeds.tables import seeds_table


def compare_seeds(run: Path, /) -> None:
    """Write seeds.parquet into the run's folder.

    Parameters
    ----------
    run : folder of the run, with its configuration and metrics.
    """
    config = read_config(run / "config.json")
    evaluation = config.evaluation
    tasks = [task for task in config.tasks if several_seeds(policies(config), task)]
    metrics, by_prompt = (
        main_condition(read_table(run / f"{name}.parquet"), config) for name in ("metrics", "prompt_metrics")
    )
    bootstrap = evaluation.bootstrap
    procedures = compared_procedures(config.goals, tasks)
    table = seeds_table(metrics, by_prompt, procedures, kl=MATCHED_KL, bootstrap=bootstrap)
    write_table(table, run / "seeds.parquet", {"level": evaluation.level})


if __name__ == "__main__":
    run_command(compare_seeds)
