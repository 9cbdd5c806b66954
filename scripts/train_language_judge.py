"""Train a small language model to judge: it learns the answers to a judge prompt's questions."""

from functools import partial
from pathlib import Path

import polars as pl
from tyro.conf import Positional

from infalign.language.models import save_model
from infalign.records.block import parse_block
from infalign.records.command import run_command
from infalign.records.tables import read_table, write_folder
from infalign.studies.language_judge.block import TrainedJudge, read_judge_prompt
from infalign.studies.language_judge.training import trained_judge, verdict_accuracy, verdict_examples

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
    block, asked = parse_block(TrainedJudge, settings), read_judge_prompt(prompt)
    examples, held_out = [], {}
    for path, principle in zip(pairs, principles, strict=True):
        table = read_table(path, PAIRS, also=["rejected_prompt"])
        ask = partial(asked.ask, principle)
        learnt, measured = (table.filter(split=f"judge_{part}") for part in ("train", "test"))
        examples.append(verdict_examples(learnt, ask, n_pairs=block.n_pairs, seed=block.seed))
        held_out[principle] = verdict_examples(measured, ask, seed=block.seed)
    model, tokenizer = trained_judge(block, pl.concat(examples))
    shares = {principle: verdict_accuracy(model, tokenizer, rows) for principle, rows in held_out.items()}
    facts = {"settings": block.model_dump(), "prompt_sha256": asked.sha256, "held_out_pair_accuracy": shares}
    write_folder(out, lambda folder: save_model(model, tokenizer, folder), facts)


if __name__ == "__main__":
    run_command(train_language_judge)
