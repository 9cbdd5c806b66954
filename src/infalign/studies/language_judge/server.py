"""A server for the language model that judges, started for the questions of one job and ended with them."""

from __future__ import annotations

import http
import logging
import os
import shlex
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from infalign.errors import InputError
from infalign.studies.language_judge.block import LanguageJudge

SECONDS_TO_START = 1800  # large models take minutes to load
SECONDS_TO_END = 30  # after which a server that was asked to end is killed
SECONDS_BETWEEN_LOOKS = 0.5

# The shell becomes the server. Beside it waits one that ends both when this process closes the pipe or is no more.
TOGETHER = 'exec 3<&0; { read -r _ <&3; kill 0; } & exec "$@" 3<&- </dev/null'


def server_command(judge: LanguageJudge, port: int) -> list[str]:
    """Words of the command that serves the judge's model on a port of this machine.

    Examples
    --------
    >>> served = LanguageJudge(model="my models/judge", serve="vllm serve {model} --port {port}")
    >>> server_command(served, 8000)
    ['vllm', 'serve', 'my models/judge', '--port', '8000']
    """
    values = {"{model}": str(judge.model), "{port}": str(port)}
    words = shlex.split(str(judge.serve))
    for place, value in values.items():
        words = [word.replace(place, value) for word in words]
    return words


@contextmanager
def judge_server(judge: LanguageJudge) -> Iterator[str]:
    """Give the address of the judge's server, and where the block has a command start the server first.

    A server that was started ends with the block, and also when this process is killed.

    Yields
    ------
    str
        Address of its API.

    Raises
    ------
    InputError
        The command is not there, ends before the server answers, or the server does not answer in half an hour.
    """
    if judge.server is not None:
        yield judge.server
        return
    port = _free_port()
    process = _start(server_command(judge, port))
    try:
        address = f"http://127.0.0.1:{port}/v1"
        _wait_for_answer(process, address)
        yield address
    finally:
        _end(process)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    """Start the server in a group of its own, so that a Ctrl-C here leaves it the time for what is under way."""
    logging.info("starting %s", shlex.join(command))
    return subprocess.Popen(
        ["/bin/sh", "-c", TOGETHER, "sh", *command],
        stdin=subprocess.PIPE,
        stdout=2,  # the log has what a server writes
        start_new_session=True,
    )


def _wait_for_answer(process: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while not _answers(address):
        if (code := process.poll()) is not None:
            raise InputError(
                f"judge.serve: the server ended with {code} before it answered; what it wrote is above. Run the "
                "command by hand, or correct judge.serve or judge.model"
            )
        if time.monotonic() > deadline:
            raise InputError(
                f"judge.serve: no answer from {address}/models in {SECONDS_TO_START / 60:g} minutes; the command must "
                "serve OpenAI's API on 127.0.0.1 at {port}"
            )
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _answers(address: str) -> bool:
    """Whether the server takes requests; one that still loads its model says 503, or is not there."""
    try:
        with urllib.request.urlopen(f"{address}/models", timeout=10):
            return True
    except urllib.error.HTTPError as error:
        return error.code != http.HTTPStatus.SERVICE_UNAVAILABLE
    except OSError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
