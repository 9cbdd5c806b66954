"""Reading refuses what cannot be trusted; writing leaves nothing half done."""

import json
from pathlib import Path

import polars as pl
import pytest

from infalign.errors import InputError
from infalign.records.tables import read_table, write_folder, write_table

COLUMNS = ["prompt_id", "sample_id", "reward"]


def frame(**changes):
    columns = {"prompt_id": ["a", "a"], "sample_id": [0, 1], "reward": [0.5, 1.0]} | changes
    return pl.DataFrame(columns)


def refused(path, columns=COLUMNS) -> str:
    with pytest.raises(InputError) as caught:
        read_table(path, columns)
    return str(caught.value)


def test_a_written_table_comes_back_with_its_manifest(tmp_path):
    path = tmp_path / "deep" / "scores.parquet"
    write_table(frame(), path, {"seed": 3})
    assert read_table(path, COLUMNS).equals(frame())
    manifest = json.loads((path.parent / "scores.parquet.manifest.json").read_text())
    assert manifest["seed"] == 3
    assert manifest["rows"] == 2
    assert "torch" in manifest["versions"]


def test_the_same_table_has_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_table(frame(), tmp_path / f"{name}.parquet", {})
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), None])
def test_a_reward_that_is_not_finite_is_named(tmp_path, bad):
    frame(reward=[0.5, bad]).write_parquet(tmp_path / "scores.parquet")
    message = refused(tmp_path / "scores.parquet")
    assert "column reward must be finite" in message
    assert "prompt_id 'a'" in message


def test_a_missing_column_is_named(tmp_path):
    frame().drop("reward").write_parquet(tmp_path / "scores.parquet")
    assert "missing column reward; it has prompt_id, sample_id" in refused(tmp_path / "scores.parquet")


def test_a_repeated_sample_is_named(tmp_path):
    frame(sample_id=[1, 1]).write_parquet(tmp_path / "scores.parquet")
    assert "duplicate (prompt_id, sample_id): prompt_id 'a', sample_id 1 occurs 2 times" in refused(
        tmp_path / "scores.parquet"
    )


def test_an_empty_table_is_refused_unless_it_may_be(tmp_path):
    frame().clear().write_parquet(tmp_path / "scores.parquet")
    assert "the table has no rows" in refused(tmp_path / "scores.parquet")
    assert read_table(tmp_path / "scores.parquet", COLUMNS, may_be_empty=True).is_empty()


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "scores.parquet"
    frame().write_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    assert "not a readable Parquet table" in refused(path)


def test_a_missing_file_is_refused(tmp_path):
    assert "no such file" in refused(tmp_path / "scores.parquet")


def test_a_text_column_is_not_a_score(tmp_path):
    frame(reward=["good", "bad"]).write_parquet(tmp_path / "scores.parquet")
    assert "column reward must hold numbers" in refused(tmp_path / "scores.parquet")


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path, monkeypatch):
    def full(self, file, **options):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(InputError, match="no space left"):
        write_table(frame(), tmp_path / "scores.parquet", {})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_fails_leaves_the_old_one(tmp_path):
    folder = tmp_path / "model"
    write_folder(folder, lambda partial: (partial.mkdir(), (partial / "a").write_text("old")), {})

    def broken(partial):
        partial.mkdir()
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_folder(folder, broken, {})
    assert (folder / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
