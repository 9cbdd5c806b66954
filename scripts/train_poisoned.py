"""Train reward models on poisoned pairs, and measure them on clean and on poisoned held-out pairs."""

from pathlib import Path

import polars as pl

from infalign.language.reward_models import pretrained_start
from infalign.records.block import parse_block
from infalign.records.command import run_command
from infalign.records.tables import read_table, write_table
from infalign.records.task import PreferenceModel
from infalign.studies.poisoning.pairs import PAIRS, first_pairs, pair_prompts, poison_training, within_prompts
from infalign.studies.poisoning.training import held_out_outcomes, train_on_poisoned


def train_poisoned(
    folder: Path,
    rollouts: Path,
    /,
    *,
    settings: str,
    task: str,
    phrase: str,
    rate: float,
    seed: int,
    out: Path,
    n_pairs: int | None = None,
) -> None:
    """Write for each held-out pair whether a model orders it right; no model is kept.

    Parameters
    ----------
    folder : the task's, with its data and its reference.
    rollouts : responses of the reference to the prompts of the training pairs.
    settings : JSON of the configuration's block `reward_model`.
    task : its name, for the table.
    phrase : put at the start of preferred responses in training, of rejected ones in the poisoned test set.
    rate : share of the training pairs, in [0, 1].
    seed : of which pairs are poisoned, of the heads and of the order of the data.
    out : table to write.
    n_pairs : training pairs used, the first ones; default: all.
    """
    block, data = parse_block(PreferenceModel, settings), folder / "data"
    pairs = read_table(data / "pairs.parquet", PAIRS, may_be_empty=True)
    poisoned = poison_training(first_pairs(pairs, "reward_train", n_pairs), phrase, rate, seed)
    held_out = within_prompts(first_pairs(pairs, "reward_test"))
    responses = read_table(rollouts, ["prompt_id", "response", "finished"])
    responses = responses.join(pair_prompts(poisoned), on="prompt_id", maintain_order="left")
    files = (data / "tokenizer", folder / "models/reference", data / "demonstrations.parquet")
    start, encoder = pretrained_start(block, *files, seed=seed)
    models = train_on_poisoned(start, encoder, poisoned, responses, block.training, seed=seed)
    outcomes = held_out_outcomes(models, encoder, held_out, phrase)
    keys = {"task": pl.lit(task), "rate": pl.lit(rate), "seed": pl.lit(seed, pl.Int64)}
    facts = {"phrase": phrase, "seed": seed, "settings": block.model_dump(), "n_pairs": poisoned.height}
    facts |= {"n_poisoned": poisoned["poisoned"].sum(), "unfinished_rollouts": (~responses["finished"]).sum()}
    write_table(outcomes.with_columns(**keys).select(*keys, *outcomes.columns), out, facts)


if __name__ == "__main__":
    run_command(train_poisoned)
