"""Write a lock file of envs/: exact versions of all that an environment needs, as pip resolves them now."""

import json
import re
import subprocess
import sys
from pathlib import Path

from infalign.errors import InputError
from infalign.records.command import run_command
from infalign.records.tables import write_text

HEADER = """\
# What `{wanted}` resolved to with pip {pip} on Python {python}, {platform} {machine}:
# {command}
# Versions are public ones (2.13.0 stands for 2.13.0+cpu too); written by scripts/write_lock.py.
"""


def write_lock(wanted: str, out: Path, /) -> None:
    """Resolve without installing, from the indexes that pip is configured for.

    Parameters
    ----------
    wanted : the project with its extras, e.g. `.` or `.[vllm]`.
    out : file to write, e.g. envs/gpu.lock.
    """
    words = ["pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-", wanted]
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"pip cannot resolve {wanted}: {done.stderr.strip()}")
    write_text(lock_text(json.loads(done.stdout), wanted), out)


def lock_text(report: dict, wanted: str) -> str:
    """Write pip's report as `name==version` lines, the project itself left out."""
    environment = report["environment"]
    header = HEADER.format(
        wanted=wanted,
        pip=report["pip_version"],
        python=environment["python_version"],
        platform=environment["sys_platform"],
        machine=environment["platform_machine"],
        command=f"pip install --dry-run --ignore-installed --report - {wanted}",
    )
    versions = {}
    for item in report["install"]:
        name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
        if "dir_info" not in item["download_info"]:
            versions[name] = item["metadata"]["version"].partition("+")[0]
    return header + "".join(f"{name}=={versions[name]}\n" for name in sorted(versions))


if __name__ == "__main__":
    run_command(write_lock)
