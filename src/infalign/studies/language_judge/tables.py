"""Win rates by the language model, its verdicts counted, and how far the judges agree.

Judgements are tables with the columns JUDGEMENT_SCHEMA.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, product
from typing import Any

import numpy as np
import polars as pl

from infalign.mathematics.procedures import parse_procedure
from infalign.mathematics.statistics import (
    UNDEFINED,
    Bootstrap,
    Interval,
    bootstrap_mean,
    bootstrap_ratio,
    interval_columns,
    paired_difference,
)
from infalign.studies.language_judge.mathematics import bootstrap_kappa
from infalign.studies.language_judge.pairs import CASE, JUDGES, LANGUAGE_MODEL, ORDERS, PAIR

VALUES = {"win": 1.0, "tie": 0.5, "loss": 0.0}  # for the policy; an unparsed reply has no value
VERDICTS = (*VALUES, "unparsed")
MEANS = {"mean_reward": "reward", "mean_judge": "judge", "mean_length": "n_tokens"}
UNPARSED = ("unparsed_share", "unparsed_low", "unparsed_high")
FIRST = ("first_share", "first_low", "first_high")
KAPPA = ("kappa", "kappa_low", "kappa_high")
DIFFERENCE = ("difference", "difference_low", "difference_high")
NOTHING = Interval(UNDEFINED, UNDEFINED, UNDEFINED)

VERDICT_SCHEMA = {
    **dict.fromkeys(CASE, pl.String),
    **dict.fromkeys(("n_prompts", "n_replies", *VERDICTS), pl.Int64),
    **dict.fromkeys((*UNPARSED, *FIRST, "lowest_win_rate", "highest_win_rate"), pl.Float64),
}
AGREEMENT_SCHEMA = {
    **dict.fromkeys(("task", "procedure", "policy", "scorer_a", "scorer_b"), pl.String),
    **dict.fromkeys(("n_prompts", "n_pairs"), pl.Int64),
    **dict.fromkeys(("agreement", *KAPPA, "win_rate_a", "win_rate_b", *DIFFERENCE), pl.Float64),
}


def pair_values(judgements: pl.DataFrame) -> pl.DataFrame:
    """Turn each judge's verdicts on a pair into a value: 1 the policy's response, 0 the reference's, one half a tie.

    The language model's is the mean of its two orders, so it is one half too where it prefers the place and not
    the response; a pair with an unparsed reply in either order has none.

    Returns
    -------
    DataFrame
        The columns PAIR, `scorer` and `value` (null: none), sorted.
    """
    value = pl.col("verdict").replace_strict(VALUES, default=None, return_dtype=pl.Float64)
    grouped = judgements.with_columns(value=value).group_by(*PAIR, "scorer")
    whole = pl.when(pl.col("value").null_count() == 0).then(pl.col("value").mean())
    return grouped.agg(value=whole).sort(*PAIR, "scorer")


def judged_metrics(
    judgements: pl.DataFrame,
    metrics: Mapping[str, Any],
    scores: pl.DataFrame,
    reference: pl.DataFrame,
    bootstrap: Bootstrap,
) -> tuple[list[dict], list[dict]]:
    """Win rates of one policy under the language model, as rows of the metrics and of those by prompt.

    Parameters
    ----------
    judgements : DataFrame
        Those of the policy, columns JUDGEMENT_SCHEMA.
    metrics : mapping
        A row of the policy's metrics under the same condition, for what does not depend on the judge.
    scores, reference : DataFrame
        The tables that the pairs were picked from.

    Returns
    -------
    list of dict
        A row per procedure. KL and means are of the prompts that have a win rate. All is null where none has.
    list of dict
        A row per procedure and prompt. A prompt's win rate is the mean over its pairs with two parsed replies; a
        prompt without any is left out.
    """
    rows, prompt_rows = [], []
    language = judgements.filter(scorer=LANGUAGE_MODEL)
    for (procedure,), part in language.group_by("procedure", maintain_order=True):
        samples = part.select(*PAIR, "sample_id", "reference_sample_id").unique()
        pairs = pair_values(part).drop_nulls("value").join(samples, on=PAIR)
        prompts = _by_prompt(pairs, scores, reference)
        key = {"procedure": procedure, "select": "reward", "scorer": LANGUAGE_MODEL}
        row = {**metrics, **key, "n": parse_procedure(procedure).n, "n_prompts": prompts.height}
        row |= dict.fromkeys(("share_of_limit", "share_of_offline"))
        row |= {name: prompts[name].mean() for name in MEANS}
        for columns in (("win_rate", "ci_low", "ci_high"), ("kl", "kl_low", "kl_high")):
            values = prompts[columns[0]].to_numpy()
            interval = bootstrap_mean(values, *bootstrap) if len(values) else NOTHING
            row |= interval_columns(columns, interval)
        rows.append(row)
        key |= {name: metrics[name] for name in ("task", "policy", "temperature", "split")}
        by_prompt = prompts.select("prompt_id", "win_rate", "kl", "reward_gain")
        prompt_rows += [key | prompt for prompt in by_prompt.iter_rows(named=True)]
    return rows, prompt_rows


def _by_prompt(pairs: pl.DataFrame, scores: pl.DataFrame, reference: pl.DataFrame) -> pl.DataFrame:
    """Win rate, KL, gain in reward and means of the picked responses of each prompt, sorted by prompt_id."""
    sample = pl.col("sample_id").cast(pl.Int64)
    ours = scores.select("prompt_id", sample, pl.col(MEANS.values()))
    theirs = reference.select("prompt_id", sample.alias("reference_sample_id"), reference_reward="reward")
    joined = pairs.join(ours, on=["prompt_id", "sample_id"])
    joined = joined.join(theirs, on=["prompt_id", "reference_sample_id"])
    by_prompt = joined.group_by("prompt_id").agg(
        win_rate=pl.col("value").mean(),
        reward_gain=(pl.col("reward") - pl.col("reference_reward")).mean(),
        **{name: pl.col(column).mean() for name, column in MEANS.items()},
    )
    kl = scores.group_by("prompt_id").agg(pl.col("kl").mean())
    return by_prompt.join(kl, on="prompt_id").sort("prompt_id")


def verdict_table(judgements: pl.DataFrame, bootstrap: Bootstrap) -> pl.DataFrame:
    """Count the language model's verdicts on each policy under each procedure.

    Returns
    -------
    DataFrame
        Columns VERDICT_SCHEMA. Verdicts are the policy's, one a reply. `unparsed_share` is of all replies.
        `first_share` is of the replies that prefer a response: those for the one shown first. It is one half without
        a preference for a place. `lowest_win_rate` and `highest_win_rate` count every unparsed reply as lost and as
        won.
    """
    rows = []
    language = judgements.filter(scorer=LANGUAGE_MODEL)
    for case, part in language.group_by(CASE, maintain_order=True):
        first = pl.when(pl.col("order") == ORDERS[0]).then(pl.lit("win")).otherwise(pl.lit("loss"))
        marked = part.with_columns(unparsed=pl.col("verdict") == "unparsed", first=pl.col("verdict") == first)
        decided = marked.filter(pl.col("verdict").is_in(["win", "loss"]))
        counts = {name: int((part["verdict"] == name).sum()) for name in VERDICTS}
        certain = counts["win"] + 0.5 * counts["tie"]
        row: dict[str, Any] = {**dict(zip(CASE, case, strict=True)), **counts}
        row |= {"n_prompts": part["prompt_id"].n_unique(), "n_replies": part.height}
        row |= interval_columns(UNPARSED, _share("unparsed", marked, bootstrap))
        row |= interval_columns(FIRST, _share("first", decided, bootstrap))
        row |= {"lowest_win_rate": certain / part.height}
        row |= {"highest_win_rate": (certain + counts["unparsed"]) / part.height}
        rows.append(row)
    return pl.DataFrame(rows, schema=VERDICT_SCHEMA)


def _share(name: str, replies: pl.DataFrame, bootstrap: Bootstrap) -> Interval:
    """Share of replies for which a column is true; prompts are resampled with all their replies."""
    if replies.is_empty():
        return NOTHING
    prompts = replies.group_by("prompt_id").agg(pl.col(name).sum(), pl.len()).sort("prompt_id")
    return bootstrap_ratio(prompts[name].to_numpy(), prompts["len"].to_numpy(), *bootstrap)


def agreement_table(judgements: pl.DataFrame, bootstrap: Bootstrap) -> pl.DataFrame:
    """Compare the judges with one another, two at a time, on the pairs that all of them judged.

    Returns
    -------
    DataFrame
        Columns AGREEMENT_SCHEMA: for each task and procedure all policies together (policy null), then each. A
        verdict on a pair is win, tie or loss. The language model's is a tie where its two orders do not add up to
        either. `agreement` is the share of pairs of one verdict, `kappa` Cohen's, `difference` the win rate by
        scorer_a less that by scorer_b. What is undefined is null.
    """
    rows = []
    for (task, procedure), part in judgements.group_by("task", "procedure", maintain_order=True):
        values = pair_values(part).pivot("scorer", index=PAIR, values="value")
        present = [name for name in JUDGES if name in values.columns]
        whole = values.drop_nulls(present)
        names = part["policy"].unique(maintain_order=True)
        for policy, (a, b) in product([None, *names], combinations(present, 2)):
            pairs = whole if policy is None else whole.filter(policy=policy)
            key = {"task": task, "procedure": procedure, "policy": policy, "scorer_a": a, "scorer_b": b}
            rows.append({**key, **_agreement(pairs, (a, b), bootstrap)})
    return pl.DataFrame(rows, schema=AGREEMENT_SCHEMA)


def _agreement(pairs: pl.DataFrame, scorers: tuple[str, str], bootstrap: Bootstrap) -> dict[str, Any]:
    """Kappa and difference in win rate of two judges on the same pairs."""
    row: dict[str, Any] = {"n_prompts": pairs["prompt_id"].n_unique(), "n_pairs": pairs.height}
    if pairs.is_empty():
        return row
    options = tuple(bootstrap)
    tables = _verdict_tables(pairs, scorers)
    total = tables.sum(axis=0)
    means = pairs.group_by("prompt_id").agg(pl.col(scorers).mean()).sort("prompt_id")
    a, b = (means[name].to_numpy() for name in scorers)
    row |= {"agreement": float(np.trace(total) / total.sum())}
    row |= interval_columns(KAPPA, bootstrap_kappa(tables, *options))
    row |= {"win_rate_a": float(a.mean()), "win_rate_b": float(b.mean())}
    return row | interval_columns(DIFFERENCE, paired_difference(a, b, *options))


def _verdict_tables(pairs: pl.DataFrame, scorers: tuple[str, str]) -> np.ndarray:
    """Of each prompt how often the first judge gave a verdict and the second another; shape (P, 3, 3)."""
    prompts = np.unique(pairs["prompt_id"].to_numpy(), return_inverse=True)[1]
    codes = [np.sign(pairs[name].to_numpy() - 0.5).astype(int) + 1 for name in scorers]
    tables = np.zeros((prompts.max() + 1, 3, 3))
    np.add.at(tables, (prompts, *codes), 1.0)
    return tables
