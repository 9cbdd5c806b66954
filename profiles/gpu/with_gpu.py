#!/usr/bin/env python3
"""Run a job's command with a GPU for itself: `with_gpu.py -c COMMAND`, as a shell is called.

Each GPU has a lock file. The job holds the lock of the GPU it is given, and CUDA_VISIBLE_DEVICES names that GPU; the
system frees the lock when the last process of the job is gone, however it ended. The GPUs are those that
CUDA_VISIBLE_DEVICES names, or all that nvidia-smi lists; the lock files are in GPU_LOCKS, or in a folder of the user
in /tmp. Needs nothing but Python's standard library.
"""

import fcntl
import os
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


def main() -> NoReturn:
    """Wait for a free GPU, then become the shell that runs the command."""
    gpus = visible_gpus()
    folder = Path(os.environ.get("GPU_LOCKS", f"/tmp/gpu-locks-{os.getuid()}"))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    while (gpu := next((gpu for gpu in gpus if lock(gpu, folder)), None)) is None:
        time.sleep(SECONDS_BETWEEN_TRIES)
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    os.execvp("bash", ["bash", *sys.argv[1:]])


if __name__ == "__main__":
    main()
