"""Draw one figure from a run's tables."""

from pathlib import Path

import polars as pl

from infalign.mathematics.procedures import parse_procedure
from infalign.presentation import comparison, hedging, miscalibration, overview, variational, win_rates
from infalign.presentation.calibration import figure_calibration_quality
from infalign.presentation.exponents import figure_exponents
from infalign.presentation.judge_strength import figure_judge_strength
from infalign.presentation.kl_estimators import figure_kl_estimators
from infalign.presentation.language_judge import figure_judge_agreement, figure_language_model_judge
from infalign.presentation.panels import save_figure
from infalign.presentation.poisoning import figure_poisoning
from infalign.presentation.seeds import figure_seeds
from infalign.presentation.temperature import figure_temperature_leads, figure_temperatures
from infalign.records.calibration_tables import calibrations
from infalign.records.command import run_command
from infalign.records.config import Config, read_config, task_folder
from infalign.records.methods import VBoNSettings
from infalign.records.metrics import main_condition
from infalign.records.sweep import conditions, policies, with_varied_rollouts
from infalign.records.tables import measured_seconds, read_table

TASK_FIGURES = (
    "calibration",
    "front",
    "bound",
    "cost",
    "hacking",
    "tradeoff",
)  # name goes on with the task's
OF_ONE_TABLE = {
    "transforms": (win_rates.figure_transforms, "ideal"),
    "estimation": (variational.figure_estimation, "estimation"),
    "log_distribution": (variational.figure_log_distribution, "log_distribution"),
    "regimes": (hedging.figure_regimes, "regimes"),
    "poisson_tilt": (hedging.figure_poisson_tilt, "poisson_tilt"),
    "poisoning": (figure_poisoning, "poisoning"),
    "judge_agreement": (figure_judge_agreement, "agreement"),
    "seeds": (figure_seeds, "seeds"),
    "temperature_leads": (figure_temperature_leads, "temperature_leads"),
    "kl_estimators": (figure_kl_estimators, "kl_estimators"),
}
CALIBRATION_FIGURES = ("calibration_rollouts", "calibration_anchors")  # their names go on with the task's


def draw_figure(name: str, /, *, run: Path, tasks: Path) -> None:
    """Draw a figure as SVG and PNG into the run's folder `figures`.

    Parameters
    ----------
    name : of the figure, e.g. transforms, calibration_helpful, inference_time, scaling_by_judge, front_helpful.
    run : folder of the run, with its configuration and tables.
    tasks : folder of the shared results.
    """
    config = read_config(run / "config.json")
    kind, _, task = name.partition("_")
    quality = next((start for start in CALIBRATION_FIGURES if name.startswith(f"{start}_")), None)
    if quality is not None and config.calibration is not None:
        figure = calibration_quality_figure(quality, name.removeprefix(f"{quality}_"), config, run)
    elif kind in TASK_FIGURES and task in config.tasks:
        figure = task_figure(kind, task, config, run, tasks / task_folder(config, task))
    elif name in OF_ONE_TABLE:
        draw, table = OF_ONE_TABLE[name]
        figure = draw(read_table(run / f"{table}.parquet"))
    elif name == "exponents":
        tables = [read_table(run / f"{table}.parquet") for table in ("exponents", "best_exponents")]
        figure = figure_exponents(*tables)
    elif name == "judge_strength":
        tables = [read_table(run / f"{table}.parquet") for table in ("judge_strength", "judge_policies")]
        figure = figure_judge_strength(*tables, {task: goal.procedure for task, goal in config.goals.items()})
    elif name == "gold":
        figure = overview.figure_gold(pl.read_parquet(run / "gold.parquet"))
    elif name == "language_model_judge":
        tables = [read_table(run / f"{table}.parquet") for table in ("ideal", "verdicts")]
        figure = figure_language_model_judge(main_table("metrics", config, run), *tables)
    elif name == "overview":
        goals = [(task, goal.procedure) for task, goal in config.trained_goals.items()]
        figure = overview.figure_overview(main_table("metrics", config, run), goals)
    elif name == "temperatures":
        several = [task for task, block in config.tasks.items() if len(conditions(block)) > 1]
        tables = [read_table(run / f"{table}.parquet") for table in ("metrics", "best_of_n")]
        figure = figure_temperatures(*tables, several)
    elif name in ("methods", "matched_kl"):
        figure = comparison_figure(name, config, run)
    else:
        figure = win_rate_figure(name, config, run)
    save_figure(figure, run / "figures" / name)


