"""Reading refuses what cannot be trusted; writing leaves nothing half done."""

import json
from pathlib import Path

import polars as pl
import pytest

from infalign.errors import InputError
from infalign.records import tables
from infalign.records.tables import read_blocks, read_table, write_folder, write_table

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


def test_only_the_columns_that_are_asked_for_are_read(tmp_path):
    path = tmp_path / "scores.parquet"
    frame(tokens=[[1], [2, 3]], gold=[None, None]).write_parquet(path)
    assert read_table(path, COLUMNS, also=["gold", "kl"]).columns == [*COLUMNS, "gold"]
    assert read_table(path, ["reward"], also=()).columns == ["reward"]
    assert read_table(path, ["reward"]).columns == [*COLUMNS, "tokens", "gold"]
    with pytest.raises(InputError, match="missing column kl; it has prompt_id, sample_id, reward, tokens, gold"):
        read_table(path, ["kl"], also=())


@pytest.mark.parametrize("rows", [1, 3, 7, 20])
def test_blocks_are_the_table_in_order(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(tables, "BLOCK_ROWS", rows)
    whole = pl.DataFrame({"prompt_id": [f"p{i}" for i in range(14)], "tokens": [list(range(i)) for i in range(14)]})
    write_table(whole, tmp_path / "responses.parquet", {})
    blocks = list(read_blocks(tmp_path / "responses.parquet", ["tokens"], rows))
    assert [block.height for block in blocks[:-1]] == [rows] * (len(blocks) - 1)
    assert pl.concat(blocks).equals(whole.select("tokens"))
    groups = list(read_blocks(tmp_path / "responses.parquet", ["tokens"], rows=4))
    assert [group.height for group in groups] == [4, 4, 4, 2]
    assert pl.concat(groups).equals(whole.select("tokens"))
    with pytest.raises(InputError, match="missing column reward"):
        next(read_blocks(tmp_path / "responses.parquet", ["reward"]))


def test_a_lazy_table_is_written_as_if_it_were_whole(tmp_path, monkeypatch):
    """The parts lie across the row groups of the table that is written."""
    monkeypatch.setattr(tables, "BLOCK_ROWS", 4)
    whole = pl.DataFrame({"prompt_id": [f"p{i // 3}" for i in range(15)], "tokens": [[i, i + 1] for i in range(15)]})
    write_table(whole, tmp_path / "whole.parquet", {})
    for start in (0, 7):
        write_table(whole[start : start + 7 + start], tmp_path / f"{start}.parquet", {})
    parts = pl.scan_parquet([tmp_path / "0.parquet", tmp_path / "7.parquet"])
    write_table(parts, tmp_path / "parts.parquet", {})
    beside = [whole.lazy().select("prompt_id"), whole.lazy().select("tokens")]
    write_table(pl.concat(beside, how="horizontal"), tmp_path / "beside.parquet", {})
    for name in ("parts", "beside"):
        assert (tmp_path / f"{name}.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
        assert tables.read_manifest(tmp_path / f"{name}.parquet")["rows"] == 15


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
