"""Offline frontiers: exact tilts of the scored reference rollouts, before any training."""

from collections.abc import Collection
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from infalign.mathematics.frontier import offline
from infalign.mathematics.statistics import bootstrap_mean
from infalign.records.block import parse_block
from infalign.records.command import run_command
from infalign.records.config import Evaluation, Theory
from infalign.records.metrics import group_scores, procedures
from infalign.records.tables import read_table, write_table

KEY = ["task", "transform", "procedure", "select", "scorer"]
NUMBERS = ["kl", "beta", "win_rate", "ci_low", "ci_high"]


def offline_frontier(scores: Path, /, *, theory: str, evaluation: str, task: str, out: Path) -> None:
    """Write the offline frontiers of a task under its main condition.

    Parameters
    ----------
    scores : scored reference rollouts of the task's main condition.
    theory : JSON of the configuration's block `theory`: transforms and KLs.
    evaluation : JSON of the block `evaluation`: procedures, selectors and intervals.
    task : its name in the configuration.
    out : table to write.
    """
    grid, measured = parse_block(Theory, theory), parse_block(Evaluation, evaluation)
    prompts = group_scores(read_table(scores, ["prompt_id", "sample_id", "reward", "judge"], also=["gold"]))
    arrays = {name: np.stack([prompt[name] for prompt in prompts]) for name in prompts[0].columns}
    rows = []
    for case in tqdm(cases(grid, measured, arrays), desc=task, disable=None):
        transform, procedure, (select, scorer), kl = case
        point = offline(arrays["reward"], arrays[scorer], transform, procedure.text, select, kl=kl)
        interval = bootstrap_mean(point.win_rate_by_prompt, measured.level, measured.resamples, measured.seed)
        key = dict(zip(KEY, (task, transform, procedure.text, select, scorer), strict=True))
        numbers = (kl, point.beta, point.win_rate, interval.low, interval.high)
        rows.append(key | dict(zip(NUMBERS, numbers, strict=True)))
    schema = dict.fromkeys(KEY, pl.String) | dict.fromkeys(NUMBERS, pl.Float64)
    write_table(pl.DataFrame(rows, schema=schema), out, {"theory": grid.model_dump()})


def cases(theory: Theory, evaluation: Evaluation, scorers: Collection[str]) -> list[tuple]:
    """List (transform, procedure, (selector, scorer), KL budget); the gold reward only judges selections by reward."""
    pairs = [(select, "judge") for select in evaluation.select]
    if "gold" in scorers:
        pairs.append(("reward", "gold"))
    transforms = ["raw", *theory.transforms]
    return list(product(transforms, procedures(evaluation), pairs, theory.kl))


if __name__ == "__main__":
    run_command(offline_frontier)
