"""How a training of a policy is started: by python, or by what a profile says where its script knows processes."""

import re

from .conftest import ROOT, copy_of

LAUNCH = "accelerate launch --config_file profiles/accelerate/data_parallel.yaml --num_processes 4"


def commands(project, *arguments: str) -> dict[str, set[str]]:
    """How each training script would be started, by a dry run."""
    out = project.snakemake("--dry-run", "--printshellcmds", "--cores", "1", *arguments).stdout
    found: dict[str, set[str]] = {}
    for start, script in re.findall(r"^ *(.*?) (scripts/train_\w+\.py) --policy", out, flags=re.MULTILINE):
        found.setdefault(script, set()).add(start)
    return found


def test_a_profile_launches_the_scripts_that_share_work(tmp_path):
    project = copy_of(ROOT, tmp_path / "project", results=False)
    project.edit_config(
        lambda values: values["policies"].append({"tasks": ["helpful"], "method": "bonbon", "n": [2]})
    )
    alone = {"scripts/train_ppo.py": {"python"}, "scripts/train_offline.py": {"python"}}
    assert commands(project) == alone
    launched = commands(project, "--set-resources", f"train_policy:launch={LAUNCH}")
    assert launched == alone | {"scripts/train_ppo.py": {LAUNCH}}
