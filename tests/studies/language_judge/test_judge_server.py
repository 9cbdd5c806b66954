"""A judge's server that is started for the questions: it answers, ends with them, and its failures are said."""

import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from infalign.errors import InputError
from infalign.studies.language_judge.asking import Reply, ReplyCache, ask
from infalign.studies.language_judge.block import LanguageJudge
from infalign.studies.language_judge.server import judge_server

SERVER = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    looks = 0

    def do_GET(self):
        Handler.looks += 1
        self.answer({"data": []}, 200 if Handler.looks > 2 else 503)  # as one that loads its model

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = {"role": "assistant", "content": "B" if asked["model"] == "my judge" else "A"}
        self.answer({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    def answer(self, body, status=200):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
"""


@pytest.fixture
def block(tmp_path):
    (tmp_path / "server.py").write_text(SERVER)
    return LanguageJudge(
        model="my judge", serve=f"'{sys.executable}' '{tmp_path}/server.py' {{model}} {{port}}", concurrency=2
    )


def alive(address):
    try:
        urllib.request.urlopen(f"{address}/models", timeout=5).close()
        return True
    except OSError:
        return False


def test_a_server_is_there_for_the_questions_and_not_after_them(block):
    with judge_server(block) as address:
        assert alive(address)
    assert not alive(address)


def test_questions_are_asked_of_the_started_server_and_known_ones_need_none(block, tmp_path):
    with ReplyCache(tmp_path / "kept.jsonl") as cache:
        assert set(ask(block, ["one?", "two?"], cache).values()) == {Reply("B", "stop")}
        (tmp_path / "server.py").unlink()
        assert len(ask(block, ["two?", "one?"], cache)) == 2
        with pytest.raises(InputError, match=r"judge.serve: the server ended with 2 before it answered"):
            ask(block, ["three?"], cache)


@pytest.mark.parametrize(("command", "code"), [("no-such-program {port}", 127), ("sh -c 'exit 3' {port}", 3)])
def test_a_command_that_fails_is_an_input_error(command, code):
    block, said = (
        LanguageJudge(model="m", serve=command),
        rf"ended with {code} before it answered.*judge\.serve or",
    )
    with pytest.raises(InputError, match=said), judge_server(block):
        pass


KILLED = """
import sys, time
from infalign.studies.language_judge.server import judge_server
from infalign.studies.language_judge.block import LanguageJudge
with judge_server(LanguageJudge(model="m", serve=sys.argv[1])) as address:
    print(address, flush=True)
    time.sleep(600)
"""


def test_a_killed_job_takes_its_server_with_it(block):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    job = subprocess.Popen(
        [sys.executable, "-c", KILLED, block.serve], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        address = job.stdout.readline().strip()
        assert alive(address)
    finally:
        job.send_signal(signal.SIGKILL)
        job.wait()
    for _ in range(100):
        if not alive(address):
            return
        time.sleep(0.1)
    raise AssertionError(f"{address} still answers ten seconds after its job was killed")
