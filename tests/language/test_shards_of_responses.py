"""Scripts that sample and score: in shards and in blocks they write what one job for all prompts writes."""

import importlib.util
import json
from pathlib import Path

import polars as pl
import pytest
from tiny_models import TEXTS

from infalign.errors import InputError
from infalign.language.models import save_model
from infalign.language.reward_models import reward_model_from
from infalign.records import shards, tables
from infalign.records.shards import shard_names
from infalign.records.tables import read_manifest, write_table

SCRIPTS = Path(__file__).parents[2] / "scripts"
SETTINGS = json.dumps({"n_rollouts": 5, "max_new_tokens": 12})
CORPUS = {"source": "questions", "name": "mmlu_pro", "max_prompt_tokens": 64}
CORPUS |= {"n_train_prompts": 1, "n_evaluation_prompts": 6}


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path, language_model, reference, tokenizer):
    """Models, and prompts of different lengths in no order."""
    save_model(language_model, tokenizer, tmp_path / "policy")
    save_model(reference, tokenizer, tmp_path / "reference")
    for seed, name in enumerate(("reward_model", "judge")):
        save_model(reward_model_from(language_model, tokenizer, seed=seed), tokenizer, tmp_path / name)
    texts = [*TEXTS, "Tea?\n", "Please, the leaves?\n", "Cup\n", "Or not tea, or the cup?\n"]
    prompts = {"prompt_id": list("abcdefg"), "prompt": texts, "split": ["evaluation"] * 6 + ["train"]}
    prompts["answer"] = ["A"] * 7
    write_table(pl.DataFrame(prompts), tmp_path / "prompts.parquet", {})
    return tmp_path


def sampled_and_scored(folder: Path, name: str, shard: str | None = None) -> pl.DataFrame:
    """Sample the policy and score what it wrote; the table of scores."""
    responses, scores, prompts = (
        folder / f"s/{name}.parquet",
        folder / f"{name}.parquet",
        folder / "prompts.parquet",
    )
    script("sample").sample(
        folder / "policy", prompts, split="evaluation", settings=SETTINGS, seed=3, out=responses, shard=shard
    )
    models = {kind: folder / kind for kind in ("reward_model", "judge", "policy", "reference")}
    script("score").score(responses, prompts, corpus=json.dumps(CORPUS), out=scores, **models)
    return pl.read_parquet(scores)


@pytest.mark.parametrize(("count", "groups"), [(2, 3), (6, 6)])
def test_shards_make_the_table_of_one_job(folder, monkeypatch, count, groups):
    """Bit for bit, though prompts of several lengths share batches."""
    monkeypatch.setattr(shards, "FEWEST_GROUPS", groups)
    whole = sampled_and_scored(folder, "whole")
    assert whole["prompt_id"].to_list() == [name for name in "abcdef" for _ in range(5)]
    for number, name in enumerate(shard_names("train", count), start=1):
        sampled_and_scored(folder, name, f"{number}/{count}")
    paths = tuple(folder / f"{name}.parquet" for name in shard_names("train", count))
    script("merge_shards").merge_shards(paths, out=folder / "train.parquet")
    assert pl.read_parquet(folder / "train.parquet").equals(whole)
    one, merged = read_manifest(folder / "whole.parquet"), read_manifest(folder / "train.parquet")
    assert merged == {**one, "shards": count}


def test_blocks_of_any_size_give_the_same_scores(folder, monkeypatch):
    whole = sampled_and_scored(folder, "whole")
    assert whole.columns[-5:] == ["reward", "judge", "gold", "reference_log_prob", "kl"]
    assert (whole["kl"] > 0).all() and whole["gold"].null_count() == 0
    monkeypatch.setattr(tables, "BLOCK_ROWS", 7)
    assert sampled_and_scored(folder, "blocks").equals(whole)


def test_more_shards_than_prompts_are_refused(folder):
    with pytest.raises(InputError, match="6 prompts, sampled 1 at a time, make at most 6 shards, got 7"):
        sampled_and_scored(folder, "train", "1/7")
