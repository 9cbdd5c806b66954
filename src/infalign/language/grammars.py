"""What the grammars of the embedded corpora share: groups of prompts, and pairs with noisy preferences."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import polars as pl

from infalign.errors import InputError
from infalign.language.corpora import PAIR_COLUMNS, text_table
from infalign.records.corpus import EmbeddedCorpus

# Of a prompt's id; the draws of responses depend on the id, so all results would change with it.
ID_DIGITS = 12
# Of all prompts.
SHARES = {"demonstrations": 0.45, "evaluation": 0.05, "reward_train": 0.2, "reward_test": 0.05}
SHARES |= {"judge_train": 0.2, "judge_test": 0.05}

Side = tuple[str, str]  # a prompt and a response
Pair = tuple[str, str, str, str]  # prompt, chosen, rejected, and the prompt of the rejected one


def split_by_use(n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Cut the numbers 0 … n - 1, shuffled, into the groups of `SHARES`."""
    ends = (np.cumsum(list(SHARES.values())) * n).round().astype(int)
    return dict(zip(SHARES, np.split(rng.permutation(n), ends[:-1]), strict=True))


def check_enough_prompts(split: str, n: int, most: int) -> None:
    """Raise InputError if a split shall have more prompts than the grammar writes for it."""
    if n > most:
        key = f"corpus.n_{split.removesuffix('_out')}_prompts"
        raise InputError(f"{key} must be at most {most}, got {n}; lower it")


def pairs_table(
    write: Callable[[np.ndarray, int, np.random.Generator], Iterable[Pair]],
    groups: dict[str, np.ndarray],
    sizes: EmbeddedCorpus,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Write the pairs of the reward model and of the judge.

    `write` makes pairs from the numbers of a group, how many, and a generator of the split's own: the size of one
    split leaves the others as they are.
    """
    counts = {"train": sizes.n_pairs, "test": sizes.n_test_pairs}
    splits = [(f"{model}_{part}", n) for model in ("reward", "judge") for part, n in counts.items()]
    children = rng.spawn(len(splits))
    rows = [
        (*pair, split)
        for (split, n), child in zip(splits, children, strict=True)
        for pair in write(groups[split], n, child)
    ]
    return text_table([*PAIR_COLUMNS], rows)


def prefer(first: Side, second: Side, margin: float, rng: np.random.Generator) -> Pair:
    """Draw a Bradley-Terry preference; the first is chosen with probability sigmoid(margin)."""
    if rng.random() >= 1 / (1 + math.exp(-margin)):
        first, second = second, first
    return (*first, second[1], second[0])
