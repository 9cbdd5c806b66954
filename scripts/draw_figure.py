"""Draw one figure from a run's tables."""

from pathlib import Path

import polars as pl

from infalign.mathematics.procedures import parse_procedure
from infalign.presentation import figures
from infalign.presentation.temperature import figure_temperatures
from infalign.records.command import run_command
from infalign.records.config import Config, read_config, task_folder
from infalign.records.metrics import main_condition
from infalign.records.sweep import conditions
from infalign.records.tables import read_table


def draw_figure(name: str, /, *, run: Path, tasks: Path) -> None:
    """Draw a figure as SVG and PNG into the run's folder `figures`.

    Parameters
    ----------
    name : of the figure, e.g. transforms, calibration_helpful, inference_time, scaling_by_judge.
    run : folder of the run, with its configuration and tables.
    tasks : folder of the shared results.
    """
    config = read_config(run / "config.json")
    kind, _, task = name.partition("calibration_")
    if task:
        scores = read_table(
            tasks / task_folder(config, task) / "scores" / "train.parquet", ["prompt_id", "reward"]
        )
        figure = figures.figure_calibration(scores, task=task)
    elif kind == "transforms":
        figure = figures.figure_transforms(read_table(run / "ideal.parquet"))
    elif kind == "gold":
        figure = figures.figure_gold(pl.read_parquet(run / "gold.parquet"))
    elif kind == "overview":
        goals = [(task, goal.procedure) for task, goal in config.goals.items()]
        figure = figures.figure_overview(main_metrics(config, run), goals)
    elif kind == "temperatures":
        several = [task for task, block in config.tasks.items() if len(conditions(block)) > 1]
        tables = [read_table(run / f"{table}.parquet") for table in ("metrics", "best_of_n")]
        figure = figure_temperatures(*tables, several)
    elif kind in ("methods", "matched_kl"):
        figure = comparison_figure(kind, config, run)
    else:
        figure = win_rate_figure(kind, config, run)
    figures.save_figure(figure, run / "figures" / name)


def main_metrics(config: Config, run: Path) -> pl.DataFrame:
    """Read the metrics of each task's main condition, which all figures but `temperatures` show."""
    return main_condition(read_table(run / "metrics.parquet"), config)


def comparison_figure(name: str, config: Config, run: Path):
    """Draw the methods against one another, without a procedure and with that of each task's goal."""
    panels = [(task, text) for task, goal in config.goals.items() for text in ("none", goal.procedure)]
    panels = list(dict.fromkeys(panels))
    if name == "matched_kl":
        return figures.figure_matched_kl(read_table(run / "methods.parquet"), panels)
    return figures.figure_methods(main_metrics(config, run), read_table(run / "ideal.parquet"), panels)


def win_rate_figure(name: str, config: Config, run: Path):
    """Draw a figure of win rates against KL; `_by_judge` selects by the judge instead of the reward."""
    kind = name.removesuffix("_by_judge")
    select = "reward" if kind == name else "judge"
    tables = [main_metrics(config, run)]
    tables += [read_table(run / f"{table}.parquet") for table in ("offline", "ideal")]
    goals = [(task, parse_procedure(goal.procedure)) for task, goal in config.goals.items()]
    if kind == "standard":
        return figures.figure_standard(*tables, list(config.tasks), select=select)
    if kind == "inference_time":
        return figures.figure_inference_time(*tables, [(t, p.text) for t, p in goals], select=select)
    sizes = min(config.evaluation.n), max(config.evaluation.n)
    panels = [(task, f"{procedure.name}({n})") for task, procedure in goals for n in sizes]
    return figures.figure_scaling(*tables, panels, select=select)


if __name__ == "__main__":
    run_command(draw_figure)
