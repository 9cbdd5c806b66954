"""How well few rollouts estimate the distribution of the reward: Kolmogorov-Smirnov tests, and log F as M grows."""

from pathlib import Path

from infalign.records.block import parse_block
from infalign.records.command import run_command
from infalign.records.scores import scores_by_prompt
from infalign.records.tables import read_table, write_table
from infalign.studies.estimation.block import Estimation
from infalign.studies.estimation.tables import estimation_table, log_distribution_table


def estimation_error(scores: Path, /, *, settings: str, seed: int = 0, out: Path, log_distribution: Path) -> None:
    """Write the tests' rejection rates and the estimates of log F for three prompts.

    Parameters
    ----------
    scores : Path
        Scored responses of the reference, n_full and the largest of sizes to each prompt.
    settings : str
        JSON of the configuration's block `estimation`.
    seed : int
        Of the draws.
    out : Path
        Table of the tests to write.
    log_distribution : Path
        Table of log F to write.
    """
    block = parse_block(Estimation, settings)
    arrays = scores_by_prompt(read_table(scores, ["prompt_id", "sample_id", "reward"], also=()))
    recorded = {"seed": seed, "settings": block.model_dump()}
    write_table(estimation_table(arrays["reward"], block, seed), out, recorded)
    log_f = log_distribution_table(arrays.prompt_ids, arrays["reward"], block)
    write_table(log_f, log_distribution, recorded)


if __name__ == "__main__":
    run_command(estimation_error)
