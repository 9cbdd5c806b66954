"""Put a finished run's figures, claims and metrics under reports/, with its date and commit."""

import shutil
from pathlib import Path

import polars as pl

from infalign.presentation.report import examples_markdown, methods_at_a_glance, write_summary
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
    run : folder of the run, e.g. results/default.
    out : folder to write, e.g. reports/default.
    date : when the run was made, e.g. 2026-11-21.
    commit : of the code that made it.
    notes : Markdown to put before the claims: minutes, machine, counts, what surprised.
    responses : also what the models wrote to a dataset's prompts; the prompts are never shown.
    """
    gold = run / "gold.parquet"
    methods = read_table(run / "methods.parquet", ["series", "kl"])
    write_summary(
        out,
        pl.concat([read_table(run / f"{name}.parquet") for name in ("claims", "cost_claims")]),
        run=run.name,
        date=date,
        commit=commit,
        gold=pl.read_parquet(gold) if gold.is_file() else None,
        methods={
            f"{task}, {procedure_name(text)}": methods_at_a_glance(methods, task, text)
            for task, goal in read_config(run / "config.json").trained_goals.items()
            for text in dict.fromkeys(("none", goal.procedure))
        },
        notes=notes.read_text(encoding="utf-8") if notes else "",
    )
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
