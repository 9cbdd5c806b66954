"""Which jobs the ablations' blocks add to a run; dry runs alone."""

import re

import pytest

from .conftest import ROOT, copy_of

BLOCK = {"rollouts": [1, 3, 16], "anchors": [1, 2], "n_measured": 20}
FIGURES = {f"calibration_{kind}_{task}" for kind in ("rollouts", "anchors") for task in ("helpful", "harmless")}


@pytest.fixture
def fresh(tmp_path):
    return copy_of(ROOT, tmp_path / "project", results=False)


def test_nothing_is_measured_without_the_blocks(fresh):
    out = fresh.snakemake("--dry-run", "--cores", "1", "--printshellcmds").stdout
    assert not re.findall(r"scripts/(calibration_\w+|compare_kl_estimators)\.py", out)
    assert not FIGURES & set(re.findall(r"figures/(\w+)\.svg", out))


def test_each_task_is_sampled_once_more(fresh):
    fresh.edit_config(lambda values: values.update(calibration=BLOCK, kl_estimators=True))
    out = fresh.snakemake("--dry-run", "--cores", "1", "--printshellcmds").stdout
    sampled = re.findall(r"python scripts/sample\.py .*calibration/(\w+)/samples", out)
    assert sorted(sampled) == ["harmless", "helpful"]
    lines = re.findall(r"python scripts/sample\.py .*calibration/.*", out)
    assert all('"n_rollouts": 20' in line and "--seed 5 " in line for line in lines)
    planned = fresh.planned()
    assert planned["calibration_quality"] == 2 and planned["collect_calibration"] == 4
    assert planned["calibration_costs"] == planned["compare_kl_estimators"] == 1
    assert {*FIGURES, "kl_estimators"} <= set(re.findall(r"figures/(\w+)\.svg", out))
