"""Profiles name the rules that there are, and every rule with a model gets a GPU from each of them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROFILES = {name: yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text()) for name in ("gpu", "slurm")}
RULES = dict(
    re.findall(
        r"^ *rule (\w+):$(.*?)(?=^ *rule |\Z)",
        "\n".join(path.read_text() for path in sorted(ROOT.glob("workflow/rules/**/*.smk"))),
        flags=re.MULTILINE | re.DOTALL,
    )
)
WITH_MODEL = {rule for rule in RULES if rule.startswith(("train_", "sample", "score"))}


@pytest.mark.parametrize("profile", PROFILES)
def test_exactly_the_rules_with_a_model_ask_for_a_gpu(profile):
    asked = {name for name, asked in PROFILES[profile]["set-resources"].items() if asked.get("gpu") == 1}
    assert asked == WITH_MODEL


def test_rules_with_a_model_go_to_the_partition_with_gpus():
    resources = PROFILES["slurm"]["set-resources"]
    assert {name for name, asked in resources.items() if asked.get("slurm_partition") == "gpu"} == WITH_MODEL


def test_profiles_name_rules_that_exist():
    named = {
        rule for profile in PROFILES.values() for key in ("set-resources", "groups") for rule in profile.get(key, {})
    }
    assert named <= set(RULES)


def test_triggers_are_those_of_the_default_profile():
    default = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text())
    assert default["rerun-triggers"] == ["mtime", "params", "input", "software-env"]
    for profile in PROFILES.values():
        assert not set(default) & set(profile), "what the default profile sets wins over every other"


def test_more_memory_is_asked_for_at_each_attempt():
    profile = PROFILES["slurm"]
    assert profile["retries"] > 0
    for asked in (profile["default-resources"], *profile["set-resources"].values()):
        assert asked.get("mem_mb", "attempt").endswith("attempt")


def jobs_and_edges(config: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Rule of each job of a run, and which job waits for which."""
    command = ["snakemake", "--dag", "dot", "--nolock", "--configfile", f"config/{config}.yaml"]
    dot = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return dict(re.findall(r'(\d+)\[label *= *"(\w+)', dot)), re.findall(r"(\d+) -> (\d+)", dot)


@pytest.mark.parametrize("config", ["smoke", "hedging"])
def test_a_group_waits_for_nothing_that_waits_for_it(config):
    """Snakemake submits jobs of a group together if they wait for one another, or by the number of components."""
    rules, edges = jobs_and_edges(config)
    groups = PROFILES["slurm"]["groups"]
    whole = PROFILES["slurm"]["group-components"]
    node = {job: groups[rule] if groups.get(rule) in whole else job for job, rule in rules.items()}
    for start, end in edges:
        if groups.get(rules[start], start) == groups.get(rules[end], end):
            node = {job: node[start] if name == node[end] else name for job, name in node.items()}
    after: dict[str, set[str]] = {name: set() for name in node.values()}
    for start, end in edges:
        if node[start] != node[end]:
            after[node[start]].add(node[end])
    while after:
        last = {name for name, later in after.items() if not later}
        assert last, f"these wait for one another: {', '.join(after)}"
        after = {name: later - last for name, later in after.items() if name not in last}


TOY = """
rule all:
    input:
        expand("{i}.txt", i=range(6)),


rule train_policy:
    output:
        "{i}.txt",
    shell:
        "echo $CUDA_VISIBLE_DEVICES > {output}; mkdir busy_$CUDA_VISIBLE_DEVICES;"
        " sleep 0.3; rmdir busy_$CUDA_VISIBLE_DEVICES"
"""


def test_jobs_of_one_machine_have_a_gpu_each(tmp_path):
    """`mkdir` fails for a GPU that another job has."""
    (tmp_path / "Snakefile").write_text(TOY)
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    command = ["snakemake", "--profile", "profiles/gpu", "--cores", "4", "--resources", "gpu=4"]
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "0,1", "GPU_LOCKS": str(tmp_path / "locks")}
    done = subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {(tmp_path / f"{i}.txt").read_text().strip() for i in range(6)} == {"0", "1"}
