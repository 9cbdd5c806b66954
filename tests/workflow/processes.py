"""Running jobs of a project, found among this machine's processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from .conftest import Project


def start(project: Project, *arguments: str) -> subprocess.Popen:
    """Snakemake in the background; what it says is in the file `snakemake.log`, across calls."""
    command = [sys.executable, "-m", "snakemake", "--configfile", "config/smoke.yaml", *arguments]
    with open(project.folder / "snakemake.log", "a") as log:
        return subprocess.Popen(
            command, cwd=project.folder, env=project.environment(), stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip


def job_process(project: Project, script: str) -> int | None:
    """Identifier of a process that runs `scripts/<script>.py` in the project; None if there is none."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[1:2] == [f"scripts/{script}.py".encode()] and os.path.samefile(process / "cwd", project.folder):
                return int(process.name)
        except OSError:
            continue  # it ended meanwhile
    return None


def checkpoints(project: Project) -> list[Path]:
    return list((project.folder / "results" / "scratch").rglob("*.safetensors"))


def wait_until(found, run: subprocess.Popen, *, seconds: float, every: float = 0.01):
    """What `found()` returns once that is true; AssertionError if `run` ends or time is over before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = found()
        if result:
            return result
        assert run.poll() is None, "snakemake ended before what was waited for"
        time.sleep(every)
    raise AssertionError(f"not seen within {seconds} s")


def training_process(project: Project, run: subprocess.Popen, *, seconds: float) -> int:
    """Identifier of a training that has made a checkpoint and has not ended; it is stopped (SIGSTOP)."""
    process = wait_until(lambda: job_process(project, "train_ppo"), run, seconds=seconds)
    wait_until(lambda: checkpoints(project), run, seconds=seconds)
    os.kill(process, signal.SIGSTOP)
    assert checkpoints(project), "the training ended before it could be stopped"
    return process
