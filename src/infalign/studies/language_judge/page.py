"""HTML page of what a language model's replies were."""

from __future__ import annotations

import polars as pl

from infalign.presentation.glance import interval_text, number_text
from infalign.presentation.report import html_page, html_table
from infalign.presentation.style import procedure_name


def verdicts_html(verdicts: pl.DataFrame) -> str:
    """Write the counts of replies, a table for each task and procedure.

    Parameters
    ----------
    verdicts : DataFrame
        Columns VERDICT_SCHEMA of `judgements`.
    """
    tables: list[str] = []
    for (task, procedure), part in verdicts.group_by("task", "procedure", maintain_order=True):
        shown = part.select(
            "policy",
            pl.col("n_prompts").alias("prompts"),
            pl.col("n_replies").alias("replies"),
            *("win", "tie", "loss", "unparsed"),
            interval_text("unparsed_share", "unparsed_low", "unparsed_high").alias("share unparsed"),
            interval_text("first_share", "first_low", "first_high").alias("share for the first"),
            pl.format("{} to {}", number_text("lowest_win_rate"), number_text("highest_win_rate")).alias(
                "win rate, unparsed lost to won"
            ),
        )
        title = f"Task {task}, {procedure_name(procedure)}"
        subtitle = "Replies of the language model that judges"
        tables.append(html_table(shown, f"verdicts_{len(tables)}", title, subtitle))
    return html_page("Verdicts of the language model", tables)
