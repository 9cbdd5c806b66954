"""List the prompts of the pairs that reward models learn from."""

from pathlib import Path

import polars as pl

from infalign.records.command import run_command
from infalign.records.tables import read_table, write_table
from infalign.studies.poisoning.pairs import first_pairs, pair_prompts

SPLIT = "reward_train"


def list_pair_prompts(pairs: Path, /, *, out: Path, n_pairs: int | None = None) -> None:
    """Write the prompts, each once.

    Parameters
    ----------
    pairs : table of preference pairs.
    out : table to write, with the columns of a task's prompts.
    n_pairs : how many of the pairs, the first ones; default: all.
    """
    rows = read_table(pairs, ["prompt", "rejected_prompt", "split"], may_be_empty=True)
    prompts = pair_prompts(first_pairs(rows, SPLIT, n_pairs)).with_columns(split=pl.lit(SPLIT))
    write_table(prompts, out, {"n_prompts": prompts.height})


if __name__ == "__main__":
    run_command(list_pair_prompts)
