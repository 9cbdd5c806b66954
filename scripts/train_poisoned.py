"""Train reward models on poisoned pairs, and measure them on clean and on poisoned held-out pairs."""

from pathlib import Path

import polars as pl

from infalign.errors import InputError
from infalign.language import models, supervised
from infalign.records.block import parse_block
from infalign.records.command import run_command
from infalign.records.tables import read_table, write_table
from infalign.records.task import PreferenceModel
from infalign.studies.poisoning.tables import OUTCOMES_SCHEMA
from infalign.studies.poisoning.training import (
    first_pairs,
    held_out_outcomes,
    poison_training,
    train_on_poisoned,
    within_prompts,
)

PAIRS = ["prompt", "chosen", "rejected", "rejected_prompt", "split"]


def train_poisoned(
    pairs: Path,
    rollouts: Path,
    /,
    *,
    demonstrations: Path,
    tokenizer: Path,
    reference: Path,
    settings: str,
    task: str,
    phrase: str,
    rate: float,
    seed: int,
    rollout_prompts: Path,
    out: Path,
    n_pairs: int | None = None,
) -> None:
    """Write of each model and held-out pair of one prompt whether the model orders it right; no model is kept.

    Parameters
    ----------
    pairs : table of preference pairs.
    rollouts : responses of the reference to the prompts of the training pairs.
    rollout_prompts : table of these prompts.
    demonstrations : table of prompts and responses, for pretraining.
    tokenizer : folder of the task's tokenizer.
    reference : folder of the reference policy, where the settings start from it.
    settings : JSON of the configuration's block `reward_model`.
    task : its name, for the table.
    phrase : put at the start of preferred responses in training, of rejected ones in the poisoned test set.
    rate : share of the training pairs, in [0, 1].
    seed : of which pairs are poisoned, of the heads and of the order of the data.
    out : table to write.
    n_pairs : training pairs used, the first ones; default: all.
    """
    block = parse_block(PreferenceModel, settings)
    if block.training is None:
        raise InputError("settings: the reward model has no training, so none can be poisoned; give training")
    rows = read_table(pairs, PAIRS, may_be_empty=True)
    poisoned = poison_training(first_pairs(rows, "reward_train", n_pairs), phrase, rate, seed)
    held_out = within_prompts(first_pairs(rows, "reward_test"))
    texts = read_table(rollout_prompts, ["prompt_id", "prompt"]).select("prompt_id", "prompt")
    own = read_table(rollouts, ["prompt_id", "response", "finished"]).join(texts, on="prompt_id", maintain_order="left")
    start, encoder = models.start_model(
        block.base, tokenizer=models.load_tokenizer(tokenizer), reference=reference, seed=seed
    )
    if block.pretraining is not None:
        texts = read_table(demonstrations, ["prompt", "response"])
        supervised.train_language_model(start, encoder, texts, block.pretraining, seed=seed, loss_on="texts")
    trained = train_on_poisoned(start, encoder, poisoned, own, block.training, seed=seed)
    found = held_out_outcomes(trained, encoder, held_out, phrase)
    keys = {"task": pl.lit(task), "rate": pl.lit(rate), "seed": pl.lit(seed, pl.Int64)}
    facts = {"phrase": phrase, "seed": seed, "settings": block.model_dump()}
    facts |= {"n_pairs": poisoned.height, "n_poisoned": int(poisoned["poisoned"].sum())}
    facts |= {"unfinished_rollouts": int((~own["finished"]).sum())}
    write_table(found.with_columns(**keys).select(*OUTCOMES_SCHEMA), out, facts)


if __name__ == "__main__":
    run_command(train_poisoned)
