"""Which jobs and figures hedging adds to a run; and, slow, a pool from its responses to the hedges."""

import re
import subprocess
import sys
from collections import Counter

import polars as pl
import pytest
import yaml

from infalign.catalogue import parse_config
from infalign.records.config import task_folder
from infalign.records.tables import write_table
from infalign.studies.hedging.tables import HACKING_SCHEMA, HEDGES_SCHEMA

from .conftest import ROOT, copy_of

POOL = {"task": "helpful", "true_reward": "gold", "n_samples": 40, "n_prompts": 6, "sbon_n": [4]}
PROXIES = {"reward_model": {}, "flipped": {"flipped": 0.25, "n_pairs": 100}}
CORE_JOBS = {"sample": 1, "train_preference_model": 1, "score": 2}
JOBS = {"hedge_pools": 1, "hedging_theory": 1}
FIGURES = {"hacking_helpful", "tradeoff_helpful", "regimes", "poisson_tilt"}


@pytest.fixture
def fresh(tmp_path):
    return copy_of(ROOT, tmp_path / "project", results=False)


def add_pool(values):
    values["hedging"] = [{**POOL, "proxies": PROXIES}]


def test_a_pool_adds_its_jobs_and_figures(fresh):
    before = fresh.planned()
    assert not set(before) & set(JOBS)
    fresh.edit_config(add_pool)
    assert fresh.planned() - before == {**CORE_JOBS, **JOBS, "draw_figure": len(FIGURES)}
    out = fresh.snakemake("--dry-run", "--cores", "1").stdout
    assert set(re.findall(r"figures/(\w+)\.svg", out)) >= FIGURES


def test_proxies_are_trained_on_changed_pairs_and_scored_apart(fresh):
    fresh.edit_config(add_pool)
    out = fresh.snakemake("--dry-run", "--cores", "1", "--printshellcmds").stdout
    (training,) = re.findall(r"python scripts/train_preference_model.py .*/proxies/.*", out)
    assert "--split reward --n-pairs 100 --flipped 0.25" in training
    (sampling,) = re.findall(r"python scripts/sample.py .*pools/n40-p6/samples.parquet", out)
    assert '"n_rollouts": 40' in sampling and "--n-prompts 6" in sampling
    seeds = [int(seed) for seed in re.findall(r"python scripts/sample.py .*--seed (\d+)", out)]
    assert seeds.count(4) == 1  # no other responses are drawn with the pool's seed
    models = re.findall(r"python scripts/score.py \S+/pools/\S+ \S+ --reward-model \S+?/(\w+/[\w-]+) ", out)
    assert sorted(re.sub("-[0-9a-f]{8}", "", model) for model in models) == [
        "models/reward_model", "proxies/flipped",
    ]  # fmt: skip


def test_another_proxy_trains_and_scores_that_one_only(fresh):
    fresh.edit_config(add_pool)
    before = fresh.planned()
    fresh.edit_config(lambda values: values["hedging"][0]["proxies"].update(few={"n_pairs": 50}))
    assert fresh.planned() - before == {"train_preference_model": 1, "score": 1}


def test_the_hedging_run_can_be_planned():
    command = [sys.executable, "-m", "snakemake", "--configfile", "config/hedging.yaml", "--nolock"]
    options = ["--dry-run", "--printshellcmds", "--cores", "1"]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    planned = Counter(re.findall(r"python scripts/(\w+)\.py .*?/(?:pools|proxies)/", done.stdout))
    assert planned == {"sample": 3, "train_preference_model": 4, "score": 7}
    assert len(re.findall(r"python scripts/hedge_pools\.py", done.stdout)) == 1


def test_the_table_job_by_hand_takes_scores_from_the_pools_folder(tmp_path):
    values = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
    values |= {"hedging": [{**POOL, "proxies": {"reward_model": {}}}]}
    config = parse_config(values)
    (tmp_path / "config.json").write_text(config.model_dump_json())
    numbers = range(6 * 40)
    scores = {
        "prompt_id": [f"p{i // 40}" for i in numbers], "reward": [float(i % 40) for i in numbers],
        "gold": [float((i * 17 + i // 40) % 40) for i in numbers],
    }  # fmt: skip
    folder = tmp_path / "tasks" / task_folder(config, "helpful") / "pools" / "n40-p6"
    write_table(pl.DataFrame(scores), folder / "reward_model.parquet", {})
    outs = ["--hacking", "a.parquet", "--hedges", "b.parquet", "--by-prompt", "c.parquet"]
    command = [
        sys.executable,
        str(ROOT / "scripts" / "hedge_pools.py"),
        "config.json",
        "--tasks",
        "tasks",
        *outs,
    ]
    subprocess.run(command, cwd=tmp_path, check=True)
    for name, schema in (("a", HACKING_SCHEMA), ("b", HEDGES_SCHEMA)):
        table = pl.read_parquet(tmp_path / f"{name}.parquet")
        assert dict(table.schema) == schema and set(table["proxy"]) == {"reward_model"}
    assert pl.read_parquet(tmp_path / "c.parquet")["prompt_id"].n_unique() == 3


@pytest.mark.slow
def test_a_pool_is_sampled_scored_hedged_and_judged(project):
    project.edit_config(add_pool)
    project.snakemake("--cores", "2")
    run = project.folder / "results" / "smoke"
    hedges = pl.read_parquet(run / "hedges.parquet")
    assert hedges.select("proxy", "method").n_unique() == 8 and set(hedges["n_prompts"]) == {3}
    claims = pl.read_parquet(run / "claims.parquet")
    verdicts = dict(claims.select("claim", "verdict").iter_rows())
    assert verdicts["greedy-at-most-one-extremum"] == verdicts["best-of-poisson-near-optimal-kl"] == "reproduced"
    assert verdicts["hedging-mitigates-hacking-helpful"] != "not run"
    assert verdicts["best-of-n-hacks-misspecified-proxies"] == "not run"  # there is no proxy `few`
    assert all((run / "figures" / f"{name}.png").exists() for name in FIGURES)
