"""Pairs of responses and what three kinds of judge say of them: language model, trained judge and gold reward."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import polars as pl

from infalign.errors import InputError
from infalign.mathematics.procedures import parse_procedure
from infalign.mathematics.statistics import (
    UNDEFINED,
    Interval,
    bootstrap_mean,
    bootstrap_ratio,
    paired_difference,
)
from infalign.records.block import settings_json, short_hash
from infalign.records.config import Config, Evaluation, task_folder
from infalign.records.policy import Policy
from infalign.records.sweep import policies
from infalign.studies.language_judge.block import LanguageJudge, procedures_of
from infalign.studies.language_judge.mathematics import bootstrap_kappa

LANGUAGE_MODEL = "language_model"
JUDGES = (LANGUAGE_MODEL, "judge", "gold")
ORDERS = ("policy_first", "reference_first")
VALUES = {"win": 1.0, "tie": 0.5, "loss": 0.0}  # for the policy; an unparsed reply has no value
VERDICTS = (*VALUES, "unparsed")
CASE = ("task", "policy", "procedure")
PAIR = (*CASE, "prompt_id", "pair")
READ = (*PAIR, "scorer", "order", "verdict")  # what a reader of judgements needs
PICKED = ("sample_id", "response", "reward", "judge", "gold", "n_tokens")

JUDGEMENT_SCHEMA = {
    **dict.fromkeys((*CASE, "prompt_id"), pl.String),
    **dict.fromkeys(("pair", "sample_id", "reference_sample_id"), pl.Int64),
    **dict.fromkeys(("scorer", "order", "question", "reply", "finish", "verdict"), pl.String),
}
VERDICT_SCHEMA = {
    **dict.fromkeys(CASE, pl.String),
    **dict.fromkeys(("n_prompts", "n_replies", *VERDICTS), pl.Int64),
    **dict.fromkeys(
        ("unparsed_share", "unparsed_low", "unparsed_high", "first_share", "first_low", "first_high"),
        pl.Float64,
    ),
    **dict.fromkeys(("lowest_win_rate", "highest_win_rate"), pl.Float64),
}
AGREEMENT_SCHEMA = {
    **dict.fromkeys(("task", "procedure", "policy", "scorer_a", "scorer_b"), pl.String),
    **dict.fromkeys(("n_prompts", "n_pairs"), pl.Int64),
    **dict.fromkeys(("agreement", "kappa", "kappa_low", "kappa_high"), pl.Float64),
    **dict.fromkeys(("win_rate_a", "win_rate_b"), pl.Float64),
    **dict.fromkeys(("difference", "difference_low", "difference_high"), pl.Float64),
}


def trained_judge_folder(judge: LanguageJudge, config: Config) -> str:
    """Name the folder of the judge that a run trains, below `results/judges/`: a hash of all that it learns."""
    assert judge.trained is not None
    tasks = [task_folder(config, name) for name in judge.tasks or config.tasks]
    measures = json.dumps(judge.principles, sort_keys=True)
    return f"trained-{short_hash(settings_json(judge.trained), judge.prompt, measures, *tasks)}"


def judged_policies(judge: LanguageJudge, config: Config) -> list[Policy]:
    """List the policies whose responses the language model compares with the reference's, in the run's order.

    Raises
    ------
    InputError
        `judge.policies` names one that the run does not train on the judged tasks.
    """
    available = [policy for policy in policies(config) if policy.task in (judge.tasks or config.tasks)]
    names = list(dict.fromkeys(policy.slug for policy in available))
    unknown = [name for name in judge.policies or [] if name not in names]
    if unknown:
        raise InputError(
            f"judge.policies: {', '.join(unknown)} not among the policies of the judged tasks, which are "
            f"{', '.join(names)}; correct the name or remove it"
        )
    return [policy for policy in available if judge.policies is None or policy.slug in judge.policies]


def judged_cases(judge: LanguageJudge, config: Config) -> Iterator[tuple[Policy, str]]:
    """Yield every judged policy with each procedure through which it is judged."""
    for policy in judged_policies(judge, config):
        for procedure in procedures_of(judge, config.goals[policy.task].procedure):
            yield policy, procedure


def response_pairs(
    scores: pl.DataFrame, reference: pl.DataFrame, procedure: str, n_pairs: int, n_prompts: int | None = None
) -> pl.DataFrame:
    """Pick pairs of responses, one of a policy and one of the reference, each through the procedure.

    A pair's two sides come from groups of the procedure's n samples; no sample is in two groups. The group's
    response of the highest reward is picked (won: of the lowest; the first of equal ones); without a procedure
    a group is one sample.

    Parameters
    ----------
    scores, reference : scored responses to the same prompts: prompt_id and the columns PICKED.
    procedure : none, bon(n) or won(n).
    n_pairs : to a prompt; n_pairs · n samples of each side are used, the first by sample_id.
    n_prompts : the first ones in the order of their ids; default: all.

    Returns
    -------
    A row a pair: prompt_id, pair, the columns PICKED of the policy's response, and those of the reference's with
    the prefix `reference_`.

    Raises
    ------
    InputError
        The two tables have different prompts, or a prompt has too few samples.
    """
    ours, theirs = (_picked(frame, procedure, n_pairs) for frame in (scores, reference))
    if not ours.select("prompt_id", "pair").equals(theirs.select("prompt_id", "pair")):
        raise InputError("judge: the policy's samples and the reference rollouts have different prompts")
    both = ours.hstack(theirs.select(pl.col(PICKED).name.prefix("reference_")))
    return both if n_prompts is None else both.head(n_prompts * n_pairs)


def _picked(scores: pl.DataFrame, procedure: str, n_pairs: int) -> pl.DataFrame:
    """The response picked from each group of samples, ordered by prompt_id and pair."""
    parsed = parse_procedure(procedure)
    size = parsed.n or 1
    ordered = scores.sort("prompt_id", "sample_id").select("prompt_id", *PICKED)
    few = ordered.group_by("prompt_id").len().filter(pl.col("len") < size * n_pairs)
    if not few.is_empty():
        raise InputError(
            f"judge: {n_pairs} pairs through {procedure} take {size * n_pairs} responses a prompt, prompt "
            f"{few['prompt_id'][0]!r} has {few['len'][0]}; lower judge.n_pairs"
        )
    place = pl.int_range(pl.len()).over("prompt_id")
    groups = ordered.with_columns(pair=place // size).filter(pl.col("pair") < n_pairs)
    best = groups.sort(
        "prompt_id", "pair", "reward", descending=[False, False, parsed.name != "won"], maintain_order=True
    )
    return best.group_by("prompt_id", "pair", maintain_order=True).first()


def trained_verdicts(pairs: pl.DataFrame, case: Mapping[str, str]) -> pl.DataFrame:
    """What the trained judge and, where there is one, the gold reward say of pairs of responses.

    Parameters
    ----------
    pairs : from `response_pairs`.
    case : task, policy and procedure.

    Returns
    -------
    Columns JUDGEMENT_SCHEMA, a row per pair and scorer; order, question, reply and finish are null.
    """
    scorers = [name for name in ("judge", "gold") if not pairs[name].null_count()]
    parts = []
    for name in scorers:
        lead = pl.col(name) - pl.col(f"reference_{name}")
        verdict = (
            pl.when(lead > 0).then(pl.lit("win")).when(lead < 0).then(pl.lit("loss")).otherwise(pl.lit("tie"))
        )
        parts.append(pairs.with_columns(scorer=pl.lit(name), verdict=verdict))
    rows = pl.concat(parts).with_columns(pl.lit(value).alias(name) for name, value in case.items())
    absent = [pl.lit(None, pl.String).alias(name) for name in ("order", "question", "reply", "finish")]
    return rows.with_columns(absent).select(
        pl.col(name).cast(kind) for name, kind in JUDGEMENT_SCHEMA.items()
    )


def pair_values(judgements: pl.DataFrame) -> pl.DataFrame:
    """What each judge makes of each pair: 1 the policy's response, 0 the reference's, one half a tie.

    The language model's is the mean of its two orders, so it is one half too where it prefers the place and not
    the response; a pair with an unparsed reply in either order has none.

    Parameters
    ----------
    judgements : columns JUDGEMENT_SCHEMA.

    Returns
    -------
    The columns PAIR, `scorer` and `value` (null: none), sorted.
    """
    value = pl.col("verdict").replace_strict(VALUES, default=None, return_dtype=pl.Float64)
    read = pl.when(pl.col("verdict") == "unparsed").then(None).otherwise(value)
    grouped = judgements.with_columns(value=read).group_by(*PAIR, "scorer")
    whole = pl.when(pl.col("value").null_count() == 0).then(pl.col("value").mean())
    return grouped.agg(value=whole).sort(*PAIR, "scorer")


def judged_metrics(
    judgements: pl.DataFrame,
    facts: Mapping[str, Any],
    scores: pl.DataFrame,
    reference: pl.DataFrame,
    evaluation: Evaluation,
) -> tuple[list[dict], list[dict]]:
    """Win rates of one policy under the language model, as rows of the metrics and of those by prompt.

    Parameters
    ----------
    judgements : those of the policy, columns JUDGEMENT_SCHEMA.
    facts : a row of the policy's metrics under the same condition, for what does not depend on the judge.
    scores, reference : the tables that the pairs were picked from.
    evaluation : level, resamples and seed of the intervals.

    Returns
    -------
    A row per procedure, and a row per procedure and prompt. A prompt's win rate is the mean over its pairs with two
    parsed replies; a prompt without any is left out, and KL and means are of the other prompts. All is null where none
    is left.
    """
    language = judgements.filter(scorer=LANGUAGE_MODEL)
    rows, prompt_rows = [], []
    for (procedure,), part in language.group_by("procedure", maintain_order=True):
        pairs = (
            pair_values(part)
            .drop_nulls("value")
            .join(part.select(*PAIR, "sample_id", "reference_sample_id").unique(), on=PAIR)
        )
        prompts = _by_prompt(pairs, scores, reference)
        key = {"procedure": procedure, "select": "reward", "scorer": LANGUAGE_MODEL}
        shares = dict.fromkeys(("share_of_limit", "share_of_offline"))
        sizes = {"n": parse_procedure(procedure).n}
        rows.append({**facts, **key, **sizes, **shares, **_summary(prompts, evaluation)})
        named = {name: facts[name] for name in ("task", "policy", "temperature", "split")}
        columns = ("prompt_id", "win_rate", "kl", "reward_gain")
        prompt_rows += [{**named, **key, **row} for row in prompts.select(columns).iter_rows(named=True)]
    return rows, prompt_rows


def _by_prompt(pairs: pl.DataFrame, scores: pl.DataFrame, reference: pl.DataFrame) -> pl.DataFrame:
    """Win rate, KL, gain in reward and means of the picked responses of each prompt, sorted by prompt_id."""
    key = ["prompt_id", "sample_id"]
    means = {"mean_reward": "reward", "mean_judge": "judge", "mean_length": "n_tokens"}
    ours = scores.select(pl.col(key[0]), pl.col(key[1]).cast(pl.Int64), pl.col(means.values()))
    theirs = reference.select(
        "prompt_id",
        pl.col("sample_id").cast(pl.Int64).alias("reference_sample_id"),
        reference_reward="reward",
    )
    joined = pairs.join(ours, on=key).join(theirs, on=["prompt_id", "reference_sample_id"])
    by_prompt = joined.group_by("prompt_id").agg(
        win_rate=pl.col("value").mean(),
        reward_gain=(pl.col("reward") - pl.col("reference_reward")).mean(),
        **{name: pl.col(column).mean() for name, column in means.items()},
    )
    kl = scores.group_by("prompt_id").agg(pl.col("kl").mean())
    return by_prompt.join(kl, on="prompt_id").sort("prompt_id")


def _summary(prompts: pl.DataFrame, evaluation: Evaluation) -> dict[str, Any]:
    """Means over prompts, win rate and KL with their intervals."""
    means = {name: prompts[name].mean() for name in ("mean_reward", "mean_judge", "mean_length")}
    rate, kl = (_interval(prompts[name].to_numpy(), evaluation) for name in ("win_rate", "kl"))
    return {
        **means,
        **_columns(("win_rate", "ci_low", "ci_high"), rate),
        **_columns(("kl", "kl_low", "kl_high"), kl),
        "n_prompts": prompts.height,
    }


def verdict_table(judgements: pl.DataFrame, evaluation: Evaluation) -> pl.DataFrame:
    """Count the language model's verdicts on each policy under each procedure.

    Parameters
    ----------
    judgements : columns JUDGEMENT_SCHEMA.
    evaluation : level, resamples and seed of the intervals.

    Returns
    -------
    Columns VERDICT_SCHEMA. Verdicts are the policy's, one a reply. `unparsed_share` is of all replies; `first_share`
    is the share of replies for a response, no tie, that are for the one shown first: one half without a preference for
    a place. `lowest_win_rate` and `highest_win_rate` count every unparsed reply as lost and as won.
    """
    rows = []
    language = judgements.filter(scorer=LANGUAGE_MODEL)
    for case, part in language.group_by(CASE, maintain_order=True):
        first = pl.when(pl.col("order") == ORDERS[0]).then(pl.lit("win")).otherwise(pl.lit("loss"))
        marked = part.with_columns(
            unparsed=pl.col("verdict") == "unparsed",
            decided=pl.col("verdict").is_in(["win", "loss"]),
            first=pl.col("verdict") == first,
        )
        counts = {name: int((part["verdict"] == name).sum()) for name in VERDICTS}
        certain = counts["win"] + 0.5 * counts["tie"]
        found = _shares("unparsed", marked, evaluation) | _shares(
            "first", marked.filter("decided"), evaluation
        )
        bounds = {
            "lowest_win_rate": certain / part.height,
            "highest_win_rate": (certain + counts["unparsed"]) / part.height,
        }
        sizes = {"n_prompts": part["prompt_id"].n_unique(), "n_replies": part.height}
        rows.append({**dict(zip(CASE, case, strict=True)), **sizes, **counts, **found, **bounds})
    return pl.DataFrame(rows, schema=VERDICT_SCHEMA)


def _shares(name: str, frame: pl.DataFrame, evaluation: Evaluation) -> dict[str, float | None]:
    """Share of rows in which a column is true, with its interval; prompts are resampled with all their rows."""
    found = Interval(UNDEFINED, UNDEFINED, UNDEFINED)
    if not frame.is_empty():
        prompts = frame.group_by("prompt_id").agg(pl.col(name).sum(), pl.len()).sort("prompt_id")
        options = evaluation.level, evaluation.resamples, evaluation.seed
        found = bootstrap_ratio(prompts[name].to_numpy(), prompts["len"].to_numpy(), *options)
    return _columns((f"{name}_share", f"{name}_low", f"{name}_high"), found)


def agreement_table(judgements: pl.DataFrame, evaluation: Evaluation) -> pl.DataFrame:
    """Compare the judges with one another, two at a time, on the pairs that all of them judged.

    Parameters
    ----------
    judgements : columns JUDGEMENT_SCHEMA.
    evaluation : level, resamples and seed of the intervals.

    Returns
    -------
    Columns AGREEMENT_SCHEMA: for each task and procedure all policies together (policy null), then each. A verdict
    on a pair is win, tie or loss, the language model's a tie where its two orders do not add up to either. `agreement`
    is the share of pairs of one verdict, `kappa` Cohen's, `difference` the win rate by scorer_a less that by scorer_b.
    What is undefined is null.
    """
    rows = []
    for (task, procedure), part in judgements.group_by("task", "procedure", maintain_order=True):
        values = pair_values(part).pivot("scorer", index=PAIR, values="value")
        present = [name for name in JUDGES if name in values.columns]
        whole = values.drop_nulls(present)
        names = part["policy"].unique(maintain_order=True)
        for policy, pair in product([None, *names], combinations(present, 2)):
            chosen = whole if policy is None else whole.filter(policy=policy)
            key = {"task": task, "procedure": procedure, "policy": policy}
            key |= dict(zip(("scorer_a", "scorer_b"), pair, strict=True))
            rows.append({**key, **_agreement(chosen, pair, evaluation)})
    return pl.DataFrame(rows, schema=AGREEMENT_SCHEMA)


def _agreement(pairs: pl.DataFrame, scorers: tuple[str, str], evaluation: Evaluation) -> dict:
    """Kappa and difference in win rate of two judges on the same pairs."""
    sizes = {"n_prompts": pairs["prompt_id"].n_unique(), "n_pairs": pairs.height}
    if pairs.is_empty():
        return sizes
    options = evaluation.level, evaluation.resamples, evaluation.seed
    tables = _verdict_tables(pairs, scorers)
    means = pairs.group_by("prompt_id").agg(pl.col(scorers).mean()).sort("prompt_id")
    a, b = (means[name].to_numpy() for name in scorers)
    total = tables.sum(axis=0)
    return {
        **sizes,
        "agreement": float(np.trace(total) / total.sum()),
        **_columns(("kappa", "kappa_low", "kappa_high"), bootstrap_kappa(tables, *options)),
        "win_rate_a": float(a.mean()),
        "win_rate_b": float(b.mean()),
        **_columns(("difference", "difference_low", "difference_high"), paired_difference(a, b, *options)),
    }


def _verdict_tables(pairs: pl.DataFrame, scorers: tuple[str, str]) -> np.ndarray:
    """Of each prompt how often the first judge gave a verdict and the second another; shape (P, 3, 3)."""
    prompts = np.unique(pairs["prompt_id"].to_numpy(), return_inverse=True)[1]
    codes = [np.sign(pairs[name].to_numpy() - 0.5).astype(int) + 1 for name in scorers]
    tables = np.zeros((prompts.max() + 1, 3, 3))
    np.add.at(tables, (prompts, *codes), 1.0)
    return tables


def _interval(values: np.ndarray, evaluation: Evaluation) -> Interval:
    if not len(values):
        return Interval(UNDEFINED, UNDEFINED, UNDEFINED)
    return bootstrap_mean(values, evaluation.level, evaluation.resamples, evaluation.seed)


def _columns(names: Sequence[str], interval: Interval) -> dict[str, float | None]:
    values = (interval.estimate, interval.low, interval.high)
    return {
        name: float(value) if np.isfinite(value) else None for name, value in zip(names, values, strict=True)
    }
