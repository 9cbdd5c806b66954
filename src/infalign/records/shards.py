"""Sets of responses made in shards: the prompts of each, the names of their files, and the table they make together.

A set named `train` that is made in two shards is at `train.shards/1-of-2` and `train.shards/2-of-2`, and put together
at `train`: bit for bit the table that one job for all prompts writes. A response is drawn for its prompt alone, but
models round differently in other batches; so prompts are sampled and scored in groups that do not depend on the shards,
and a shard has whole groups.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from infalign.errors import InputError
from infalign.mathematics.ranks import pairwise_agreement

BATCHES_AT_ONCE = 4  # at most, of prompts that are sampled in batches of their own
FEWEST_GROUPS = 16  # of a split's prompts, where it has as many
COUNTS = ("truncated_responses", "responses_without_answer")
SCORERS = ("reward", "judge", "gold")


def prompts_at_once(n_prompts: int, n_samples: int, batch_size: int) -> int:
    """How many prompts, in the order of their split, are sampled and scored in batches of their own.

    The batch size counts responses, of which each prompt has `n_samples`.

    Examples
    --------
    >>> prompts_at_once(10_000, 100, 512), prompts_at_once(256, 100, 512), prompts_at_once(8, 16, 512)
    (20, 15, 1)
    """
    of_batch, most = max(1, batch_size // n_samples), n_prompts // FEWEST_GROUPS
    of_whole_batches = of_batch * min(BATCHES_AT_ONCE, most // of_batch)
    return of_whole_batches or max(1, most)


@dataclass(frozen=True)
class Shard:
    """One of `count` slices of a split's prompts, in the order of the split; `number` is from 1 to count."""

    number: int
    count: int

    def of(self, prompts: pl.DataFrame, at_once: int = 1) -> pl.DataFrame:
        """Take the shard's prompts of a split: whole groups, as many as any other shard has or one more or less.

        Groups are of `at_once` prompts, see `prompts_at_once`. Fewer groups than shards are an InputError.

        Examples
        --------
        >>> Shard(2, 2).of(pl.DataFrame({"prompt_id": ["a", "b", "c"]}))["prompt_id"].to_list()
        ['b', 'c']
        >>> Shard(1, 2).of(pl.DataFrame({"prompt_id": ["a", "b", "c"]}), at_once=2)["prompt_id"].to_list()
        ['a', 'b']
        """
        groups = math.ceil(prompts.height / at_once)
        if self.count > groups:
            raise InputError(
                f"{prompts.height} prompts, sampled {at_once} at a time, make at most {groups} shards, got "
                f"{self.count}; lower shards in the configuration"
            )
        start, stop = (place * groups // self.count * at_once for place in (self.number - 1, self.number))
        return prompts.slice(start, stop - start)


def parse_shard(text: str) -> Shard:
    """Read a shard, such as 2/8, the second of eight.

    Examples
    --------
    >>> parse_shard("2/8")
    Shard(number=2, count=8)
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(f"a shard is its number and how many there are, from 1/8 to 8/8, got {text!r}")
    return Shard(int(match[1]), int(match[2]))


def shard_names(name: str, count: int) -> list[str]:
    """Name the shards of a set of responses.

    Examples
    --------
    >>> shard_names("train", 2)
    ['train.shards/1-of-2', 'train.shards/2-of-2']
    """
    return [f"{name}.shards/{number}-of-{count}" for number in range(1, count + 1)]


def agreements(scores: pl.DataFrame) -> dict[str, float]:
    """How often two scorers order two responses to a prompt alike, for every pair of scorers; in [0, 1].

    Scores have prompt_id, reward, judge and gold (null where there is none), and as many responses to each prompt.

    Examples
    --------
    >>> pair = {"prompt_id": ["a", "a"], "reward": [0.0, 1.0], "judge": [1.0, 2.0], "gold": [None, None]}
    >>> agreements(pl.DataFrame(pair))
    {'reward_judge': 1.0}
    """
    scorers = [name for name in SCORERS if not scores.is_empty() and scores[name].null_count() == 0]
    groups = scores.group_by("prompt_id", maintain_order=True).agg(scorers)
    arrays = {name: np.array(groups[name].to_list()) for name in scorers}
    return {f"{a}_{b}": pairwise_agreement(arrays[a], arrays[b]) for a, b in combinations(scorers, 2)}


def merged_facts(manifests: Mapping[Path, Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Put together what the manifests of shards say: the facts of `names`, sums of COUNTS, and the number of shards.

    The named facts are settings, seed and models. It is an InputError if they differ between shards; those that are in
    none are left out.
    """
    first, *others = manifests
    for path in others:
        for name in names:
            if manifests[path].get(name) != manifests[first].get(name):
                raise InputError(
                    f"{path}: {name} is {manifests[path].get(name)}, of {first} it is {manifests[first].get(name)}; "
                    "shards of one table are made alike: remove them and run again"
                )
    facts = {name: manifests[first][name] for name in names if name in manifests[first]}
    facts |= {name: sum(made[name] for made in manifests.values()) for name in COUNTS if name in manifests[first]}
    return {**facts, "shards": len(manifests)}
