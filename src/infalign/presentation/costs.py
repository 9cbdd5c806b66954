"""The table of costs as text, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

HEADINGS = {
    "task": "task",
    "stage": "stage",
    "n_jobs": "jobs",
    "hours": "hours",
    "hours_a_job": "hours/job",
    "limit": "limited by",
    "disk_gb": "disk GB",
    "scratch_gb": "scratch GB/job",
    "memory_gb": "memory GB/job",
}


def cost_lines(table: pl.DataFrame, *, device: str, memory: float, unpriced: Sequence[str]) -> list[str]:
    """Lay out a table of costs, its sums and what is to be said of it.

    Parameters
    ----------
    table : columns COSTS_SCHEMA of `infalign.records.cost_table`.
    device : name of the device.
    memory : of the device, GB; stages that need more are marked.
    unpriced : blocks of the configuration that the table leaves out.

    Returns
    -------
    One line a row, then sums and notes.

    Examples
    --------
    >>> row = {"task": "t", "stage": "judge", "n_jobs": 2, "hours": 3.0, "hours_a_job": 1.5, "limit": "bandwidth",
    ...        "disk_gb": 4.0, "scratch_gb": 0.0, "memory_gb": 90.0}
    >>> lines = cost_lines(pl.DataFrame([row]), device="h100", memory=80, unpriced=[])
    >>> lines[1].split()
    ['t', 'judge', '2', '3.00', '1.500', 'bandwidth', '4.0', '0.0', '90.0', '!']
    >>> lines[2]
    'in all: 2 jobs, 3.00 hours of one device (h100), 4.0 GB of disk, at most 90.0 GB of its memory'
    """
    rows = [list(HEADINGS.values()), *(_cells(row, memory) for row in table.iter_rows(named=True))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = []
    for row in rows:
        cells = zip(row, widths, HEADINGS, strict=False)
        texts = [
            cell.ljust(width) if name in ("task", "stage", "limit") else cell.rjust(width)
            for cell, width, name in cells
        ]
        lines.append("  ".join([*texts, *row[len(HEADINGS) :]]).rstrip())
    return [*lines, _sums(table, device), *_notes(table, memory, unpriced)]


def _cells(row: dict, memory: float) -> list[str]:
    numbers = [f"{row['hours']:.2f}", f"{row['hours_a_job']:.3f}", row["limit"]]
    numbers += [f"{row[name]:.1f}" for name in ("disk_gb", "scratch_gb", "memory_gb")]
    marks = ["!"] if row["memory_gb"] > memory else []
    return [row["task"], row["stage"], str(row["n_jobs"]), *numbers, *marks]


def _sums(table: pl.DataFrame, device: str) -> str:
    memory: Any = table["memory_gb"].max()
    return (
        f"in all: {table['n_jobs'].sum()} jobs, {table['hours'].sum():.2f} hours of one device ({device}), "
        f"{table['disk_gb'].sum():.1f} GB of disk, at most {memory:.1f} GB of its memory"
    )


def _notes(table: pl.DataFrame, memory: float, unpriced: Sequence[str]) -> list[str]:
    notes = []
    if table.filter(pl.col("memory_gb") > memory).height:
        notes.append(f"! needs more than the {memory:g} GB of the device: lower the batch or chunk size")
    if unpriced:
        notes.append(f"not in the table: {', '.join(unpriced)}")
    return notes
