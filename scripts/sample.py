"""Sample responses of a policy to the prompts of one split."""

from pathlib import Path

import polars as pl

from infalign.language.sampling_engines import sample_from
from infalign.language.vllm_process import engine_versions
from infalign.records.command import run_command
from infalign.records.config import parse_block
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
    """
    rollouts = parse_block(Rollouts, settings)
    rows = read_table(prompts, ["prompt_id", "prompt", "split"]).filter(pl.col("split") == split)
    rows = rows.head(rows.height if n_prompts is None else n_prompts)
    frame = sample_from(model, rows, rollouts, seed=seed)
    truncated = int((~frame["finished"]).sum())
    facts = {"seed": seed, "settings": rollouts.model_dump(), "truncated_responses": truncated}
    facts |= {"model_sha256": weights_sha256(model), **engine_versions(rollouts.engine)}
    write_table(frame, out, facts)


if __name__ == "__main__":
    run_command(sample)
