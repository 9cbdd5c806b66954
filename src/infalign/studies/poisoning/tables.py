"""Tables of how reward models trained on poisoned pairs order held-out ones, and the runs behind them."""

from __future__ import annotations

from itertools import product

import polars as pl

from infalign.mathematics.statistics import bootstrap_ratio
from infalign.records.config import Evaluation
from infalign.records.policy import plain_number
from infalign.studies.poisoning.block import Poisoning

KEYS = ("task", "rate", "seed", "model", "test_set")
OUTCOMES_SCHEMA = {
    "task": pl.String,
    "rate": pl.Float64,
    "seed": pl.Int64,
    "model": pl.String,
    "test_set": pl.String,
    "prompt_id": pl.String,
    "right": pl.Float64,
}
POISONING_SCHEMA = {
    **{name: OUTCOMES_SCHEMA[name] for name in KEYS},
    "n_pairs": pl.Int64,
    "accuracy": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
}
PROMPT_POISONING_SCHEMA = {
    **{name: OUTCOMES_SCHEMA[name] for name in (*KEYS, "prompt_id")},
    "n_pairs": pl.Int64,
    "accuracy": pl.Float64,
}


def poisoned_runs(settings: Poisoning) -> dict[str, tuple[str, float, int]]:
    """Name the trainings of a configuration: task, rate and seed of each.

    Examples
    --------
    >>> poisoned_runs(Poisoning(tasks=["helpful"], rates=[0.0, 0.25]))
    {'helpful-rate0.00-s0': ('helpful', 0.0, 0), 'helpful-rate0.25-s0': ('helpful', 0.25, 0)}
    """
    return {
        f"{task}-rate{plain_number(rate)}-s{seed}": (task, rate, seed)
        for task, rate, seed in product(settings.tasks, settings.rates, settings.seeds)
    }


def prompt_table(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Share of each prompt's pairs that a model orders right.

    Parameters
    ----------
    outcomes : columns OUTCOMES_SCHEMA, a row per run, model, test set and pair.

    Returns
    -------
    Columns PROMPT_POISONING_SCHEMA, in the order of the outcomes, prompts sorted.
    """
    grouped = outcomes.group_by(*KEYS, "prompt_id", maintain_order=True)
    rows = grouped.agg(n_pairs=pl.len().cast(pl.Int64), accuracy=pl.col("right").mean())
    parts = [part.sort("prompt_id") for _, part in rows.group_by(KEYS, maintain_order=True)]
    return pl.concat(parts).select(*PROMPT_POISONING_SCHEMA)


def accuracy_table(by_prompt: pl.DataFrame, evaluation: Evaluation) -> pl.DataFrame:
    """Accuracy on all pairs of a test set with an interval from resampled prompts.

    Parameters
    ----------
    by_prompt : from `prompt_table`.
    evaluation : level, resamples and seed of the intervals.

    Returns
    -------
    Columns POISONING_SCHEMA, a row per run, model and test set; the bounds are null for a single prompt.
    """
    options = evaluation.level, evaluation.resamples, evaluation.seed
    rows = []
    for key, part in by_prompt.group_by(KEYS, maintain_order=True):
        sizes = part["n_pairs"].to_numpy()
        found = bootstrap_ratio(part["accuracy"].to_numpy() * sizes, sizes, *options)
        rows.append((*key, int(sizes.sum()), found.estimate, found.low, found.high))
    return pl.DataFrame(rows, schema=POISONING_SCHEMA, orient="row").with_columns(
        pl.col("ci_low", "ci_high").fill_nan(None)
    )
