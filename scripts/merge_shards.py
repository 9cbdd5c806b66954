"""Put the shards of a table of responses or scores together, without reading the whole of it into memory."""

from pathlib import Path

import polars as pl
from tyro.conf import Positional

from infalign.records.command import run_command
from infalign.records.shards import SCORERS, agreements, merged_facts
from infalign.records.tables import column_names, read_manifest, read_table, write_table

ALIKE = ("seed", "settings", "prompts_at_once", "model_sha256", "reward_model_sha256", "judge_sha256")


def merge_shards(tables: Positional[tuple[Path, ...]], *, out: Path) -> None:
    """Write the table of all shards.

    Parameters
    ----------
    tables : of the shards, in the order of their prompts.
    out : table to write.
    """
    facts = merged_facts({path: read_manifest(path) for path in tables}, ALIKE)
    if set(SCORERS) <= set(column_names(tables[0])):
        columns = ["prompt_id", "sample_id", *SCORERS[:2]]
        facts["agreement"] = agreements(pl.concat([read_table(path, columns, also=SCORERS) for path in tables]))
    write_table(pl.scan_parquet(list(tables)), out, facts)


if __name__ == "__main__":
    run_command(merge_shards)
