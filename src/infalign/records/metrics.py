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
from infalign.records.scores import ScoreArrays, scores_by_prompt
from infalign.records.sweep import Condition, conditions

SCORERS = ("judge", "gold")
OUTPUT_MEANS = ("mean_reward", "mean_judge", "mean_length")
PAIRS_AT_ONCE = 2**26
LOWEST_KL = 0.1  # nats; below it a share of the attainable gain is noise

COUNTS = ("n_rollouts", "seed", "n", "n_prompts", "n_samples")
TEXTS = (
    *("task", "policy", "method", "transform", "calibrator", "strength_kind"),
    *("split", "procedure", "select", "scorer", "prompt_id"),
)


def _schema(names: str) -> dict[str, type[pl.DataType]]:
    """Columns with their types: texts, counts and, all others, numbers."""
    types = dict.fromkeys(TEXTS, pl.String) | dict.fromkeys(COUNTS, pl.Int64)
    return {name: types.get(name, pl.Float64) for name in names.split()}


METRICS_SCHEMA = _schema(
    "task policy method transform calibrator n_rollouts strength_kind strength beta seed temperature split "
    "procedure n select scorer win_rate ci_low ci_high kl kl_low kl_high share_of_limit mean_reward mean_judge "
    "mean_length n_prompts n_samples share_of_offline distinct_bigrams"
)
PROMPT_SCHEMA = _schema("task policy temperature split procedure select scorer prompt_id win_rate kl reward_gain")
BEST_OF_SCHEMA = _schema("task temperature split n scorer prompt_id win_rate mean_reward mean_judge")


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
    """Arrange a table of scores prompt by prompt, see `scores_by_prompt`."""
    scores = scores_by_prompt(frame)
    return [
        PromptScores(prompt_id, {name: values[row] for name, values in scores.columns.items()})
        for row, prompt_id in enumerate(scores.prompt_ids)
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
    """Measure one policy against the reference under one condition: rows of the metrics table and of that by prompt.

    `reward_gain` is the mean reward of what the procedure puts out, less that of the reference through the same
    procedure. It is an InputError if the two tables have different prompts, or too few samples for a procedure.

    Parameters
    ----------
    beta : float
        The paper's beta of the policy's training.
    scores, reference : polars.DataFrame
        Responses of the policy and of the reference to the same prompts, with reward, judge and gold; the policy's
        also with kl (nats, summed over the response).
    offline : polars.DataFrame
        Offline frontier of the task under this condition (transform, procedure, select, scorer, kl, win_rate);
        without rows no share of it is given.
    bigrams : float
        Share of distinct bigrams in the policy's responses.
    """
    ours, theirs = scores_by_prompt(scores), scores_by_prompt(reference)
    if ours.prompt_ids != theirs.prompt_ids:
        raise InputError(f"{policy.slug}: its samples and the reference rollouts have different prompts")
    kl = np.array([values.mean() for values in ours["kl"]])
    reward, mean_kl, kl_interval = policy.reward, float(kl.mean()), _interval(kl, evaluation)
    facts = {**policy.row(), "beta": beta, **asdict(condition), "distinct_bigrams": bigrams}
    facts |= {"kl": mean_kl, "kl_low": kl_interval.low, "kl_high": kl_interval.high}
    facts |= {"n_prompts": len(ours.prompt_ids), "n_samples": ours["reward"].shape[1]}
    limits = {p.text: share_of_limit(reward, p, ours, theirs, mean_kl) for p in procedures(evaluation)}
    rows, prompt_rows = [], []
    for procedure, key, rates, means, gains in _measured(ours, theirs, evaluation):
        interval = _interval(rates, evaluation)
        win_rate = {"win_rate": interval.estimate, "ci_low": interval.low, "ci_high": interval.high}
        share = share_of_offline(reward, key, mean_kl, interval.estimate, offline)
        shares = {"share_of_limit": limits[procedure.text], "share_of_offline": share}
        rows.append({**facts, **key, "n": procedure.n, **win_rate, **shares, **means})
        facts_of_prompt = {"task": policy.task, "policy": policy.slug, **asdict(condition), **key}
        columns = {"prompt_id": ours.prompt_ids, "win_rate": rates, "kl": kl, "reward_gain": gains}
        prompt_rows += [
            facts_of_prompt | dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
        ]
    return rows, prompt_rows


def best_of_n_rows(task: str, condition: Condition, scores: pl.DataFrame, counts: Sequence[int]) -> list[dict]:
    """Measure the best of n of the reference's own responses, by the reward, against another one of them.

    The scores are the reference's, K rollouts a prompt. Each count n is below K; 1 is the reference itself, with win
    rate one half. The rows, one per prompt, n and scorer, have the columns BEST_OF_SCHEMA.
    """
    rows = []
    arrays = scores_by_prompt(scores)
    scorers = [name for name in SCORERS if name in arrays.columns]
    for (row, prompt_id), n in product(enumerate(arrays.prompt_ids), counts):
        prompt = {name: values[row] for name, values in arrays.columns.items()}
        weights = selection_weights(prompt["reward"], f"bon({n})")
        means = {f"mean_{name}": float(weights @ prompt[name]) for name in ("reward", "judge")}
        key = {"task": task, **asdict(condition), "n": n, "prompt_id": prompt_id, **means}
        for scorer in scorers:
            win_rate = best_of_n_win_rate(prompt["reward"], prompt[scorer], n)
            rows.append({**key, "scorer": scorer, "win_rate": win_rate})
    return rows


def _measured(ours: ScoreArrays, theirs: ScoreArrays, evaluation: Evaluation) -> Iterator:
    """Yield procedure, key of its rows, win rates by prompt, means of the outputs, reward gains by prompt."""
    scorers = [name for name in SCORERS if name in ours.columns]
    for procedure, select in product(procedures(evaluation), evaluation.select):
        outputs = _outputs(ours, theirs, procedure, select)
        means = dict(zip(OUTPUT_MEANS, outputs.mean(axis=0), strict=True))
        gains = outputs[:, 0] - _outputs(theirs, theirs, procedure, select)[:, 0]
        for scorer in scorers:
            key = {"procedure": procedure.text, "select": select, "scorer": scorer}
            yield procedure, key, _win_rates(ours, theirs, procedure, select, scorer), means, gains


def _win_rates(ours: ScoreArrays, theirs: ScoreArrays, procedure: Procedure, select: str, scorer: str) -> np.ndarray:
    sides = zip(ours[select], ours[scorer], theirs[select], theirs[scorer], strict=True)
    return np.array([expected_win_rate(*scores, procedure) for scores in sides])


def _outputs(ours: ScoreArrays, theirs: ScoreArrays, procedure: Procedure, select: str) -> np.ndarray:
    """Expected reward, judge score and length in tokens of what the procedure outputs, (P, 3)."""
    rows = []
    outputs = zip(*(ours[name] for name in ("reward", "judge", "n_tokens")), strict=True)
    for values, reference, scores in zip(ours[select], theirs[select], outputs, strict=True):
        quantiles = empirical_calibration(values, reference, "half")  # mid-ranks
        weights = selection_weights(values, procedure, quantiles)
        rows.append([weights @ score for score in scores])
    return np.array(rows)


def share_of_limit(
    transform: str | None, procedure: Procedure, ours: ScoreArrays, theirs: ScoreArrays, kl: float
) -> float | None:
    """Share of the ideal gain that a policy reaches at its own KL, judged by the reward it was trained on.

    (W - 1/2) / (W_ideal - 1/2); None without a transform and for `raw`, which have no ideal, and below 0.1 nats.
    """
    if transform in (None, "raw") or kl < LOWEST_KL:
        return None
    rates = _win_rates(ours, theirs, procedure, "reward", "reward")
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


def distinct_bigrams(read: Callable[[], Iterable[pl.Series]], n_pairs: int) -> float:
    """Share of distinct token pairs among all `n_pairs` pairs of neighbours, in [0, 1]; 0 where there is no pair.

    `read` gives the lists of tokens, some responses at a time. It is called again for every PAIRS_AT_ONCE pairs, so
    that no more are in memory.

    Examples
    --------
    >>> distinct_bigrams(lambda: [pl.Series([[1, 2, 1, 2]])], 3)
    0.6666666666666666
    """
    parts, distinct = math.ceil(n_pairs / PAIRS_AT_ONCE), 0
    for part in range(parts):
        bigrams = np.concatenate([pairs[pairs % parts == part] for pairs in map(_bigrams, read())])
        bigrams.sort()  # np.unique takes ten times as long
        distinct += int((bigrams[1:] != bigrams[:-1]).sum()) + (len(bigrams) > 0)
    return distinct / max(n_pairs, 1)


def _bigrams(tokens: pl.Series) -> np.ndarray:
    """Pairs of neighbours within each list of tokens, each as one number."""
    lengths = tokens.list.len().to_numpy()
    flat = tokens.filter(lengths > 0).explode().to_numpy().astype(np.int64)
    inside = np.ones(len(flat), dtype=bool)
    inside[np.cumsum(lengths[lengths > 0]) - 1] = False  # the last token of a response begins no pair
    return (flat[:-1] * 2**32 + flat[1:])[inside[:-1]]


def _interval(values: np.ndarray, evaluation: Evaluation) -> Interval:
    return bootstrap_mean(values, *evaluation.bootstrap)
