"""Compare three estimates of every policy's KL divergence from the reference."""

from pathlib import Path

from infalign.records.command import run_command
from infalign.records.config import read_config
from infalign.records.sweep import policies, policy_folder, policy_sets
from infalign.records.tables import read_table, write_table
from infalign.studies.kl_estimators.tables import estimator_rows, estimator_table

COLUMNS = ["prompt_id", "sample_id", "log_prob", "reference_log_prob", "kl"]


def compare_kl_estimators(config: Path, /, *, tasks: Path, out: Path) -> None:
    """Write a row for every policy and estimate, under each task's main condition.

    Parameters
    ----------
    config : the run's recorded configuration.
    tasks : folder of the shared results.
    out : table to write.
    """
    run = read_config(config)
    rows = []
    for policy in policies(run):
        main = next(iter(policy_sets(run.tasks[policy.task])))
        path = tasks / policy_folder(run, policy) / "scores" / f"{main}.parquet"
        rows += estimator_rows(policy.task, policy.slug, read_table(path, COLUMNS, also=()), run.evaluation)
    write_table(estimator_table(rows), out, {"run": run.run})


if __name__ == "__main__":
    run_command(compare_kl_estimators)
