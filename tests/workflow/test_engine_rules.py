"""What `engine: vllm` changes in the commands of a run, and that a run without vLLM does not begin."""

import json
import re

import polars as pl
import pytest

from infalign.language.vllm_process import vllm_versions
from infalign.records.tables import read_manifest
from vllm_environment import vllm_python  # noqa: F401 (a fixture)

from .conftest import ROOT, copy_of


@pytest.fixture
def fresh(tmp_path):
    return copy_of(ROOT, tmp_path / "project", results=False)


def commands(project, script) -> list[str]:
    out = project.snakemake("--dry-run", "--cores", "1", "--printshellcmds").stdout
    return re.findall(rf"python scripts/{script}\.py .*", out)


def choose(values):
    for task in values["tasks"].values():
        task["rollouts"] = {**task["rollouts"], "engine": "vllm"}


def draw(values):
    values["methods"]["ppo"]["engine"] = "vllm"


def test_the_engine_samples_and_scores(fresh):
    assert not any("engine" in line for script in ("sample", "score") for line in commands(fresh, script))
    fresh.edit_config(choose)
    sampling, scoring = (commands(fresh, script) for script in ("sample", "score"))
    assert len(sampling) == len(scoring) > 4
    assert all('"engine": "vllm"' in line for line in sampling)
    assert all(" --engine vllm --out " in line for line in scoring)


def test_the_engine_of_a_method_is_in_its_training_alone(fresh):
    fresh.edit_config(draw)
    training = commands(fresh, "train_ppo")
    assert training and all('"engine": "vllm"' in line for line in training)
    assert not any("vllm" in line for script in ("sample", "score") for line in commands(fresh, script))


@pytest.mark.parametrize("edit", [choose, draw])
def test_a_run_without_vllm_ends_when_it_starts(fresh, monkeypatch, edit):
    monkeypatch.setenv("INFALIGN_VLLM_PYTHON", "/nowhere/python")
    fresh.edit_config(edit)
    done = fresh.snakemake("--cores", "1", check=False)
    assert done.returncode == 2 and not (fresh.folder / "results" / "tasks").exists()
    assert "error: engine: vllm: /nowhere/python does not run" in done.stderr


def one_policy(values):
    """One task and one policy, models with heads of 32 as vLLM's attention on the CPU wants them."""
    task = values["tasks"]["helpful"]
    shape = {"hidden_size": 64, "n_layers": 1, "n_heads": 2, "intermediate_size": 64, "context": 128}
    for model in ("reference", "judge"):
        task[model]["base"] = {"from_config": shape}
    policy = {"tasks": ["helpful"], "method": "ppo", "reward": ["exp(10)"], "kl": [0.5]}
    goals = {"helpful": values["goals"]["helpful"]}
    values.update(tasks={"helpful": task}, policies=[policy], goals=goals)
    del values["estimation"]


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.xdist_group("vllm")
@pytest.mark.usefixtures("vllm_python")
def test_a_whole_run_with_vllm(fresh):
    for edit in (one_policy, choose, draw):
        fresh.edit_config(edit)
    fresh.snakemake("--cores", "2")
    assert (fresh.folder / "results/smoke/report.html").stat().st_size > 100_000
    assert not fresh.planned()
    tables = [
        table
        for folder in ("rollouts", "samples", "scores")
        for table in (fresh.folder / "results/tasks").rglob(f"{folder}/*.parquet")
    ]
    assert len(tables) == 6  # train and evaluation of the reference, evaluation of the policy
    (policy,) = (fresh.folder / "results/tasks").glob("*/policies/*/*/model")
    made = [*map(read_manifest, tables), json.loads((policy / "manifest.json").read_text())]
    assert all(manifest["engine"] == vllm_versions() for manifest in made)
    log = pl.read_parquet(policy.parent / "training.parquet")
    assert log["draw_gap"].max() < 1e-3 and log["kl"][-1] > 0
