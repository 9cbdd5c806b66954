"""What the doctor finds: versions against bounds, and what a configuration still needs."""

import gzip
import json
import shutil
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from infalign.cli import machine as module
from infalign.cli import main

ROOT = Path(__file__).parents[2]


def checks(capsys, *arguments):
    capsys.readouterr()
    code = main(["doctor", "--format", "json", *map(str, arguments)])
    lines = capsys.readouterr().out.splitlines()
    return code, {check["check"]: check for check in map(json.loads, lines)}


def config_with(tmp_path, corpus=None, base=None):
    """The smoke configuration with another corpus or reference for its task `helpful`."""
    values = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
    task = values["tasks"]["helpful"]
    if corpus is not None:
        task["corpus"] = corpus
    if base is not None:
        task["reference"] = {"base": base}
        del task["vocabulary_size"]
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


HH = {
    "source": "preferences",
    "name": "helpful-base",
    "n_train_prompts": 8,
    "n_evaluation_prompts": 8,
    "max_prompt_tokens": 64,
    "max_response_tokens": 32,
}


def test_this_installation_is_whole(capsys):
    code, found = checks(capsys)
    assert code == 0
    assert found["torch"]["found"] == metadata.version("torch") and found["torch"]["status"] == "ok"
    assert {"python", "numpy", "tyro", "cores", "memory", "disk free", "torch threads", "GPU", "vllm"} <= set(found)


def test_table_has_a_line_for_each_check(capsys):
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["check", "status", "found", "needed"]
    assert any(line.startswith("numpy ") and metadata.version("numpy") in line for line in lines)


def test_a_version_out_of_bounds_is_missing(capsys, monkeypatch):
    real = metadata.version
    monkeypatch.setattr(module.metadata, "version", lambda name: "0.1" if name == "scipy" else real(name))
    code, found = checks(capsys)
    assert code == 2
    assert found["scipy"] == {"check": "scipy", "status": "missing", "found": "0.1", "needed": "<2,>=1.15"}


def test_an_absent_extra_is_not_an_error(capsys, monkeypatch):
    real = module._installed
    monkeypatch.setattr(module, "_installed", lambda name: None if name == "hypothesis" else real(name))
    code, found = checks(capsys)
    assert code == 0
    assert (found["hypothesis"]["status"], found["hypothesis"]["found"]) == ("absent", "not installed")


def test_embedded_configuration_needs_nothing_else(capsys):
    code, found = checks(capsys, "--config", ROOT / "config" / "smoke.yaml")
    assert code == 0
    assert found["helpful data"]["found"] == "embedded"
    assert found["disk for the run"]["status"] == "ok"


def test_data_root_without_and_with_files(capsys, tmp_path):
    path = config_with(tmp_path, corpus=HH)
    code, found = checks(capsys, "--config", path, "--data-root", tmp_path)
    assert code == 2 and found["helpful data"]["status"] == "missing"
    assert found["helpful data"]["needed"] == f"{tmp_path}/helpful-base/*.jsonl.gz"
    (tmp_path / "helpful-base").mkdir()
    with gzip.open(tmp_path / "helpful-base" / "train.jsonl.gz", "wt") as file:
        file.write("{}\n")
    code, found = checks(capsys, "--config", path, "--data-root", tmp_path)
    assert code == 0 and found["helpful data"]["found"] == "1 files"


def test_reviews_need_both_files(capsys, tmp_path):
    path = ROOT / "config" / "imdb_mini.yaml"
    (tmp_path / "train.jsonl.gz").touch()
    code, found = checks(capsys, "--config", path, "--data-root", tmp_path)
    assert code == 2
    assert found["sentiment data"] == {
        "check": "sentiment data",
        "status": "missing",
        "found": "1 files",
        "needed": f"{tmp_path}/train.jsonl.gz, {tmp_path}/unsup.jsonl.gz",
    }
    (tmp_path / "unsup.jsonl.gz").touch()
    code, found = checks(capsys, "--config", path, "--data-root", tmp_path)
    assert code == 0 and found["sentiment data"]["status"] == "ok"


def test_hub_data_while_offline(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, found = checks(capsys, "--config", config_with(tmp_path, corpus=HH))
    assert code == 2
    assert found["helpful data"]["found"] == "HF_HUB_OFFLINE set"
    assert found["helpful data"]["needed"] == "hub: Anthropic/hh-rlhf"


def test_hub_that_does_not_answer(capsys, tmp_path, monkeypatch):
    for switch in module.OFFLINE_SWITCHES:
        monkeypatch.delenv(switch, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    code, found = checks(capsys, "--config", config_with(tmp_path, corpus=HH))
    assert code == 2 and found["helpful data"]["status"] == "missing"
    assert found["helpful data"]["found"].startswith("http://127.0.0.1:9: ")


def test_model_folder_without_weights(capsys, tmp_path):
    path = config_with(tmp_path, base={"path": str(tmp_path / "model")})
    code, found = checks(capsys, "--config", path)
    assert code == 2
    assert found["helpful reference"]["needed"] == f"{tmp_path / 'model'}/*.safetensors"


def test_proxies_of_their_own_are_looked_for(capsys, tmp_path):
    values = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
    proxies = {"reward_model": {}, "mine": {"base": {"path": str(tmp_path)}}}
    values["hedging"] = [{"task": "helpful", "true_reward": "gold", "n_samples": 16, "proxies": proxies}]
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values))
    code, found = checks(capsys, "--config", tmp_path / "run.yaml")
    [name] = [name for name in found if name.startswith("helpful mine-") and not name.endswith(" GPU")]
    assert code == 2 and found[name]["status"] == "missing"
    assert found[name]["needed"] == f"{tmp_path}/*.safetensors"
    assert not any(name.startswith("helpful reward_model") for name in found)


def test_too_little_disk(capsys, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    code, found = checks(capsys, "--config", ROOT / "config" / "smoke.yaml")
    assert code == 2 and found["disk for the run"]["status"] == "missing"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("a: [1", "not readable as YAML"),
        ("just text", "holds keys such as run and tasks"),
        ("run: x\nnonsense: 1\n", "nonsense: unknown key"),
    ],
)
def test_bad_configuration(capsys, tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    if text is not None:
        path.write_text(text)
    assert main(["doctor", "--config", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and message in captured.err


def test_a_run_with_vllm_needs_a_python_that_has_it(tmp_path, capsys, monkeypatch):
    path = config_with(tmp_path)
    assert "engine vllm" not in checks(capsys, "--config", path)[1]
    values = yaml.safe_load(path.read_text())
    values["tasks"]["helpful"]["rollouts"]["engine"] = "vllm"
    path.write_text(yaml.safe_dump(values))
    monkeypatch.setenv("INFALIGN_VLLM_PYTHON", "/nowhere/python")
    code, found = checks(capsys, "--config", path)
    assert code == 2 and found["engine vllm"]["status"] == "missing"
    assert "/nowhere/python does not run" in found["engine vllm"]["found"]
