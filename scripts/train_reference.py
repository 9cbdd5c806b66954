"""Finetune the reference policy on demonstrations."""

from pathlib import Path

from infalign.language.models import load_tokenizer, save_model, start_model
from infalign.language.supervised import train_language_model
from infalign.records.block import parse_block
from infalign.records.command import run_command
from infalign.records.tables import read_table, write_folder
from infalign.records.task import LanguageModel


def train_reference(demonstrations: Path, /, *, tokenizer: Path, settings: str, seed: int, out: Path) -> None:
    """Train the reference policy.

    Parameters
    ----------
    demonstrations : table of prompts and responses; without rows where the settings train nothing.
    tokenizer : folder of the task's tokenizer.
    settings : JSON of the configuration's block `reference`.
    seed : of the weights and of the order of the data.
    out : folder to write.
    """
    block = parse_block(LanguageModel, settings)
    model, encoder = start_model(block.base, tokenizer=load_tokenizer(tokenizer), seed=seed)
    trained = block.pretraining is not None or block.training is not None
    texts = read_table(demonstrations, ["prompt", "response"], may_be_empty=not trained)
    if block.pretraining is not None:
        train_language_model(model, encoder, texts, block.pretraining, seed=seed, loss_on="texts")
    if block.training is not None:
        train_language_model(model, encoder, texts, block.training, seed=seed)
    facts = {"seed": seed, "settings": block.model_dump()}
    write_folder(out, lambda partial: save_model(model, encoder, partial), facts)


if __name__ == "__main__":
    run_command(train_reference)
