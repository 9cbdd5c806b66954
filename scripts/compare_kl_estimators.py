"""Compare three estimates of every policy's KL divergence from the reference."""

from pathlib import Path

import polars as pl

from infalign.records.command import run_command
from infalign.records.config import read_config
from infalign.records.responses import policy_scores
from infalign.records.sweep import policies
from infalign.records.tables import read_table, write_table
from infalign.studies.kl_estimators.tables import ESTIMATOR_SCHEMA, SCORE_COLUMNS, estimator_rows


def compare_kl_estimators(config: Path, /, *, tasks: Path, out: Path) -> None:
    """Write a row for every policy and estimate, under each task's main condition.

    Parameters
    ----------
    config : the run's recorded configuration.
    tasks : folder of the shared results.
    out : table to write.
    """
    run = read_config(config)
    evaluation = run.evaluation
    bootstrap = evaluation.bootstrap
    rows = []
    for policy in policies(run):
        scores = read_table(tasks.parent / f"{policy_scores(run, policy)}.parquet", SCORE_COLUMNS, also=())
        rows += estimator_rows(policy.task, policy.slug, scores, bootstrap)
    write_table(pl.DataFrame(rows, schema=ESTIMATOR_SCHEMA), out, {"run": run.run})


if __name__ == "__main__":
    run_command(compare_kl_estimators)
