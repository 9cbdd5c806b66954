"""Give every claim its verdict and write the tables that the report shows."""

from pathlib import Path

import polars as pl

from infalign.catalogue import CLAIM_KINDS, claim_tables, read_run_config
from infalign.presentation.claims import evaluate_claims, judge_and_gold, load_claims
from infalign.presentation.report import claims_html, metrics_html
from infalign.records.command import run_command
from infalign.records.run_tables import RunTables
from infalign.records.tables import write_table, write_text


def judge_claims(claims: Path, /, *, run: Path, tasks: Path) -> None:
    """Write claims.parquet, cost_claims.parquet, gold.parquet, claims.html and metrics.html into the run's folder.

    Claims about time have a table of their own: their numbers are not those of another run.

    Parameters
    ----------
    claims : YAML file of claims.
    run : folder of the run, with its configuration and tables.
    tasks : folder of the shared results.
    """
    config = read_run_config(run / "config.json")
    tables = RunTables(run, tasks, claim_tables(config))
    bootstrap = config.evaluation.bootstrap
    entries = load_claims(claims, CLAIM_KINDS)
    judged = evaluate_claims(entries, tables, bootstrap=bootstrap)
    timed = pl.col("claim").is_in([entry.claim for entry in entries if entry.about == "cost"])
    gold = judge_and_gold(entries, tables, bootstrap=bootstrap)
    goals = [(task, goal.procedure) for task, goal in config.trained_goals.items()]
    manifest = {"claims_file": claims.name}
    write_table(judged.filter(~timed), run / "claims.parquet", manifest)
    write_table(judged.filter(timed), run / "cost_claims.parquet", manifest)
    write_table(gold, run / "gold.parquet", manifest)
    write_text(claims_html(judged, gold), run / "claims.html")
    write_text(metrics_html(tables.main("metrics"), goals), run / "metrics.html")


if __name__ == "__main__":
    run_command(judge_claims)
