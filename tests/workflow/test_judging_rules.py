"""What the block `judge` adds to a run, in dry runs, and its job by hand against a server that fails half-way."""

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import polars as pl
import pytest
import yaml

from infalign.catalogue import parse_config
from infalign.records.config import task_folder
from infalign.records.metrics import METRICS_SCHEMA, PROMPT_SCHEMA
from infalign.records.sweep import conditions, policies, policy_folder, policy_sets
from infalign.studies.language_judge.pairs import JUDGEMENT_SCHEMA, judged_cases

from .conftest import ROOT, copy_of

BLOCK = {"server": "http://127.0.0.1:9/v1", "model": "m"}
REPLY = b'{"choices": [{"message": {"content": "A"}, "finish_reason": "stop"}]}'
KEY = "sk-very-secret-key"


@pytest.fixture
def fresh(tmp_path):
    return copy_of(ROOT, tmp_path / "project", results=False)


def commands(project) -> str:
    return project.snakemake("--dry-run", "--cores", "1", "--printshellcmds").stdout


def test_no_judge_is_asked_without_its_block_and_one_job_asks(fresh):
    before = commands(fresh)
    assert not re.search(r"ask_judge|judge_agreement|evaluate_by_language_judge", before)
    fresh.edit_config(lambda values: values.update(judge=BLOCK))
    after = commands(fresh)
    (line,) = re.findall(r"python scripts/ask_judge\.py .*", after)
    assert re.search(r"--cache results/judges/m-[0-9a-f]{8}\.jsonl +--out results/smoke/judgements\.parquet", line)
    assert len(re.findall(r"python scripts/judge_agreement\.py", after)) == 1
    assert (
        len(re.findall(r"evaluate_by_language_judge\.py .* --judgements results/smoke/judgements\.parquet", after)) == 1
    )
    for figure in ("language_model_judge", "judge_agreement"):
        assert len(re.findall(rf"draw_figure\.py {figure} ", after)) == 1
    fresh.edit_config(lambda values: values["judge"].update(max_tokens=9))
    (other,) = re.findall(r"--cache (\S+)", commands(fresh))
    assert other not in line  # another reply, another file


def test_an_unknown_policy_is_said_before_a_job_starts(fresh):
    fresh.edit_config(lambda values: values.update(judge={**BLOCK, "policies": ["mine"]}))
    done = fresh.snakemake("--dry-run", check=False)
    assert done.returncode == 2 and "judge.policies: mine not among" in done.stdout + done.stderr


TRAINED = {
    "from_config": {"hidden_size": 16, "n_layers": 1, "n_heads": 2, "intermediate_size": 32, "context": 256},
    "vocabulary_size": 400,
    "n_pairs": 32,
    "training": {"learning_rate": 1e-2, "epochs": 1, "batch_size": 8},
}


def test_a_run_trains_its_judge_serves_it_and_asks_it(project):
    """The whole way with transformers' server; what so small a judge says is worth nothing."""
    program = Path(sys.executable).parent / "transformers"
    block = {
        "trained": TRAINED,
        "serve": f"'{program}' serve {{model}} --host 127.0.0.1 --port {{port}} --device cpu",
        "prompt": "pairwise-brief-v1",
        "n_prompts": 2,
        "max_tokens": 4,
    }
    project.edit_config(lambda values: values.update(judge=block))
    made = ("results/smoke/agreement.parquet", "results/smoke/language_judge_metrics.parquet")
    project.snakemake("--cores", "2", *made)
    (model,) = (project.folder / "results" / "judges").glob("trained-*")
    facts = json.loads((model / "manifest.json").read_text())
    assert set(facts["held_out_pair_accuracy"]) == {"helpfulness", "harmlessness"}
    replies = pl.read_parquet(project.folder / "results/smoke/judgements.parquet").filter(scorer="language_model")
    config = parse_config(yaml.safe_load((project.folder / "config" / "smoke.yaml").read_text()))
    assert replies.height == 2 * 2 * len(list(judged_cases(config.judge, config)))
    assert set(replies["verdict"]) <= {"win", "loss", "tie", "unparsed"} and replies["reply"].str.len_chars().max() > 0
    project.edit_config(lambda values: values["judge"]["trained"].update(seed=1))
    assert project.planned("results/smoke/agreement.parquet")["train_language_judge"] == 1


def test_a_trained_judge_needs_pairs_and_a_command_that_serves_it(fresh):
    fresh.edit_config(lambda values: values.update(judge={"trained": TRAINED, "server": BLOCK["server"]}))
    done = fresh.snakemake("--dry-run", check=False)
    assert done.returncode == 2 and "give serve, not server" in done.stdout + done.stderr


