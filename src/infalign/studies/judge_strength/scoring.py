"""One more judge at work: its scores of responses, and which preference pairs it orders right."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from infalign.language.scoring import pair_outcomes, reward_scores
from infalign.records.tables import KEY, read_blocks, read_table


def judge_scores(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Mapping[str, str], path: Path
) -> pl.DataFrame:
    """Score every response of a stored table, whose texts are read in blocks: the columns KEY and `score`.

    `prompts` has the texts by prompt_id.
    """
    scores = []
    for block in read_blocks(path, ["prompt_id", "response", "finished"]):
        texts = [prompts[prompt_id] for prompt_id in block["prompt_id"]]
        finished = block["finished"].to_list()
        scores.append(reward_scores(model, tokenizer, texts, block["response"].to_list(), finished=finished))
    return read_table(path, KEY, also=()).select(*KEY, score=pl.Series(np.concatenate(scores)))


def ordered_pairs(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: pl.DataFrame) -> pl.DataFrame:
    """Say which pairs a judge orders right: columns split, prompt and right (1, 0, one half for equal scores).

    The pairs are those held out for the judge, and as many of the first ones that the reward model learnt from.
    """
    held_out = pairs.filter(split="judge_test")
    learnt = pairs.filter(split="reward_train").head(held_out.height)
    return pl.concat(
        part.select("split", "prompt", right=pl.Series(pair_outcomes(model, tokenizer, part)))
        for part in (held_out, learnt)
    )
