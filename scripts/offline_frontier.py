"""Offline frontiers: exact tilts of the scored reference rollouts, before any training."""

from itertools import product
from pathlib import Path

import polars as pl
from tqdm import tqdm

from infalign.mathematics.frontier import offline
from infalign.mathematics.statistics import bootstrap_mean
from infalign.records.block import parse_block
from infalign.records.command import run_command
from infalign.records.config import Evaluation, Theory
from infalign.records.metrics import procedures
from infalign.records.scores import scores_by_prompt
from infalign.records.tables import read_table, write_table

SCHEMA = {
    **dict.fromkeys(("task", "transform", "procedure", "select", "scorer"), pl.String),
    **dict.fromkeys(("kl", "beta", "win_rate", "ci_low", "ci_high"), pl.Float64),
}


def offline_frontier(scores: Path, /, *, theory: str, evaluation: str, task: str, out: Path) -> None:
    """Write the offline frontiers of a task under its main condition.

    Parameters
    ----------
    scores : Path
        Scored reference rollouts of the task's main condition.
    theory : str
        JSON of the configuration's block `theory`: transforms and KLs.
    evaluation : str
        JSON of the block `evaluation`: procedures, selectors and intervals.
    task : str
        Its name in the configuration.
    out : Path
        Table to write.
    """
    grid, measured = parse_block(Theory, theory), parse_block(Evaluation, evaluation)
    table = read_table(scores, ["prompt_id", "sample_id", "reward", "judge"], also=["gold"])
    arrays = scores_by_prompt(table).columns
    rows = []
    points = tqdm(cases(grid, measured, "gold" in arrays), task, disable=None)
    for transform, procedure, (select, scorer), kl in points:
        point = offline(arrays["reward"], arrays[scorer], transform, procedure.text, select, kl=kl)
        interval = bootstrap_mean(point.win_rate_by_prompt, *measured.bootstrap)
        numbers = (kl, point.beta, point.win_rate, interval.low, interval.high)
        rows.append((task, transform, procedure.text, select, scorer, *numbers))
    write_table(pl.DataFrame(rows, schema=SCHEMA, orient="row"), out, {"theory": grid.model_dump()})


def cases(theory: Theory, evaluation: Evaluation, has_gold: bool) -> list[tuple]:
    """List (transform, procedure, (selector, scorer), KL). The gold reward only judges selections by the reward."""
    pairs = [*product(evaluation.select, ["judge"]), *([("reward", "gold")] if has_gold else [])]
    return list(product(["raw", *theory.transforms], procedures(evaluation), pairs, theory.kl))


if __name__ == "__main__":
    run_command(offline_frontier)
