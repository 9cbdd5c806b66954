"""Give every claim its verdict and write the tables that the report shows."""

from pathlib import Path

import polars as pl

from infalign.presentation.claims import evaluate_claims, judge_and_gold, load_claims
from infalign.presentation.measures import Bootstrap, Tables
from infalign.presentation.report import claims_html, metrics_html
from infalign.records.command import run_command
from infalign.records.config import Config, read_config, task_folder
from infalign.records.metrics import main_condition
from infalign.records.sweep import policies, policy_folder
from infalign.records.tables import read_table, write_atomically, write_table


def judge_claims(claims: Path, /, *, run: Path, tasks: Path) -> None:
    """Write claims.parquet, cost_claims.parquet, gold.parquet, claims.html and metrics.html into the run's folder.

    Claims about time have a table of their own: their numbers are not those of another run.

    Parameters
    ----------
    claims : YAML file of claims.
    run : folder of the run, with its configuration and tables.
    tasks : folder of the shared results.
    """
    config = read_config(run / "config.json")
    tables = claim_tables(config, run, tasks)
    bootstrap = Bootstrap(config.evaluation.level, config.evaluation.resamples, config.evaluation.seed)
    entries = load_claims(claims)
    judged = evaluate_claims(entries, tables, bootstrap=bootstrap)
    timed = pl.col("claim").is_in([entry.claim for entry in entries if entry.about == "cost"])
    gold = judge_and_gold(entries, tables, bootstrap=bootstrap)
    goals = [(task, goal.procedure) for task, goal in config.trained_goals.items()]
    write_table(judged.filter(~timed), run / "claims.parquet", {"claims_file": claims.name})
    write_table(judged.filter(timed), run / "cost_claims.parquet", {"claims_file": claims.name})
    write_table(gold, run / "gold.parquet", {"claims_file": claims.name})
    for name, page in (
        ("claims", claims_html(judged, gold)),
        ("metrics", metrics_html(tables.metrics, goals)),
    ):
        write_atomically(
            run / f"{name}.html", lambda partial, page=page: partial.write_text(page, encoding="utf-8")
        )


def claim_tables(config: Config, run: Path, tasks: Path) -> Tables:
    """Read what claims are computed from; what the run does not make is left out."""
    names = ["ideal", "offline", "metrics", "prompt_metrics", "best_of_n", "bounds"]
    names += ["multitask", "change_of_variables"]
    names += ["hedges", "prompt_hedges", "extrema", "poisson_tilt"] if config.hedging else []
    names += ["estimation"] if config.estimation else []
    names += ["prompt_poisoning"] if config.poisoning else []
    names += ["agreement"] if config.judge else []
    names += ["prompt_judges"] if config.judge_strength else []
    names += ["best_exponents"] if config.exponents else []
    names += ["prompt_calibration_error", "prompt_calibration_frontier"] if config.calibration else []
    found = {name: read_table(run / f"{name}.parquet") for name in names}
    scores = {
        task: read_table(
            tasks / task_folder(config, task) / "scores" / "train.parquet",
            ["prompt_id", "reward"],
            also=["sample_id"],
        )
        for task in config.tasks
    }
    everywhere = {"conditions": found["metrics"], "prompt_conditions": found["prompt_metrics"]}
    main = {name: main_condition(found[name], config) for name in ("metrics", "prompt_metrics")}
    seconds = training_seconds(config, tasks)
    learnt = config.judge is not None and config.judge.trained is not None
    return Tables(**{**found, **main, **everywhere}, scores=scores, seconds=seconds, judge_learnt=learnt)


def training_seconds(config: Config, tasks: Path) -> pl.DataFrame:
    """Median seconds of an update of every policy that was trained."""
    rows = []
    for policy in policies(config):
        log = pl.read_parquet(tasks / policy_folder(config, policy) / "training.parquet")
        if not log.is_empty():
            rows.append((policy.task, policy.slug, log["seconds"].median()))
    schema = {"task": pl.String, "policy": pl.String, "seconds": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


if __name__ == "__main__":
    run_command(judge_claims)
