"""A study comes with a folder, a file of rules and a place in the catalogue, and goes with them; dry runs alone."""

import re
import shutil

import pytest

from .conftest import ROOT, copy_of

MODULES = {
    "__init__.py": '"""A study for this test."""\n',
    "study.py": '''"""Its declaration."""

from typing import ClassVar, Literal

from infalign.presentation.figure import FigureEntry
from infalign.presentation.measures.base import ClaimKind, Measured
from infalign.records.block import Count, StudyBlock
from infalign.study import Study


class Dummy(StudyBlock):
    size: Count


class DummyClaim(ClaimKind):
    reads: ClassVar = ("dummy",)
    absent: ClassVar = "no table"
    kind: Literal["dummy"]

    def measure(self, tables, bootstrap):
        return Measured(())


STUDY = Study(
    "dummy",
    kind=Dummy | None,
    problems=lambda block, config: [] if block.size < 5 else ["dummy.size must be below 5"],
    figures=lambda block, config: [
        FigureEntry("dummy", "infalign.studies.dummy.figures:draw_dummy", ("dummy",), "A caption.")
    ],
    claims=(DummyClaim,),
)
''',
    "figures.py": '"""Its figure."""\n\n\ndef draw_dummy(tables):\n    raise AssertionError\n',
}
RULES = '''"""Its rule."""


rule dummy:
    output:
        f"{RUN}/dummy.parquet",
    shell:
        "touch {output:q}"
'''


@pytest.fixture
def fresh(tmp_path):
    return copy_of(ROOT, tmp_path / "project", results=False)


def change(path, *replacements):
    text = path.read_text(encoding="utf-8")
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def add_dummy(project):
    folder = project.folder / "src" / "infalign" / "studies" / "dummy"
    folder.mkdir()
    for name, text in MODULES.items():
        (folder / name).write_text(text, encoding="utf-8")
    rules = project.folder / "workflow" / "rules" / "studies" / "dummy.smk"
    rules.write_text(RULES, encoding="utf-8")
    above = "from infalign.studies.estimation.study"
    new = "from infalign.studies.dummy.study import STUDY as DUMMY\n"
    catalogue = project.folder / "src" / "infalign" / "catalogue.py"
    change(catalogue, (above, new + above), ("STUDIES = (\n", "STUDIES = (\n    DUMMY,\n"))


def test_a_new_study_plans_its_jobs_figures_and_claims_and_checks_its_block(fresh):
    before = fresh.planned()
    add_dummy(fresh)
    assert fresh.planned() == before
    fresh.edit_config(lambda values: values.update(dummy={"size": 3}))
    out = fresh.snakemake("--dry-run", "--cores", "1", "--printshellcmds").stdout
    assert "draw_figure.py dummy --draw infalign.studies.dummy.figures:draw_dummy" in out
    (judged,) = re.findall(r"rule judge_claims:\n(?:.*\n)*?    input: (.*)", out)
    assert "results/smoke/dummy.parquet" in judged
    assert fresh.planned() - before == {"dummy": 1, "draw_figure": 1}
    fresh.edit_config(lambda values: values.update(dummy={"size": 7}))
    refused = fresh.snakemake("--dry-run", "--cores", "1", check=False)
    assert refused.returncode == 2 and "dummy.size must be below 5" in refused.stderr


def test_a_study_goes_with_its_folder_its_rules_and_its_place(fresh):
    before = fresh.planned()
    shutil.rmtree(fresh.folder / "src" / "infalign" / "studies" / "exponents")
    (fresh.folder / "workflow" / "rules" / "studies" / "exponents.smk").unlink()
    line = "from infalign.studies.exponents.study import STUDY as EXPONENTS\n"
    change(fresh.folder / "src" / "infalign" / "catalogue.py", (line, ""), ("    EXPONENTS,\n", ""))
    assert fresh.planned() == before
    fresh.edit_config(lambda values: values.update(exponents={}))
    refused = fresh.snakemake("--dry-run", "--cores", "1", check=False)
    assert refused.returncode == 2 and "exponents: unknown key; remove it" in refused.stderr
