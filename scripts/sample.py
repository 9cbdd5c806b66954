"""Sample responses of a policy to the prompts of one split."""

from pathlib import Path

import polars as pl

from infalign.language.generation import sample_responses
from infalign.language.models import load_language_model
from infalign.records.command import run_command
from infalign.records.config import parse_block
from infalign.records.shards import parse_shard, prompts_at_once
from infalign.records.tables import read_table, weights_sha256, write_table
from infalign.records.task import Rollouts


def sample(
    model: Path,
    prompts: Path,
    /,
    *,
    split: str,
    settings: str,
    seed: int,
    out: Path,
    n_prompts: int | None = None,
    shard: str | None = None,
) -> None:
    """Sample responses.

    Parameters
    ----------
    model : folder of the policy.
    prompts : table of prompts.
    split : of the prompts, e.g. evaluation_out.
    settings : JSON of the configuration's block `rollouts`, with the numbers of this set of responses.
    seed : of the draws.
    out : table to write.
    n_prompts : how many of the split's prompts, the first ones; default: all.
    shard : which slice of these prompts, e.g. 2/8 for the second of eight; default: all.
    """
    rollouts = parse_block(Rollouts, settings)
    rows = read_table(prompts, ["prompt_id", "prompt", "split"]).filter(pl.col("split") == split)
    rows = rows.head(rows.height if n_prompts is None else n_prompts)
    at_once = prompts_at_once(rows.height, rollouts.n_rollouts, rollouts.batch_size)
    rows = rows if shard is None else parse_shard(shard).of(rows, at_once)
    policy, tokenizer = load_language_model(model)
    frame = sample_responses(
        policy,
        tokenizer,
        rows,
        rollouts.n_rollouts,
        max_new_tokens=rollouts.max_new_tokens,
        temperature=rollouts.temperature,
        seed=seed,
        batch_size=rollouts.batch_size,
        at_once=at_once,
    )
    truncated = int((~frame["finished"]).sum())
    facts = {"seed": seed, "settings": rollouts.model_dump(), "truncated_responses": truncated}
    facts |= {"prompts_at_once": at_once}
    write_table(frame, out, {**facts, "model_sha256": weights_sha256(model)})


if __name__ == "__main__":
    run_command(sample)
