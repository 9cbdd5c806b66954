"""HTML pages of a run for the report; none needs anything from the network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl
from great_tables import GT, loc, style

from infalign.presentation.glance import (
    METHOD_UNITS,
    UNITS,
    claims_at_a_glance,
    gold_at_a_glance,
    methods_at_a_glance,
    metrics_at_a_glance,
    number_text,
    verdict_counts,
)
from infalign.presentation.style import procedure_name

# Light backgrounds told apart by lightness and hue; the sign repeats the verdict.
VERDICT_LOOKS = {
    "reproduced": ("✓", "#BFDDF0"),
    "partly": ("◐", "#FBE7B2"),
    "not reproduced": ("✗", "#F2C3AB"),
    "underpowered": ("?", "#E3E3E3"),
    "not run": ("–", "#FFFFFF"),
}
CLAIM_WIDTHS = {
    "claim": "13%",
    "text": "35%",
    "paper": "11%",
    "ours": "14%",
    "verdict": "11%",
    "source": "16%",
}


def html_page(title: str, parts: Iterable[str]) -> str:
    """Write a page of tables."""
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>\n'
        f'<body style="font-family: system-ui, sans-serif; margin: 1.5em;">\n{body}\n</body></html>\n'
    )


def html_table(frame: pl.DataFrame, name: str, title: str, subtitle: str, **options: Any) -> str:
    """Write a table under two lines of heading; `options` are those of `great_tables.GT`."""
    return GT(frame, id=name, **options).tab_header(title, subtitle).as_raw_html()


def claims_html(claims: pl.DataFrame, gold: pl.DataFrame | None = None) -> str:
    """Write the claims, and where gold and judge disagree.

    Parameters
    ----------
    claims : DataFrame
        Table of `claims.evaluate_claims`.
    gold : DataFrame, optional
        Table of `claims.judge_and_gold`; None or empty where there is no gold scorer.
    """
    return html_page("Claims", [_claims_table(claims), _gold_section(gold)])


def _claims_table(claims: pl.DataFrame) -> str:
    signs = {name: f"{sign} {name}" for name, (sign, _) in VERDICT_LOOKS.items()}
    shown = claims_at_a_glance(claims).with_columns(pl.col("verdict").replace_strict(signs))
    table = (
        GT(shown, id="claims")
        .tab_header("What the paper claims and what this run found", verdict_counts(claims))
        .cols_width(CLAIM_WIDTHS)
        .tab_source_note(UNITS)
    )
    return _coloured(table, claims["verdict"], "verdict").as_raw_html()


def _gold_section(gold: pl.DataFrame | None) -> str:
    if gold is None or gold.is_empty():
        return "<p>No gold scorer on these tasks: the judge's verdicts stand alone.</p>"
    sentence, shown = gold_at_a_glance(gold, "verdict by judge")
    if shown.is_empty():
        return f"<p>{sentence}</p>"
    table = GT(shown, id="gold").tab_header("Where the gold reward disagrees with the judge", sentence)
    for column in ("verdict by judge", "verdict by gold"):
        table = _coloured(table, shown[column], column)
    return table.as_raw_html()


def _coloured(table: GT, verdicts: pl.Series, column: str) -> GT:
    for name, (_, color) in VERDICT_LOOKS.items():
        rows = [index for index, value in enumerate(verdicts) if value == name]
        if rows:
            table = table.tab_style(style.fill(color), loc.body(columns=column, rows=rows))
    return table


def metrics_html(metrics: pl.DataFrame, goals: Sequence[tuple[str, str]]) -> str:
    """Write the metrics at a glance, a row a policy.

    Parameters
    ----------
    metrics : DataFrame
        The run's table.
    goals : sequence of (str, str)
        Each task and the procedure that its policies are meant for.
    """
    intervals = "95 % bootstrap intervals over prompts"
    return html_page(
        "Metrics",
        [
            html_table(metrics_at_a_glance(metrics, *goal), f"metrics_{goal[0]}", f"Task {goal[0]}", intervals)
            for goal in goals
        ],
    )


def examples_html(examples: pl.DataFrame) -> str:
    """Write example responses with their scores, a table for each task, split and temperature.

    Parameters
    ----------
    examples : DataFrame
        The run's table; where a prompt is null its id stands instead.
    """
    tables: list[str] = []
    keys = ("task", "split", "temperature")
    for (task, split, temperature), part in examples.group_by(*keys, maintain_order=True):
        shown = part.select(
            pl.coalesce("prompt", pl.format("prompt {}", "prompt_id")).str.strip_chars().alias("prompt"),
            "source",
            "response",
            number_text("reward", 2),
            number_text("judge", 2),
        )
        title = f"Task {task}, {split}, temperature {temperature:g}"
        subtitle = "The first response of each to the same prompts"
        tables.append(html_table(shown, f"examples_{len(tables)}", title, subtitle, groupname_col="prompt"))
    return html_page("Examples", tables)


def methods_html(methods: pl.DataFrame, panels: Sequence[tuple[str, str]]) -> str:
    """Write the comparison of methods, a table for each task and procedure.

    Parameters
    ----------
    methods : DataFrame
        Table of `pareto.compare_methods`.
    panels : sequence of (str, str)
        Task and procedure of each table.
    """
    tables = []
    for index, (task, procedure) in enumerate(panels):
        shown = methods_at_a_glance(methods, task, procedure)
        title = f"Task {task}, {procedure_name(procedure)}"
        tables.append(html_table(shown, f"methods_{task}_{index}", title, METHOD_UNITS))
    return html_page("Methods", tables)
