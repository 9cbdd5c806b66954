"""What the scored samples say of each policy: win rates under every procedure, divergence, their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from itertools import product

import numpy as np
import polars as pl

from infalign.errors import InputError
from infalign.mathematics.calibration import empirical_calibration
from infalign.mathematics.frontier import ideal
from infalign.mathematics.procedures import Procedure, parse_procedure
from infalign.mathematics.statistics import Interval, bootstrap_mean
from infalign.mathematics.winrate import best_of_n_win_rate, expected_win_rate, selection_weights
from infalign.records.config import Config, Evaluation
from infalign.records.policy import Policy
from infalign.records.sweep import Condition, conditions

SCORERS = ("judge", "gold")
OUTPUT_MEANS = ("mean_reward", "mean_judge", "mean_length")
PAIRS_AT_ONCE = 2**26
LOWEST_KL = 0.1  # nats; below it a share of the attainable gain is noise

METRICS_SCHEMA = {
    "task": pl.String,
    "policy": pl.String,
    "method": pl.String,
    "transform": pl.String,
    "calibrator": pl.String,
    "n_rollouts": pl.Int64,
    "strength_kind": pl.String,
    "strength": pl.Float64,
    "beta": pl.Float64,
    "seed": pl.Int64,
    "temperature": pl.Float64,
    "split": pl.String,
    "procedure": pl.String,
    "n": pl.Int64,
    "select": pl.String,
    "scorer": pl.String,
    "win_rate": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "kl": pl.Float64,
    "kl_low": pl.Float64,
    "kl_high": pl.Float64,
    "share_of_limit": pl.Float64,
    "mean_reward": pl.Float64,
    "mean_judge": pl.Float64,
    "mean_length": pl.Float64,
    "n_prompts": pl.Int64,
    "n_samples": pl.Int64,
    "share_of_offline": pl.Float64,
    "distinct_bigrams": pl.Float64,
}
PROMPT_SCHEMA = {
    "task": pl.String,
    "policy": pl.String,
    "temperature": pl.Float64,
    "split": pl.String,
    "procedure": pl.String,
    "select": pl.String,
    "scorer": pl.String,
    "prompt_id": pl.String,
    "win_rate": pl.Float64,
    "kl": pl.Float64,
    "reward_gain": pl.Float64,
}
BEST_OF_SCHEMA = {
    "task": pl.String,
    "temperature": pl.Float64,
    "split": pl.String,
    "n": pl.Int64,
    "scorer": pl.String,
    "prompt_id": pl.String,
    "win_rate": pl.Float64,
    "mean_reward": pl.Float64,
    "mean_judge": pl.Float64,
}


@dataclass(frozen=True)
class PromptScores:
    """Scores of one prompt's responses, each (samples,)."""

    prompt_id: str
    columns: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]


def procedures(evaluation: Evaluation) -> list[Procedure]:
    """List what is evaluated: none, best-of-N and worst-of-N for each N, and the further ones."""
    texts = ["none", *(f"{name}({n})" for name in ("bon", "won") for n in evaluation.n)]
    return [parse_procedure(text) for text in dict.fromkeys([*texts, *evaluation.procedures])]


def group_scores(frame: pl.DataFrame) -> list[PromptScores]:
    """Arrange a table of scores by prompt, ordered by prompt_id; columns without values are left out."""
    names = ["reward", "judge", "gold", "kl", "n_tokens"]
    names = [n for n in names if n in frame.columns and frame[n].null_count() < frame.height]
    groups = frame.sort("prompt_id", "sample_id").group_by("prompt_id", maintain_order=True).agg(names)
    return [
        PromptScores(row["prompt_id"], {name: np.asarray(row[name], dtype=float) for name in names})
        for row in groups.iter_rows(named=True)
    ]


def main_condition(frame: pl.DataFrame, config: Config) -> pl.DataFrame:
    """Keep a table's rows of each task's main condition: the first split and temperature of its `samples`."""
    main = [(name, *astuple(conditions(task)[0])) for name, task in config.tasks.items()]
    rows = pl.DataFrame(main, schema=["task", "split", "temperature"], orient="row")
    return frame.join(rows, on=rows.columns, how="semi")


