"""The script that scores responses by one more judge."""

import importlib.util
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tiny_models import TEXTS

from infalign.errors import InputError
from infalign.language.models import save_model
from infalign.language.scoring import pair_outcomes, reward_scores
from infalign.records.tables import read_manifest, write_table

SCRIPT = Path(__file__).parents[2] / "scripts" / "score_by_judge.py"


@pytest.fixture(scope="module")
def score_by_judge():
    spec = importlib.util.spec_from_file_location("score_by_judge", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.score_by_judge


@pytest.fixture
def folder(tmp_path, reward_model, tokenizer, prompts):
    save_model(reward_model, tokenizer, tmp_path / "judge")
    write_table(prompts, tmp_path / "prompts.parquet", {})
    responses = pl.DataFrame(
        {
            "prompt_id": ["a", "a", "b"], "sample_id": [0, 1, 0], "response": [TEXTS[1], TEXTS[2], "Tea."],
            "finished": [True, False, True], "judge": [0.5, -1.0, 2.0],
        }
    )  # fmt: skip
    for name in ("reference", "policy"):
        write_table(responses, tmp_path / f"{name}.parquet", {})
    splits = ["judge_test", "reward_train", "reward_train", "judge_train"]
    pairs = {"prompt": ["Tea?\n"] * 4, "chosen": [TEXTS[1]] * 4, "rejected": [TEXTS[2]] * 4, "split": splits}
    write_table(pl.DataFrame(pairs), tmp_path / "pairs.parquet", {})
    return tmp_path


def run(score, folder, **more):
    tables = (folder / "reference.parquet", folder / "policy.parquet")
    paths = {name: folder / f"{name}.parquet" for name in ("prompts", "pairs", "out", "pairs_out")}
    score(tables, **{"names": ("reference", "p-s0"), "judge": folder / "judge", **paths, **more})
    return pl.read_parquet(folder / "out.parquet"), pl.read_parquet(folder / "pairs_out.parquet")


def test_every_response_and_as_many_pairs_of_each_split_are_scored(score_by_judge, folder, reward_model, tokenizer):
    scores, outcomes = run(score_by_judge, folder)
    assert scores.columns == ["policy", "prompt_id", "sample_id", "score"]
    assert scores["policy"].to_list() == ["reference"] * 3 + ["p-s0"] * 3
    asked = [TEXTS[0], TEXTS[0], "Tea?\n"]
    expected = reward_scores(reward_model, tokenizer, asked, [TEXTS[1], TEXTS[2], "Tea."], finished=[True, False, True])
    np.testing.assert_allclose(scores["score"].to_numpy(), np.tile(expected, 2), rtol=1e-6)
    assert outcomes["split"].to_list() == ["judge_test", "reward_train"]
    pair = pl.DataFrame({"prompt": ["Tea?\n"], "chosen": [TEXTS[1]], "rejected": [TEXTS[2]]})
    assert outcomes["right"].to_list() == 2 * pair_outcomes(reward_model, tokenizer, pair).tolist()
    counted = sum(weight.numel() for weight in reward_model.parameters())
    assert read_manifest(folder / "out.parquet")["n_parameters"] == counted


def test_scores_that_are_there_are_taken(score_by_judge, folder):
    scores, _ = run(score_by_judge, folder, column="judge")
    assert scores["score"].to_list() == [0.5, -1.0, 2.0] * 2


def test_each_table_needs_its_name(score_by_judge, folder):
    with pytest.raises(InputError, match="names: one for each table, got 1 for 2"):
        run(score_by_judge, folder, names=("reference",))
