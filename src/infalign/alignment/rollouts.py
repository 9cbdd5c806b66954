"""Scored reference rollouts as arrays, one row a prompt."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from infalign.errors import InputError
from infalign.mathematics.checks import finite_array


def rollouts_by_prompt(scores: pl.DataFrame, *columns: str) -> tuple[list[str], list[NDArray[np.float64]]]:
    """Sort scored rollouts by prompt_id and sample_id; the prompt_ids, and an array (prompts, K) of each column.

    Raises
    ------
    InputError
        No rows, unequal numbers of rollouts, or a number that is not finite.

    Examples
    --------
    >>> table = pl.DataFrame({"prompt_id": ["b", "a"], "sample_id": [0, 0], "reward": [3, 2]})
    >>> prompt_ids, (rewards,) = rollouts_by_prompt(table, "reward")
    >>> prompt_ids, rewards.tolist()
    (['a', 'b'], [[2.0], [3.0]])
    """
    if scores.is_empty():
        raise InputError("the reference scores have no rows; score the rollouts of the training prompts first")
    table = scores.select("prompt_id", "sample_id", *columns).sort("prompt_id", "sample_id")
    sizes = table.group_by("prompt_id", maintain_order=True).len()
    counts = sorted(set(sizes["len"].to_list()))
    if len(counts) > 1:
        raise InputError(
            f"every prompt needs the same number of reference rollouts, got from {counts[0]} to {counts[-1]}"
        )
    prompt_ids = sizes["prompt_id"].to_list()
    arrays = [np.array(table[name], dtype=float).reshape(-1, counts[0]) for name in columns]
    for name, array in zip(columns, arrays, strict=True):
        for prompt_id, row in zip(prompt_ids, array, strict=True):
            finite_array(row, f"{name} of {prompt_id}")
    return prompt_ids, arrays


def check_n_rollouts(n_rollouts: int | None, available: int) -> None:
    """Raise InputError unless every prompt has so many rollouts; None: all are used."""
    if n_rollouts is not None and not 1 <= n_rollouts <= available:
        raise InputError(
            f"n_rollouts must be from 1 to {available} (rollouts of a prompt), got {n_rollouts}; "
            "lower it or roll out more"
        )