def policy_metrics(
    policy: Policy,
    beta: float,
    condition: Condition,
    scores: pl.DataFrame,
    reference: pl.DataFrame,
    evaluation: Evaluation,
    offline: pl.DataFrame,
    bigrams: float,
) -> tuple[list[dict], list[dict]]:
    """Measure one policy against the reference under one condition.

    Parameters
    ----------
    policy : what it was trained for.
    beta : the paper's beta of its training.
    condition : split and temperature of both tables of responses.
    scores : responses of the policy with reward, judge, gold and kl (nats, summed over the response).
    reference : reference rollouts on the same prompts with reward, judge and gold.
    evaluation : procedures, selectors, interval level, resamples and seed.
    offline : offline frontier of the task under this condition (transform, procedure, select, scorer, kl,
        win_rate); without rows no share of it is given.
    bigrams : share of distinct bigrams in the policy's responses.

    Returns
    -------
    rows of the metrics table, rows of the table by prompt. There `reward_gain` is the mean reward of what
    the procedure puts out, less that of the reference through the same procedure.

    Raises
    ------
    InputError
        The two tables have different prompts, or fewer samples than a procedure needs.
    """
    ours, theirs = group_scores(scores), group_scores(reference)
    if [prompt.prompt_id for prompt in ours] != [prompt.prompt_id for prompt in theirs]:
        raise InputError(f"{policy.slug}: its samples and the reference rollouts have different prompts")
    kl = np.array([prompt["kl"].mean() for prompt in ours])
    facts = {
        **policy.row(),
        "beta": beta,
        **asdict(condition),
        **_divergence(kl, evaluation),
        "n_prompts": len(ours),
        "n_samples": len(ours[0]["reward"]),
        "distinct_bigrams": bigrams,
    }
    limits = {
        p.text: share_of_limit(policy.reward, p, ours, theirs, float(kl.mean()))
        for p in procedures(evaluation)
    }
    rows, prompt_rows = [], []
    for procedure, select, scorer, rates, means, gains in _measured(ours, theirs, evaluation):
        interval = _interval(rates, evaluation)
        key = {"procedure": procedure.text, "select": select, "scorer": scorer}
        gain = {"win_rate": interval.estimate, "ci_low": interval.low, "ci_high": interval.high}
        shares = {
            "share_of_limit": limits[procedure.text],
            "share_of_offline": share_of_offline(
                policy.reward, key, float(kl.mean()), interval.estimate, offline
            ),
        }
        rows.append({**facts, **key, "n": procedure.n, **gain, **shares, **means})
        prompt_rows += [
            {
                "task": policy.task,
                "policy": policy.slug,
                **asdict(condition),
                **key,
                "prompt_id": p.prompt_id,
                "win_rate": w,
                "kl": k,
                "reward_gain": g,
            }
            for p, w, k, g in zip(ours, rates, kl, gains, strict=True)
        ]
    return rows, prompt_rows


def best_of_n_rows(
    task: str, condition: Condition, scores: pl.DataFrame, counts: Sequence[int]
) -> list[dict]:
    """Measure the best of n of the reference's own responses, by the reward, against another one of them.

    Parameters
    ----------
    task, condition : whose responses they are.
    scores : reference rollouts with reward, judge and gold, K a prompt.
    counts : n, each below K; 1 is the reference itself, with win rate one half.

    Returns
    -------
    Rows of a table with the columns BEST_OF_SCHEMA: a row per n, scorer and prompt.
    """
    rows = []
    for prompt, n in product(group_scores(scores), counts):
        weights = selection_weights(prompt["reward"], f"bon({n})")
        means = {f"mean_{name}": float(weights @ prompt[name]) for name in ("reward", "judge")}
        key = {"task": task, **asdict(condition), "n": n, "prompt_id": prompt.prompt_id}
        rows += [
            {
                **key,
                **means,
                "scorer": scorer,
                "win_rate": best_of_n_win_rate(prompt["reward"], prompt[scorer], n),
            }
            for scorer in SCORERS
            if scorer in prompt.columns
        ]
    return rows


def _measured(
    ours: Sequence[PromptScores], theirs: Sequence[PromptScores], evaluation: Evaluation
) -> Iterator:
    """Yield procedure, selector, scorer, win rates by prompt, means of the outputs, reward gains by prompt."""
    scorers = [name for name in SCORERS if name in ours[0].columns]
    for procedure in procedures(evaluation):
        for select in evaluation.select:
            outputs = _outputs(ours, theirs, procedure, select)
            means = dict(zip(OUTPUT_MEANS, outputs.mean(axis=0), strict=True))
            gains = outputs[:, 0] - _outputs(theirs, theirs, procedure, select)[:, 0]
            for scorer in scorers:
                rates = [
                    _win_rate(a, b, procedure, select, scorer) for a, b in zip(ours, theirs, strict=True)
                ]
                yield procedure, select, scorer, np.array(rates), means, gains


