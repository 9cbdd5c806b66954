"""Train a small language model to judge: it learns the answers to a judge prompt's questions."""

from functools import partial
from pathlib import Path

import polars as pl
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from tyro.conf import Positional

from infalign.language.models import new_language_model, save_model, train_tokenizer
from infalign.language.supervised import train_language_model
from infalign.records.block import parse_block
from infalign.records.command import run_command
from infalign.records.tables import read_table, write_folder
from infalign.studies.language_judge.block import TrainedJudge, read_prompt
from infalign.studies.language_judge.training import CHAT_TEMPLATE, verdict_accuracy, verdict_examples

PAIRS = ["prompt", "chosen", "rejected", "split"]


def train_language_judge(
    pairs: Positional[tuple[Path, ...]],
    *,
    principles: tuple[str, ...],
    prompt: str,
    settings: str,
    out: Path,
) -> None:
    """Train the model and measure it on pairs that were held out.

    Parameters
    ----------
    pairs : tables of preference pairs, one of each task.
    principles : what the responses of each task are compared by.
    prompt : name of the judge prompt.
    settings : JSON of the configuration's block `judge.trained`.
    out : folder to write.
    """
    block, asked = parse_block(TrainedJudge, settings), read_prompt(prompt)
    examples, held_out = {}, {}
    for path, principle in zip(pairs, principles, strict=True):
        table = read_table(path, PAIRS, also=["rejected_prompt"])
        ask = partial(asked.ask, principle)
        learnt, measured = (table.filter(split=f"judge_{part}") for part in ("train", "test"))
        examples[path] = verdict_examples(learnt, ask, n_pairs=block.n_pairs, seed=block.seed)
        held_out[principle] = verdict_examples(measured, ask, seed=block.seed)
    model, encoder = trained_model(block, pl.concat(examples.values()))
    found = {principle: verdict_accuracy(model, encoder, rows) for principle, rows in held_out.items()}
    facts = {"settings": block.model_dump(), "prompt_sha256": asked.sha256, "held_out_pair_accuracy": found}
    write_folder(out, lambda folder: save_model(model, encoder, folder), facts)


def trained_model(
    block: TrainedJudge, examples: pl.DataFrame
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Train tokenizer and model on questions and answers."""
    encoder = train_tokenizer(
        [question + answer for question, answer in examples.rows()], block.vocabulary_size
    )
    encoder.chat_template = CHAT_TEMPLATE
    model = new_language_model(block.from_config, encoder, seed=block.seed)
    if block.pretraining is not None:
        train_language_model(model, encoder, examples, block.pretraining, seed=block.seed, loss_on="texts")
    return train_language_model(model, encoder, examples, block.training, seed=block.seed), encoder


if __name__ == "__main__":
    run_command(train_language_judge)
