"""Put the shards of a table of responses or scores together, without reading the whole of it into memory."""

from pathlib import Path

import polars as pl
from tyro.conf import Positional

from infalign.records.command import run_command
from infalign.records.shards import SCORERS, agreements, merged_facts
from infalign.records.tables import (
    column_names,
    measured_seconds,
    read_manifest,
    read_table,
    write_atomically,
    write_table,
)

ALIKE = ("seed", "settings", "prompts_at_once", "model_sha256", "reward_model_sha256", "judge_sha256")


def merge_shards(
    tables: Positional[tuple[Path, ...]],
    *,
    out: Path,
    seconds: tuple[Path, ...] = (),
    seconds_out: Path | None = None,
) -> None:
    """Write the table of all shards, and what their jobs took together.

    Parameters
    ----------
    tables : of the shards, in the order of their prompts.
    out : table to write.
    seconds : what Snakemake measured of the jobs.
    seconds_out : their sum, to write in the same form.
    """
    facts = merged_facts({path: read_manifest(path) for path in tables}, ALIKE)
    if set(SCORERS) <= set(column_names(tables[0])):
        columns = ["prompt_id", "sample_id", *SCORERS[:2]]
        facts["agreement"] = agreements(
            pl.concat([read_table(path, columns, also=SCORERS) for path in tables])
        )
    write_table(pl.scan_parquet(list(tables)), out, facts)
    if seconds_out is not None:
        total = pl.DataFrame({"s": [sum(map(measured_seconds, seconds))]})
        write_atomically(seconds_out, lambda partial: total.write_csv(partial, separator="\t"))


if __name__ == "__main__":
    run_command(merge_shards)
