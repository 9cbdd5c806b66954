"""Targets of BOND and J-BOND: what a response is worth against samples of the anchor."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from infalign.alignment.batches import check_rewards
from infalign.errors import InputError

WORST_REWARD = -math.log(16)  # of J-BOND


def log_density_of_best(below: ArrayLike, equal: ArrayLike, n_samples: int, n: int) -> NDArray[np.float64]:
    """Log of how much likelier best-of-n makes a response, from anchor samples that do not hold it.

    The response counts as one more sample, tied with itself: F⁻ = below / (M + 1) and
    F = (below + equal + 1) / (M + 1). So no logarithm of 0 is taken, as in the transform `log`. For n = 2 the
    value is log 2 + log of the mid-rank (F⁻ + F) / 2: ties count half. Strict counts would be biased where
    responses repeat.

    Parameters
    ----------
    below, equal : array-like, shape (rows,)
        How many of the M = n_samples samples have a lower and an equal reward.

    Returns
    -------
    ndarray, shape (rows,)
        log((F^n − F⁻^n)/(F − F⁻)), between (n − 1)·log(1 / (M + 1)) and log n.

    Examples
    --------
    >>> np.exp(log_density_of_best([0, 1], [1, 0], 3, 2)).round(6).tolist()  # 2/4 + 0, and 1/4 + 2/4
    [0.5, 0.75]
    """
    lower = np.asarray(below, dtype=float) / (n_samples + 1)
    upper = lower + (np.asarray(equal, dtype=float) + 1) / (n_samples + 1)
    return n * np.log(upper) + np.log1p(-((lower / upper) ** n)) - np.log(upper - lower)


@dataclass(frozen=True)
class BestOfAnchor:
    """Objective of BOND: the best of n_each responses of an anchor, known by M samples of every prompt.

    Parameters
    ----------
    responses : sequence of sequences of list of int
        Tokens of the M samples of each prompt of `prompt_ids`.
    rewards : ndarray, shape (prompts, M)
        Of the samples, finite.
    beta : float
        Weight of the KL to the anchor; at 1 the objective is minus the backward divergence.
    """

    prompt_ids: Sequence[str]
    responses: Sequence[Sequence[list[int]]]
    rewards: NDArray[np.float64]
    n_each: int
    beta: float = 1.0

    def values(
        self, prompt_ids: Sequence[str], rewards: np.ndarray, reference_log_probs: np.ndarray | None = None
    ) -> np.ndarray:
        """Log density of best-of-n_each at fresh responses, shape (n,); see `log_density_of_best`."""
        places = {prompt_id: row for row, prompt_id in enumerate(self.prompt_ids)}
        samples = self.rewards[[places[prompt_id] for prompt_id in prompt_ids]]
        below = (samples < rewards[:, None]).sum(axis=1)
        equal = (samples == rewards[:, None]).sum(axis=1)
        return log_density_of_best(below, equal, samples.shape[1], self.n_each)

    def draw(self, rows: NDArray[np.int64], rng: np.random.Generator) -> list[list[int]]:
        """Draw n_each samples of each of these prompts without replacement and take the best; ties at random."""
        candidates = rng.random((len(rows), self.rewards.shape[1])).argsort(axis=1)[:, : self.n_each]
        winners = self.rewards[rows[:, None], candidates].argmax(axis=1)
        best = candidates[np.arange(len(rows)), winners]
        return [list(self.responses[row][place]) for row, place in zip(rows, best, strict=True)]

    @property
    def fingerprint(self) -> str:
        """Hash of the samples."""
        digest = hashlib.sha256(repr([self.n_each, list(self.prompt_ids)]).encode())
        digest.update(self.rewards.tobytes() + repr(self.responses).encode())
        return digest.hexdigest()


def build_best_of_anchor(scores: pl.DataFrame, prompts: pl.DataFrame, n_each: int, step: int = 0) -> BestOfAnchor:
    """Make BOND's objective from the anchor's scored responses to the training prompts.

    Parameters
    ----------
    scores : polars.DataFrame
        Columns prompt_id, sample_id, reward, tokens; further prompts are left out.
    step : int
        Update that messages name.

    Raises
    ------
    InputError
        A prompt without responses, unequal numbers, fewer than n_each, or a reward that is not finite.
    """
    ids = prompts["prompt_id"].to_list()
    groups = scores.sort("sample_id").group_by("prompt_id").agg("reward", "tokens")
    rewards = dict(groups.select("prompt_id", "reward").iter_rows())
    tokens = dict(groups.select("prompt_id", "tokens").iter_rows())
    counts = sorted({len(rewards.get(prompt_id, [])) for prompt_id in ids})
    if counts[0] != counts[-1] or counts[0] < n_each:
        raise InputError(
            f"best-of-{n_each} distillation needs the same number of anchor responses to every training "
            f"prompt and at least {n_each}, got from {counts[0]} to {counts[-1]}; roll out all training "
            "prompts, or more responses"
        )
    table = np.array([rewards[prompt_id] for prompt_id in ids], dtype=float)
    check_rewards(table.ravel(), np.repeat(ids, table.shape[1]).tolist(), step)
    return BestOfAnchor(ids, [tokens[prompt_id] for prompt_id in ids], table, n_each)


@dataclass(frozen=True)
class WorseThanBoth:
    """Objective of J-BOND: −log 16 for a response worse than both anchor responses of its prompt, else 0.

    A response at quantile u of a continuous reward is worse than both with probability (1 − u)², so it
    earns −log 16·(1 − u)² on average: log u at u = ½ and at u = 1, close to it between. `worse`, shape (rows,), is
    the lower of the two anchor rewards for each response of the batch.
    """

    worse: NDArray[np.float64]
    beta: float = 1.0
    fingerprint: str = "worse than both of two anchor responses: -log 16"

    def values(
        self, prompt_ids: Sequence[str], rewards: np.ndarray, reference_log_probs: np.ndarray | None = None
    ) -> np.ndarray:
        """Rewards of the batch, shape (rows,); a response that equals the worse of the two is not worse.

        Examples
        --------
        >>> WorseThanBoth(np.array([1.0, 1.0])).values(["a", "a"], np.array([1.0, 0.5])).round(3).tolist()
        [0.0, -2.773]
        """
        return np.where(rewards < self.worse, WORST_REWARD, 0.0)
