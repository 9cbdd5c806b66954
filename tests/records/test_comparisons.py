"""Which runs can compare seeds, and whose tasks are those of the default run."""

from pathlib import Path

import yaml

from infalign.catalogue import parse_config
from infalign.records.comparisons import several_seeds
from infalign.records.config import task_folder
from infalign.records.sweep import conditions, policies

CONFIGS = Path(__file__).parents[2] / "config"


def read(name):
    return parse_config(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()))


def test_seeds_are_compared_where_both_series_have_several():
    rows = policies(read("seeds"))
    assert all(several_seeds(rows, task) for task in ("helpful", "harmless"))
    assert len(rows) == 51 and not several_seeds(rows, "other")
    assert not several_seeds([row for row in rows if row.reward != "raw"], "helpful")
    assert not several_seeds([row for row in rows if row.seed == 0], "helpful")
    assert not several_seeds(policies(read("smoke")), "helpful")


def test_seeds_and_ablations_share_the_default_tasks():
    default = read("default")
    for name in ("seeds", "ablations"):
        other = read(name)
        for task in default.tasks:
            assert task_folder(other, task) == task_folder(default, task)
            assert conditions(other.tasks[task])[0] == conditions(default.tasks[task])[0]
        assert other.methods["ppo"] == default.methods["ppo"]
