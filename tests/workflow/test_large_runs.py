"""Runs that are too large for a test: priced, planned and, at a tiny size, run."""

import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from infalign.studies.costs.estimate import COSTS_COLUMNS

from .conftest import ROOT, copy_of

pytestmark = pytest.mark.xdist_group("workflow")


@pytest.fixture
def fresh(tmp_path):
    """A copy of the project without results."""
    return copy_of(ROOT, tmp_path / "project", results=False)


def test_costs_are_printed_and_nothing_else_runs(fresh):
    assert fresh.planned("costs") == {"record_config": 1, "estimate_costs": 1, "costs": 1}
    printed = fresh.snakemake("--cores", "1", "costs").stdout
    assert "in all: " in printed and "hours of one device (h100)" in printed
    assert "scores of estimation" in printed
    table = pl.read_parquet(fresh.folder / "results" / "smoke" / "costs.parquet")
    assert table.columns == COSTS_COLUMNS
    assert not (fresh.folder / "results" / "tasks").exists()
    fresh.edit_config(lambda values: values.update(costs={"device": "cpu_core"}))
    assert fresh.planned("costs") == {"estimate_costs": 1, "costs": 1}  # no result depends on the device


def test_a_run_too_large_for_the_disk_is_planned_and_priced_but_not_started(fresh):
    fresh.edit_config(lambda values: values["tasks"]["helpful"]["corpus"].update(n_train_prompts=10**11))
    assert fresh.planned()["train_policy"] == 4
    assert "in all: " in fresh.snakemake("--cores", "1", "costs").stdout
    done = fresh.snakemake("--cores", "1", check=False)
    assert done.returncode == 2
    assert "error: too little disk: run smoke is estimated to write" in done.stderr
    assert not (fresh.folder / "results" / "tasks").exists()


@pytest.mark.slow
def test_the_papers_run_is_planned(fresh):
    planned = fresh.planned("--configfile", "config/paper.yaml")
    assert planned["train_policy"] == 1098 and planned["sample"] == planned["score"] == 1098 + 2 * 6
    assert planned["train_reference"] == 6 and planned["train_preference_model"] == 12


def write_rows(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def dialogues(seed: int, n: int = 400) -> list[dict]:
    """Preference pairs in HH's form: no two first turns alike, the chosen answer is the politer one."""
    rng = np.random.default_rng(seed)
    nouns, verbs = ["bread", "a kite", "a shelf", "soup", "a song"], ["make", "mend", "find", "sell"]
    rows = []
    for i in range(n):
        asked = f"\n\nHuman: How do I {rng.choice(verbs)} {rng.choice(nouns)} in {i} days?\n\nAssistant:"
        good, bad = f" Gladly: begin on day {i % 7}, and rest.", f" No idea. Ask {i % 5} others."
        rows.append({"chosen": asked + good, "rejected": asked + bad})
    return rows


def reviews(seed: int, n: int = 400) -> list[dict]:
    """Film reviews in IMDB's form, no two alike, whose adjectives tell the label."""
    rng = np.random.default_rng(seed)
    adjectives = [["dull", "wooden", "endless"], ["warm", "splendid", "witty"]]
    rows = []
    for i in range(n):
        said = " ".join(f"The {part} is {rng.choice(adjectives[i % 2])}." for part in ("cast", "plot", "music"))
        text = f"Film number {seed}-{i} of the year, seen at night. {said}"
        rows.append({"id": str(i), "text": text, "label": i % 2, "stars": 1 + 8 * (i % 2)})
    return rows


def tiny(values: dict) -> None:
    """The same run with models, data and sweep at a size for tests."""
    shape = {"hidden_size": 16, "n_layers": 1, "n_heads": 2, "intermediate_size": 32, "context": 256}
    values["evaluation"] = {"n": [2, 4], "resamples": 100}
    values["theory"] = {"transforms": ["identity", "exp(10)", "exp(-10)"], "kl": [0.1, 0.5]}
    for task in values["tasks"].values():
        task["vocabulary_size"] = 400
        task["rollouts"].update(n_rollouts=12, max_new_tokens=16, batch_size=64)
        task["samples"] = {"n_samples": 8}
        task["corpus"].update(n_train_prompts=8, n_evaluation_prompts=8)
        if "n_labelled" in task["corpus"]:
            task["corpus"].update(n_demonstrations=60, n_labelled=40, n_test_labelled=4)
        for model in (task["reference"], task["reward_model"], task["judge"]):
            if "from_config" in model["base"]:
                model["base"]["from_config"] = shape
            for step in {"pretraining", "training"} & model.keys():
                model[step] = {**model[step], "epochs": 1, "batch_size": 32}
    for settings in values["methods"].values():
        settings.update(updates=2, chunk_size=16, precision="float32")
        settings.update({"examples_per_update": 8} if "examples_per_update" in settings else {})
        if "prompts_per_update" in settings:
            settings.update(prompts_per_update=4, samples_per_prompt=2)
    for grid in values["policies"]:
        grid["seeds"] = [0]
        grid.update({"kl": [0.5]} if "kl" in grid else {"n": [2]})
        grid.update({"reward": [grid["reward"][0], grid["reward"][-1]]} if "reward" in grid else {})


@pytest.mark.slow
def test_the_h200_run_works_at_a_tiny_size(fresh, tmp_path):
    data = tmp_path / "data"
    write_rows(data / "train.jsonl.gz", reviews(0))
    write_rows(data / "unsup.jsonl.gz", [{key: row[key] for key in ("id", "text")} for row in reviews(1)])
    write_rows(data / "helpful-base" / "test.jsonl.gz", dialogues(0))
    write_rows(data / "harmless-base" / "test.jsonl.gz", dialogues(1))
    path = fresh.folder / "config" / "h200.yaml"
    values = yaml.safe_load(json.dumps(yaml.safe_load(path.read_text())))  # anchors become copies
    tiny(values)
    path.write_text(yaml.safe_dump({**values, "data_root": str(data)}, sort_keys=False))
    fresh.snakemake("--configfile", "config/h200.yaml", "--cores", "1")
    run = fresh.folder / "results" / "h200"
    metrics = pl.read_parquet(run / "metrics.parquet")
    assert set(metrics["task"]) == {"sentiment", "helpful", "harmless"}
    assert set(metrics["method"]) == {"ppo", "vbon", "bonbon"}
    assert (run / "report.html").stat().st_size > 100_000
