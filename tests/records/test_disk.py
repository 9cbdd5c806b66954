"""The estimate of the disk against files that are written."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from infalign.catalogue import all_responses, all_score_sets, all_trainings, parse_config
from infalign.language.models import new_language_model, train_tokenizer
from infalign.records.disk import (
    CHECKPOINT_COPIES,
    FIXED_BYTES,
    model_bytes,
    needed_bytes,
    response_bytes,
)
from infalign.records.sweep import policies
from infalign.records.tables import write_table

CONFIGS = Path(__file__).parents[2] / "config"


def config_of(name: str):
    return parse_config(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()))


@pytest.mark.parametrize("length", [24, 128])
def test_responses_take_no_more_than_is_estimated_and_not_much_less(length, tmp_path):
    """A vocabulary of 50,000 words of 3 to 8 letters, drawn by Zipf's law, as language has them."""
    rng = np.random.default_rng(0)
    letters = rng.integers(97, 123, (50_000, 8)).astype(np.uint8)
    words = [row[: 3 + i % 6].tobytes().decode() for i, row in enumerate(letters)]
    share = 1 / np.arange(1, 50_001)
    n = 4000
    tokens = rng.choice(50_000, (n, length), p=share / share.sum())
    responses = pl.DataFrame(
        {
            "prompt_id": [f"evaluation-{i // 16}" for i in range(n)],
            "sample_id": np.arange(n) % 16,
            "response": [" ".join(words[token] for token in row) for row in tokens],
            "tokens": tokens.tolist(),
            "n_tokens": np.full(n, length),
            "log_prob": rng.normal(size=n),
            "finished": np.ones(n, dtype=bool),
        }
    )
    names = ("reward", "judge", "gold", "reference_log_prob", "kl")
    scored = responses.with_columns(pl.Series(name, rng.normal(size=n)) for name in names)
    for name, table in (("samples", responses), ("scores", scored)):
        write_table(table, tmp_path / f"{name}.parquet", {})
    config = config_of("smoke")
    entry = next(iter(all_responses(config, []).values()))
    sampling = entry.sampling.model_copy(update={"max_new_tokens": length, "n_rollouts": 16})
    estimated = 2 * response_bytes(config, replace(entry, sampling=sampling, n_prompts=n // 16))
    written = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert 0.6 * estimated < written < estimated


def test_a_model_takes_what_is_estimated(tmp_path):
    config = config_of("default")
    task = config.tasks["helpful"]
    tokenizer = train_tokenizer(["Measure the leaves twice. Good luck!"], 130)
    new_language_model(task.reference.base.from_config, tokenizer, seed=0).save_pretrained(tmp_path)
    written = (tmp_path / "model.safetensors").stat().st_size
    sized = task.model_copy(update={"vocabulary_size": len(tokenizer)})
    assert model_bytes(sized, task.reference.base) == pytest.approx(written, rel=0.02)  # norms, names


def test_local_models_are_measured_and_unknown_ones_count_nothing(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(bytes(1000))
    task = config_of("hh").tasks["helpful"]
    base = task.reference.base
    assert model_bytes(task, base.model_copy(update={"hub": None, "path": str(tmp_path)})) == 1000
    assert model_bytes(task, base.model_copy(update={"hub": "someone/some-model"})) == 0
    assert model_bytes(task, base) > 1e9


def test_a_run_needs_its_models_its_responses_and_one_checkpoint(tmp_path):
    config = config_of("smoke")
    rows = policies(config)
    sets, scores, trainings = all_responses(config, rows), all_score_sets(config, rows), all_trainings(config)
    task = config.tasks["helpful"]
    weights = model_bytes(task, task.reference.base)  # all models have one size
    models = len(config.tasks) + len(trainings) + len(rows)
    stored = [*sets.values(), *(sets[entry.responses] for entry in scores.values())]
    expected = FIXED_BYTES + (models + CHECKPOINT_COPIES) * weights
    expected += sum(response_bytes(config, entry) for entry in stored)
    assert needed_bytes(config, rows, sets, scores, trainings, tmp_path) == expected
    path = tmp_path / f"{next(iter(sets))}.parquet"
    path.parent.mkdir(parents=True)
    path.touch()
    there = response_bytes(config, next(iter(sets.values())))
    assert needed_bytes(config, rows, sets, scores, trainings, tmp_path) == expected - there
