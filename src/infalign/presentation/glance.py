"""Tables of a run arranged for readers: few columns, all cells text."""

from __future__ import annotations

import math

import polars as pl

from infalign.presentation.claims import gold_disagreements
from infalign.presentation.style import procedure_name
from infalign.presentation.verdicts import VERDICTS

UNITS = (
    "Differences of win rate are shares of one (0.03 is 3 points). "
    "Intervals are 95 % bootstrap intervals over prompts; theory has none."
)
METHOD_UNITS = (
    "Win rates are shares of one, with bootstrap intervals over prompts; less CTRL: the paired difference to "
    "the task's CTRL series"
)


def rounded(value: float | None, digits: int = 3) -> str:
    """Write a number with a fixed number of digits, an absent one as a dash.

    Examples
    --------
    >>> rounded(0.08125), rounded(None)
    ('0.081', '–')
    """
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def number_text(name: str, digits: int = 3) -> pl.Expr:
    """Write a column of numbers by `rounded`."""
    return (
        pl.col(name)
        .cast(pl.Float64)
        .map_elements(lambda value: rounded(value, digits), return_dtype=pl.String, skip_nulls=False)
    )


def interval_text(name: str, low: str, high: str) -> pl.Expr:
    """Write estimate and interval. An interval that is not known or has no width is left out."""
    interval = pl.format(" [{}, {}]", number_text(low), number_text(high))
    exact = pl.col(low).is_null() | (pl.col(low) == pl.col(high))
    return number_text(name) + pl.when(exact).then(pl.lit("")).otherwise(interval)


def verdict_counts(claims: pl.DataFrame) -> str:
    """Count the verdicts in a sentence.

    Examples
    --------
    >>> verdict_counts(pl.DataFrame({"verdict": ["reproduced", "not run", "reproduced"]}))
    '3 claims: 2 reproduced, 1 not run'
    """
    verdicts = claims["verdict"].to_list()
    counts = [f"{verdicts.count(name)} {name}" for name in VERDICTS if name in verdicts]
    return f"{len(verdicts)} claims: {', '.join(counts)}"


def claims_at_a_glance(claims: pl.DataFrame) -> pl.DataFrame:
    """Arrange the table of `claims.evaluate_claims`, a row a claim."""
    ours = interval_text("ours", "ci_low", "ci_high").alias("ours")
    return claims.select("claim", "text", pl.col("paper_value").alias("paper"), ours, "verdict", "source")


def gold_at_a_glance(gold: pl.DataFrame, heading: str) -> tuple[str, pl.DataFrame]:
    """Say on how many claims the gold reward's verdict is not the judge's, and arrange these claims.

    Parameters
    ----------
    gold : DataFrame
        Table of `claims.judge_and_gold`.
    heading : str
        Of the column with the judge's verdict.
    """
    differing = gold_disagreements(gold)
    shown = differing.select(
        "claim",
        interval_text("ours", "ci_low", "ci_high").alias("by judge"),
        pl.col("verdict").alias(heading),
        interval_text("ours_gold", "ci_low_gold", "ci_high_gold").alias("by gold"),
        pl.col("verdict_gold").alias("verdict by gold"),
    )
    sentence = f"The gold reward's verdict differs from the judge's on {shown.height} of {gold.height} claims."
    return sentence, shown


def metrics_at_a_glance(metrics: pl.DataFrame, task: str, procedure: str) -> pl.DataFrame:
    """Arrange a task's metrics without a procedure and with one, selected by the reward, a row a policy."""
    rows = metrics.filter(task=task, select="reward", scorer="judge")
    win_rate = interval_text("win_rate", "ci_low", "ci_high")
    standard = rows.filter(procedure="none").select(
        "policy",
        interval_text("kl", "kl_low", "kl_high").alias("KL (nats)"),
        win_rate.alias("standard win rate"),
    )
    with_procedure = rows.filter(procedure=procedure).select(
        "policy",
        win_rate.alias(f"{procedure_name(procedure)} win rate"),
        number_text("share_of_limit").alias("share of limit"),
        number_text("mean_length").alias("mean length"),
    )
    return standard.join(with_procedure, on="policy", maintain_order="left").sort("policy")


def methods_at_a_glance(methods: pl.DataFrame, task: str, procedure: str) -> pl.DataFrame:
    """Arrange the comparison of one task and procedure, selected by the reward and scored by the judge.

    Parameters
    ----------
    methods : DataFrame
        Table of `pareto.compare_methods`.
    task, procedure : str
        As in the table.

    Returns
    -------
    DataFrame
        A row for each series: policies, win rate and difference to CTRL at each KL, shares of the fronts (by win
        rate and by mean reward), hypervolume.
    """
    rows = methods.filter(task=task, procedure=procedure, select="reward", scorer="judge")
    spans = pl.format("not reached: KL {}–{}", number_text("kl_lowest", 2), number_text("kl_highest", 2))
    reached = pl.col("win_rate").is_not_null()
    rows = rows.with_columns(
        rate=pl.when(reached).then(interval_text("win_rate", "ci_low", "ci_high")).otherwise(spans),
        gap=interval_text("difference", "difference_low", "difference_high"),
    )
    at_kl = [
        pl.col(name).filter(pl.col("kl") == kl).first().alias(f"{label} at KL {kl:g}")
        for kl in rows["kl"].unique().sort()
        for name, label in (("rate", "win rate"), ("gap", "less CTRL"))
    ]
    by_reward = interval_text("reward_front_share", "reward_front_low", "reward_front_high")
    texts = {
        "share of front": interval_text("front_share", "front_low", "front_high"),
        "share of front by reward": by_reward,
        "share of policies": number_text("policy_share"),
        "own policies on own front": number_text("own_front_share"),
        "hypervolume": interval_text("hypervolume", "hypervolume_low", "hypervolume_high"),
    }
    return rows.group_by("series", maintain_order=True).agg(
        pl.col("n_policies").first().alias("policies"),
        *at_kl,
        *(text.first().alias(name) for name, text in texts.items()),
    )
