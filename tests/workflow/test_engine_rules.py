"""What `rollouts.engine: vllm` changes in the commands of a run, and that a run without vLLM does not begin."""

import re

import pytest

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


def test_the_engine_samples_and_scores(fresh):
    assert not any("engine" in line for script in ("sample", "score") for line in commands(fresh, script))
    fresh.edit_config(choose)
    sampling, scoring = (commands(fresh, script) for script in ("sample", "score"))
    assert len(sampling) == len(scoring) > 4
    assert all('"engine": "vllm"' in line for line in sampling)
    assert all(" --engine vllm --out " in line for line in scoring)


def test_a_run_without_vllm_ends_when_it_starts(fresh, monkeypatch):
    monkeypatch.setenv("INFALIGN_VLLM_PYTHON", "/nowhere/python")
    fresh.edit_config(choose)
    done = fresh.snakemake("--cores", "1", check=False)
    assert done.returncode == 2 and not (fresh.folder / "results" / "tasks").exists()
    assert "error: engine: vllm: /nowhere/python does not run" in done.stderr
