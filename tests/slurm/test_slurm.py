"""The workflow on a real Slurm with two GPUs that do not exist: a whole run, and what can go wrong in one.

In the cases a training is stopped (SIGSTOP) after its first checkpoint, so that there is time to interrupt it; what
interrupts it also ends it.
"""

import json
import os
import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from safetensors import safe_open

from workflow.processes import checkpoints, start, training_process

from .conftest import PROFILE

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("workflow")]
LIMIT = 1200  # seconds until a training has a checkpoint or jobs have ended, on a busy machine
WITH_MODEL = ("train_", "sample", "score", "responses")


@dataclass
class Training:
    """A policy that is trained again: what it was, and seconds of its updates before it was interrupted."""

    project: object
    folder: Path

    def __post_init__(self):
        self.model = str((self.folder / "model").relative_to(self.project.folder))
        self.weights = self.read_weights()
        self.seconds = []

    def read_weights(self) -> bytes:
        return (self.folder / "model" / "model.safetensors").read_bytes()

    def start(self):
        """Start Snakemake; returns it with the training, stopped after its first checkpoint."""
        run = start(self.project, *PROFILE, "--force", self.model)
        process = training_process(self.project, run, seconds=LIMIT)
        (checkpoint,) = checkpoints(self.project)
        with safe_open(checkpoint, framework="pt") as file:
            log = json.loads(file.metadata()["state"])["log"]
        self.seconds = [row["seconds"] for row in log]
        return run, process

    def assert_resumed(self):
        """The same policy as undisturbed, its first updates those from before the interruption."""
        seconds = pl.read_parquet(self.folder / "training.parquet")["seconds"].to_list()
        assert self.seconds and seconds[: len(self.seconds)] == self.seconds
        assert self.read_weights() == self.weights


@pytest.fixture
def training(project) -> Training:
    (folder,) = project.folder.glob("results/tasks/helpful-*/policies/*/ppo-exp10-*")
    return Training(project, folder)


def states(jobs) -> list[str]:
    return [job.state for job in jobs]


def test_a_run_through_slurm_has_the_tables_of_a_run_without(finished, finished_on_slurm):
    assert (finished_on_slurm.folder / "results/smoke/report.html").stat().st_size > 100_000
    assert finished_on_slurm.tables() == finished.tables()
    assert not finished_on_slurm.planned()


def test_jobs_get_the_partitions_gpus_and_groups_of_the_profile(finished_on_slurm, slurm):
    folder = str(finished_on_slurm.folder)
    lines = slurm.call("scontrol", "show", "job", "--oneliner").splitlines()
    numbers = {int(line.split()[0].removeprefix("JobId=")) for line in lines if f"WorkDir={folder} " in line}
    jobs = [job for job in slurm.jobs() if job.number in numbers]
    assert set(states(jobs)) == {"COMPLETED"}
    for job in jobs:
        wanted = ("gpu", "gres:gpu:1") if job.name.removeprefix("rule_").startswith(WITH_MODEL) else ("cpu", "")
        assert (job.partition, job.gpus) == wanted, job
    grouped = Counter(job.name.removeprefix("rule_").split("_")[0] for job in jobs)
    assert (grouped["responses"], grouped["figures"], grouped["theory"]) == (9, 1, 1)
    assert not slurm.jobs("draw_figure") and not slurm.jobs("sample")


def test_a_failing_job_is_tried_with_more_memory_and_runs_once_repaired(project, training, slurm):
    weights = training.folder.parents[2] / "models" / "reference" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    before = slurm.last()
    arguments = [*PROFILE, "--retries", "1", "--force", training.model]
    assert project.snakemake(*arguments, check=False).returncode == 1
    jobs = slurm.jobs("train_policy", after=before)
    assert [(job.state, job.memory) for job in jobs] == [("FAILED", 32000), ("FAILED", 64000)]
    (log,) = project.folder.glob(f"logs/**/{training.folder.name}/train_policy.log")
    assert "the model was changed after its rollouts were made" in log.read_text()
    weights.write_bytes(content)
    project.snakemake(*arguments)
    assert training.read_weights() == training.weights


def test_a_cancelled_training_is_submitted_again_and_resumes(training, slurm):
    before = slurm.last()
    run, process = training.start()
    gpu = [entry for entry in Path(f"/proc/{process}/environ").read_bytes().split(b"\0") if b"CUDA_VISIBLE" in entry]
    assert gpu in ([b"CUDA_VISIBLE_DEVICES=0"], [b"CUDA_VISIBLE_DEVICES=1"])
    (job,) = slurm.jobs("train_policy", after=before)
    slurm.call("scancel", str(job.number))
    assert run.wait(LIMIT) == 0
    assert states(slurm.jobs("train_policy", after=before)) == ["CANCELLED", "COMPLETED"]
    training.assert_resumed()


def test_a_training_that_reaches_its_time_limit_resumes(training, slurm):
    before = slurm.last()
    run, _ = training.start()
    (job,) = slurm.jobs("train_policy", after=before)
    slurm.call("scontrol", "update", f"JobId={job.number}", "TimeLimit=1")
    assert run.wait(LIMIT) == 0
    assert states(slurm.jobs("train_policy", after=before)) == ["TIMEOUT", "COMPLETED"]
    training.assert_resumed()


def test_an_interrupted_snakemake_cancels_its_jobs_and_goes_on_when_called_again(project, training, slurm):
    before = slurm.last()
    run, _ = training.start()
    run.send_signal(signal.SIGINT)
    assert run.wait(LIMIT) == 1
    slurm.wait_for_end(seconds=LIMIT)
    assert states(slurm.jobs("train_policy", after=before)) == ["CANCELLED"]
    project.snakemake(*PROFILE, "--force", training.model)
    training.assert_resumed()


def test_after_snakemake_was_killed_its_jobs_end_and_are_accepted(project, training, slurm):
    (samples,) = (training.folder / "samples").glob("*.parquet")
    drawn, before = samples.read_bytes(), slurm.last()
    run, process = training.start()
    run.kill()
    run.wait()
    os.kill(process, signal.SIGCONT)
    slurm.wait_for_end(seconds=LIMIT)
    assert training.read_weights() == training.weights
    what_follows = [*PROFILE, str(samples.relative_to(project.folder))]
    assert "LockException" in project.snakemake(*what_follows, check=False).stderr
    project.snakemake("--unlock")
    project.snakemake(*what_follows)
    assert states(slurm.jobs(after=before)) == ["COMPLETED", "COMPLETED"]
    assert len(slurm.jobs("train_policy", after=before)) == 1, "the policy was trained again"
    assert samples.read_bytes() == drawn
