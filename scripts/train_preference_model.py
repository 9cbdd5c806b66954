"""Train a reward model or a judge on preference pairs and measure it on held-out ones."""

from pathlib import Path
from typing import Literal

import polars as pl

from infalign.language.models import (
    load_reward_model,
    load_tokenizer,
    reward_model_from,
    save_model,
    start_model,
    train_language_model,
    train_reward_model,
)
from infalign.language.scoring import pair_accuracy
from infalign.records.command import run_command
from infalign.records.config import PreferenceModel, parse_block
from infalign.records.tables import read_table, write_folder


def train_preference_model(
    pairs: Path,
    /,
    *,
    split: Literal["reward", "judge"],
    demonstrations: Path,
    tokenizer: Path,
    reference: Path,
    settings: str,
    seed: int,
    out: Path,
) -> None:
    """Train a preference model.

    Parameters
    ----------
    pairs : table of preference pairs.
    split : whose pairs are used.
    demonstrations : table of prompts and responses, for pretraining.
    tokenizer : folder of the task's tokenizer.
    reference : folder of the reference policy, where the settings start from it.
    settings : JSON of the configuration's block `reward_model` or `judge`.
    seed : of the weights and of the order of the data.
    out : folder to write.
    """
    block = parse_block(PreferenceModel, settings)
    rows = read_table(pairs, ["prompt", "chosen", "rejected", "split"])
    if block.training is None:
        base = block.base
        model, encoder = load_reward_model(
            base.hub or base.path, base.revision if base.hub else None, complete=True
        )
    else:
        encoder = load_tokenizer(tokenizer)
        start, encoder = start_model(block.base, tokenizer=encoder, reference=reference, seed=seed)
        if block.pretraining is not None:
            texts = read_table(demonstrations, ["prompt", "response"])
            train_language_model(start, encoder, texts, block.pretraining, seed=seed, loss_on="texts")
        model = reward_model_from(start, encoder, seed=seed)
        chosen = rows.filter(pl.col("split") == f"{split}_train")
        train_reward_model(model, encoder, chosen, block.training, seed=seed)
    accuracy = pair_accuracy(model, encoder, rows.filter(pl.col("split") == f"{split}_test"))
    facts = {"seed": seed, "settings": block.model_dump(), "held_out_pair_accuracy": accuracy}
    write_folder(out, lambda partial: save_model(model, encoder, partial), facts)


if __name__ == "__main__":
    run_command(train_preference_model)
