"""How far reward scores are from calibrated: errors of fixed maps and of the quantile map."""

from __future__ import annotations

import numpy as np
import polars as pl

from infalign.errors import InputError
from infalign.mathematics.calibration import calibration_errors, mid_ranks, sigmoid_scores

FIXED_MAPS = ("identity", "square root", "square", "cube")
MAPS = (*FIXED_MAPS, "quantile")


def sigmoid_table(scores: pl.DataFrame) -> pl.DataFrame:
    """Tabulate reward scores in (0, 1) and the rank that each should equal.

    Parameters
    ----------
    scores : DataFrame
        Reference rollouts, columns prompt_id and reward; as many for each prompt.

    Returns
    -------
    DataFrame
        Columns prompt_id, score (sigmoid of the reward less the mean reward of all prompts) and rank (mid-rank
        among the prompt's rollouts, in (0, 1)); prompts in order of first appearance.

    Raises
    ------
    InputError
        Prompts with different numbers of rollouts, or rewards that are not finite.

    Examples
    --------
    >>> table = sigmoid_table(pl.DataFrame({"prompt_id": ["a", "a"], "reward": [-1.0, 1.0]}))
    >>> table["rank"].to_list()
    [0.25, 0.75]
    """
    rewards = _stacked_rewards(scores)
    prompts = scores["prompt_id"].unique(maintain_order=True).to_numpy()
    return pl.DataFrame(
        {
            "prompt_id": np.repeat(prompts, rewards.shape[1]),
            "score": sigmoid_scores(rewards, float(rewards.mean())).ravel(),
            "rank": mid_ranks(rewards).ravel(),
        }
    )


def errors_by_map(scores: pl.DataFrame, *, seed: int) -> dict[str, np.ndarray]:
    """Measure the absolute error |mapped score - rank| of every response and map.

    The fixed maps are measured on all rollouts. The quantile map is measured out of sample: a random half of
    each prompt's rollouts makes the table, the error is that of the other half against its own mid-ranks.

    Parameters
    ----------
    scores : DataFrame
        Reference rollouts, columns prompt_id and reward; as many for each prompt, at least 4.
    seed : int
        Draws the halves.

    Returns
    -------
    dict of str to ndarray
        For each of MAPS shape (P, K), for the quantile map (P, K - K // 2), in [0, 1].

    Raises
    ------
    InputError
        Prompts with fewer than 4, or with different numbers of rollouts.

    References
    ----------
    Balashankar et al. 2025, InfAlign, section 6.2, figure 2 right.
    """
    rewards = _stacked_rewards(scores)
    if rewards.shape[1] < 4:
        raise InputError(
            f"calibration error: {rewards.shape[1]} rollouts a prompt; at least 4 are needed, half for "
            "the table and half to measure; sample more rollouts"
        )
    offset = float(rewards.mean())
    shuffled = np.random.default_rng(seed).permuted(rewards, axis=1)
    table, measured = np.split(shuffled, [rewards.shape[1] // 2], axis=1)
    errors = calibration_errors(rewards, rewards, offset)
    return errors | {"quantile": calibration_errors(measured, table, offset)["quantile"]}


def _stacked_rewards(scores: pl.DataFrame) -> np.ndarray:
    """Rewards as (prompts, rollouts), prompts in order of first appearance."""
    groups = scores.group_by("prompt_id", maintain_order=True).agg("reward")["reward"].to_list()
    sizes = sorted(map(len, groups))
    if sizes[0] != sizes[-1]:
        raise InputError(
            f"calibration error: every prompt needs the same number of rollouts, got from {sizes[0]} to {sizes[-1]}"
        )
    return np.array(groups, dtype=float)