def _win_rate(
    ours: PromptScores, theirs: PromptScores, procedure: Procedure, select: str, scorer: str
) -> float:
    return expected_win_rate(ours[select], ours[scorer], theirs[select], theirs[scorer], procedure)


def _outputs(ours, theirs, procedure: Procedure, select: str) -> np.ndarray:
    """Expected reward, judge score and length in tokens of what the procedure outputs, (P, 3)."""
    rows = []
    for prompt, reference in zip(ours, theirs, strict=True):
        quantiles = reference_quantiles(prompt[select], reference[select])
        weights = selection_weights(prompt[select], procedure, quantiles)
        rows.append([weights @ prompt[name] for name in ("reward", "judge", "n_tokens")])
    return np.array(rows)


def share_of_limit(
    transform: str | None,
    procedure: Procedure,
    ours: Sequence[PromptScores],
    theirs: Sequence[PromptScores],
    kl: float,
) -> float | None:
    """Share of the ideal gain that a policy reaches at its own KL, judged by the reward it was trained on.

    Returns
    -------
    (W - 1/2) / (W_ideal - 1/2); None without a transform and for `raw`, which have no ideal, and below
    0.1 nats.
    """
    if transform in (None, "raw") or kl < LOWEST_KL:
        return None
    rates = [_win_rate(a, b, procedure, "reward", "reward") for a, b in zip(ours, theirs, strict=True)]
    limit = ideal(transform, procedure.text, kl=kl).win_rate
    return float((np.mean(rates) - 0.5) / (limit - 0.5))


def share_of_offline(
    transform: str | None, key: dict[str, str], kl: float, win_rate: float, offline: pl.DataFrame
) -> float | None:
    """Share of the offline frontier's gain that a policy reaches at its own KL, by the same scorer.

    The frontier is interpolated linearly in the root of KL; None without a transform, below 0.1 nats or
    beyond its last point.
    """
    if transform is None:
        return None
    curve = offline.filter(transform=transform, **key).sort("kl")
    if curve.is_empty() or kl < LOWEST_KL or kl > curve["kl"][-1]:
        return None
    roots = np.sqrt(np.concatenate([[0.0], curve["kl"].to_numpy()]))
    rates = np.concatenate([[0.5], curve["win_rate"].to_numpy()])
    return float((win_rate - 0.5) / (np.interp(np.sqrt(kl), roots, rates) - 0.5))


def reference_quantiles(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Mid-ranks of values, shape (m,), among reference values, shape (K,); in [0, 1]."""
    return empirical_calibration(values, reference, "half")


def distinct_bigrams(read: Callable[[], Iterable[pl.Series]], n_pairs: int) -> float:
    """Share of distinct token pairs among all pairs of neighbours, in [0, 1]; 0 where there is no pair.

    Parameters
    ----------
    read : the lists of tokens of the responses, some responses at a time; called again for every PAIRS_AT_ONCE pairs,
        of which no more are in memory.
    n_pairs : how many pairs there are.

    Examples
    --------
    >>> distinct_bigrams(lambda: [pl.Series([[1, 2, 1, 2]])], 3)
    0.6666666666666666
    """
    parts, distinct = math.ceil(n_pairs / PAIRS_AT_ONCE), 0
    for part in range(parts):
        found = np.concatenate([pairs[pairs % parts == part] for pairs in map(_bigrams, read())])
        found.sort()  # np.unique takes ten times as long
        distinct += int((found[1:] != found[:-1]).sum()) + (len(found) > 0)
    return distinct / max(n_pairs, 1)


def _bigrams(tokens: pl.Series) -> np.ndarray:
    """Pairs of neighbours within each list of tokens, each as one number."""
    lengths = tokens.list.len().to_numpy()
    flat = tokens.filter(lengths > 0).explode().to_numpy().astype(np.int64)
    inside = np.ones(len(flat), dtype=bool)
    inside[np.cumsum(lengths[lengths > 0]) - 1] = False  # the last token of a response begins no pair
    return (flat[:-1] * 2**32 + flat[1:])[inside[:-1]]


def _interval(values: np.ndarray, evaluation: Evaluation) -> Interval:
    return bootstrap_mean(values, evaluation.level, evaluation.resamples, evaluation.seed)


def _divergence(kl: np.ndarray, evaluation: Evaluation) -> dict[str, float]:
    interval = _interval(kl, evaluation)
    return {"kl": float(kl.mean()), "kl_low": interval.low, "kl_high": interval.high}
