"""Measure the leads over the raw reward at every temperature at which policies were sampled."""

from pathlib import Path

from infalign.presentation.curves import Resampling
from infalign.records.command import run_command
from infalign.records.comparisons import several_temperatures
from infalign.records.config import read_config
from infalign.records.sweep import policies
from infalign.records.tables import read_table, write_table
from infalign.studies.seeds.figures import compared_procedures
from infalign.studies.temperatures.figures import temperature_leads


def compare_temperatures(run: Path, /) -> None:
    """Write temperature_leads.parquet into the run's folder.

    Parameters
    ----------
    run : folder of the run, with its configuration and metrics.
    """
    config = read_config(run / "config.json")
    evaluation = config.evaluation
    tasks = [task for task in config.tasks if several_temperatures(config, policies(config), task)]
    procedures = compared_procedures(tasks, {task: goal.procedure for task, goal in config.goals.items()})
    table = temperature_leads(
        *(read_table(run / f"{name}.parquet") for name in ("metrics", "prompt_metrics")),
        procedures,
        resampling=Resampling(evaluation.level, evaluation.resamples, evaluation.seed),
    )
    write_table(table, run / "temperature_leads.parquet", {"level": evaluation.level})


if __name__ == "__main__":
    run_command(compare_temperatures)
