"""The environments of envs/ hold what the project needs, in versions that go together."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = {"cpu": [], "gpu": [], "vllm": ["vllm"]}  # with the extras that each has


def locked(name: str) -> dict[str, str]:
    """Package to version, of a lock file."""
    lines = (ROOT / "envs" / f"{name}.lock").read_text().splitlines()
    pins = [line.split("==") for line in lines if not line.startswith("#")]
    assert len(dict(pins)) == len(pins), "a package is there twice"
    return dict(pins)


def pip_part(name: str) -> list[str]:
    (found,) = (
        item["pip"]
        for item in yaml.safe_load((ROOT / "envs" / f"{name}.yaml").read_text())["dependencies"]
        if isinstance(item, dict)
    )
    return found


def requirements(extras: list[str]) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = project["dependencies"] + [text for extra in extras for text in project["optional-dependencies"][extra]]
    return [Requirement(text) for text in texts]


def test_there_is_an_environment_for_each_file_that_rules_cite():
    cited = {
        name
        for path in (ROOT / "workflow" / "rules").glob("*.smk")
        for name in re.findall(r'"\.\./\.\./envs/(\w+)\.yaml"', path.read_text())
    }
    assert cited <= ENVIRONMENTS.keys() == {path.stem for path in (ROOT / "envs").glob("*.yaml")}
    assert {path.stem for path in (ROOT / "envs").glob("*.lock")} == ENVIRONMENTS.keys()


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_lock_holds_every_requirement_within_its_bounds(name):
    pins = locked(name)
    for requirement in requirements(ENVIRONMENTS[name]):
        assert requirement.specifier.contains(pins[requirement.name.lower()]), str(requirement)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_takes_its_lock(name):
    extras = f"[{','.join(ENVIRONMENTS[name])}]" if ENVIRONMENTS[name] else ""
    assert pip_part(name) == [f"-c {name}.lock", f"-e ../{extras}"]


def test_no_gpu_packages_without_a_gpu():
    assert not [name for name in locked("cpu") if name.startswith(("nvidia", "cuda", "triton"))]
    assert {"triton", "nvidia-cublas"} <= locked("gpu").keys()
    shared = locked("cpu").keys() & locked("gpu").keys()
    assert {name: locked("cpu")[name] for name in shared} == {name: locked("gpu")[name] for name in shared}


@pytest.mark.slow
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_pip_part_resolves_to_the_lock(name, tmp_path):
    """As conda does it: pip reads the list from a file beside the environment's; nothing is installed."""
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / part, tmp_path)
    (tmp_path / "src" / "infalign").mkdir(parents=True)
    (tmp_path / "src" / "infalign" / "__init__.py").touch()
    shutil.copytree(ROOT / "envs", tmp_path / "envs")
    (tmp_path / "envs" / "requirements.txt").write_text("\n".join(pip_part(name)) + "\n")
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    # an older pip downloads all packages to read what they need
    subprocess.run([python, "-m", "pip", "install", "--quiet", "pip>=25"], check=True)
    words = [
        "install",
        "--dry-run",
        "--ignore-installed",
        "--quiet",
        "--report",
        "-",
        "-r",
        "requirements.txt",
    ]
    done = subprocess.run(
        [python, "-m", "pip", *words], cwd=tmp_path / "envs", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    metadata = [item["metadata"] for item in json.loads(done.stdout)["install"]]
    found = {re.sub(r"[-_.]+", "-", item["name"]).lower(): item["version"].partition("+")[0] for item in metadata}
    assert found.pop("infalign") == "0.1.0"
    pins = locked(name)
    assert {
        package: version for package, version in found.items() if package in pins and pins[package] != version
    } == {}
    missing = {requirement.name.lower() for requirement in requirements(ENVIRONMENTS[name])} - found.keys()
    assert not missing
