"""Score the responses of a reference and its policies with one judge, and the judge on preference pairs."""

from pathlib import Path

import numpy as np
import polars as pl
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from tyro.conf import Positional

from infalign.errors import InputError
from infalign.language.reward_models import load_reward_model
from infalign.language.scoring import pair_outcomes, reward_scores
from infalign.records.command import run_command
from infalign.records.tables import KEY, read_blocks, read_table, weights_sha256, write_table


def score_by_judge(
    responses: Positional[tuple[Path, ...]],
    *,
    names: tuple[str, ...],
    judge: Path,
    prompts: Path,
    pairs: Path,
    out: Path,
    pairs_out: Path,
    column: str | None = None,
) -> None:
    """Write a judge's score of every response, and which pairs it orders right.

    Parameters
    ----------
    responses : tables of scored responses.
    names : what each table is called in the one written, in its column `policy`.
    judge : folder of the judge.
    prompts : table of prompts.
    pairs : table of preference pairs; those held out for the judge are ordered, and as many of the first ones that
        the reward model learnt from.
    out : table of scores to write.
    pairs_out : table of pairs to write.
    column : of the tables that holds this judge's scores already; default: the responses are scored.
    """
    if len(names) != len(responses):
        raise InputError(
            f"names: one for each table, got {len(names)} for {len(responses)}; give as many --names"
        )
    model, tokenizer = load_reward_model(judge)
    texts = dict(read_table(prompts, ["prompt_id", "prompt"]).select("prompt_id", "prompt").iter_rows())
    parts = []
    for name, path in zip(names, responses, strict=True):
        frame = read_table(path, KEY if column is None else [*KEY, column], also=())
        if column is None:
            blocks = read_blocks(path, ["prompt_id", "response", "finished"])
            scores = np.concatenate([block_scores(model, tokenizer, texts, block) for block in blocks])
        else:
            scores = frame[column].to_numpy()
        parts.append(frame.select(pl.lit(name).alias("policy"), *KEY, score=pl.Series(scores)))
    rows = read_table(pairs, ["prompt", "chosen", "rejected", "split"])
    held_out = rows.filter(split="judge_test")
    known = rows.filter(split="reward_train").head(held_out.height)
    outcomes = [
        part.select("split", "prompt", right=pl.Series(pair_outcomes(model, tokenizer, part)))
        for part in (held_out, known)
    ]
    facts = {"n_parameters": sum(weight.numel() for weight in model.parameters())}
    facts |= {"judge_sha256": weights_sha256(judge)}
    write_table(pl.concat(parts), out, facts)
    write_table(pl.concat(outcomes), pairs_out, facts)


def block_scores(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: dict[str, str], block: pl.DataFrame
) -> np.ndarray:
    """Score some responses to prompts of these texts."""
    asked = [texts[prompt_id] for prompt_id in block["prompt_id"]]
    finished = block["finished"].to_list()
    return reward_scores(model, tokenizer, asked, block["response"].to_list(), finished=finished)


if __name__ == "__main__":
    run_command(score_by_judge)
