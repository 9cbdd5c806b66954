"""One finished smoke run in a copy of the project; every test of the workflow starts from it."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "config", "profiles", "workflow", "scripts", "src", "reports", "envs")


@dataclass
class Project:
    """A copy of the project to run Snakemake in."""

    folder: Path

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "snakemake", "--configfile", "config/smoke.yaml", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=self.environment(), capture_output=True, text=True)
        if check and done.returncode:
            raise AssertionError(f"snakemake failed ({done.returncode}):\n{done.stdout}\n{done.stderr}")
        return done

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.folder / "src"), "OMP_NUM_THREADS": "1"}

    def planned(self, *arguments: str) -> Counter:
        """Jobs that a dry run would execute, by rule."""
        out = self.snakemake("--dry-run", "--cores", "1", *arguments).stdout
        table = out.rsplit("Job stats:", 1)[1] if "Job stats:" in out else ""
        rows = re.findall(r"^(\w+)\s+(\d+)$", table.split("\n\n")[0], flags=re.MULTILINE)
        return Counter({rule: int(count) for rule, count in rows if rule not in ("total", "all")})

    def edit_config(self, change) -> None:
        path = self.folder / "config" / "smoke.yaml"
        values = yaml.safe_load(path.read_text())
        change(values)
        path.write_text(yaml.safe_dump(values, sort_keys=False))

    def tables(self) -> dict[str, bytes]:
        """Every table of the results but those that hold times, by path."""
        results = self.folder / "results"
        return {
            str(path.relative_to(results)): path.read_bytes()
            for path in sorted(results.rglob("*.parquet"))
            if path.name not in ("training.parquet", "cost_claims.parquet")
        }


def copy_of(source: Path, target: Path, *, results: bool = True) -> Project:
    """Copy a project, with its results and Snakemake's record of them or without; times are kept."""
    for part in (*PARTS, "results", ".snakemake") if results else PARTS:
        target.mkdir(parents=True, exist_ok=True)
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, symlinks=True)
        elif (source / part).is_file():
            shutil.copy2(source / part, target / part)
    return Project(target)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """Run the smoke configuration once, whichever of pytest's workers asks first; the others wait for it."""
    own = tmp_path_factory.getbasetemp()
    folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    with open(folder / "finished.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "finished.done").exists():
            shutil.rmtree(folder / "finished", ignore_errors=True)  # what a worker that failed left
            copy_of(ROOT, folder / "finished", results=False).snakemake("--cores", "2")
            (folder / "finished.done").touch()
    return Project(folder / "finished")


@pytest.fixture
def project(finished, tmp_path) -> Project:
    return copy_of(finished.folder, tmp_path / "project")