def main_table(name: str, config: Config, run: Path) -> pl.DataFrame:
    """Read a table at each task's main condition, which all figures but `temperatures` show."""
    return main_condition(read_table(run / f"{name}.parquet"), config)


def task_figure(kind: str, task: str, config: Config, run: Path, folder: Path):
    """Draw a figure of one task; `folder` holds its shared results."""
    if kind == "calibration":
        path = folder / "scores" / "train.parquet"
        scores = read_table(path, ["prompt_id", "reward"], also=["sample_id"])
        return miscalibration.figure_calibration(scores, task=task)
    if kind in ("hacking", "tradeoff"):
        draw = hedging.figure_hacking if kind == "hacking" else hedging.figure_tradeoff
        return draw(*(read_table(run / f"{table}.parquet") for table in ("hacking", "hedges")), task)
    metrics = main_table("metrics", config, run)
    if kind == "cost":
        names = [policy.slug for policy in with_varied_rollouts(policies(config), task)]
        seconds = sum(
            measured_seconds(folder / part / "train.seconds.tsv") for part in ("rollouts", "scores")
        )
        return variational.figure_cost(metrics, names, task, seconds / config.tasks[task].rollouts.n_rollouts)
    best_of_n = main_table("best_of_n", config, run)
    if kind == "front":
        return comparison.figure_front(metrics, best_of_n, task)
    forms = [name for name, settings in config.methods.items() if isinstance(settings, VBoNSettings)]
    title = "vBoN's objective and its lower bound"
    return comparison.figure_front(metrics, best_of_n, task, methods=forms, title=title)


def calibration_quality_figure(name: str, task: str, config: Config, run: Path):
    """Draw the calibrations of a task; `name` says what differs, calibration_rollouts or calibration_anchors."""
    assert config.calibration is not None
    n_rollouts = config.tasks[task].rollouts.n_rollouts
    kind = name.removeprefix("calibration_")
    kept = config.calibration.model_copy(update={"anchors" if kind == "rollouts" else "rollouts": []})
    tables = ("calibration_error", "prompt_calibration_error", "calibration_frontier")
    return figure_calibration_quality(
        *(read_table(run / f"{table}.parquet") for table in tables),
        main_table("metrics", config, run),
        task=task,
        goal=(config.goals[task].transform, config.goals[task].procedure),
        cases=calibrations(kept, n_rollouts),
        by_rollouts=kind == "rollouts",
    )


def comparison_figure(name: str, config: Config, run: Path):
    """Draw the methods against one another, without a procedure and with that of each task's goal."""
    panels = [
        (task, text) for task, goal in config.trained_goals.items() for text in ("none", goal.procedure)
    ]
    panels = list(dict.fromkeys(panels))
    if name == "matched_kl":
        return comparison.figure_matched_kl(read_table(run / "methods.parquet"), panels)
    return comparison.figure_methods(
        main_table("metrics", config, run), read_table(run / "ideal.parquet"), panels
    )


def win_rate_figure(name: str, config: Config, run: Path):
    """Draw a figure of win rates against KL; `_by_judge` selects by the judge instead of the reward."""
    kind = name.removesuffix("_by_judge")
    select = "reward" if kind == name else "judge"
    tables = [main_table("metrics", config, run)]
    tables += [read_table(run / f"{table}.parquet") for table in ("offline", "ideal")]
    goals = [(task, parse_procedure(goal.procedure)) for task, goal in config.trained_goals.items()]
    if kind == "standard":
        return win_rates.figure_standard(*tables, list(config.trained_goals), select=select)
    if kind == "inference_time":
        return win_rates.figure_inference_time(*tables, [(t, p.text) for t, p in goals], select=select)
    sizes = min(config.evaluation.n), max(config.evaluation.n)
    panels = [(task, f"{procedure.name}({n})") for task, procedure in goals for n in sizes]
    return win_rates.figure_scaling(*tables, panels, select=select)


if __name__ == "__main__":
    run_command(draw_figure)
