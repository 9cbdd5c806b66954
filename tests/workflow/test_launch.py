"""How a training of a policy is started: by python, or by what a profile says where its script knows processes."""

import json
import re
import shutil

import pytest
from safetensors.numpy import load_file

from .conftest import ROOT, copy_of

pytestmark = pytest.mark.xdist_group("workflow")
LAUNCH = "accelerate launch --config_file profiles/accelerate/data_parallel.yaml --num_processes"


def commands(project, *arguments: str) -> dict[str, set[str]]:
    """How each training script would be started, by a dry run."""
    out = project.snakemake("--dry-run", "--printshellcmds", "--cores", "1", *arguments).stdout
    found: dict[str, set[str]] = {}
    for start, script in re.findall(r"^Shell command: (.*?) (scripts/train_\w+\.py) --policy", out, re.MULTILINE):
        found.setdefault(script, set()).add(start)
    return found


def test_a_profile_launches_the_scripts_that_share_work(tmp_path):
    project = copy_of(ROOT, tmp_path / "project", results=False)
    project.edit_config(lambda values: values["policies"].append({"tasks": ["helpful"], "method": "bonbon", "n": [2]}))
    alone = {"scripts/train_ppo.py": {"python"}, "scripts/train_offline.py": {"python"}}
    assert commands(project) == alone
    launched = commands(project, "--set-resources", f"train_policy:launch={LAUNCH} 4")
    assert launched == alone | {"scripts/train_ppo.py": {f"{LAUNCH} 4"}}


@pytest.mark.slow
def test_two_processes_train_the_policy_of_one(project):
    """Through the workflow, on CPU; the policies that are there stay as they are."""
    (folder,) = (project.folder / "results" / "tasks").glob("helpful-*/policies/ppo-*/ppo-raw-*")
    before = load_file(folder / "model" / "model.safetensors")
    shutil.rmtree(folder)
    target = folder.relative_to(project.folder) / "model"
    project.snakemake("--cores", "1", str(target), "--set-resources", f"train_policy:launch={LAUNCH} 2")
    after = load_file(folder / "model" / "model.safetensors")
    assert all(abs(after[name] - before[name]).max() < 1e-5 for name in before)
    assert json.loads((folder / "model" / "manifest.json").read_text())["processes"] == 2
