"""What calibration costs: seconds of the rollouts and their scores against those of training a policy."""

from pathlib import Path

from infalign.records.command import run_command
from infalign.records.run_tables import RunTables
from infalign.records.tables import write_atomically, write_table
from infalign.studies.calibration.costs import calibration_costs_html, run_calibration_costs


def calibration_costs(run: Path, /, *, tasks: Path) -> None:
    """Write calibration_costs.parquet and calibration_costs.html into the run's folder.

    Parameters
    ----------
    run : Path
        Folder of the run, with its configuration.
    tasks : Path
        Folder of the shared results.
    """
    stored = RunTables(run, tasks)
    costs = run_calibration_costs(stored)
    write_table(costs, run / "calibration_costs.parquet", {"run": stored.config.run})
    page = calibration_costs_html(costs)
    write_atomically(run / "calibration_costs.html", lambda partial: partial.write_text(page, encoding="utf-8"))


if __name__ == "__main__":
    run_command(calibration_costs)
