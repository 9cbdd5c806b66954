"""How verdicts change with the judge: its size, and whether it learnt from the reward model's own pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import polars as pl

from infalign.mathematics.statistics import (
    Bootstrap,
    Curve,
    bootstrap_mean,
    bootstrap_ratio,
    difference_at_kl,
    interval_columns,
    paired_difference,
)
from infalign.mathematics.winrate import win_rate_by_prompt
from infalign.presentation.curves import reaches, strength_curve
from infalign.records.config import Config
from infalign.studies.judge_strength.sizes import GOLD, LEAKED, REFERENCE, REWARD_MODEL, compared_policies

EQUAL = "1x"  # the judge of the reward model's size, against which the leaked one is measured
MATCHED_KL = 0.5  # nats, at which policies are compared
RATE = ("win_rate", "ci_low", "ci_high")
ACCURACY = ("accuracy", "accuracy_low", "accuracy_high")
REWARD_PAIRS = ("reward_pairs_accuracy", "reward_pairs_low", "reward_pairs_high")
DIFFERENCE = ("difference", "difference_low", "difference_high")
OVER_GOLD = ("over_gold", "over_gold_low", "over_gold_high")
SCORES = ("reward", "score")
OVER_EQUAL = ("over_independent", "over_independent_low", "over_independent_high")

JUDGE_KEYS = ("task", "judge", "kind")
POLICY_FACTS = ("policy", "transform", "strength_kind", "strength")
POLICY_KEYS = (*JUDGE_KEYS, "procedure", *POLICY_FACTS)
POLICY_KEY_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(POLICY_KEYS[:-1], pl.String),
    "strength": pl.Float64,
}
PROMPT_JUDGES_SCHEMA = {
    **POLICY_KEY_SCHEMA,
    "prompt_id": pl.String,
    **dict.fromkeys(("kl", "win_rate"), pl.Float64),
}
JUDGE_STRENGTH_SCHEMA = {
    **dict.fromkeys(JUDGE_KEYS, pl.String),
    "n_parameters": pl.Int64,
    **dict.fromkeys((*ACCURACY, *REWARD_PAIRS), pl.Float64),
    **dict.fromkeys(("procedure", "a", "b"), pl.String),
    **dict.fromkeys(("kl", *DIFFERENCE, *OVER_GOLD), pl.Float64),
}
JUDGE_POLICIES_SCHEMA = {
    **POLICY_KEY_SCHEMA,
    **dict.fromkeys(("kl", *RATE, *OVER_GOLD, *OVER_EQUAL), pl.Float64),
}


def judge_kind(judge: str) -> str:
    """Say what a judge learnt from: independent pairs, those of the reward model, or nothing (gold).

    Examples
    --------
    >>> judge_kind("2x"), judge_kind("leaked")
    ('independent', 'leaked')
    """
    return judge if judge in (LEAKED, REWARD_MODEL, GOLD) else "independent"


def task_judgements(
    config: Config, task: str, tables: Mapping[str, pl.DataFrame], judged: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    """Compute `prompt_judgements` of a task's compared policies, with the column `gold` of the tables as a judge.

    The procedures are none and that of the task's goal.
    """
    gold = pl.concat(
        table.select(pl.lit(name).alias("policy"), "prompt_id", "sample_id", score="gold")
        for name, table in tables.items()
    )
    policies = pl.DataFrame([policy.row() for policy in compared_policies(config, task)])
    procedures = list(dict.fromkeys(["none", config.goals[task].procedure]))
    return prompt_judgements(task, policies, tables, {GOLD: gold, **judged}, procedures)


def prompt_judgements(
    task: str,
    policies: pl.DataFrame,
    tables: Mapping[str, pl.DataFrame],
    judged: Mapping[str, pl.DataFrame],
    procedures: Sequence[str],
) -> pl.DataFrame:
    """Win rate of each policy under each judge, by prompt; the reward selects.

    Parameters
    ----------
    policies : DataFrame
        Columns POLICY_FACTS of those compared.
    tables : mapping of str to DataFrame
        Scored responses of each policy and of `reference`: prompt_id, sample_id, reward, of policies kl.
    judged : mapping of str to DataFrame
        Judge to its scores: policy, prompt_id, sample_id, score. A judge with a null score is left out.

    Returns
    -------
    DataFrame
        Columns PROMPT_JUDGES_SCHEMA.
    """
    parts = []
    for judge, scores in judged.items():
        if scores["score"].null_count():
            continue
        sides = {name: _by_prompt(table, scores.filter(policy=name)) for name, table in tables.items()}
        for policy, procedure in product(policies.iter_rows(named=True), procedures):
            ours = sides[policy["policy"]]
            pairs = ours.join(sides[REFERENCE], on="prompt_id", suffix="_reference", maintain_order="left")
            rewards, scored = ([pairs[f"{name}{side}"].to_list() for side in ("", "_reference")] for name in SCORES)
            rates = win_rate_by_prompt(rewards[0], scored[0], rewards[1], scored[1], procedure)
            keys = {"task": task, "judge": judge, "kind": judge_kind(judge), "procedure": procedure}
            keys |= {name: policy[name] for name in POLICY_FACTS}
            rows = ours.select("prompt_id", kl=pl.col("kl").list.mean(), win_rate=pl.Series(rates))
            parts.append(rows.with_columns(**{name: pl.lit(value) for name, value in keys.items()}))
    whole = pl.concat([part.select(*PROMPT_JUDGES_SCHEMA) for part in parts])
    return whole.select(pl.col(name).cast(kind) for name, kind in PROMPT_JUDGES_SCHEMA.items())


def _by_prompt(table: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """One row a prompt, with lists of the responses' rewards, scores and KLs."""
    keys = ["prompt_id", "sample_id"]
    rows = table.join(scores.select(*keys, "score"), on=keys, how="inner", validate="1:1").sort(keys)
    return rows.group_by("prompt_id", maintain_order=True).agg(*SCORES, "^kl$")


