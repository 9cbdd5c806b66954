"""Estimate a run before anything is spent: tokens, operations, GPU hours, disk and memory of each stage."""

from pathlib import Path

import polars as pl

from infalign.catalogue import all_responses, all_score_sets, all_trainings, read_run_config
from infalign.records.block import parse_block
from infalign.records.command import run_command
from infalign.records.sweep import policies
from infalign.records.tables import write_atomically, write_table
from infalign.studies.costs.block import Costs
from infalign.studies.costs.estimate import cost_table


def estimate_costs(config: Path, /, *, costs: str, out: Path, text: Path) -> None:
    """Write the table of costs of the run `config` to `out`, and as text; `costs` is its block, as JSON."""
    run, block = read_run_config(config), parse_block(Costs, costs)
    rows = policies(run)
    jobs = all_responses(run, rows), all_score_sets(run, rows), all_trainings(run)
    table = cost_table(run, block, rows, *jobs)
    write_table(table, out, {"costs": block.model_dump(mode="json")})
    printed = "\n".join(cost_lines(table, block)) + "\n"
    write_atomically(text, lambda partial: partial.write_text(printed, encoding="utf-8"))


def cost_lines(table: pl.DataFrame, costs: Costs) -> list[str]:
    """Lay out a table of costs, its sums, and stages that need too much memory."""
    rows = [[f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row] for row in table.rows()]
    columns = zip(table.columns, *rows, strict=True)
    padded = [[cell.ljust(max(map(len, column))) for cell in column] for column in columns]
    lines = ["  ".join(row).rstrip() for row in zip(*padded, strict=True)]
    device = costs.device if isinstance(costs.device, str) else "as given"
    sums = table.sum().row(0, named=True)
    lines.append(
        f"in all: {sums['n_jobs']} jobs, {sums['operations']:.3g} operations, {sums['disk_gb']:.1f} GB of disk, "
        f"{sums['hours_low']:.2f} to {sums['hours_high']:.2f} hours of one device ({device})"
    )
    memory = costs.throughput.memory
    for task, stage in table.filter(pl.col("memory_gb") > memory).select("task", "stage").rows():
        lines.append(f"{task} {stage}: needs more than {memory:g} GB of memory; lower batch or chunk size")
    return lines


if __name__ == "__main__":
    run_command(estimate_costs)
