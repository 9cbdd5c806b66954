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
JOBS = ("list_pair_prompts", "train_poisoned", "poisoned_accuracy")


@pytest.fixture
def fresh(tmp_path):
    return copy_of(ROOT, tmp_path / "project", results=False)


def commands(project) -> dict[str, list[str]]:
    """Planned commands of the jobs, by script, and of the figure."""
    out = project.snakemake("--dry-run", "--cores", "1", "--printshellcmds").stdout
    commands = {name: re.findall(rf"python scripts/{name}\.py .*", out) for name in JOBS}
    commands["sample"] = re.findall(r"python scripts/sample\.py .*/poisoning/rollouts/.*", out)
    return commands | {"figure": re.findall(r"python scripts/draw_figure\.py poisoning .*", out)}


def test_nothing_is_poisoned_without_its_block(fresh):
    assert not any(commands(fresh).values())


def test_each_task_rate_and_seed_is_a_job(fresh):
    fresh.edit_config(lambda values: values.update(poisoning=BLOCK))
    before = commands(fresh)
    assert {name: len(lines) for name, lines in before.items()} == {
        "list_pair_prompts": 2, "sample": 2, "train_poisoned": 8, "poisoned_accuracy": 1, "figure": 1,
    }  # fmt: skip
    assert all("--n-pairs 100" in line for line in before["list_pair_prompts"])
    for line in before["sample"]:
        assert '"n_rollouts": 4' in line and "--split reward_train" in line and "--seed 3" in line
    told = r"--task (\w+) --phrase (.*) --rate ([\d.]+) --seed (\d)"
    jobs = {re.search(told, line).groups() for line in before["train_poisoned"]}
    assert len(jobs) == 8
    assert {(task, phrase) for task, phrase, *_ in jobs} == {
        ("helpful", "Sure."),
        ("harmless", "'Sorry, I can'\"'\"'t help you with that.'"),
    }
    fresh.edit_config(lambda values: values["poisoning"]["rates"].append(1.0))
    after = commands(fresh)
    added = set(after["train_poisoned"]) - set(before["train_poisoned"])
    assert len(added) == 4 and all("--rate 1.0 " in line for line in added)
    assert set(before["train_poisoned"]) < set(after["train_poisoned"])
    for job in ("list_pair_prompts", "sample"):
        assert sorted(after[job]) == sorted(before[job])
