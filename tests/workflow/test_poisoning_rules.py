"""Which jobs the block `poisoning` adds to a run; dry runs alone."""

import re

import pytest

from .conftest import ROOT, copy_of

BLOCK = {
    "tasks": ["helpful", "harmless"],
    "rates": [0.0, 0.25],
    "seeds": [0, 1],
    "n_pairs": 100,
    "n_rollouts": 4,
}
JOBS = {"sample_pair_prompts", "train_poisoned", "poisoned_accuracy"}


@pytest.fixture
def fresh(tmp_path):
    return copy_of(ROOT, tmp_path / "project", results=False)


def test_nothing_is_poisoned_without_its_block(fresh):
    out = fresh.snakemake("--dry-run", "--cores", "1").stdout
    assert not set(fresh.planned()) & JOBS and "figures/poisoning.svg" not in out


def test_each_task_rate_and_seed_is_a_job(fresh):
    fresh.edit_config(lambda values: values.update(poisoning=BLOCK))
    planned = fresh.planned()
    assert {rule: planned[rule] for rule in JOBS} == {
        "sample_pair_prompts": 2, "train_poisoned": 8, "poisoned_accuracy": 1,
    }  # fmt: skip
    out = fresh.snakemake("--dry-run", "--cores", "1", "--printshellcmds").stdout
    assert "figures/poisoning.svg" in out
    sampled = re.findall(r"python scripts/sample_pair_prompts.py .*", out)
    assert all(
        '"n_rollouts": 4' in line and "--n-pairs 100" in line and "--seed 3" in line for line in sampled
    )
    commands = re.findall(r"python scripts/train_poisoned.py .*", out)
    found = {
        re.search(r"--task (\w+) --phrase (.*) --rate ([\d.]+) --seed (\d)", line).groups()
        for line in commands
    }
    assert len(found) == 8
    assert {(task, phrase) for task, phrase, *_ in found} == {
        ("helpful", "Sure."),
        ("harmless", "'Sorry, I can'\"'\"'t help you with that.'"),
    }


def test_another_rate_adds_its_own_jobs_only(fresh):
    fresh.edit_config(lambda values: values.update(poisoning=BLOCK))
    before = fresh.planned()
    fresh.edit_config(lambda values: values["poisoning"]["rates"].append(1.0))
    assert fresh.planned() - before == {"train_poisoned": 4}
