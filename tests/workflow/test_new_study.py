"""A new study, made of the files of docs/adding-a-study.md, runs. It edits one shared file, the catalogue."""

import re
import shutil

import polars as pl
import pytest

from .conftest import ROOT

pytestmark = pytest.mark.xdist_group("workflow")
PAGE = (ROOT / "docs" / "adding-a-study.md").read_text()
FILES = dict(re.findall(r"^`([\w/]+\.(?:py|smk))`.*?\n\n```python\n(.*?)```", PAGE, flags=re.MULTILINE | re.DOTALL))
ADDED = re.findall(r"^\+(.*)$", PAGE, flags=re.MULTILINE)


def add(project):
    for path, text in FILES.items():
        target = project.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        assert not target.exists(), f"{path} is there already"
        target.write_text(text)
    catalogue = project.folder / "src" / "infalign" / "catalogue.py"
    imported, listed = ADDED
    text = catalogue.read_text().replace("STUDIES = (\n", f"STUDIES = (\n{listed}\n")
    catalogue.write_text(text.replace("from infalign.study import", f"{imported}\nfrom infalign.study import"))


def test_a_new_study_runs_its_own_jobs_alone(project):
    assert len(FILES) == 5 and len(ADDED) == 2
    add(project)
    assert set(project.planned()) <= {"judge_claims", "draw_figure", "report"}  # the claims know all studies
    project.edit_config(lambda values: values.update(lengths=True))
    planned = project.planned()
    assert planned["lengths"] == 1
    assert not {"sample", "score", "train_policy"} & set(planned)
    project.snakemake("--cores", "2", "results/smoke/figures/lengths.svg")
    table = pl.read_parquet(project.folder / "results" / "smoke" / "lengths.parquet")
    assert table["mean_length"].min() > 0 and table.height == 4
    assert (project.folder / "results/smoke/figures/lengths.svg").stat().st_size > 1000


def test_a_study_is_taken_out_with_its_folder_and_its_place(project):
    shutil.rmtree(project.folder / "src" / "infalign" / "studies" / "exponents")
    (project.folder / "workflow" / "rules" / "studies" / "exponents.smk").unlink()
    catalogue = project.folder / "src" / "infalign" / "catalogue.py"
    lines = [line for line in catalogue.read_text().splitlines() if "EXPONENTS" not in line]
    catalogue.write_text("\n".join(lines) + "\n")
    assert set(project.planned()) <= {"judge_claims", "draw_figure", "report"}
    project.edit_config(lambda values: values.update(exponents={"n": [2]}))
    assert "exponents: unknown key" in project.snakemake("--dry-run", check=False).stderr
