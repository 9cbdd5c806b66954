"""A run from another folder, and texts of the user that a shell would read."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT
from .test_large_runs import dialogues, write_rows

pytestmark = pytest.mark.xdist_group("workflow")


def called(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "1", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_run_from_another_folder_writes_there(tmp_path):
    folder = tmp_path / "my runs"
    folder.mkdir()
    done = called(folder, "results/default/ideal.parquet", "results/default/config.json")
    assert done.returncode == 0, done.stderr
    assert (folder / "results" / "default" / "ideal.parquet").is_file()


def test_text_of_the_user_is_no_command(tmp_path):
    folder = tmp_path / "my runs"
    folder.mkdir()
    data = folder / "Ann's data $(touch mark)"
    write_rows(data / "helpful-base" / "test.jsonl.gz", dialogues(0))
    arguments = ["--configfile", str(ROOT / "tests/workflow/pairs.yaml"), "--config", f"data_root={data}"]
    planned = called(folder, *arguments, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    (prepared,) = re.findall(r"output: (results/tasks/\S+/data/demonstrations.parquet)", planned.stdout)
    done = called(folder, prepared, *arguments)
    assert done.returncode == 0, done.stderr
    assert (folder / prepared).is_file() and not (folder / "mark").exists()
