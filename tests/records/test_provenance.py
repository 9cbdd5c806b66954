"""A job's code hash changes with exactly the modules that its script can reach."""

from pathlib import Path

from infalign.records.provenance import code_hash, reached_files

ROOT = Path(__file__).parents[2]


def reached(script: str) -> set[str]:
    files = reached_files(ROOT / "scripts" / script)
    return {str(path.relative_to(ROOT)) for path in files}


def test_a_script_reaches_what_it_imports_through_others():
    files = reached("evaluate.py")
    assert {"scripts/evaluate.py", "src/infalign/records/metrics.py"} <= files
    assert "src/infalign/mathematics/winrate.py" in files


def test_evaluation_does_not_depend_on_models_nor_sampling_on_figures():
    assert not any("/language/" in path or "/alignment/" in path for path in reached("evaluate.py"))
    assert not any("/presentation/" in path for path in reached("sample.py"))


def test_the_hash_is_of_the_content(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import infalign.errors\n")
    before = code_hash(script)
    script.touch()
    assert code_hash(script) == before
    script.write_text("import infalign.errors\nx = 1\n")
    assert code_hash(script) != before