def strength_table(
    by_prompt: pl.DataFrame,
    outcomes: Mapping[tuple[str, str], pl.DataFrame],
    sizes: Mapping[tuple[str, str], int],
    transforms: Mapping[str, str],
    *,
    bootstrap: Bootstrap,
) -> pl.DataFrame:
    """Accuracy of every judge, and the main comparison as it decides it.

    Parameters
    ----------
    by_prompt : DataFrame
        From `prompt_judgements`, of all tasks.
    outcomes : mapping of (str, str) to DataFrame
        (task, judge) to the pairs that it ordered: split, prompt, right.
    sizes : mapping of (str, str) to int
        (task, judge) to its number of parameters.
    transforms : mapping of str to str
        Task to the transform that is compared with the raw reward.

    Returns
    -------
    DataFrame
        Columns JUDGE_STRENGTH_SCHEMA, a row per task, judge and procedure. `difference` is that of the transform's win
        rate and the raw reward's at MATCHED_KL. It is null where one of them has no policies on both sides of the
        KL. `over_gold` is the difference less that by the gold reward, paired by prompt, null where there is none.
    """
    rows = []
    for (task, judge, procedure), part in by_prompt.group_by("task", "judge", "procedure", maintain_order=True):
        row = {"task": task, "judge": judge, "kind": judge_kind(judge), "procedure": procedure}
        row |= {"n_parameters": sizes.get((task, judge)), "a": transforms[task], "b": "raw", "kl": MATCHED_KL}
        row |= _accuracies(outcomes.get((task, judge)), bootstrap)
        gold = by_prompt.filter(pl.lit(judge != GOLD), task=task, judge=GOLD, procedure=procedure)
        rows.append(row | _differences(part, gold, transforms[task], bootstrap))
    return pl.DataFrame(rows, schema=JUDGE_STRENGTH_SCHEMA)


def _accuracies(outcomes: pl.DataFrame | None, bootstrap: Bootstrap) -> dict[str, float | None]:
    """Share of pairs ordered right: held out for all, and those that the reward model learnt from."""
    columns: dict[str, float | None] = {}
    if outcomes is None:
        return columns
    for names, split in ((ACCURACY, "judge_test"), (REWARD_PAIRS, "reward_train")):
        totals = outcomes.filter(split=split).group_by("prompt", maintain_order=True)
        sums = totals.agg(pl.col("right").sum(), size=pl.len())
        columns |= interval_columns(names, bootstrap_ratio(sums["right"], sums["size"], *bootstrap))
    return columns


def _differences(
    rows: pl.DataFrame, gold: pl.DataFrame, transform: str, bootstrap: Bootstrap
) -> dict[str, float | None]:
    meant, raw = (judged_curve(rows, name) for name in (transform, "raw"))
    if not (reaches(meant, MATCHED_KL) and reaches(raw, MATCHED_KL)):
        return {}
    options = (MATCHED_KL, *bootstrap)
    columns = interval_columns(DIFFERENCE, difference_at_kl(meant, raw, *options))
    if gold.is_empty():
        return columns
    above = _less(meant, judged_curve(gold, transform)), _less(raw, judged_curve(gold, "raw"))
    return columns | interval_columns(OVER_GOLD, difference_at_kl(above[0], above[1], *options))


def judged_curve(rows: pl.DataFrame, transform: str) -> Curve:
    """Arrange the policies of a transform, under one judge and procedure, as a curve."""
    of_transform = rows.filter(transform=transform)
    policies = of_transform.select("policy", "strength_kind", "strength").unique(maintain_order=True)
    return strength_curve(of_transform.drop("strength_kind", "strength"), policies, f"on {transform}")


def _less(curve: Curve, other: Curve) -> Curve:
    """One half plus the difference of two curves of the same policies, whose KLs are alike."""
    return Curve(kl=curve.kl, win_rate=0.5 + curve.win_rate - other.win_rate)


def policy_table(by_prompt: pl.DataFrame, *, bootstrap: Bootstrap) -> pl.DataFrame:
    """Win rate of every policy under every judge, and by how much it is above others' verdicts.

    `by_prompt` is that of `prompt_judgements`, of all tasks.

    Returns
    -------
    DataFrame
        Columns JUDGE_POLICIES_SCHEMA. `over_gold` is the win rate less that by the gold reward, `over_independent` less
        that by the judge of the reward model's size that learnt from pairs of its own, both paired by prompt.
    """
    others = {
        names: by_prompt.filter(judge=judge).partition_by("task", "procedure", "policy", as_dict=True)
        for names, judge in ((OVER_GOLD, GOLD), (OVER_EQUAL, EQUAL))
    }
    rows = []
    for key, part in by_prompt.group_by(POLICY_KEYS, maintain_order=True):
        row: dict[str, Any] = {**dict(zip(POLICY_KEYS, key, strict=True)), "kl": part["kl"].mean()}
        row |= interval_columns(RATE, bootstrap_mean(part["win_rate"], *bootstrap))
        for names, parts in others.items():
            other = parts.get((row["task"], row["procedure"], row["policy"]))
            if other is not None and other["judge"][0] != row["judge"]:
                gap = paired_difference(part["win_rate"], other["win_rate"], *bootstrap)
                row |= interval_columns(names, gap)
        rows.append(row)
    return pl.DataFrame(rows, schema=JUDGE_POLICIES_SCHEMA)
