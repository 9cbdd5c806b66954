"""A Slurm on this machine while the tests last, and one smoke run through it, from which the cases start."""

import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from workflow.conftest import ROOT, Project, copy_of, finished  # noqa: F401 (the run without Slurm is a fixture)

START = Path(__file__).parent / "start.sh"
# The profile as it is, for a machine of few cores on which a job ends within seconds.
PROFILE = (
    "--profile", "profiles/slurm", "--jobs", "2", "--latency-wait", "10",
    "--seconds-between-status-checks", "2", "--slurm-init-seconds-before-status-checks", "2",
)  # fmt: skip

MEGABYTES = {"M": 1, "G": 1024}


@dataclass(frozen=True)
class Job:
    """A job as Slurm remembers it; memory in MB."""

    number: int
    name: str
    state: str
    partition: str
    memory: float
    gpus: str

    @classmethod
    def parse(cls, line: str) -> "Job":
        values = dict(re.findall(r"(\w+)=(\S*)", line))
        return cls(
            number=int(values["JobId"]),
            name=values["Comment"],
            state=values["JobState"],
            partition=values["Partition"],
            memory=float(values["MinMemoryNode"][:-1]) * MEGABYTES[values["MinMemoryNode"][-1]],
            gpus=values.get("TresPerJob", ""),
        )


class Slurm:
    """Slurm's own commands; each ends within seconds, whatever state its daemons are in."""

    def call(self, *command: str) -> str:
        return subprocess.run(["timeout", "20", *command], check=True, capture_output=True, text=True).stdout

    def jobs(self, name: str = "", after: int = 0) -> list[Job]:
        """Jobs whose names begin with rule_`name`, by number, those later than `after`."""
        lines = self.call("scontrol", "show", "job", "--oneliner").splitlines()
        jobs = sorted((Job.parse(line) for line in lines if "JobId=" in line), key=lambda job: job.number)
        return [job for job in jobs if job.number > after and job.name.startswith(f"rule_{name}")]

    def last(self) -> int:
        """Number of the latest job."""
        return max((job.number for job in self.jobs()), default=0)

    def wait_for_end(self, *, seconds: float) -> None:
        """Wait until no job is queued, running or ending."""
        end = time.monotonic() + seconds
        while self.call("squeue", "--noheader"):
            assert time.monotonic() < end, f"jobs have not ended within {seconds} s"
            time.sleep(1)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run([START, "up", folder], check=True)
    yield Slurm()
    subprocess.run([START, "down", folder], check=True)


@pytest.fixture(scope="session")
def finished_on_slurm(slurm, tmp_path_factory) -> Project:
    project = copy_of(ROOT, tmp_path_factory.mktemp("finished_on_slurm"), results=False)
    project.snakemake(*PROFILE)
    return project


@pytest.fixture
def project(finished_on_slurm, tmp_path) -> Project:
    return copy_of(finished_on_slurm.folder, tmp_path / "project")
