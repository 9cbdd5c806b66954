"""Measure the leads over the raw reward at every temperature at which policies were sampled."""

from pathlib import Path

from infalign.records.command import run_command
from infalign.records.comparisons import compared_procedures, several_temperatures
from infalign.records.config import read_config
from infalign.records.sweep import policies
from infalign.records.tables import read_table, write_table
from infalign.studies.temperatures.tables import temperature_leads


def compare_temperatures(run: Path, /) -> None:
    """Write temperature_leads.parquet into the run's folder.

    Parameters
    ----------
    run : folder of the run, with its configuration and metrics.
    """
    config = read_config(run / "config.json")
    evaluation = config.evaluation
    tasks = [task for task in config.tasks if several_temperatures(config, policies(config), task)]
    metrics, by_prompt = (read_table(run / f"{name}.parquet") for name in ("metrics", "prompt_metrics"))
    bootstrap = evaluation.bootstrap
    procedures = compared_procedures(config.goals, tasks)
    table = temperature_leads(metrics, by_prompt, procedures, bootstrap=bootstrap)
    write_table(table, run / "temperature_leads.parquet", {"level": evaluation.level})


if __name__ == "__main__":
    run_command(compare_temperatures)
