"""Tables of how reward models trained on poisoned pairs order held-out ones, and the names of the trainings."""

from __future__ import annotations

from itertools import product

import polars as pl

from infalign.mathematics.statistics import Bootstrap, bootstrap_ratio, interval_columns
from infalign.records.policy import plain_number
from infalign.studies.poisoning.block import Poisoning

KEYS = ("task", "rate", "seed", "model", "test_set")
_NUMBERS = {"rate": pl.Float64, "seed": pl.Int64, "right": pl.Float64}
OUTCOMES_SCHEMA = {name: _NUMBERS.get(name, pl.String) for name in (*KEYS, "prompt_id", "right")}
POISONING_SCHEMA = {
    **{name: OUTCOMES_SCHEMA[name] for name in KEYS},
    "n_pairs": pl.Int64,
    **dict.fromkeys(("accuracy", "ci_low", "ci_high"), pl.Float64),
}
PROMPT_POISONING_SCHEMA = {
    **{name: OUTCOMES_SCHEMA[name] for name in (*KEYS, "prompt_id")},
    "n_pairs": pl.Int64,
    "accuracy": pl.Float64,
}


def poisoned_runs(settings: Poisoning) -> dict[str, tuple[str, float, int]]:
    """List the task, rate and seed of each training, by name.

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
    """Compute the share of each prompt's pairs that a model orders right.

    The columns are OUTCOMES_SCHEMA before, a row for each pair, and PROMPT_POISONING_SCHEMA after. The order is that
    of the outcomes, with prompts sorted.
    """
    grouped = outcomes.group_by(*KEYS, "prompt_id", maintain_order=True)
    rows = grouped.agg(n_pairs=pl.len().cast(pl.Int64), accuracy=pl.col("right").mean())
    parts = [part.sort("prompt_id") for _, part in rows.group_by(KEYS, maintain_order=True)]
    return pl.concat(parts).select(*PROMPT_POISONING_SCHEMA)


def accuracy_table(by_prompt: pl.DataFrame, bootstrap: Bootstrap) -> pl.DataFrame:
    """Compute the accuracy on all pairs of a test set, with an interval from resampled prompts.

    The rows are those of `prompt_table`. The table has the columns POISONING_SCHEMA, a row for each run, model and
    test set; the bounds are null for a single prompt.
    """
    rows = []
    for key, part in by_prompt.group_by(KEYS, maintain_order=True):
        sizes = part["n_pairs"].to_numpy()
        accuracy = bootstrap_ratio(part["accuracy"].to_numpy() * sizes, sizes, *bootstrap)
        numbers = interval_columns(("accuracy", "ci_low", "ci_high"), accuracy)
        rows.append({**dict(zip(KEYS, key, strict=True)), "n_pairs": int(sizes.sum()), **numbers})
    return pl.DataFrame(rows, schema=POISONING_SCHEMA)
