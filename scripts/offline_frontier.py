"""Offline frontiers: exact tilts of the scored reference rollouts, before any training."""

from collections.abc import Collection
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from infalign.mathematics.frontier import offline
from infalign.mathematics.statistics import bootstrap_mean
from infalign.records.command import run_command
from infalign.records.config import Config, read_config
from infalign.records.metrics import group_scores, procedures
from infalign.records.tables import read_table, write_table

KEY = ["task", "transform", "procedure", "select", "scorer"]
NUMBERS = ["kl", "beta", "win_rate", "ci_low", "ci_high"]


def offline_frontier(config: Path, scores: Path, /, *, task: str, out: Path) -> None:
    """Write the offline frontiers of a task under its main condition.

    Parameters
    ----------
    config : the run's recorded configuration.
    scores : scored reference rollouts of the task's main condition.
    task : its name in the configuration.
    out : table to write.
    """
    run = read_config(config)
    prompts = group_scores(read_table(scores, ["prompt_id", "sample_id", "reward", "judge"], also=["gold"]))
    arrays = {name: np.stack([prompt[name] for prompt in prompts]) for name in prompts[0].columns}
    rows = []
    for case in tqdm(cases(run, arrays), desc=task, disable=None):
        transform, procedure, (select, scorer), kl = case
        point = offline(arrays["reward"], arrays[scorer], transform, procedure.text, select, kl=kl)
        interval = bootstrap_mean(
            point.win_rate_by_prompt, run.evaluation.level, run.evaluation.resamples, run.evaluation.seed
        )
        key = dict(zip(KEY, (task, transform, procedure.text, select, scorer), strict=True))
        numbers = (kl, point.beta, point.win_rate, interval.low, interval.high)
        rows.append(key | dict(zip(NUMBERS, numbers, strict=True)))
    schema = dict.fromkeys(KEY, pl.String) | dict.fromkeys(NUMBERS, pl.Float64)
    write_table(pl.DataFrame(rows, schema=schema), out, {"run": run.run})


def cases(run: Config, scorers: Collection[str]) -> list[tuple]:
    """List (transform, procedure, (selector, scorer), KL budget); the gold reward only judges selections by reward."""
    pairs = [(select, "judge") for select in run.evaluation.select]
    if "gold" in scorers:
        pairs.append(("reward", "gold"))
    transforms = ["raw", *run.theory.transforms]
    return list(product(transforms, procedures(run.evaluation), pairs, run.theory.kl))


if __name__ == "__main__":
    run_command(offline_frontier)
