#!/usr/bin/env python3
"""Run a job's command with GPUs for itself: `with_gpu.py -c COMMAND`, as a shell is called.

A job gets one GPU, or as many as processes where its command starts several (`--num_processes N`). Each GPU has a lock
file. The job holds the locks of the GPUs it is given, and CUDA_VISIBLE_DEVICES names these; the system frees a lock
when the last process of the job is gone, however it ended. Of the jobs that want several GPUs one at a time collects
them, so that no two wait for each other. The GPUs are those that CUDA_VISIBLE_DEVICES names, or all that nvidia-smi
lists; the lock files are in GPU_LOCKS, or in a folder of the user in /tmp. Needs nothing but Python's standard library.
"""

import fcntl
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

SECONDS_BETWEEN_TRIES = 0.5


def fail(message: str) -> NoReturn:
    """Say what is wrong and end with exit code 2."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def visible_gpus() -> list[str]:
    """List the GPUs that may be used, by names that CUDA_VISIBLE_DEVICES takes."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        try:
            listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            fail(f"nvidia-smi lists no GPU ({error}); name them in CUDA_VISIBLE_DEVICES, e.g. 0,1")
        named = ",".join(listed.split())
    gpus = [name.strip() for name in named.split(",") if name.strip()]
    if not gpus:
        fail("CUDA_VISIBLE_DEVICES names no GPU; give e.g. 0,1 or leave out --profile profiles/gpu")
    return gpus


def lock(gpu: str, folder: Path) -> bool:
    """Take a GPU for this process and those it starts; False if another job has it."""
    descriptor = os.open(folder / f"{gpu.replace('/', '_')}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    os.set_inheritable(descriptor, True)
    return True


def n_wanted(arguments: list[str]) -> int:
    """Count the processes that a command starts.

    >>> n_wanted(["-c", "accelerate launch --num_processes 4 train.py"]), n_wanted(["-c", "python train.py"])
    (4, 1)
    """
    found = re.search(r"--num[_-]processes[= ](\d+)", " ".join(arguments))
    return int(found[1]) if found else 1


def collect(gpus: list[str], count: int, folder: Path) -> list[str]:
    """Wait for `count` free GPUs, one after another, and lock them."""
    taken: list[str] = []
    while len(taken) < count:
        gpu = next((gpu for gpu in gpus if gpu not in taken and lock(gpu, folder)), None)
        if gpu is None:
            time.sleep(SECONDS_BETWEEN_TRIES)
        else:
            taken.append(gpu)
    return taken


def collect_in_turn(gpus: list[str], count: int, folder: Path) -> list[str]:
    """Wait until no other job collects several GPUs, then collect."""
    with open(folder / "collecting", "w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        return collect(gpus, count, folder)


def main() -> NoReturn:
    """Wait for free GPUs, then become the shell that runs the command."""
    gpus = visible_gpus()
    count = n_wanted(sys.argv)
    if count > len(gpus):
        fail(f"the command starts {count} processes and there are {len(gpus)} GPUs ({','.join(gpus)}); start fewer")
    folder = Path(os.environ.get("GPU_LOCKS", f"/tmp/gpu-locks-{os.getuid()}"))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    taken = (collect if count == 1 else collect_in_turn)(gpus, count, folder)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(taken)
    os.execvp("bash", ["bash", *sys.argv[1:]])


if __name__ == "__main__":
    main()
