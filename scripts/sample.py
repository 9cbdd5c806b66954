"""Sample responses of a policy to the prompts of one split."""

from pathlib import Path

import polars as pl

from infalign.language.sampling_engines import sample_from
from infalign.language.vllm_process import engine_versions
from infalign.records.block import parse_block
from infalign.records.command import run_command
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
    frame = sample_from(model, rows, rollouts, seed=seed, at_once=at_once)
    truncated = int((~frame["finished"]).sum())
    facts = {"seed": seed, "settings": rollouts.model_dump(), "truncated_responses": truncated}
    facts |= {"prompts_at_once": at_once, "model_sha256": weights_sha256(model)}
    write_table(frame, out, {**facts, **engine_versions(rollouts.engine)})


if __name__ == "__main__":
    run_command(sample)
