"""Hedge procedures against reward hacking: chosen on half of a pool's prompts, reported on the other half."""

from pathlib import Path

import polars as pl

from infalign.records.command import run_command
from infalign.records.config import read_config, read_study_block, task_folder
from infalign.records.scores import pooled_scores
from infalign.records.tables import read_table, write_table
from infalign.studies.hedging.block import HedgedPool
from infalign.studies.hedging.tables import hedge_tables


def hedge_pools(config: Path, /, *, tasks: Path, hacking: Path, hedges: Path, by_prompt: Path) -> None:
    """Write expected rewards over each procedure's parameter, and the hedges, of all pools and proxies.

    Parameters
    ----------
    config : the run's recorded configuration.
    tasks : folder of the shared results.
    hacking : table of expected rewards to write.
    hedges : table of the hedges to write.
    by_prompt : table of the hedges' true rewards by prompt to write.
    """
    run = read_config(config)
    tables = []
    for pool in read_study_block(config, "hedging", list[HedgedPool]):
        folder = tasks / task_folder(run, pool.task) / "pools" / pool.folder
        for proxy, name in pool.proxy_names.items():
            path = folder / f"{name}.parquet"
            rewards = pooled_scores(path, pool.true_reward)
            ids = read_table(path, ["prompt_id"], also=())["prompt_id"].unique().sort().to_list()
            tables.append(hedge_tables(pool, proxy, ids, rewards, run.evaluation.bootstrap))
    facts = {"run": run.run, "seed": run.evaluation.seed}
    for out, parts in zip((hacking, hedges, by_prompt), zip(*tables, strict=True), strict=True):
        write_table(pl.concat(parts), out, facts)


if __name__ == "__main__":
    run_command(hedge_pools)
