"""An edit of a study runs that study's jobs, the claims and the report, and never a model of another."""

import re

import pytest

from infalign.catalogue import STUDIES

from .conftest import ROOT

pytestmark = pytest.mark.xdist_group("workflow")
ALWAYS = {"judge_claims", "draw_figure", "report"}
JOBS = {  # of the studies that are part of a smoke run
    "estimation": {"estimation_error"},
    "multitask": {"multitask"},
    "bounds": {"best_of_n_bounds"},
    "seeds": {"compare_seeds"},
    "temperatures": {"compare_temperatures"},
    "costs": {"estimate_costs"},
}


def edited(project, study):
    for path in (project.folder / "src" / "infalign" / "studies" / study).glob("*.py"):
        path.write_text(path.read_text() + "\nUNUSED = 1\n")


@pytest.mark.parametrize("study", [study.name for study in STUDIES])
def test_an_edit_of_a_study_stays_in_it(project, study):
    edited(project, study)
    planned = set(project.planned())
    assert planned <= JOBS.get(study, set()) | ALWAYS
    assert "judge_claims" in planned or not any(own.claims for own in STUDIES if own.name == study)


def test_an_edit_of_a_study_draws_no_other_figure(project):
    edited(project, "estimation")
    out = project.snakemake("--dry-run", "--cores", "1", "--printshellcmds").stdout
    drawn = set(re.findall(r"python scripts/draw_figure\.py (\w+)", out))
    assert drawn <= {"estimation", "log_distribution", "gold"}  # gold is of the claims


def test_the_catalogue_is_read_when_a_run_is_planned_and_by_the_claims_alone():
    scripts = [path.name for path in (ROOT / "scripts").glob("*.py") if "infalign.catalogue" in path.read_text()]
    assert sorted(scripts) == ["estimate_costs.py", "judge_claims.py", "write_schema.py"]
