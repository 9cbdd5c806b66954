"""What code a job runs: a hash over its script and every project module that the script can import.

Snakemake does not see a module that a script imports. Every rule therefore carries this hash as a parameter:
an edited module reruns exactly the rules that use it, a touched or freshly cloned file reruns nothing.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE_ROOT = Path(__file__).parents[1]


def code_hash(*paths: str | Path) -> str:
    """Hash the text of Python files and of all project modules reached from them; sha256 in hex, 64 characters."""
    digest = hashlib.sha256()
    for path in reached_files(*map(Path, paths)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def module_file(name: str) -> Path:
    """Path of a project module."""
    return PACKAGE_ROOT.joinpath(*name.split(".")[1:]).with_suffix(".py")


def reached_files(*paths: Path) -> list[Path]:
    """List files and the project modules they import, directly or through others, in a fixed order."""
    reached: set[Path] = set()
    pending = [path.resolve() for path in paths]
    while pending:
        path = pending.pop()
        if path not in reached:
            reached.add(path)
            pending.extend(_imported_files(path))
    return sorted(reached)


@cache
def _imported_files(path: Path) -> tuple[Path, ...]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(file for name in sorted(names) for file in _module_files(name))


def _module_files(name: str) -> list[Path]:
    """Files that importing the dotted `name` runs: each package on the way and the module itself."""
    parts = name.split(".")
    if parts[0] != PACKAGE_ROOT.name:
        return []
    folders = [PACKAGE_ROOT.joinpath(*parts[1:i]) / "__init__.py" for i in range(1, len(parts) + 1)]
    return [path for path in [*folders, module_file(name)] if path.is_file()]
