"""What the real corpora share: gzipped JSON lines, datasets of the hub, and groups by hash."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

from infalign.errors import InputError


def json_lines(path: Path) -> Iterator[tuple[str, object]]:
    """Read a gzipped file with one JSON value a line.

    Parameters
    ----------
    path : the file.

    Yields
    ------
    Where a value stands, for messages, and the value.

    Raises
    ------
    InputError
        The file is missing, truncated, not gzip, not UTF-8 or without lines; a line is not JSON.
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
    """Load a dataset of the hub.

    Parameters
    ----------
    name, revision : of the dataset.
    options : for `datasets.load_dataset`, such as data_dir or split.

    Returns
    -------
    Parts by name, each an iterable of rows, which are dicts; with `split` that part alone.

    Raises
    ------
    InputError
        No network, offline mode, or no such dataset, revision, folder or part.
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


def prompt_id(prompt: str) -> str:
    """Name a prompt by the first 16 hex digits of its sha256.

    Examples
    --------
    >>> prompt_id("")
    'e3b0c44298fc1c14'
    """
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]
