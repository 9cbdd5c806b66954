"""Put a finished run's figures, claims and metrics under reports/, with its date and commit."""

import shutil
from pathlib import Path

import polars as pl

from infalign.presentation.core_figures import comparison_panels
from infalign.presentation.glance import methods_at_a_glance
from infalign.presentation.published import examples_markdown, write_summary
from infalign.presentation.style import procedure_name
from infalign.records.command import run_command
from infalign.records.config import read_config
from infalign.records.tables import read_table

ROUNDED = pl.selectors.float().round(4)


def publish_run(
    run: Path, /, *, out: Path, date: str, commit: str, notes: Path | None = None, responses: bool = False
) -> None:
    """Publish a run: numbers and figures, examples of the embedded corpora, no text of any dataset.

    Parameters
    ----------
    run : Path
        Folder of the run, e.g. results/default.
    out : Path
        Folder to write, e.g. reports/default.
    date : str
        When the run was made, e.g. 2026-11-21.
    commit : str
        Of the code that made it.
    notes : Path, optional
        Markdown to put before the claims: minutes, machine, counts, what surprised.
    responses : bool
        Also what the models wrote to a dataset's prompts. The prompts are never shown.
    """
    gold, methods = run / "gold.parquet", read_table(run / "methods.parquet", ["series", "kl"])
    claims = pl.concat([read_table(run / f"{name}.parquet") for name in ("claims", "cost_claims")])
    compared = {
        f"{task}, {procedure_name(text)}": methods_at_a_glance(methods, task, text)
        for task, text in comparison_panels(read_config(run / "config.json"))
    }
    before = notes.read_text(encoding="utf-8") if notes else ""
    about = {"run": run.name, "date": date, "commit": commit, "methods": compared, "notes": before}
    write_summary(out, claims, gold=pl.read_parquet(gold) if gold.is_file() else None, **about)
    read_table(run / "metrics.parquet").with_columns(ROUNDED).write_csv(out / "metrics.csv")
    methods.with_columns(ROUNDED).write_csv(out / "methods.csv")
    examples = read_table(run / "examples.parquet")
    examples = examples if responses else examples.drop_nulls("prompt")
    if not examples.is_empty():
        (out / "examples.md").write_text(examples_markdown(examples), encoding="utf-8")
    for figure in sorted((run / "figures").glob("*.png")):
        shutil.copy2(figure, out / figure.name)


if __name__ == "__main__":
    run_command(publish_run)
