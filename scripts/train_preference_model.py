"""Train a reward model or a judge on preference pairs or labels and measure it on held-out ones."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

import polars as pl
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from infalign.language import models, supervised
from infalign.language.scoring import label_accuracy, pair_accuracy
from infalign.records.block import parse_block
from infalign.records.command import run_command
from infalign.records.pairs import changed_pairs
from infalign.records.tables import read_table, write_folder
from infalign.records.task import PreferenceModel

PAIRS = ["prompt", "chosen", "rejected", "split"]
LABELS = ["prompt", "response", "label", "split"]


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
    table, columns = (labels, LABELS) if block.learns == "labels" else (pairs, PAIRS)
    rows = read_table(table, columns, may_be_empty=block.training is None)
    model, encoder = untrained_model(block, tokenizer, reference, demonstrations, seed)
    if block.training is not None:
        train = supervised.train_classifier if block.learns == "labels" else supervised.train_reward_model
        examples = rows.filter(pl.col("split") == f"{split}_train")
        if n_pairs is not None or flipped:
            examples = changed_pairs(examples, n_pairs=n_pairs, flipped=flipped, seed=seed)
        train(model, encoder, examples, block.training, seed=seed)
    held_out = rows.filter(pl.col("split") == f"{split}_test")
    if rows.is_empty():
        found = {}
    elif block.learns == "labels":
        found = {
            f"held_out_{name}": value
            for name, value in asdict(label_accuracy(model, encoder, held_out)).items()
        }
    else:
        found = {"held_out_pair_accuracy": pair_accuracy(model, encoder, held_out)}
    facts = {"seed": seed, "settings": block.model_dump(), "n_pairs": n_pairs, "flipped": flipped, **found}
    write_folder(out, lambda partial: models.save_model(model, encoder, partial), facts)


def untrained_model(
    block: PreferenceModel, tokenizer: Path, reference: Path, demonstrations: Path, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a published reward model, which is taken as it is, or start one on a language model."""
    base = block.base
    if block.training is None:
        revision = base.revision if base.hub else None
        return models.load_reward_model(base.hub or base.path, revision, complete=True)
    encoder = models.load_tokenizer(tokenizer)
    start, encoder = models.start_model(base, tokenizer=encoder, reference=reference, seed=seed)
    if block.pretraining is not None:
        texts = read_table(demonstrations, ["prompt", "response"])
        supervised.train_language_model(start, encoder, texts, block.pretraining, seed=seed, loss_on="texts")
    return models.reward_model_from(start, encoder, seed=seed, learns=block.learns), encoder


if __name__ == "__main__":
    run_command(train_preference_model)
