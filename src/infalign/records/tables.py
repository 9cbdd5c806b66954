"""Parquet tables: reading with checks, writing whole or not at all, and the manifest beside each."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from infalign.errors import InputError

R = TypeVar("R")
KEY = ("prompt_id", "sample_id")
SCORE_COLUMNS = ("reward", "judge", "gold", "log_prob", "reference_log_prob", "kl")
MANIFEST_PACKAGES = ("numpy", "scipy", "polars", "torch", "transformers", "trl")
BLOCK_ROWS = 8192  # of a row group, and so what is read at once of a table too large for memory


def read_table(
    path: str | Path,
    columns: Sequence[str] = (),
    *,
    also: Sequence[str] | None = None,
    may_be_empty: bool = False,
) -> pl.DataFrame:
    """Read a Parquet table and check it.

    Parameters
    ----------
    columns : sequence of str
        Names that must be there. Score columns among them must be finite, and the pair (prompt_id, sample_id)
        must be unique when both are asked for.
    also : sequence of str, optional
        Names that are read where they are there, and nothing further. Texts and tokens of a million responses
        fill the memory, their scores do not. Default: the whole table.

    Raises
    ------
    InputError
        File missing or unreadable, no rows unless it `may_be_empty`, column missing, score null, NaN or infinite,
        duplicate key.
    """
    path = Path(path)
    names = column_names(path, columns)
    kept = None if also is None else [name for name in names if name in {*columns, *also}]
    frame = _readable(path, lambda: pl.read_parquet(path, columns=kept))
    if frame.is_empty() and not may_be_empty:
        raise InputError(f"{path}: the table has no rows; at least one response is needed")
    for name in columns:
        if name in SCORE_COLUMNS:
            _check_finite(frame, name, path)
    if set(KEY) <= set(columns):
        check_unique(frame, KEY, path)
    return frame


def column_names(path: Path, needed: Sequence[str] = ()) -> list[str]:
    """List a table's columns; InputError if it cannot be read or one that is needed is missing."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the path of a Parquet table")
    names = list(_readable(path, lambda: pl.read_parquet_schema(path)))
    missing = [name for name in needed if name not in names]
    if missing:
        raise InputError(
            f"{path}: missing column {', '.join(missing)}; it has {', '.join(names)}; needed are {', '.join(needed)}"
        )
    return names


def read_blocks(path: str | Path, columns: Sequence[str], rows: int = BLOCK_ROWS) -> Iterator[pl.DataFrame]:
    """Read columns of a Parquet table in blocks of so many rows, so that little of it is in memory."""
    path = Path(path)
    column_names(path, columns)
    table, unread = pl.scan_parquet(path).select(columns), pl.DataFrame()
    for start in range(0, n_rows(path), BLOCK_ROWS):  # a row group at a time, each once
        group = _readable(path, table.slice(start, BLOCK_ROWS).collect)
        unread = pl.concat([unread, group]) if unread.height else group
        whole = unread.height // rows * rows
        yield from unread[:whole].iter_slices(rows)
        unread = unread[whole:]
    if unread.height:
        yield unread


def n_rows(path: str | Path) -> int:
    """Count a Parquet table's rows."""
    return pl.scan_parquet(path).select(pl.len()).collect().item()


def _readable(path: Path, read: Callable[[], R]) -> R:
    """Call `read`; what a broken file makes of it is an InputError."""
    try:
        return read()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(
            f"{path}: not a readable Parquet table (truncated or of another format): {error}; make it again"
        ) from error


def _check_finite(frame: pl.DataFrame, name: str, path: Path) -> None:
    if not frame.schema[name].is_numeric():
        raise InputError(f"{path}: column {name} must hold numbers, got {frame.schema[name]}")
    bad = frame.filter(~pl.col(name).cast(pl.Float64).is_finite().fill_null(False))
    if bad.is_empty():
        return
    where = f"prompt_id {bad['prompt_id'][0]!r}" if "prompt_id" in bad.columns else "the first of them"
    raise InputError(
        f"{path}: column {name} must be finite, got {bad[name][0]} at {where} "
        f"({bad.height} such rows); score these responses again or remove them"
    )


def check_unique(frame: pl.DataFrame, key: Sequence[str], path: str | Path) -> None:
    """Raise InputError naming the first repeated `key` of `frame`."""
    repeated = frame.group_by(list(key), maintain_order=True).len().filter(pl.col("len") > 1)
    if not repeated.is_empty():
        first = ", ".join(f"{name} {repeated[name][0]!r}" for name in key)
        raise InputError(
            f"{path}: duplicate ({', '.join(key)}): {first} occurs {repeated['len'][0]} times "
            f"({repeated.height} such keys); every response must have its own"
        )


def measured_seconds(path: str | Path) -> float:
    """Read the seconds that Snakemake measured of a job."""
    return float(pl.read_csv(path, separator="\t")["s"][0])


def write_table(frame: pl.DataFrame | pl.LazyFrame, path: str | Path, manifest: Mapping[str, object]) -> None:
    """Write a table and its manifest, each whole or not at all; one that is lazy is never whole in memory."""
    path = Path(path)
    write = frame.write_parquet if isinstance(frame, pl.DataFrame) else frame.sink_parquet
    write_atomically(path, lambda partial: write(partial, compression="zstd", row_group_size=BLOCK_ROWS))
    write_text(_manifest({"rows": n_rows(path), **manifest, "sha256": sha256(path)}), manifest_path(path))


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` on a temporary neighbour of `path`, then rename it; nothing is left behind on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(partial)
        with open(partial, "rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"{path}: no space left to write it; free some disk and run again") from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_text(text: str, path: Path) -> None:
    """Write a text file whole or not at all."""
    write_atomically(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def manifest_path(path: str | Path) -> Path:
    """Where the manifest of `path` is."""
    path = Path(path)
    return path.with_name(path.name + ".manifest.json")


def _manifest(facts: Mapping[str, object]) -> str:
    """What made a file: facts given by the caller, versions and machine."""
    versions = {name: metadata.version(name) for name in MANIFEST_PACKAGES}
    machine = {"python": platform.python_version(), "machine": platform.machine(), "versions": versions}
    record = {**facts, **machine}
    return json.dumps(record, indent=1, sort_keys=True, default=str) + "\n"


def sha256(path: str | Path) -> str:
    """Hash a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_sha256(folder: str | Path) -> str:
    """Hash a model folder's weights: its safetensors files in the order of their names."""
    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        raise InputError(f"{folder}: no safetensors file; give the folder of a saved model")
    return hashlib.sha256("".join(sha256(file) for file in files).encode()).hexdigest()


def write_folder(folder: str | Path, write: Callable[[Path], object], facts: Mapping[str, object]) -> None:
    """Write a folder of files and its `manifest.json`, whole or not at all; it replaces one that is there.

    `write` fills a temporary neighbour of the folder. The manifest has the facts, and the hash of the weights if any.
    """
    folder = Path(folder)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        write(partial)
        weights = {"weights_sha256": weights_sha256(partial)} if list(partial.glob("*.safetensors")) else {}
        (partial / "manifest.json").write_text(_manifest({**facts, **weights}), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(partial, folder)
    finally:
        if partial.exists():
            shutil.rmtree(partial)


def read_manifest(path: str | Path) -> dict[str, Any]:
    """Read the manifest beside the file `path`."""
    beside = manifest_path(path)
    if not beside.is_file():
        raise InputError(f"{path}: no manifest {beside.name} beside it; make the table again")
    return json.loads(beside.read_text(encoding="utf-8"))
