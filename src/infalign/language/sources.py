"""What the real corpora share: gzipped JSON lines, Parquet files, datasets of the hub, and groups by hash."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import polars as pl

from infalign.errors import InputError
from infalign.records.tables import read_table


def json_lines(path: Path) -> Iterator[tuple[str, object]]:
    """Read a gzipped file with one JSON value a line; yields the place of each, for messages, and the value.

    The file missing, truncated, not gzip, not UTF-8 or without lines is an InputError, and so is a line not JSON.
    """
    number = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                number += 1
                place = f"{path}: line {number}"
                yield place, _parse(line, place)
    except (EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: unreadable after line {number} (truncated or not gzip): {error}; fetch it again"
        ) from error
    if number == 0:
        raise InputError(f"{path}: the file has no lines; fetch it again or remove it")


def _parse(line: str, place: str) -> object:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{place} is not JSON: {error}; fetch the file again") from error


def hub_dataset(name: str, revision: str, **options: Any) -> Any:
    """Load a dataset of the hub, with options for `datasets.load_dataset` such as data_dir or split.

    Returns the rows of each part by its name; with `split` the rows of that part alone. It is an InputError if there is
    no network, or no such dataset, revision, folder or part.
    """
    from datasets import load_dataset

    try:
        return load_dataset(name, revision=revision, **options)
    except (OSError, ValueError) as error:  # no network, offline mode, no such name, revision or part
        which = ", ".join([*map(str, options.values()), f"revision {revision}"])
        raise InputError(
            f"{name} ({which}) cannot be read from the hub: {error}; check the network and the revision, or "
            "give a local copy (snakemake --config data_root=DIR)"
        ) from error


def numbered_rows(dataset: str, part: str, rows: Iterable[object]) -> Iterator[tuple[str, object]]:
    """Rows of one part of a dataset of the hub, each after the place where it stands, for messages."""
    for number, row in enumerate(rows):
        yield f"{dataset}: {part} row {number}", row


def hub_parquet(dataset: str, part: str, data_root: Path | None, revision: str) -> Iterator[tuple[pl.DataFrame, str]]:
    """Read one part of a dataset that the hub has as Parquet files; yields tables and their places, for messages.

    Parameters
    ----------
    dataset : str
        Name on the hub, such as TIGER-Lab/MMLU-Pro.
    data_root : Path or None
        Folder with the dataset's folder (MMLU-Pro), in which its files lie at any depth; None reads from the hub.
    """
    if data_root is None:
        yield hub_dataset(dataset, revision, split=part).to_polars(), f"{dataset}, {part}"
        return
    folder = data_root / dataset.partition("/")[2]
    files = sorted(folder.glob(f"**/{part}*.parquet"))
    if not files:
        raise InputError(
            f"{folder}: no {part}*.parquet; data_root must hold the files of {dataset} as the hub has them "
            "(snakemake --config data_root=DIR)"
        )
    for path in files:
        yield read_table(path), str(path)


def typed_columns(frame: pl.DataFrame, columns: Mapping[str, Any], place: str) -> pl.DataFrame:
    """Columns of a table by name; InputError unless all are there with their types."""
    missing = [f"{name} ({kind})" for name, kind in columns.items() if frame.schema.get(name) != kind]
    if missing:
        raise InputError(
            f"{place}: no column {', '.join(missing)}; it has {', '.join(frame.columns)}: rename them or take the "
            "dataset that the configuration names"
        )
    return frame.select(*columns)


def position(text: str, seed: int) -> float:
    """Place a text on the unit interval by its hash; another seed places it elsewhere.

    Examples
    --------
    >>> 0.0 <= position("a text", 0) < 1.0, position("a text", 0) == position("a text", 1)
    (True, False)
    """
    return int(hashlib.sha256(f"{seed}\0{text}".encode()).hexdigest()[:13], 16) / 16**13


def group_at(place: float, shares: Mapping[str, float]) -> str:
    """Name the group that owns a place of the unit interval, which the groups divide by their shares.

    Examples
    --------
    >>> [group_at(place, {"small": 0.1, "large": 0.9}) for place in (0.05, 0.2)]
    ['small', 'large']
    """
    bounds = accumulate(shares.values())
    return next((group for group, bound in zip(shares, bounds, strict=True) if place < bound), [*shares][-1])


def prompt_id(prompt: str, digits: int = 16) -> str:
    """Name a prompt by the first hex digits of its sha256.

    Responses are drawn from a prompt's id (`infalign.language.generation.prompt_uniforms`), so another length gives
    other responses: the embedded corpora keep their 12 digits, those read from files their 16.

    Examples
    --------
    >>> prompt_id(""), prompt_id("", 12)
    ('e3b0c44298fc1c14', 'e3b0c44298fc')
    """
    return hashlib.sha256(prompt.encode()).hexdigest()[:digits]
