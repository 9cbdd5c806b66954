"""What calibration costs: seconds of the rollouts and their scores against those of training a policy."""

from pathlib import Path

import polars as pl

from infalign.presentation.report import costs_html
from infalign.records.command import run_command
from infalign.records.config import read_config, task_folder
from infalign.records.sweep import policies, policy_folder
from infalign.records.tables import measured_seconds, read_table, write_atomically, write_table
from infalign.studies.calibration.tables import costs_table


def calibration_costs(run: Path, /, *, tasks: Path) -> None:
    """Write calibration_costs.parquet and calibration_costs.html into the run's folder.

    Parameters
    ----------
    run : folder of the run, with its configuration.
    tasks : folder of the shared results.
    """
    config = read_config(run / "config.json")
    trained: dict[str, list[float]] = {task: [] for task in config.tasks}
    for policy in policies(config):
        log = read_table(tasks / policy_folder(config, policy) / "training.parquet", may_be_empty=True)
        trained[policy.task] += [log["seconds"].sum()] if policy.reward and not log.is_empty() else []
    rows = [
        costs_table(
            task,
            config.tasks[task].rollouts.n_rollouts,
            *(
                measured_seconds(tasks / task_folder(config, task) / part / "train.seconds.tsv")
                for part in ("rollouts", "scores")
            ),
            seconds,
        )
        for task, seconds in trained.items()
    ]
    table = pl.concat(rows)
    write_table(table, run / "calibration_costs.parquet", {"run": config.run})
    page = costs_html(table)
    write_atomically(
        run / "calibration_costs.html", lambda partial: partial.write_text(page, encoding="utf-8")
    )


if __name__ == "__main__":
    run_command(calibration_costs)
