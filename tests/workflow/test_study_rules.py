"""Which jobs the blocks `judge_strength` and `exponents`, and several seeds, add to a run; dry runs alone."""

import re

import pytest

from .conftest import ROOT, copy_of

JOBS = ("train_preference_model", "score_by_judge", "judge_strength", "exponents", "compare_seeds")


@pytest.fixture
def fresh(tmp_path):
    return copy_of(ROOT, tmp_path / "project", results=False)


def commands(project) -> dict[str, list[str]]:
    """Planned commands by script, those of training only for judges of other sizes, and the figures."""
    out = project.snakemake("--dry-run", "--cores", "1", "--printshellcmds").stdout
    found = {name: re.findall(rf"python scripts/{name}\.py .*", out) for name in JOBS}
    trained = [line for line in found["train_preference_model"] if "/judges/" in line]
    drawn = re.findall(r"python scripts/draw_figure\.py (judge_strength|exponents|seeds) ", out)
    return found | {"train_preference_model": trained, "figures": sorted(drawn)}


def test_nothing_of_it_runs_without_its_block(fresh):
    assert not any(commands(fresh).values())


def test_blocks_and_seeds_add_their_jobs(fresh):
    def change(values):
        values["judge_strength"] = {"tasks": ["helpful"], "sizes": [1, 2]}
        values["exponents"] = {"n": [2, 4]}
        seeded = {"tasks": ["harmless"], "method": "ppo", "seeds": [1, 2], "kl": [0.25, 0.75]}
        values["policies"] += [seeded | {"reward": ["raw", "identity"]}]

    fresh.edit_config(change)
    found = commands(fresh)
    assert {name: len(lines) for name, lines in found.items()} == {
        "train_preference_model": 3, "score_by_judge": 5, "judge_strength": 1, "exponents": 1,
        "compare_seeds": 1, "figures": 3,
    }  # fmt: skip
    splits = sorted(
        re.search(r"--split (\w+) .*/judges/(\w+)-", line).groups() for line in found["train_preference_model"]
    )
    assert splits == [("judge", "1x"), ("judge", "2x"), ("reward", "leaked")]
    given = [line for line in found["score_by_judge"] if "--column" in line]
    assert sorted(re.search(r"models/(\w+) .*--column (\w+)", line).groups() for line in given) == [
        ("judge", "judge"), ("reward_model", "reward"),
    ]  # fmt: skip
    for line in found["score_by_judge"]:
        assert "--names reference ppo-raw-kl0.50-s0 ppo-exp10-k16-kl0.50-s0 --judge" in line
    assert found["figures"] == ["exponents", "judge_strength", "seeds"]


def test_a_task_without_the_main_comparison_ends_with_code_2(fresh):
    fresh.edit_config(lambda values: values.update(judge_strength={"tasks": ["harmless"]}))
    done = fresh.snakemake("--dry-run", "--cores", "1", check=False)
    assert done.returncode == 2
    assert "task harmless has no ppo policies on exp(-10)" in done.stderr
