"""Shards are all prompts once, and make the table that one job would have written."""

import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from infalign.errors import InputError
from infalign.records import tables
from infalign.records.responses import ResponseSet, ScoreSet, with_shards
from infalign.records.shards import (
    Shard,
    agreements,
    parse_shard,
    prompts_at_once,
    shard_names,
)
from infalign.records.tables import measured_seconds, read_manifest, write_table

SCRIPTS = Path(__file__).parents[2] / "scripts"
FACTS = {"seed": 0, "settings": {"n_rollouts": 4}, "model_sha256": "abc"}


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


@pytest.fixture(scope="module")
def merge_shards():
    return script("merge_shards")


@pytest.mark.parametrize(
    ("n_prompts", "count", "at_once"), [(7, 1, 1), (7, 3, 1), (7, 7, 1), (100, 8, 6), (100, 17, 6)]
)
def test_shards_are_all_prompts_once_in_whole_groups(n_prompts, count, at_once):
    prompts = pl.DataFrame({"prompt_id": [f"p{i}" for i in range(n_prompts)]})
    parts = [Shard(number, count).of(prompts, at_once) for number in range(1, count + 1)]
    assert pl.concat(parts).equals(prompts)
    sizes = [part.height for part in parts]
    assert max(sizes[:-1], default=0) - min(sizes[:-1], default=0) <= at_once
    assert all(size % at_once == 0 for size in sizes[:-1]) and min(sizes) > 0


def test_groups_of_prompts_fill_batches_where_there_are_many():
    assert prompts_at_once(10_000, 100, 512) * 100 >= 3 * 512
    for n_prompts in (1, 15, 16, 40, 1000):
        assert math.ceil(n_prompts / prompts_at_once(n_prompts, 4, 512)) >= min(n_prompts, 16)


def test_more_shards_than_prompts_are_refused():
    prompts = pl.DataFrame({"prompt_id": ["p"] * 7})
    with pytest.raises(InputError, match="7 prompts, sampled 1 at a time, make at most 7 shards, got 8; lower shards"):
        Shard(1, 8).of(prompts)
    with pytest.raises(InputError, match="sampled 2 at a time, make at most 4 shards, got 5"):
        Shard(1, 5).of(prompts, 2)


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "1/2/3", "-1/2"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(InputError, match="a shard is its number and how many there are"):
        parse_shard(text)


def test_names_say_the_shard():
    names = shard_names("evaluation-t1.00", 12)
    assert len(set(names)) == 12
    assert names[3] == "evaluation-t1.00.shards/4-of-12"


def test_a_set_in_shards_is_made_by_its_shards_and_put_together():
    whole = ResponseSet("t", "rollouts", "models/reference", None, "prompts.parquet", "train", shards=3)
    scored = ScoreSet("t", "rollouts/train", "prompts.parquet", "reward_model", "judge", shards=3)
    made, merged = with_shards({"rollouts/train": whole, "rollouts/other": replace(whole, shards=1)})
    shards = shard_names("rollouts/train", 3)
    assert merged == {"rollouts/train": shards} and set(made) == {*shards, "rollouts/other"}
    assert [made[name].options[-1] for name in shards] == ["1/3", "2/3", "3/3"]
    scores, _ = with_shards({"scores/train": scored})
    assert [entry.responses for entry in scores.values()] == shards


def scores(n_prompts: int = 9, k: int = 4) -> pl.DataFrame:
    rng, n = np.random.default_rng(0), n_prompts * k
    return pl.DataFrame(
        {
            "prompt_id": np.repeat([f"p{i}" for i in range(n_prompts)], k),
            "sample_id": np.tile(np.arange(k, dtype=np.int32), n_prompts),
            "tokens": [rng.integers(9, size=3).tolist() for _ in range(n)],
            "reward": rng.normal(size=n),
            "judge": rng.normal(size=n),
            "gold": rng.normal(size=n),
        }
    )


def written(folder: Path, whole: pl.DataFrame, count: int, changes=lambda number: {}) -> tuple[Path, ...]:
    """Write shards of whole prompts, with facts that `changes` may change for one of them."""
    prompts, paths = whole.select("prompt_id").unique(maintain_order=True), []
    for number, name in enumerate(shard_names("train", count), start=1):
        own = whole.join(Shard(number, count).of(prompts), on="prompt_id", how="semi", maintain_order="left")
        facts = FACTS | {"truncated_responses": number} | changes(number)
        write_table(own, folder / f"{name}.parquet", facts)
        paths.append(folder / f"{name}.parquet")
    return tuple(paths)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_shards_make_the_same_bytes_as_one_job(merge_shards, tmp_path, monkeypatch, count):
    monkeypatch.setattr(tables, "BLOCK_ROWS", 10)
    whole = scores()
    write_table(whole, tmp_path / "whole.parquet", {})
    merge_shards(written(tmp_path, whole, count), out=tmp_path / "train.parquet")
    assert (tmp_path / "train.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    made = read_manifest(tmp_path / "train.parquet")
    assert {name: made[name] for name in FACTS} == FACTS
    assert made["truncated_responses"] == sum(range(1, count + 1))
    assert (made["shards"], made["rows"]) == (count, 36)
    assert made["agreement"] == agreements(whole)


def test_the_seconds_are_those_of_all_jobs(tmp_path):
    times = tuple(tmp_path / f"{number}.tsv" for number in (1, 2))
    for path, seconds in zip(times, (1.5, 2.25), strict=True):
        path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\t3.0\n")
    script("sum_seconds")(times, out=tmp_path / "all.tsv")
    assert measured_seconds(tmp_path / "all.tsv") == 3.75


def test_shards_of_different_models_are_refused(merge_shards, tmp_path):
    paths = written(tmp_path, scores(), 2, lambda number: {"model_sha256": f"model {number}"})
    with pytest.raises(InputError, match=r"2-of-2\.parquet: model_sha256 is model 2, of .*1-of-2.* it is model 1"):
        merge_shards(paths, out=tmp_path / "train.parquet")
    assert not (tmp_path / "train.parquet").exists()
