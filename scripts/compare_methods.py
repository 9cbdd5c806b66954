"""Compare the methods of a run: front, hypervolume and win rates at matched KL."""

from pathlib import Path

from infalign.presentation.curves import Resampling
from infalign.presentation.pareto import BUDGET, compare_methods
from infalign.presentation.report import methods_html
from infalign.records.command import run_command
from infalign.records.config import read_config
from infalign.records.metrics import main_condition
from infalign.records.tables import read_table, write_atomically, write_table


def write_comparison(run: Path, /, *, budget: float = BUDGET) -> None:
    """Write methods.parquet and methods.html into the run's folder.

    Parameters
    ----------
    run : folder of the run, with its configuration and tables.
    budget : KL in nats of the hypervolume's reference point.
    """
    config = read_config(run / "config.json")
    evaluation = config.evaluation
    goals = {task: goal.transform for task, goal in config.trained_goals.items()}
    methods = compare_methods(
        *(
            main_condition(read_table(run / f"{name}.parquet"), config)
            for name in ("metrics", "prompt_metrics")
        ),
        goals,
        budget=budget,
        resampling=Resampling(evaluation.level, evaluation.resamples, evaluation.seed),
    )
    write_table(methods, run / "methods.parquet", {"budget": budget, "level": evaluation.level})
    procedures = [
        (task, text) for task, goal in config.trained_goals.items() for text in ("none", goal.procedure)
    ]
    page = methods_html(methods, list(dict.fromkeys(procedures)))
    write_atomically(run / "methods.html", lambda partial: partial.write_text(page, encoding="utf-8"))


if __name__ == "__main__":
    run_command(write_comparison)
