"""Train a reward model or a judge on preference pairs or labels and measure it on held-out ones."""

from pathlib import Path
from typing import Literal

from infalign.language import models, reward_models, scoring, supervised
from infalign.records.block import parse_block
from infalign.records.command import run_command
from infalign.records.pairs import changed_pairs
from infalign.records.tables import read_table, write_folder
from infalign.records.task import PreferenceModel


def train_preference_model(
    pairs: Path,
    /,
    *,
    labels: Path,
    split: Literal["reward", "judge"],
    demonstrations: Path,
    tokenizer: Path,
    reference: Path,
    settings: str,
    seed: int,
    out: Path,
    n_pairs: int | None = None,
    flipped: float = 0.0,
) -> None:
    """Train a preference model.

    Parameters
    ----------
    pairs : table of preference pairs; without rows (a corpus of questions) nothing is trained or measured.
    labels : table of labelled responses, read instead where the settings learn labels.
    split : whose pairs or labels are used.
    demonstrations : table of prompts and responses, for pretraining.
    tokenizer : folder of the task's tokenizer.
    reference : folder of the reference policy, where the settings start from it.
    settings : JSON of the configuration's block `reward_model` or `judge`.
    seed : of the weights and of the order of the data.
    out : folder to write.
    n_pairs : how many training pairs, the first ones; default: all.
    flipped : share of the training pairs in which chosen and rejected are exchanged.
    """
    block = parse_block(PreferenceModel, settings)
    table, untrained = labels if block.learns == "labels" else pairs, block.training is None
    rows = read_table(table, supervised.EXAMPLE_COLUMNS[block.learns], may_be_empty=untrained)
    train, held_out = (rows.filter(split=f"{split}_{part}") for part in ("train", "test"))
    model, encoder = reward_models.untrained_reward_model(block, tokenizer, reference, demonstrations, seed=seed)
    if block.training is not None:
        if n_pairs is not None or flipped:
            train = changed_pairs(train, n_pairs=n_pairs, flipped=flipped, seed=seed)
        supervised.TRAINERS[block.learns](model, encoder, train, block.training, seed=seed)
    accuracy = {} if rows.is_empty() else scoring.held_out_accuracy(model, encoder, held_out, block.learns)
    facts = {"seed": seed, "settings": block.model_dump(), "n_pairs": n_pairs, "flipped": flipped, **accuracy}
    write_folder(out, lambda partial: models.save_model(model, encoder, partial), facts)


if __name__ == "__main__":
    run_command(train_preference_model)