class Flaky(BaseHTTPRequestHandler):
    """Refuses from question `last` on, and says the key that it got."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        well = self.server.answered < self.server.last
        self.server.answered += well
        self.send_response(200 if well else 403)
        self.end_headers()
        self.wfile.write(REPLY if well else self.headers["Authorization"].encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = HTTPServer(("127.0.0.1", 0), Flaky)
    server.answered, server.last = 0, 3
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


def scored(n_prompts, n_samples, seed):
    rng = np.random.default_rng(seed)
    prompts, samples = (place.ravel() for place in np.indices((n_prompts, n_samples)))
    score = rng.normal(size=prompts.size)
    texts = [f"{seed} {p} {s}" for p, s in zip(prompts, samples, strict=True)]
    columns = {"prompt_id": [f"q{p}" for p in prompts], "sample_id": samples, "response": texts}
    return pl.DataFrame(
        {**columns, "reward": score, "judge": score, "gold": score, "n_tokens": samples + 1, "kl": 0.25}
    )


@pytest.fixture
def folder(tmp_path, server):
    """A run's recorded configuration with the tables that its judge reads."""
    values = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
    address = f"http://127.0.0.1:{server.server_address[1]}/v1"
    values["judge"] = {
        "server": address,
        "model": "m",
        "concurrency": 1,
        "tasks": ["helpful"],
        "n_prompts": 4,
    }
    config = parse_config(values)
    (tmp_path / "config.json").write_text(config.model_dump_json())
    task, at = config.tasks["helpful"], tmp_path / "tasks" / task_folder(config, "helpful")
    tables = {at / "scores" / f"{conditions(task)[0].name}.parquet": scored(8, 16, 0)}
    for index, policy in enumerate(policy for policy in policies(config) if policy.task == "helpful"):
        own = tmp_path / "tasks" / policy_folder(config, policy) / "scores"
        tables[own / f"{next(iter(policy_sets(task)))}.parquet"] = scored(8, 8, index + 1)
    ids = [f"q{p}" for p in range(8)]
    tables[at / "data" / "prompts.parquet"] = pl.DataFrame({"prompt_id": ids, "prompt": [f"Why {i}?" for i in ids]})
    for path, frame in tables.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(path)
    return tmp_path, config


def script(name, folder, *options):
    command = [sys.executable, str(ROOT / "scripts" / name), str(folder / "config.json"), *map(str, options)]
    environment = {"PYTHONPATH": str(ROOT / "src"), "OPENAI_API_KEY": KEY, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)


def ask(folder):
    out, kept = folder / "run" / "judgements.parquet", folder / "judges" / "kept.jsonl"
    return script("ask_judge.py", folder, "--tasks", folder / "tasks", "--cache", kept, "--out", out)


def test_a_job_that_fails_leaves_its_replies_and_the_next_goes_on(folder, server):
    folder, config = folder
    done = ask(folder)
    assert done.returncode == 2 and not (folder / "run").exists()
    assert "HTTP 403, 'Bearer ***'" in done.stderr and "Traceback" not in done.stderr
    assert server.answered == 3
    server.last = 10_000
    done = ask(folder)
    assert done.returncode == 0, done.stderr
    table = pl.read_parquet(folder / "run" / "judgements.parquet")
    assert dict(table.schema) == JUDGEMENT_SCHEMA
    language = table.filter(scorer="language_model")
    cases = list(judged_cases(config.judge, config))
    assert language.height == 2 * 4 * len(cases) == server.answered  # none twice
    assert table.height == 2 * language.height  # trained judge and gold reward have one row a pair each
    assert language.filter(order="policy_first")["verdict"].unique().to_list() == ["win"]
    assert language.filter(order="reference_first")["verdict"].unique().to_list() == ["loss"]
    assert not any(KEY in path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())
    assert ask(folder).returncode == 0 and server.answered == language.height


def test_the_verdicts_become_tables_of_metrics(folder, server):
    """Every reply is A, so every pair is a tie, and every policy wins one half."""
    folder, config = folder
    server.last = 10_000
    assert ask(folder).returncode == 0
    cases = [(policy.slug, procedure) for policy, procedure in judged_cases(config.judge, config)]
    task = config.tasks["helpful"]
    rows = [
        {**policy.row(), **asdict(conditions(task)[0]), "scorer": "judge", "n_samples": 8}
        for policy in policies(config)
        if policy.task == "helpful"
    ]
    measured, names = folder / "metrics.parquet", ("metrics", "prompts")
    pl.DataFrame(rows, schema=METRICS_SCHEMA).write_parquet(measured)
    out, prompts_out = (folder / "run" / f"{name}.parquet" for name in names)
    options = ("--metrics", measured, "--judgements", folder / "run" / "judgements.parquet")
    options += ("--tasks", folder / "tasks", "--out", out, "--prompts-out", prompts_out)
    done = script("evaluate_by_language_judge.py", folder, *options)
    assert done.returncode == 0, done.stderr
    table, by_prompt = pl.read_parquet(out), pl.read_parquet(prompts_out)
    assert (dict(table.schema), dict(by_prompt.schema)) == (METRICS_SCHEMA, PROMPT_SCHEMA)
    assert sorted(table.select("policy", "procedure").rows()) == sorted(cases)
    assert set(table["scorer"]) == {"language_model"} and set(table["win_rate"]) == {0.5}
    assert set(table["n_prompts"]) == {4} and set(table["n_samples"]) == {8}
    assert table["kl"].to_list() == pytest.approx([0.25] * len(cases))
    assert by_prompt.height == 4 * len(cases) and set(by_prompt["win_rate"]) == {0.5}
