"""Where preferences are coin flips, nothing may look like an advantage."""

import subprocess
import sys

import polars as pl
import pytest

from presentation.stored_tables import load_claims

from .conftest import ROOT, copy_of


@pytest.mark.slow
def test_no_advantage_is_reproduced_on_the_null_corpus(tmp_path):
    project = copy_of(ROOT, tmp_path / "project", results=False)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "config/null.yaml"]
    done = subprocess.run(command, cwd=project.folder, env=project.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    verdicts = pl.read_parquet(project.folder / "results" / "null" / "claims.parquet")
    advantages = {claim.claim for claim in load_claims(ROOT / "reports" / "claims.yaml") if claim.about == "advantage"}
    measured = verdicts.filter(pl.col("claim").is_in(list(advantages)), pl.col("verdict") != "not run")
    assert measured.height >= 4
    assert (measured["verdict"] == "reproduced").sum() == 0
