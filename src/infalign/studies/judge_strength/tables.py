"""How verdicts change with the judge: its size, and whether it learnt from the reward model's own pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from infalign.mathematics.statistics import (
    Curve,
    Interval,
    bootstrap_mean,
    bootstrap_ratio,
    difference_at_kl,
    paired_difference,
)
from infalign.mathematics.winrate import win_rate_by_prompt
from infalign.presentation.curves import Resampling, reaches, strength_curve
from infalign.studies.judge_strength.sizes import GOLD, LEAKED, REFERENCE, REWARD_MODEL

EQUAL = "1x"  # the judge of the reward model's size, against which the leaked one is measured
MATCHED_KL = 0.5
KINDS = {LEAKED: LEAKED, REWARD_MODEL: REWARD_MODEL, GOLD: GOLD}  # all others are independent

PROMPT_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(
        ("task", "judge", "kind", "procedure", "policy", "transform", "strength_kind"), pl.String
    ),
    "strength": pl.Float64,
    "prompt_id": pl.String,
    "kl": pl.Float64,
    "win_rate": pl.Float64,
}
RATIO = ("accuracy", "accuracy_low", "accuracy_high")
KNOWN = ("reward_pairs_accuracy", "reward_pairs_low", "reward_pairs_high")
GAP = ("difference", "difference_low", "difference_high")
OVER_GOLD = ("over_gold", "over_gold_low", "over_gold_high")
OVER_EQUAL = ("over_independent", "over_independent_low", "over_independent_high")
RATE = ("win_rate", "ci_low", "ci_high")
STRENGTH_SCHEMA = {
    **dict.fromkeys(("task", "judge", "kind"), pl.String),
    "n_parameters": pl.Int64,
    **dict.fromkeys((*RATIO, *KNOWN), pl.Float64),
    **dict.fromkeys(("procedure", "a", "b"), pl.String),
    "kl": pl.Float64,
    **dict.fromkeys((*GAP, *OVER_GOLD), pl.Float64),
}
POLICY_SCHEMA = {
    **dict.fromkeys(
        ("task", "judge", "kind", "procedure", "policy", "transform", "strength_kind"), pl.String
    ),
    **dict.fromkeys(("strength", "kl", *RATE, *OVER_GOLD, *OVER_EQUAL), pl.Float64),
}


def judge_kind(judge: str) -> str:
    """Say what a judge learnt from: independent pairs, or those of the reward model, or nothing (gold).

    Examples
    --------
    >>> judge_kind("2x"), judge_kind("leaked")
    ('independent', 'leaked')
    """
    return KINDS.get(judge, "independent")


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
    task : its name.
    policies : policy, transform, strength_kind, strength of those compared.
    tables : scored responses of each policy and of `reference`: prompt_id, sample_id, reward, of policies kl.
    judged : judge to its scores: policy, prompt_id, sample_id, score; null scores leave the judge out.
    procedures : text forms.

    Returns
    -------
    Columns PROMPT_SCHEMA.
    """
    parts = []
    for judge, scores in judged.items():
        if scores["score"].null_count():
            continue
        sides = {name: _by_prompt(table, scores.filter(policy=name)) for name, table in tables.items()}
        for facts, procedure in product(policies.iter_rows(named=True), procedures):
            ours = sides[facts["policy"]]
            joined = ours.join(sides[REFERENCE], on="prompt_id", suffix="_reference", maintain_order="left")
            columns = [
                joined[name].to_list() for name in ("reward", "score", "reward_reference", "score_reference")
            ]
            rates = win_rate_by_prompt(columns[0], columns[1], columns[2], columns[3], procedure)
            keys = {"task": task, "judge": judge, "kind": judge_kind(judge), "procedure": procedure}
            keys |= {name: facts[name] for name in ("policy", "transform", "strength_kind", "strength")}
            rows = ours.select("prompt_id", kl=pl.col("kl").list.mean(), win_rate=pl.Series(rates))
            parts.append(rows.with_columns(**{name: pl.lit(value) for name, value in keys.items()}))
    whole = pl.concat([part.select(*PROMPT_SCHEMA) for part in parts])
    return whole.select(pl.col(name).cast(kind) for name, kind in PROMPT_SCHEMA.items())


