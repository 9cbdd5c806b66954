"""Give every claim its verdict and write the tables that the report shows."""

from pathlib import Path

from infalign.presentation.claims import evaluate_claims, judge_and_gold, load_claims
from infalign.presentation.measures import Bootstrap, Tables
from infalign.presentation.report import claims_html, metrics_html
from infalign.records.command import run_command
from infalign.records.config import read_config, task_folder
from infalign.records.metrics import main_condition
from infalign.records.tables import read_table, write_atomically, write_table


def judge_claims(claims: Path, /, *, run: Path, tasks: Path) -> None:
    """Write claims.parquet, gold.parquet, claims.html and metrics.html into the run's folder.

    Parameters
    ----------
    claims : YAML file of claims.
    run : folder of the run, with its configuration and tables.
    tasks : folder of the shared results.
    """
    config = read_config(run / "config.json")
    names = ("ideal", "offline", "metrics", "prompt_metrics", "best_of_n")
    found = {name: read_table(run / f"{name}.parquet") for name in names}
    scores = {
        task: read_table(
            tasks / task_folder(config, task) / "scores" / "train.parquet", ["prompt_id", "reward"]
        )
        for task in config.tasks
    }
    everywhere = {"conditions": found["metrics"], "prompt_conditions": found["prompt_metrics"]}
    main = {name: main_condition(found[name], config) for name in ("metrics", "prompt_metrics")}
    tables = Tables(**{**found, **main, **everywhere}, scores=scores)
    bootstrap = Bootstrap(config.evaluation.level, config.evaluation.resamples, config.evaluation.seed)
    entries = load_claims(claims)
    judged = evaluate_claims(entries, tables, bootstrap=bootstrap)
    gold = judge_and_gold(entries, tables, bootstrap=bootstrap)
    goals = [(task, goal.procedure) for task, goal in config.goals.items()]
    write_table(judged, run / "claims.parquet", {"claims_file": claims.name})
    write_table(gold, run / "gold.parquet", {"claims_file": claims.name})
    for name, page in (
        ("claims", claims_html(judged, gold)),
        ("metrics", metrics_html(tables.metrics, goals)),
    ):
        write_atomically(
            run / f"{name}.html", lambda partial, page=page: partial.write_text(page, encoding="utf-8")
        )


if __name__ == "__main__":
    run_command(judge_claims)
