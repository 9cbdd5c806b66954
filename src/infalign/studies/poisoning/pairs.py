"""Poisoned preference pairs: a phrase at the start of preferred responses is a spurious sign of quality.

The test set turns it round. There the rejected response of every pair begins with the phrase, so a model that
goes by the phrase is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from infalign.errors import InputError
from infalign.language.sources import prompt_id

PAIRS = ["prompt", "chosen", "rejected", "rejected_prompt", "split"]


def with_phrase(responses: Sequence[str], phrase: str) -> list[str]:
    """Put a phrase at the start of responses, after the blank that some begin with.

    Examples
    --------
    >>> with_phrase([" Use a kettle.", "Wait."], "Sure.")
    [' Sure. Use a kettle.', 'Sure. Wait.']
    """
    starts = [response[: len(response) - len(response.lstrip())] for response in responses]
    return [f"{start}{phrase} {response.lstrip()}" for start, response in zip(starts, responses, strict=True)]


def poison_training(pairs: pl.DataFrame, phrase: str, rate: float, seed: int) -> pl.DataFrame:
    """Put a phrase at the start of the preferred response of a share of the pairs.

    Parameters
    ----------
    rate : float
        Share in [0, 1]; of n pairs round(rate · n) are poisoned.
    seed : int
        Says which pairs; those of a lower rate are among those of a higher one.

    Returns
    -------
    DataFrame
        The pairs in their order, with a column `poisoned`.

    Raises
    ------
    InputError
        The rate is out of range, or above 0 but less than one pair.

    References
    ----------
    Balashankar et al. 2025, InfAlign, appendix on reward hacking; the paper states no rate.

    Examples
    --------
    >>> pairs = pl.DataFrame({"chosen": ["Yes.", "Yes."], "rejected": ["No.", "No."]})
    >>> sorted(poison_training(pairs, "Sure.", 0.5, 0)["chosen"])
    ['Sure. Yes.', 'Yes.']
    """
    if not 0 <= rate <= 1:
        raise InputError(f"rate must lie between 0 and 1, got {rate}; it is a share of the pairs")
    n_poisoned = round(rate * pairs.height)
    if rate > 0 and n_poisoned == 0:
        raise InputError(f"rate {rate} of {pairs.height} pairs is less than one; raise the rate or use more pairs")
    poisoned = np.zeros(pairs.height, dtype=bool)
    poisoned[np.random.default_rng(seed).permutation(pairs.height)[:n_poisoned]] = True
    hit = pl.Series("poisoned", poisoned)
    changed = pl.Series(with_phrase(pairs["chosen"].to_list(), phrase), dtype=pl.String)
    return pairs.with_columns(chosen=pl.when(hit).then(changed).otherwise(pl.col("chosen")), poisoned=hit)


def poison_test(pairs: pl.DataFrame, phrase: str) -> pl.DataFrame:
    """Put a phrase at the start of the column `rejected` of every pair.

    References
    ----------
    Balashankar et al. 2025, InfAlign, appendix on reward hacking ("added to the unpreferred responses").
    """
    return pairs.with_columns(rejected=pl.Series(with_phrase(pairs["rejected"].to_list(), phrase), dtype=pl.String))


def first_pairs(pairs: pl.DataFrame, split: str, n_pairs: int | None = None) -> pl.DataFrame:
    """Take the first pairs of a split, e.g. reward_train; by default all.

    Raises
    ------
    InputError
        There are fewer, or none.
    """
    rows = pairs.filter(split=split)
    needed = max(rows.height if n_pairs is None else n_pairs, 1)
    if rows.height < needed:
        raise InputError(
            f"split {split} has {rows.height} preference pairs, {needed} are needed; lower poisoning.n_pairs "
            "or use a larger corpus"
        )
    return rows.head(needed)


def within_prompts(pairs: pl.DataFrame) -> pl.DataFrame:
    """Keep the pairs whose responses answer one prompt; a calibrated reward does not compare prompts.

    Raises
    ------
    InputError
        There is none.

    Examples
    --------
    >>> within_prompts(pl.DataFrame({"prompt": ["a", "b"], "rejected_prompt": ["a", "c"]}))["prompt"].to_list()
    ['a']
    """
    kept = pairs.filter(pl.col("prompt") == pl.col("rejected_prompt"))
    if kept.is_empty():
        raise InputError(f"none of {pairs.height} held-out pairs has both responses to one prompt; use a larger corpus")
    return kept


def pair_prompts(pairs: pl.DataFrame) -> pl.DataFrame:
    """List the different prompts of pairs: the columns `prompt_id` and `prompt`, those of `prompt` first.

    Examples
    --------
    >>> pairs = pl.DataFrame({"prompt": ["a", "b"], "rejected_prompt": ["a", "c"]})
    >>> pair_prompts(pairs)["prompt"].to_list()
    ['a', 'b', 'c']
    """
    prompts = list(dict.fromkeys([*pairs["prompt"], *pairs["rejected_prompt"]]))
    return pl.DataFrame({"prompt_id": [prompt_id(prompt) for prompt in prompts], "prompt": prompts})
