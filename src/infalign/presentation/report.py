"""What a reader sees of a run besides figures: HTML tables for the report, a Markdown summary to publish."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl
from great_tables import GT, loc, style

from infalign.presentation.claims import gold_disagreements, rounded
from infalign.presentation.style import procedure_name
from infalign.presentation.verdicts import VERDICTS

# Light backgrounds told apart by lightness and hue; the sign repeats the verdict.
VERDICT_LOOKS = {
    "reproduced": ("✓", "#BFDDF0"),
    "partly": ("◐", "#FBE7B2"),
    "not reproduced": ("✗", "#F2C3AB"),
    "underpowered": ("?", "#E3E3E3"),
    "not run": ("–", "#FFFFFF"),
}
UNITS = (
    "Differences of win rate are shares of one (0.03 is 3 points). "
    "Intervals are 95 % bootstrap intervals over prompts; theory has none."
)

METHOD_UNITS = (
    "Win rates are shares of one, with bootstrap intervals over prompts; less CTRL: the paired difference to "
    "the task's CTRL series"
)


def claims_html(claims: pl.DataFrame, gold: pl.DataFrame | None = None) -> str:
    """Write the claims table, and where gold and judge disagree, as one HTML page.

    Parameters
    ----------
    claims : table of `claims.evaluate_claims`.
    gold : table of `claims.judge_and_gold`; None or empty where there is no gold scorer.

    Returns
    -------
    A page that needs nothing from the network.
    """
    body = [_claims_table(claims), _gold_section(gold)]
    return html_page("Claims", filter(None, body))


def _claims_table(claims: pl.DataFrame) -> str:
    shown = claims.select(
        "claim",
        "text",
        pl.col("paper_value").alias("paper"),
        _with_interval("ours", "ci_low", "ci_high").alias("ours"),
        pl.col("verdict").replace_strict({name: f"{look[0]} {name}" for name, look in VERDICT_LOOKS.items()}),
        "source",
    )
    table = (
        GT(shown, id="claims")
        .tab_header("What the paper claims and what this run found", verdict_counts(claims))
        .cols_width(
            {"claim": "13%", "text": "35%", "paper": "11%", "ours": "14%", "verdict": "11%", "source": "16%"}
        )
        .tab_source_note(UNITS)
    )
    return _coloured(table, claims["verdict"], "verdict").as_raw_html()


def _gold_section(gold: pl.DataFrame | None) -> str:
    if gold is None or gold.is_empty():
        return "<p>No gold scorer on these tasks: the judge's verdicts stand alone.</p>"
    differing = gold_disagreements(gold)
    said = _disagreement(gold.height, differing.height)
    if differing.is_empty():
        return f"<p>{said}</p>"
    shown = differing.select(
        "claim",
        _with_interval("ours", "ci_low", "ci_high").alias("by judge"),
        pl.col("verdict").alias("verdict by judge"),
        _with_interval("ours_gold", "ci_low_gold", "ci_high_gold").alias("by gold"),
        pl.col("verdict_gold").alias("verdict by gold"),
    )
    table = GT(shown, id="gold").tab_header("Where the gold reward disagrees with the judge", said)
    table = _coloured(table, differing["verdict"], "verdict by judge")
    return _coloured(table, differing["verdict_gold"], "verdict by gold").as_raw_html()


def metrics_html(metrics: pl.DataFrame, goals: Sequence[tuple[str, str]]) -> str:
    """Write the metrics at a glance, a row per policy, as one HTML page.

    Parameters
    ----------
    metrics : the run's metrics table.
    goals : pairs (task, procedure text) that each task's policies are meant for.

    Returns
    -------
    A page that needs nothing from the network.
    """
    tables = [
        _glance_table(metrics.filter(pl.col("task") == task), task, procedure) for task, procedure in goals
    ]
    return html_page("Metrics", tables)


def _glance_table(metrics: pl.DataFrame, task: str, procedure: str) -> str:
    goal = procedure_name(procedure)
    rows = metrics.filter((pl.col("select") == "reward") & (pl.col("scorer") == "judge"))
    standard = rows.filter(pl.col("procedure") == "none").select(
        "policy",
        _with_interval("kl", "kl_low", "kl_high").alias("KL (nats)"),
        _with_interval("win_rate", "ci_low", "ci_high").alias("standard win rate"),
    )
    meant = rows.filter(pl.col("procedure") == procedure).select(
        "policy",
        _with_interval("win_rate", "ci_low", "ci_high").alias(f"{goal} win rate"),
        number_text("share_of_limit").alias("share of limit"),
        number_text("mean_length").alias("mean length"),
    )
    shown = standard.join(meant, on="policy", maintain_order="left").sort("policy")
    return (
        GT(shown, id=f"metrics_{task}")
        .tab_header(f"Task {task}", "95 % bootstrap intervals over prompts")
        .as_raw_html()
    )


def examples_html(examples: pl.DataFrame) -> str:
    """Write example responses with their scores, a table per task, split and temperature, as one HTML page.

    Parameters
    ----------
    examples : table of `temperature.examples`; where a prompt is null its id stands instead.

    Returns
    -------
    A page that needs nothing from the network.
    """
    tables: list[str] = []
    for (task, split, temperature), part in examples.group_by(
        "task", "split", "temperature", maintain_order=True
    ):
        shown = part.select(
            pl.coalesce("prompt", pl.format("prompt {}", "prompt_id")).str.strip_chars().alias("prompt"),
            "source",
            "response",
            number_text("reward", 2),
            number_text("judge", 2),
        )
        table = GT(shown, groupname_col="prompt", id=f"examples_{len(tables)}")
        header = f"Task {task}, {split}, temperature {temperature:g}"
        tables.append(
            table.tab_header(header, "The first response of each to the same prompts").as_raw_html()
        )
    return html_page("Examples", tables)


def examples_markdown(examples: pl.DataFrame) -> str:
    """Write example responses with their scores as Markdown, a table per prompt and condition.

    Parameters
    ----------
    examples : table of `temperature.examples`; a prompt that is null is not shown, and said so.
    """
    parts = ["# Example responses"]
    keys = ("task", "split", "temperature", "prompt_id", "prompt")
    for (task, split, temperature, _, prompt), part in examples.group_by(keys, maintain_order=True):
        text = pl.col("response").str.replace_all("\n", " ", literal=True)
        shown = part.select("source", text, number_text("reward", 2), number_text("judge", 2))
        said = "Prompt of a data set, not shown." if prompt is None else f"> {str(prompt).strip()}"
        parts += [f"## {task}, {split}, temperature {temperature:g}", said]
        parts.append(_markdown_table(shown))
    return "\n\n".join(parts) + "\n"


def methods_html(methods: pl.DataFrame, panels: Sequence[tuple[str, str]]) -> str:
    """Write the comparison of methods, a table per task and procedure, as one HTML page.

    Parameters
    ----------
    methods : table of `pareto.compare_methods`.
    panels : pairs (task, procedure text).

    Returns
    -------
    A page that needs nothing from the network.
    """
    shown = [(task, procedure, methods_at_a_glance(methods, task, procedure)) for task, procedure in panels]
    tables = [
        GT(table, id=f"methods_{task}_{index}")
        .tab_header(f"Task {task}, {procedure_name(procedure)}", METHOD_UNITS)
        .as_raw_html()
        for index, (task, procedure, table) in enumerate(shown)
    ]
    return html_page("Methods", tables)


def methods_at_a_glance(methods: pl.DataFrame, task: str, procedure: str) -> pl.DataFrame:
    """Arrange the comparison of one task and procedure for readers: a row per series, all cells text.

    Parameters
    ----------
    methods : table of `pareto.compare_methods`; rows selected by the reward and scored by the judge are shown.
    task, procedure : as in the table.

    Returns
    -------
    Series, policies, win rate and difference to CTRL at each KL, shares of the fronts (by win rate and by mean
    reward), hypervolume.
    """
    rows = methods.filter(task=task, procedure=procedure, select="reward", scorer="judge")
    spans = pl.format("not reached: KL {}–{}", number_text("kl_lowest", 2), number_text("kl_highest", 2))
    reached = pl.col("win_rate").is_not_null()
    rows = rows.with_columns(
        rate=pl.when(reached).then(_with_interval("win_rate", "ci_low", "ci_high")).otherwise(spans),
        gap=_with_interval("difference", "difference_low", "difference_high"),
    )
    columns = [
        pl.col("n_policies").first().alias("policies"),
        *(
            pl.col(name).filter(pl.col("kl") == kl).first().alias(f"{said} at KL {kl:g}")
            for kl in rows["kl"].unique().sort()
            for name, said in (("rate", "win rate"), ("gap", "less CTRL"))
        ),
        _with_interval("front_share", "front_low", "front_high").first().alias("share of front"),
        _with_interval("reward_front_share", "reward_front_low", "reward_front_high")
        .first()
        .alias("share of front by reward"),
        number_text("policy_share").first().alias("share of policies"),
        number_text("own_front_share").first().alias("own policies on own front"),
        _with_interval("hypervolume", "hypervolume_low", "hypervolume_high").first().alias("hypervolume"),
    ]
    return rows.group_by("series", maintain_order=True).agg(columns)


def verdicts_html(verdicts: pl.DataFrame) -> str:
    """Write what a language model's replies were, a table per task and procedure, as one HTML page.

    Parameters
    ----------
    verdicts : columns of `judgements.VERDICT_SCHEMA`.

    Returns
    -------
    A page that needs nothing from the network.
    """
    tables: list[str] = []
    for (task, procedure), part in verdicts.group_by("task", "procedure", maintain_order=True):
        shown = part.select(
            "policy",
            pl.col("n_prompts").alias("prompts"),
            pl.col("n_replies").alias("replies"),
            *("win", "tie", "loss", "unparsed"),
            _with_interval("unparsed_share", "unparsed_low", "unparsed_high").alias("share unparsed"),
            _with_interval("first_share", "first_low", "first_high").alias("share for the first"),
            pl.format("{} to {}", number_text("lowest_win_rate"), number_text("highest_win_rate")).alias(
                "win rate, unparsed lost to won"
            ),
        )
        table = GT(shown, id=f"verdicts_{len(tables)}")
        header = f"Task {task}, {procedure_name(procedure)}"
        tables.append(table.tab_header(header, "Replies of the language model that judges").as_raw_html())
    return html_page("Verdicts of the language model", tables)


def verdict_counts(claims: pl.DataFrame) -> str:
    """Count the verdicts in a sentence.

    Examples
    --------
    >>> verdict_counts(pl.DataFrame({"verdict": ["reproduced", "not run", "reproduced"]}))
    '3 claims: 2 reproduced, 1 not run'
    """
    found = claims["verdict"].to_list()
    counts = [f"{found.count(name)} {name}" for name in VERDICTS if name in found]
    return f"{len(found)} claims: {', '.join(counts)}"


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
    """Write the Markdown summary of a run that is published under reports/.

    Parameters
    ----------
    folder : where `README.md` goes, e.g. reports/default.
    claims, gold : tables of `claims.evaluate_claims` and `claims.judge_and_gold`.
    run, date, commit : name of the run, when it was made and from which commit.
    methods : what is compared, e.g. "helpful, best-of-4", to its table of `methods_at_a_glance`.
    notes : Markdown put before the table, e.g. counts and power of the comparison.

    Returns
    -------
    Path of the file.
    """
    parts = [
        f"# Run `{run}`",
        f"Made {date} from commit `{commit}`. {verdict_counts(claims)}. {UNITS}",
        notes.strip(),
        _markdown_claims(claims),
        _markdown_gold(gold),
        *(_markdown_methods(name, part) for name, part in (methods or {}).items()),
    ]
    path = Path(folder) / "README.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(filter(None, parts)) + "\n", encoding="utf-8")
    return path


def _markdown_claims(claims: pl.DataFrame) -> str:
    shown = claims.select(
        "claim",
        "text",
        pl.col("paper_value").alias("paper"),
        _with_interval("ours", "ci_low", "ci_high").alias("ours"),
        "verdict",
        "source",
    )
    return _markdown_table(shown)


def _markdown_gold(gold: pl.DataFrame | None) -> str:
    if gold is None or gold.is_empty():
        return ""
    differing = gold_disagreements(gold)
    said = _disagreement(gold.height, differing.height)
    if differing.is_empty():
        return said
    shown = differing.select(
        "claim",
        _with_interval("ours", "ci_low", "ci_high").alias("by judge"),
        "verdict",
        _with_interval("ours_gold", "ci_low_gold", "ci_high_gold").alias("by gold"),
        pl.col("verdict_gold").alias("verdict by gold"),
    )
    return f"{said}\n\n{_markdown_table(shown)}"


def _markdown_methods(name: str, table: pl.DataFrame) -> str:
    return f"## Methods: {name}\n\n{METHOD_UNITS}.\n\n{_markdown_table(table)}"


def _disagreement(compared: int, differing: int) -> str:
    return f"The gold reward's verdict differs from the judge's on {differing} of {compared} claims."


def _markdown_table(frame: pl.DataFrame) -> str:
    lines = [frame.columns, ["---"] * frame.width, *frame.rows()]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def number_text(name: str, digits: int = 3) -> pl.Expr:
    """Write a column's numbers with so many digits after the point."""
    return (
        pl.col(name)
        .cast(pl.Float64)
        .map_elements(lambda value: rounded(value, digits), return_dtype=pl.String, skip_nulls=False)
    )


def _with_interval(name: str, low: str, high: str) -> pl.Expr:
    """Write estimate and interval; an interval that is not known or has no width is left out."""
    interval = pl.format(" [{}, {}]", number_text(low), number_text(high))
    exact = pl.col(low).is_null() | (pl.col(low) == pl.col(high))
    return number_text(name) + pl.when(exact).then(pl.lit("")).otherwise(interval)


def _coloured(table: GT, verdicts: pl.Series, column: str) -> GT:
    for name, (_, color) in VERDICT_LOOKS.items():
        rows = [index for index, value in enumerate(verdicts) if value == name]
        if rows:
            table = table.tab_style(style.fill(color), loc.body(columns=column, rows=rows))
    return table


def html_page(title: str, parts: Iterable[str]) -> str:
    """Write a page of tables."""
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>\n'
        f'<body style="font-family: system-ui, sans-serif; margin: 1.5em;">\n{body}\n</body></html>\n'
    )
