"""`infalign doctor`: what this machine and installation can do, and what a configuration still needs."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from sysconfig import get_path
from typing import Annotated, Literal

import tyro

from infalign.errors import InputError

Status = Literal["ok", "absent", "missing"]
OFFLINE_SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
OPTIONAL = {"moocore": ">=0.3,<0.4", "vllm": ">=0.28,<=0.31.0"}
GPU_WEIGHTS = "a hub or local model trains in hours to days without one"


@dataclass(frozen=True)
class Check:
    """One line of the table: `status` is ok, absent (optional) or missing (required)."""

    check: str
    status: Status
    found: str
    needed: str = ""


def run_doctor(
    *,
    config: Annotated[Path | None, tyro.conf.arg(help="A run's YAML file; checks what it needs too.")] = None,
    data_root: Annotated[Path | None, tyro.conf.arg(help="As in snakemake --config data_root=DIR.")] = None,
    format: Annotated[Literal["table", "json"], tyro.conf.arg(help="json: one object a check.")] = "table",
) -> int:
    """Versions, cores, GPU, extras and disk of this machine, and what is missing for a configuration.

    Exits with 2 when something required is missing.
    """
    checks = [*_installation(), *_machine()]
    if config is not None:
        checks += _configuration(config, data_root)
    if format == "json":
        for check in checks:
            print(json.dumps(asdict(check)))
    else:
        _print_table(checks)
    return 2 if any(check.status == "missing" for check in checks) else 0


def _print_table(checks: list[Check]) -> None:
    rows = [("check", "status", "found", "needed")] + [tuple(asdict(check).values()) for check in checks]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[3]]).rstrip())


def _installation() -> Iterator[Check]:
    """Python and every package of the project's own requirements, extras included."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    package = metadata.metadata("infalign")
    yield _version_check("python", platform.python_version(), SpecifierSet(package["Requires-Python"]), required=True)
    requirements = [Requirement(text) for text in metadata.requires("infalign") or []]
    for each in requirements:
        yield _version_check(each.name, _installed(each.name), each.specifier, required=each.marker is None)
    for name in OPTIONAL.keys() - {each.name for each in requirements}:
        yield _version_check(name, _installed(name), SpecifierSet(OPTIONAL[name]), required=False)


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _version_check(name: str, version: str | None, allowed, *, required: bool) -> Check:
    needed = str(allowed) + ("" if required else " (optional)")
    if version is not None and allowed.contains(version, prereleases=True):
        return Check(name, "ok", version, needed)
    return Check(name, "missing" if required else "absent", version or "not installed", needed)


def _machine() -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Check("cores", "ok", str(cores))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield Check("memory", "ok", f"{memory / 1e9:.1f} GB")
    yield Check("disk free", "ok", f"{shutil.disk_usage(Path.cwd()).free / 1e9:.1f} GB in {Path.cwd()}")
    program = shutil.which("snakemake", path=os.pathsep.join([get_path("scripts"), os.environ.get("PATH", "")]))
    yield Check("snakemake command", "ok" if program else "missing", program or "not found", "on the PATH")
    if _installed("torch") is not None:
        yield from _torch()


def _torch() -> Iterator[Check]:
    import torch

    yield Check("torch threads", "ok", str(torch.get_num_threads()))
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield Check("GPU", "ok" if names else "absent", ", ".join(names) or "none", "(optional)")


def _configuration(path: Path, data_root: Path | None) -> Iterator[Check]:
    """What a run would need: its data, its models, disk, and a GPU for models that are not small."""
    from infalign.catalogue import all_trainings, needed_disk
    from infalign.records.sweep import engines, policies

    run = _read_config(path, data_root)
    yield Check("config", "ok", f"{path}: run {run.run}, {len(policies(run))} policies")
    for name, task in run.tasks.items():
        yield from _data(name, task, run.data_root)
        yield from _base(f"{name} reference", task.reference.base)
    for key, training in all_trainings(run).items():
        yield from _base(f"{training.task} {key.rpartition('/')[2]}", training.settings.base)
    if "vllm" in engines(run, policies(run)):
        yield _vllm()
    needed, free = needed_disk(run, policies(run), "results"), shutil.disk_usage(Path.cwd()).free
    status: Status = "ok" if free >= needed else "missing"
    yield Check("disk for the run", status, f"{free / 1e9:.2f} GB", f"{needed / 1e9:.2f} GB (estimated)")


def _vllm() -> Check:
    """The Python that samples, scores or draws for a training, where a configuration asks for vLLM."""
    from infalign.language.vllm_process import PYTHON_VARIABLE, vllm_python, vllm_versions

    try:
        versions = vllm_versions()
    except InputError as error:
        return Check("engine vllm", "missing", str(error), f"vLLM for {vllm_python()} or {PYTHON_VARIABLE}")
    installed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return Check("engine vllm", "ok", f"{installed} in {vllm_python()}")


def _read_config(path: Path, data_root: Path | None):
    import yaml

    from infalign.catalogue import parse_config

    if not path.is_file():
        raise InputError(f"--config: no such file: {path}; give a run's YAML file, such as config/default.yaml")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: a run's YAML file holds keys such as run and tasks, got {values!r}")
    return parse_config(values | ({"data_root": str(data_root)} if data_root else {}))


def _data(name: str, task, data_root: str | None) -> Iterator[Check]:
    corpus = task.corpus
    if corpus.source == "embedded":
        yield Check(f"{name} data", "ok", "embedded")
    elif data_root is None and corpus.hub:
        for dataset in corpus.hub:
            yield _hub_check(f"{name} data", dataset)
    else:
        folder = Path(data_root or "data_root")
        files = [sorted(folder.glob(pattern)) for pattern in corpus.files] if data_root else [[]]
        status: Status = "ok" if all(files) else "missing"
        needed = ", ".join(f"{folder}/{pattern}" for pattern in corpus.files)
        yield Check(f"{name} data", status, f"{sum(map(len, files))} files", needed)


def _base(name: str, base) -> Iterator[Check]:
    if base.hub is not None:
        yield _hub_check(name, base.hub)
    if base.path is not None:
        weights = sorted(Path(base.path).glob("*.safetensors"))
        status: Status = "ok" if weights else "missing"
        yield Check(name, status, f"{len(weights)} files", f"{base.path}/*.safetensors")
    if base.hub is not None or base.path is not None:
        import torch

        has_gpu = torch.cuda.is_available()
        yield Check(f"{name} GPU", "ok" if has_gpu else "absent", "yes" if has_gpu else "none", GPU_WEIGHTS)


def _hub_check(name: str, repository: str) -> Check:
    """A hub download is possible unless a switch forbids it or the hub does not answer."""
    import socket
    from urllib.parse import urlsplit

    switches = [switch for switch in OFFLINE_SWITCHES if os.environ.get(switch, "0") not in ("", "0")]
    if switches:
        return Check(name, "missing", f"{' and '.join(switches)} set", f"hub: {repository}")
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    address = urlsplit(endpoint)
    try:
        with socket.create_connection((address.hostname, address.port or 443), timeout=5):
            return Check(name, "ok", f"{endpoint} answers", f"hub: {repository}")
    except OSError as error:
        return Check(name, "missing", f"{endpoint}: {error}", f"hub: {repository}, or data_root / path")
