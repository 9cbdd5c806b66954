"""Sample responses of the reference to the prompts of preference pairs, among which rewards are calibrated."""

from pathlib import Path

from infalign.language.poisoning import first_pairs, pair_prompts
from infalign.language.sampling_engines import sample_from
from infalign.language.vllm_process import engine_versions
from infalign.records.command import run_command
from infalign.records.config import parse_block
from infalign.records.tables import read_table, weights_sha256, write_table
from infalign.records.task import Rollouts


def sample_pair_prompts(
    model: Path, pairs: Path, /, *, settings: str, seed: int, out: Path, n_pairs: int | None = None
) -> None:
    """Sample responses to every prompt of the reward model's training pairs.

    Parameters
    ----------
    model : folder of the reference policy.
    pairs : table of preference pairs.
    settings : JSON of the configuration's block `rollouts`, with the number of this set of responses.
    seed : of the draws.
    out : table to write, with a column `prompt`.
    n_pairs : how many of the pairs, the first ones; default: all.
    """
    rollouts = parse_block(Rollouts, settings)
    rows = read_table(pairs, ["prompt", "rejected_prompt", "split"], may_be_empty=True)
    prompts = pair_prompts(first_pairs(rows, "reward_train", n_pairs))
    frame = sample_from(model, prompts, rollouts, seed=seed)
    facts = {"seed": seed, "settings": rollouts.model_dump(), "n_prompts": prompts.height}
    facts |= {
        "truncated_responses": int((~frame["finished"]).sum()),
        "model_sha256": weights_sha256(model),
        **engine_versions(rollouts.engine),
    }
    write_table(frame.join(prompts, on="prompt_id", maintain_order="left"), out, facts)


if __name__ == "__main__":
    run_command(sample_pair_prompts)
