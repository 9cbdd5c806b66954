"""What calibration costs: the seconds of the rollouts and their scores against those of training a policy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from infalign.presentation.glance import number_text
from infalign.presentation.report import html_page, html_table
from infalign.records.config import task_folder
from infalign.records.run_tables import RunTables
from infalign.records.sweep import policies, policy_folder
from infalign.records.tables import measured_seconds, read_table

CALIBRATION_COSTS_SCHEMA = {
    **dict.fromkeys(("task", "part"), pl.String),
    **dict.fromkeys(("n_rollouts", "n_policies"), pl.Int64),
    **dict.fromkeys(("seconds", "training_share"), pl.Float64),
}


def run_calibration_costs(tables: RunTables) -> pl.DataFrame:
    """Compare the seconds of every task's rollouts with those of its policies that maximise a reward.

    Returns
    -------
    DataFrame
        Columns CALIBRATION_COSTS_SCHEMA, the rows of `calibration_costs` for each task.
    """
    config = tables.config
    training: dict[str, list[float]] = {task: [] for task in config.tasks}
    for policy in policies(config):
        path = tables.tasks / policy_folder(config, policy) / "training.parquet"
        log = read_table(path, may_be_empty=True)
        if policy.reward and not log.is_empty():
            training[policy.task].append(float(log["seconds"].sum()))
    parts = []
    for task, seconds in training.items():
        folder = tables.tasks / task_folder(config, task)
        sampling, scoring = (measured_seconds(folder / part / "train.seconds.tsv") for part in ("rollouts", "scores"))
        n_rollouts = config.tasks[task].rollouts.n_rollouts
        parts.append(calibration_costs(task, n_rollouts, sampling, scoring, seconds))
    return pl.concat(parts)


def calibration_costs(
    task: str, n_rollouts: int, sampling: float, scoring: float, training: Sequence[float]
) -> pl.DataFrame:
    """Compare the seconds of a task's rollouts, which all its policies share, with those of training one.

    Parameters
    ----------
    task : str
        Its name.
    n_rollouts : int
        K, to each training prompt.
    sampling, scoring : float
        Seconds of the two jobs. They hold the loading of the models, and the judge's scores.
    training : sequence of float
        Seconds of all updates of each policy; empty where none was trained.

    Returns
    -------
    DataFrame
        Columns CALIBRATION_COSTS_SCHEMA: a row for sampling, for scoring, for both, and for the median training.
        `training_share` is the seconds divided by those of the median training, null without one.

    Examples
    --------
    >>> calibration_costs("helpful", 100, 20.0, 10.0, [50.0, 60.0, 90.0])["training_share"].to_list()[2:]
    [0.5, 1.0]
    """
    median = float(np.median(training)) if len(training) else None
    parts = {"sampling": sampling, "scoring": scoring, "rollouts and scores": sampling + scoring}
    rows: list[tuple] = [(task, part, n_rollouts, None, seconds) for part, seconds in parts.items()]
    rows.append((task, "training a policy", None, len(training), median))
    shares = [(*row, None if median is None or row[-1] is None else row[-1] / median) for row in rows]
    return pl.DataFrame(shares, schema=CALIBRATION_COSTS_SCHEMA, orient="row")


def calibration_costs_html(costs: pl.DataFrame) -> str:
    """Write what calibration costs, a table per task, as one HTML page.

    Parameters
    ----------
    costs : DataFrame
        Columns CALIBRATION_COSTS_SCHEMA.

    Returns
    -------
    str
        A page that needs nothing from the network.
    """
    tables = []
    for (task,), part in costs.group_by("task", maintain_order=True):
        shown = part.select(
            pl.concat_str(
                "part",
                pl.format(", {} a prompt", "n_rollouts").fill_null(""),
                pl.format(", median of {}", "n_policies").fill_null(""),
            ).alias("what"),
            number_text("seconds", 1),
            number_text("training_share", 2).alias("of a training"),
        )
        tables.append(html_table(shown, f"costs_{task}", f"Task {task}", "Seconds on this machine"))
    return html_page("What calibration costs", tables)
