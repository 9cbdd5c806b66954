"""Markdown of a run that is published under reports/."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from infalign.presentation.glance import (
    METHOD_UNITS,
    UNITS,
    claims_at_a_glance,
    gold_at_a_glance,
    number_text,
    verdict_counts,
)


def write_summary(
    folder: str | Path,
    claims: pl.DataFrame,
    *,
    run: str,
    date: str,
    commit: str,
    gold: pl.DataFrame | None = None,
    methods: Mapping[str, pl.DataFrame] | None = None,
    notes: str = "",
) -> Path:
    """Write the summary of a run.

    Parameters
    ----------
    folder : str or Path
        Where `README.md` goes, e.g. reports/default.
    claims, gold : DataFrame
        Tables of `claims.evaluate_claims` and `claims.judge_and_gold`.
    run, date, commit : str
        Name of the run, when it was made and from which commit.
    methods : mapping of str to DataFrame, optional
        What is compared, e.g. "helpful, best-of-4", to its table of `methods_at_a_glance`.
    notes : str
        Markdown before the table, e.g. counts and power of the comparison.

    Returns
    -------
    Path
        The file.
    """
    parts = [
        f"# Run `{run}`",
        f"Made {date} from commit `{commit}`. {verdict_counts(claims)}. {UNITS}",
        notes.strip(),
        _markdown_table(claims_at_a_glance(claims)),
    ]
    if gold is not None and not gold.is_empty():
        sentence, shown = gold_at_a_glance(gold, "verdict")
        parts += [sentence] if shown.is_empty() else [sentence, _markdown_table(shown)]
    for name, table in (methods or {}).items():
        parts += [f"## Methods: {name}", f"{METHOD_UNITS}.", _markdown_table(table)]
    path = Path(folder) / "README.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(filter(None, parts)) + "\n", encoding="utf-8")
    return path


def examples_markdown(examples: pl.DataFrame) -> str:
    """Write example responses with their scores, a table for each prompt and condition.

    Parameters
    ----------
    examples : DataFrame
        The run's table. A prompt that is null is not shown, and the text says so.
    """
    parts = ["# Example responses"]
    keys = ("task", "split", "temperature", "prompt_id", "prompt")
    for (task, split, temperature, _, prompt), part in examples.group_by(keys, maintain_order=True):
        text = pl.col("response").str.replace_all("\n", " ", literal=True)
        shown = part.select("source", text, number_text("reward", 2), number_text("judge", 2))
        above = "Prompt of a data set, not shown." if prompt is None else f"> {str(prompt).strip()}"
        parts += [f"## {task}, {split}, temperature {temperature:g}", above, _markdown_table(shown)]
    return "\n\n".join(parts) + "\n"


def _markdown_table(frame: pl.DataFrame) -> str:
    lines = [frame.columns, ["---"] * frame.width, *frame.rows()]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