def _by_prompt(table: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """One row a prompt, with lists of the responses' rewards, scores and KLs."""
    keys = ["prompt_id", "sample_id"]
    rows = table.join(scores.select(*keys, "score"), on=keys, how="inner", validate="1:1").sort(keys)
    return rows.group_by("prompt_id", maintain_order=True).agg("reward", "score", "^kl$")


def strength_table(
    by_prompt: pl.DataFrame,
    outcomes: Mapping[tuple[str, str], pl.DataFrame],
    sizes: Mapping[tuple[str, str], int],
    goals: Mapping[str, str],
    *,
    kl: float = MATCHED_KL,
    resampling: Resampling,
) -> pl.DataFrame:
    """Accuracy of every judge, and the main comparison as it decides it.

    Parameters
    ----------
    by_prompt : from `prompt_judgements`, of all tasks.
    outcomes : (task, judge) to the pairs that it ordered: split, prompt, right.
    sizes : (task, judge) to its number of parameters.
    goals : task to the transform that is compared with the raw reward.
    kl : in nats, at which they are compared; null where a series has no policies on both sides.
    resampling : of prompts.

    Returns
    -------
    Columns STRENGTH_SCHEMA, a row per task, judge and procedure. `over_gold` is the difference less that by the gold
    reward, paired by prompt, null where there is none.
    """
    rows = []
    for (task, judge, procedure), part in by_prompt.group_by(
        "task", "judge", "procedure", maintain_order=True
    ):
        facts = {"task": task, "judge": judge, "kind": judge_kind(judge), "procedure": procedure, "kl": kl}
        facts |= {"n_parameters": sizes.get((task, judge)), "a": goals[task], "b": "raw"}
        facts |= _accuracies(outcomes.get((task, judge)), resampling)
        gold = by_prompt.filter(pl.lit(judge != GOLD), task=task, judge=GOLD, procedure=procedure)
        rows.append(facts | _differences(part, gold, goals[task], kl, resampling))
    return pl.DataFrame(rows, schema=STRENGTH_SCHEMA)


def _accuracies(outcomes: pl.DataFrame | None, resampling: Resampling) -> dict[str, float | None]:
    """Share of pairs ordered right: held out for all, and those that the reward model learnt from."""
    found: dict[str, float | None] = {}
    if outcomes is None:
        return found
    for names, split in ((RATIO, "judge_test"), (KNOWN, "reward_train")):
        totals = outcomes.filter(split=split).group_by("prompt", maintain_order=True)
        sums = totals.agg(pl.col("right").sum(), size=pl.len())
        found |= _named(names, bootstrap_ratio(sums["right"], sums["size"], *_options(resampling)))
    return found


def _differences(
    rows: pl.DataFrame, gold: pl.DataFrame, transform: str, kl: float, resampling: Resampling
) -> dict[str, float | None]:
    meant, raw = (judged_curve(rows, name) for name in (transform, "raw"))
    if not (reaches(meant, kl) and reaches(raw, kl)):
        return {}
    found = _named(GAP, difference_at_kl(meant, raw, kl, *_options(resampling)))
    if gold.is_empty():
        return found
    over_meant, over_raw = less(meant, judged_curve(gold, transform)), less(raw, judged_curve(gold, "raw"))
    return found | _named(OVER_GOLD, difference_at_kl(over_meant, over_raw, kl, *_options(resampling)))


def judged_curve(rows: pl.DataFrame, transform: str) -> Curve:
    """Arrange the policies of a transform, under one judge and procedure, as a curve."""
    own = rows.filter(transform=transform)
    policies = own.select("policy", "strength_kind", "strength").unique(maintain_order=True)
    return strength_curve(own.drop("strength_kind", "strength"), policies, f"on {transform}")


def less(curve: Curve, other: Curve) -> Curve:
    """One half plus the difference of two curves of the same policies, whose KLs are alike."""
    return Curve(kl=curve.kl, win_rate=0.5 + curve.win_rate - other.win_rate)


def policy_table(by_prompt: pl.DataFrame, *, resampling: Resampling) -> pl.DataFrame:
    """Win rate of every policy under every judge, and by how much it is above others' verdicts.

    Parameters
    ----------
    by_prompt : from `prompt_judgements`.
    resampling : of prompts.

    Returns
    -------
    Columns POLICY_SCHEMA. `over_gold` is the win rate less that by the gold reward, `over_independent` less that by
    the judge of the reward model's size that learnt from pairs of its own, both paired by prompt.
    """
    keys = [name for name in POLICY_SCHEMA if name in PROMPT_SCHEMA and name not in ("kl", "win_rate")]
    others = {
        names: by_prompt.filter(judge=judge).partition_by("task", "procedure", "policy", as_dict=True)
        for names, judge in ((OVER_GOLD, GOLD), (OVER_EQUAL, EQUAL))
    }
    rows = []
    for key, part in by_prompt.group_by(keys, maintain_order=True):
        facts = dict(zip(keys, key, strict=True))
        found = _named(RATE, bootstrap_mean(part["win_rate"], *_options(resampling)))
        for names, parts in others.items():
            other = parts.get((facts["task"], facts["procedure"], facts["policy"]))
            if other is not None and other["judge"][0] != facts["judge"]:
                gap = paired_difference(part["win_rate"], other["win_rate"], *_options(resampling))
                found |= _named(names, gap)
        rows.append({**facts, "kl": part["kl"].mean(), **found})
    return pl.DataFrame(rows, schema=POLICY_SCHEMA)


def _options(resampling: Resampling) -> tuple[float, int, int]:
    return resampling.level, resampling.resamples, resampling.seed


def _named(names: Sequence[str], interval: Interval) -> dict[str, float | None]:
    values = (interval.estimate, interval.low, interval.high)
    return {name: value if np.isfinite(value) else None for name, value in zip(names, values, strict=True)}
