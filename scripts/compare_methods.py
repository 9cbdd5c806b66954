"""Compare the methods of a run: front, hypervolume and win rates at matched KL."""

from pathlib import Path

from infalign.presentation.core_figures import comparison_panels
from infalign.presentation.pareto import BUDGET, compare_methods
from infalign.presentation.report import methods_html
from infalign.records.command import run_command
from infalign.records.config import read_config
from infalign.records.metrics import main_condition
from infalign.records.tables import read_table, write_table, write_text


def write_comparison(run: Path, /, *, budget: float = BUDGET) -> None:
    """Write methods.parquet and methods.html into the run's folder.

    Parameters
    ----------
    run : Path
        Folder of the run, with its configuration and tables.
    budget : float
        KL in nats of the hypervolume's reference point.
    """
    config = read_config(run / "config.json")
    evaluation = config.evaluation
    metrics, prompt_metrics = (
        main_condition(read_table(run / f"{name}.parquet"), config) for name in ("metrics", "prompt_metrics")
    )
    methods = compare_methods(
        metrics,
        prompt_metrics,
        {task: goal.transform for task, goal in config.trained_goals.items()},
        budget=budget,
        bootstrap=evaluation.bootstrap,
    )
    write_table(methods, run / "methods.parquet", {"budget": budget, "level": evaluation.level})
    write_text(methods_html(methods, comparison_panels(config)), run / "methods.html")


if __name__ == "__main__":
    run_command(write_comparison)
