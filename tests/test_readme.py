"""README's paths, links and commands are those that exist."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from infalign.catalogue import parse_config
from infalign.cli import COMMANDS, main

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL))
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
SHELL = [line for language, text in BLOCKS if language == "bash" for line in text.splitlines()]
COMMAND_LINES = [*SHELL, *(code for code in CODE if code.startswith(("snakemake ", "infalign ", ".venv/")))]
SNAKEMAKE = [line for line in COMMAND_LINES if line.startswith("snakemake ")]


def tree_paths():
    (tree,) = (text for language, text in BLOCKS if not language)
    folder = ""
    for line in tree.splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            folder = name
            yield name
        else:
            yield folder + name


@pytest.mark.parametrize("path", list(tree_paths()))
def test_tree_names_what_exists(path):
    assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file()


def test_tree_names_every_folder_that_has_files():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {line.split("/")[0] + "/" for line in listed.splitlines() if "/" in line and not line.startswith(".")}
    named = {path.split("/")[0] + "/" for path in tree_paths() if "/" in path}
    assert top <= named


@pytest.mark.parametrize("line", SNAKEMAKE)
def test_configs_of_the_commands_are_valid(line):
    words = shlex.split(line)
    names = [words[i + 1] for i, word in enumerate(words) if word == "--configfile"]
    for name in [*names, "config/default.yaml"]:
        parse_config(yaml.safe_load((ROOT / name).read_text(encoding="utf-8")))


PLANNED_ELSEWHERE = ("config/hh.yaml", "snakemake --configfile config/paper.yaml")


@pytest.mark.parametrize("line", [line for line in SNAKEMAKE if not any(part in line for part in PLANNED_ELSEWHERE)])
def test_snakemake_plans_the_commands(line, tmp_path):
    for name in ("my_pairs", "helpful-base", "harmless-base"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.jsonl.gz").touch()
    for name in ("train", "unsup"):
        (tmp_path / f"{name}.jsonl.gz").touch()
    words = shlex.split(line.replace("data_root=DIR", f"data_root={tmp_path}"))
    command = [sys.executable, "-m", *words, "--dry-run", "--quiet", "--nolock"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_infalign_examples_run(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    examples = [shlex.split(line) for line in COMMAND_LINES if line.startswith("infalign ")]
    assert {words[1] for words in examples} <= COMMANDS.keys()
    for words in examples:
        if words[1] != "doctor":  # its exit code is this machine's
            assert main(words[1:]) == 0
            assert capsys.readouterr().out


def test_doctor_example_answers(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (line,) = (line for line in COMMAND_LINES if line.startswith("infalign doctor"))
    assert main(shlex.split(line)[1:]) == 2
    assert "helpful reference" in capsys.readouterr().out


def test_set_up_and_test_commands_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert '.venv/bin/pip install -e ".[dev]"' in SHELL[0] and "dev" in project["optional-dependencies"]
    assert ".venv/bin/pytest -n 2" in SHELL
    assert ".venv/bin/pytest -n 2" in (ROOT / ".ci" / "run").read_text()
    assert project["requires-python"] == ">=3.11" and "Python 3.11 or later" in TEXT


def test_citation_names_the_papers_authors():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    authors = citation["preferred-citation"]["authors"]
    names = ", ".join(f"{author['given-names']} {author['family-names']}" for author in authors)
    assert names in " ".join(TEXT.replace(">", " ").split())
    assert citation["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
