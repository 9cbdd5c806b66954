"""Sets of responses in shards: which jobs make them, and that their tables are those of one job each."""

import re
import shutil

import pytest

from infalign.records.tables import measured_seconds

from .conftest import ROOT, copy_of

pytestmark = pytest.mark.xdist_group("workflow")


@pytest.fixture
def fresh(tmp_path):
    return copy_of(ROOT, tmp_path / "project", results=False)


def in_shards(values):
    values["tasks"]["helpful"] = {**values["tasks"]["helpful"], "samples": {"n_samples": 8, "shards": 3}}
    values["tasks"]["helpful"]["rollouts"] = {"n_rollouts": 16, "max_new_tokens": 24, "shards": 2}


def sampled(project) -> list[str]:
    """Options by which each planned job of the helpful task's reference and policies samples its prompts."""
    out = project.snakemake("--dry-run", "--cores", "1", "--printshellcmds").stdout
    return re.findall(r"python scripts/sample\.py results/tasks/helpful\S+ \S+ --split (.*) --settings", out)


def test_one_shard_is_the_whole_and_nothing_is_put_together(fresh):
    planned = fresh.planned()
    assert not [rule for rule in planned if rule.startswith("merge")]
    assert planned["sample"] == 4 + 4 + 1  # references, policies, and the estimation error
    assert set(sampled(fresh)) == {"train", "evaluation", "evaluation --n-prompts 6"}


def test_each_shard_is_a_job_that_is_scored_by_itself(fresh):
    before = fresh.planned()
    fresh.edit_config(in_shards)
    planned = fresh.planned()
    assert planned - before == {
        "sample": 2 + 3 * 2, "score": 2 + 3 * 2, "merge_shards": 2 + 3,
    }  # fmt: skip
    assert not before - planned
    found = sampled(fresh)
    assert {"train --shard 1/2", "evaluation --shard 2/2", "evaluation --shard 3/3"} <= set(found)
    assert "train" not in found and "evaluation" not in found


def test_shards_make_the_same_table_and_may_be_removed(project):
    (task,) = (project.folder / "results" / "tasks").glob("helpful-*")
    table, seconds = task / "scores" / "train.parquet", task / "scores" / "train.seconds.tsv"
    before = table.read_bytes()
    table.unlink()
    seconds.unlink()
    project.edit_config(in_shards)
    targets = [str(path.relative_to(project.folder)) for path in (table, seconds)]
    project.snakemake("--cores", "1", *targets)
    assert table.read_bytes() == before
    shards = [measured_seconds(path) for path in task.glob("scores/train.shards/*.seconds.tsv")]
    assert len(shards) == 2 and measured_seconds(seconds) == pytest.approx(sum(shards))
    for folder in task.rglob("*.shards"):
        shutil.rmtree(folder)
    assert not project.planned(*targets)
