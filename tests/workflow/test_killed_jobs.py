"""Jobs that are killed leave nothing behind that changes a table."""

import os
import signal

import pytest

from .conftest import ROOT, copy_of
from .processes import job_process, start, training_process, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workflow")]
LIMIT = 1200  # seconds until a job is seen, on a busy machine


def running_job(project, run, script):
    """A running job: a policy's training in the midst of it, another as soon as it is there."""
    if script == "train_ppo":
        return training_process(project, run, seconds=LIMIT)
    return wait_until(lambda: job_process(project, script), run, seconds=LIMIT)


def test_jobs_killed_at_five_moments_leave_the_tables_of_an_undisturbed_run(finished, tmp_path):
    project = copy_of(ROOT, tmp_path / "project", results=False)
    for script in ("train_preference_model", "sample", "score", "train_ppo", "evaluate"):
        run = start(project, "--cores", "2")
        os.kill(running_job(project, run, script), signal.SIGKILL)
        assert run.wait() != 0, f"killing {script} was not noticed"
    project.snakemake("--cores", "2")
    assert project.tables() == finished.tables()
