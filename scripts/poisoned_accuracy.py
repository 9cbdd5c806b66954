"""Accuracy of reward models trained on poisoned pairs, over all runs."""

from dataclasses import asdict
from pathlib import Path

import polars as pl
from tyro.conf import Positional

from infalign.records.block import parse_block
from infalign.records.command import run_command
from infalign.records.config import Evaluation
from infalign.records.tables import read_table, write_table
from infalign.studies.poisoning.tables import OUTCOMES_SCHEMA, accuracy_table, prompt_table


def poisoned_accuracy(outcomes: Positional[tuple[Path, ...]], *, evaluation: str, out: Path, by_prompt: Path) -> None:
    """Write accuracies with their intervals, and accuracies by prompt.

    Parameters
    ----------
    outcomes : tables of which held-out pairs each model orders right.
    evaluation : JSON of the configuration's block `evaluation`: level, resamples and seed of the intervals.
    out : table to write.
    by_prompt : table of the same by prompt to write.
    """
    settings = parse_block(Evaluation, evaluation)
    prompts = prompt_table(pl.concat([read_table(path, list(OUTCOMES_SCHEMA)) for path in outcomes]))
    write_table(accuracy_table(prompts, settings.bootstrap), out, asdict(settings.bootstrap))
    write_table(prompts, by_prompt, {"tables": len(outcomes)})


if __name__ == "__main__":
    run_command(poisoned_accuracy)
