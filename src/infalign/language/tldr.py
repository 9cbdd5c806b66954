"""Reddit posts with their TL;DR summaries: read, and split by subreddit into in and out of distribution."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from infalign.errors import InputError
from infalign.language.corpora import Corpus, prompts_table
from infalign.language.sources import group_at, hub_parquet, position, typed_columns
from infalign.records.corpus import TLDR_DATASETS

SUBREDDIT = r"^SUBREDDIT: r/(\S+)\s"
PAIR_SHARES = {"reward_train": 0.5, "reward_test": 0.05, "judge_train": 0.4, "judge_test": 0.05}
"""Shares of the posts of preference pairs; a post is in one of them only."""
COLUMNS = dict(zip(TLDR_DATASETS, (("prompt", "completion"), ("prompt", "chosen", "rejected")), strict=True))


def read_summaries(
    subreddits: Sequence[str],
    *,
    data_root: str | Path | None = None,
    revisions: tuple[str, str] = ("main", "main"),
    seed: int = 0,
) -> tuple[Corpus, dict[str, int]]:
    """Read the posts with their summaries and the preference pairs of summaries.

    Policies are trained on the training posts of some subreddits. Split `evaluation` has the test posts of these,
    `evaluation_out` those of all others. Demonstrations are the training posts of every subreddit. `prompts` has the
    further column `community`, the subreddit; rejected_prompt is equal to prompt. The counts are posts and pairs read,
    and dropped by reason.

    Parameters
    ----------
    subreddits : sequence of str
        In distribution, such as relationships.
    data_root : str or Path, optional
        Folder with `tldr` and `tldr-preference`, each with the hub's Parquet files (train-*.parquet and, for tldr,
        test-*.parquet, at any depth). Default: trl-lib/tldr and trl-lib/tldr-preference from the hub.
    revisions : tuple of str
        Of the two on the hub, unused with `data_root`.
    seed : int
        Cuts the pairs into those of the reward model and of the judge, by post.

    References
    ----------
    Stiennon et al. 2020, Learning to summarize from human feedback; the split is that of Amini et al., Variational
    best-of-N alignment (ICLR 2025), section 6.
    """
    root = None if data_root is None else Path(data_root)
    counts: dict[str, int] = {}
    posts = {part: _posts(_read(0, part, root, revisions), part, counts) for part in ("train", "test")}
    splits = _splits(posts, subreddits)
    pairs = _pairs(_read(1, "train", root, revisions), posts["test"]["prompt"], seed, counts)
    rows = [
        (prompt, split, community)
        for split, frame in splits.items()
        for prompt, community in frame.select("prompt", "community").iter_rows()
    ]
    demonstrations = posts["train"].select("prompt", response="completion")
    return Corpus(demonstrations, pairs, prompts_table(rows, ["community"])), counts


def _splits(posts: dict[str, pl.DataFrame], subreddits: Sequence[str]) -> dict[str, pl.DataFrame]:
    """Posts of each split of prompts."""
    inside = pl.col("community").is_in(list(subreddits))
    splits = {
        "train": posts["train"].filter(inside),
        "evaluation": posts["test"].filter(inside),
        "evaluation_out": posts["test"].filter(~inside),
    }
    for split, frame in splits.items():
        if frame.is_empty():
            raise InputError(
                f"tldr: no post of split {split} with corpus.subreddits {', '.join(subreddits)}; the test posts are of "
                f"{', '.join(sorted(posts['test']['community'].unique())[:8])} …: check the names"
            )
    return splits


def _posts(frame: pl.DataFrame, part: str, counts: dict[str, int]) -> pl.DataFrame:
    """Posts with their subreddit as `community`; those without one and repeated ones are dropped."""
    named = frame.with_columns(community=pl.col("prompt").str.extract(SUBREDDIT)).drop_nulls("community")
    once = named.unique("prompt", keep="first", maintain_order=True)
    counts |= {
        f"{part}_posts": frame.height,
        f"{part}_posts_without_subreddit": frame.height - named.height,
        f"{part}_posts_repeated": named.height - once.height,
    }
    return once


def _pairs(frame: pl.DataFrame, held_out: pl.Series, seed: int, counts: dict[str, int]) -> pl.DataFrame:
    """Pairs about posts of which no policy is evaluated, with different summaries, cut by post."""
    posts = frame.filter(pl.col("prompt").str.contains(SUBREDDIT))  # the others are news articles
    free = posts.filter(~pl.col("prompt").is_in(held_out.implode()))
    kept = free.filter(pl.col("chosen").str.strip_chars() != pl.col("rejected").str.strip_chars())
    counts |= {
        "pairs": frame.height,
        "pairs_without_subreddit": frame.height - posts.height,
        "pairs_about_test_posts": posts.height - free.height,
        "pairs_of_equal_summaries": free.height - kept.height,
    }
    splits = [group_at(position(prompt, seed), PAIR_SHARES) for prompt in kept["prompt"]]
    return kept.select("prompt", "chosen", "rejected", pl.Series("split", splits, pl.String), rejected_prompt="prompt")


def _read(which: int, part: str, data_root: Path | None, revisions: tuple[str, str]) -> pl.DataFrame:
    """One part of the posts (0) or of the pairs (1), from a local folder or the hub, its columns checked."""
    dataset = TLDR_DATASETS[which]
    columns = dict.fromkeys(COLUMNS[dataset], pl.String)
    parts = hub_parquet(dataset, part, data_root, revisions[which])
    return pl.concat([typed_columns(frame, columns, place) for frame, place in parts])
