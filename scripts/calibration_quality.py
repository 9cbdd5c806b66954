"""How good calibration from few rollouts and with few anchors is, on responses that took no part in it."""

from pathlib import Path

from infalign.records.command import run_command
from infalign.records.config import read_config, read_study_block
from infalign.records.tables import read_table, write_table
from infalign.studies.calibration.block import Calibration
from infalign.studies.calibration.tables import calibration_tables, measured_responses

COLUMNS = ["prompt_id", "sample_id", "reward", "judge"]


def calibration_quality(config: Path, scores: Path, measured: Path, /, *, task: str, out: Path) -> None:
    """Write the tables of one task: errors and frontiers, over all prompts and by prompt.

    Parameters
    ----------
    config : Path
        The run's recorded configuration, with the block `calibration`.
    scores : Path
        Scored reference rollouts of the task's main condition, which calibrate.
    measured : Path
        Scored further responses to the same prompts.
    task : str
        Its name in the configuration.
    out : Path
        Folder of the tables to write.
    """
    run, settings = read_config(config), read_study_block(config, "calibration", Calibration)
    calibrating, further = (read_table(path, COLUMNS, also=["gold"]) for path in (scores, measured))
    responses = measured_responses(task, calibrating, further)
    recorded = {"run": run.run, "task": task, "settings": settings.model_dump()}
    for name, table in calibration_tables(responses, run.goals[task], settings, run.evaluation).items():
        write_table(table, out / f"{name}.parquet", recorded)


if __name__ == "__main__":
    run_command(calibration_quality)
