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


def edited(project, study) -> dict:
    """Edit every module of a study; return what they were."""
    folder = project.folder / "src" / "infalign" / "studies" / study
    before = {path: path.read_text() for path in folder.glob("*.py")}
    for path, text in before.items():
        path.write_text(text + "\nUNUSED = 1\n")
    return before


def test_an_edit_of_a_study_stays_in_it_and_undone_runs_nothing(project):
    for study in STUDIES:
        before = edited(project, study.name)
        planned = set(project.planned())
        assert planned <= JOBS.get(study.name, set()) | ALWAYS, study.name
        assert "judge_claims" in planned or not study.claims
        for path, text in before.items():
            path.write_text(text)
    assert not project.planned()


def test_an_edit_of_a_study_draws_no_other_figure(project):
    edited(project, "estimation")
    out = project.snakemake("--dry-run", "--cores", "1", "--printshellcmds").stdout
    drawn = set(re.findall(r"python scripts/draw_figure\.py (\w+)", out))
    assert drawn <= {"estimation", "log_distribution", "gold"}  # gold is of the claims


def test_the_catalogue_is_read_when_a_run_is_planned_and_by_the_claims_alone():
    scripts = [path.name for path in (ROOT / "scripts").glob("*.py") if "infalign.catalogue" in path.read_text()]
    assert sorted(scripts) == ["estimate_costs.py", "judge_claims.py", "write_schema.py"]
