"""A GPU belongs to one job at a time, and is free again however the job ended."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "profiles" / "gpu" / "with_gpu.py"
SECONDS = 20


@pytest.fixture
def start(tmp_path):
    """Start a command with a GPU of two; what is still running is killed in the end."""
    running = []

    def start_command(command: str, gpus: str | None = "0,1", path: str | None = None) -> subprocess.Popen:
        env = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        env |= {"GPU_LOCKS": str(tmp_path / "locks")}
        env |= {} if gpus is None else {"CUDA_VISIBLE_DEVICES": gpus}
        env |= {} if path is None else {"PATH": path}
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        running.append(subprocess.Popen([SCRIPT, "-c", command], env=env, text=True, **pipes))
        return running[-1]

    yield start_command
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def nvidia_smi(tmp_path):
    """Make a command nvidia-smi; returns the PATH that has it first."""

    def make(text: str) -> str:
        tool = tmp_path / "bin" / "nvidia-smi"
        tool.parent.mkdir()
        tool.write_text(f"#!/bin/sh\n{text}\n")
        tool.chmod(0o755)
        return f"{tool.parent}:{os.environ['PATH']}"

    return make


def gpu_of(process: subprocess.Popen) -> str:
    """The GPU that a job says it has; waits until it has one."""
    return process.stdout.readline().strip()


HOLD = "echo $CUDA_VISIBLE_DEVICES; read"  # waits for input that never comes


def test_two_jobs_have_different_gpus_and_a_third_waits_for_one(start):
    first, second = start(HOLD), start(HOLD)
    assert {gpu_of(first), gpu_of(second)} == {"0", "1"}
    third = start(HOLD)
    with pytest.raises(subprocess.TimeoutExpired):
        third.wait(1.5)
    first.terminate()
    assert gpu_of(third) in ("0", "1")
    assert second.poll() is None


def test_a_killed_job_frees_its_gpu(start):
    first = start(HOLD, gpus="5")
    assert gpu_of(first) == "5"
    first.kill()
    assert gpu_of(start(HOLD, gpus="5")) == "5"


def test_a_gpu_is_taken_while_a_process_of_its_job_lives(start):
    first = start("sleep 600 > /dev/null & echo $!; echo $CUDA_VISIBLE_DEVICES; wait", gpus="5")
    child = int(gpu_of(first))
    assert gpu_of(first) == "5"
    first.kill()
    first.wait()
    second = start(HOLD, gpus="5")
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(1.5)
    os.kill(child, signal.SIGKILL)
    assert gpu_of(second) == "5"


SEVERAL = f": --num_processes 2; {HOLD}"


def test_a_job_of_two_processes_has_two_gpus(start):
    first = start(SEVERAL, gpus="3,4,5")
    assert gpu_of(first) == "3,4"
    assert gpu_of(start(HOLD, gpus="3,4,5")) == "5"


def test_jobs_of_several_processes_do_not_wait_for_each_other(start):
    """Each of three wants both GPUs: were two of them given one each, both would wait for ever."""
    held = start(HOLD)
    assert gpu_of(held) == "0"
    jobs = [start(SEVERAL.replace("; read", "")) for _ in range(3)]
    time.sleep(1.0)
    assert all(job.poll() is None for job in jobs)
    held.kill()
    for job in jobs:
        assert job.wait(SECONDS) == 0
        assert sorted(gpu_of(job).split(",")) == ["0", "1"]


def test_more_processes_than_gpus_are_refused(start):
    process = start(": --num_processes 3")
    error = process.communicate(timeout=SECONDS)[1]
    assert process.returncode == 2
    assert "the command starts 3 processes and there are 2 GPUs (0,1); start fewer" in error


def test_the_exit_code_is_the_commands(start):
    assert start("exit 7").wait(SECONDS) == 7


def test_gpus_are_those_that_nvidia_smi_lists(start, nvidia_smi):
    path = nvidia_smi("echo 3; echo 4")
    processes = [start(HOLD, gpus=None, path=path) for _ in range(2)]
    assert {gpu_of(process) for process in processes} == {"3", "4"}


@pytest.mark.parametrize(
    ("gpus", "message"), [("", "CUDA_VISIBLE_DEVICES names no GPU"), (None, "nvidia-smi lists no GPU")]
)
def test_no_gpu_is_said(start, nvidia_smi, gpus, message):
    process = start("true", gpus=gpus, path=nvidia_smi("exit 9"))
    error = process.communicate(timeout=SECONDS)[1]
    assert process.returncode == 2
    assert message in error and "Traceback" not in error
