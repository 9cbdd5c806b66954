"""Every example of the pages on commands gives the output that stands there; every link leads somewhere."""

import json
import re
import shlex
from pathlib import Path

import pytest

from infalign.cli import main

ROOT = Path(__file__).parents[1]
EXAMPLES = [ROOT / "docs" / name for name in ("commands.md", "hedging.md")]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[Path, str, list[str]]]:
    """(page, command, expected lines) of the console blocks."""
    found: list[tuple[Path, str, list[str]]] = []
    for page in EXAMPLES:
        for line in "".join(blocks(page, "console")).splitlines():
            if line.startswith("$ "):
                found.append((page, line[2:], []))
            else:
                found[-1][2].append(line)
    return found


def numbers(line: str) -> dict:
    """A line of output as named values: JSON, or the cells of a CSV line."""
    if line.startswith("{"):
        return json.loads(line)
    return dict(enumerate(float(cell) if re.match(r"-?[\d.]", cell) else cell for cell in line.split(",")))


@pytest.mark.parametrize(
    ("page", "command", "expected"),
    examples(),
    ids=lambda value: value.name if isinstance(value, Path) else str(value)[:60],
)
def test_example_gives_the_output_that_is_shown(page, command, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(page, "python")
    exec(compile(block, str(page), "exec"), {})
    program, *arguments = shlex.split(command)
    assert program == "infalign" and main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(expected)
    for line, shown in zip(lines, expected, strict=True):
        got, wanted = numbers(line), numbers(shown)
        assert list(got) == list(wanted)
        for key, value in wanted.items():
            exact = not isinstance(value, float) or key == "residual"
            if key not in ("residual", "iterations"):
                assert got[key] == (value if exact else pytest.approx(value, rel=1e-7, abs=1e-9))
    if "--out" in arguments:
        assert (tmp_path / arguments[arguments.index("--out") + 1]).exists()


@pytest.mark.parametrize("command", "".join(blocks(EXAMPLES[0], "bash")).splitlines())
def test_commands_without_fixed_output_succeed(command, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    program, *arguments = shlex.split(command)
    assert program == "infalign" and main(arguments) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
