"""Which jobs and figures variational best-of-N adds to a run; dry runs alone."""

import re

import pytest

from .conftest import ROOT, copy_of

TINY = {"updates": 2, "learning_rate": 1e-3}
BLOCK = {"task": "harmless", "n_full": 30, "sizes": [5, 10]}


@pytest.fixture
def fresh(tmp_path):
    return copy_of(ROOT, tmp_path / "project", results=False)


def drawn(project) -> set[str]:
    out = project.snakemake("--dry-run", "--cores", "1").stdout
    return set(re.findall(r"figures/(\w+)\.svg", out))


def of_methods(values):
    """Two forms of vBoN, one of them with several numbers of rollouts, on one of the two tasks."""
    values["methods"] |= {"vbon": TINY, "vbon_bound": {**TINY, "kind": "vbon", "objective": "bound"}}
    values["policies"] += [
        {"tasks": ["helpful"], "method": "vbon", "n": [4], "n_rollouts": [4, 8], "seeds": [0, 1]},
        {"tasks": ["helpful"], "method": "vbon_bound", "n": [4]},
    ]


def test_estimation_is_off_without_its_block(fresh):
    fresh.edit_config(lambda values: values.pop("estimation"))
    planned = fresh.planned()
    assert not set(planned) & {"sample_estimation", "score_estimation", "estimation_error"}
    assert planned["best_of_n_bounds"] == 1
    assert not drawn(fresh) & {"estimation", "log_distribution"}


def test_estimation_samples_its_own_rollouts(fresh):
    fresh.edit_config(lambda values: values.update(estimation=BLOCK))
    out = fresh.snakemake("--dry-run", "--cores", "1", "--printshellcmds").stdout
    (command,) = re.findall(r"python scripts/sample.py .*estimation/samples.parquet", out)
    assert '"n_rollouts": 40' in command and "harmless-" in command and "--n-prompts" not in command
    seeds = [int(seed) for seed in re.findall(r"python scripts/sample.py .*--seed (\d+)", out)]
    assert sorted(set(seeds)) == [0, 1, 2] and seeds.count(2) == 1
    assert fresh.planned()["estimation_error"] == 1
    assert {"estimation", "log_distribution"} <= drawn(fresh)


def test_figures_are_drawn_where_there_is_something_to_compare(fresh):
    own = {"front_helpful", "bound_helpful", "cost_helpful", "front_harmless"}
    assert not drawn(fresh) & own
    fresh.edit_config(of_methods)
    assert drawn(fresh) & own == own - {"front_harmless"}
    assert fresh.planned()["evaluate_best_of_n"] == 1
