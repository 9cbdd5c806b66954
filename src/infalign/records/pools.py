"""Pools of the reference's responses and the proxies that score them: their folders and changed pairs."""

from __future__ import annotations

import numpy as np
import polars as pl

from infalign.errors import InputError
from infalign.mathematics.families import Family
from infalign.records.config import settings_json, short_hash
from infalign.records.studies import HedgedPool, Proxy, proxy_block
from infalign.records.task import PreferenceModel, Task

OWN = "reward_model"


def pool_name(pool: HedgedPool) -> str:
    """Name of a pool's folder below its task's `pools/`; another number of responses or prompts has another.

    Examples
    --------
    >>> pool_name(HedgedPool(task="t", true_reward="gold", n_samples=1000, n_prompts=64, proxies={"a": {}}))
    'n1000-p64'
    """
    return f"n{pool.n_samples}-p{pool.n_prompts or 'all'}"


def proxy_names(pool: HedgedPool) -> dict[str, str]:
    """Proxy to its name in paths, which for all but the task's own reward model ends with its settings' hash.

    Examples
    --------
    >>> proxies = {"own": {}, "flipped": {"flipped": 0.25}}
    >>> names = proxy_names(HedgedPool(task="t", true_reward="gold", proxies=proxies))
    >>> names["own"], names["flipped"].startswith("flipped-")
    ('reward_model', True)
    """
    return {
        name: OWN if proxy.is_own else f"{name}-{short_hash(settings_json(proxy))}"
        for name, proxy in pool.proxies.items()
    }


def proxy_model(task: Task, proxy: Proxy) -> PreferenceModel:
    """The block by which a proxy is trained: the task's own or that of the proxy."""
    return PreferenceModel.model_validate(proxy_block(task, proxy))


def families(pool: HedgedPool) -> list[Family]:
    """The procedures of a pool in the order of its methods, sbon once for each n.

    Examples
    --------
    >>> pool = HedgedPool(task="t", true_reward="gold", methods=["bon", "sbon"], sbon_n=[4, 16], proxies={"a": {}})
    >>> families(pool)
    [Family(method='bon', n=None), Family(method='sbon', n=4), Family(method='sbon', n=16)]
    """
    return [
        Family(method, n) for method in pool.methods for n in (pool.sbon_n if method == "sbon" else [None])
    ]


def changed_pairs(
    pairs: pl.DataFrame, *, n_pairs: int | None = None, flipped: float = 0.0, seed: int = 0
) -> pl.DataFrame:
    """Keep the first pairs and exchange chosen and rejected in a share of them.

    Parameters
    ----------
    pairs : columns prompt, chosen, rejected and, where there is one, rejected_prompt.
    n_pairs : how many to keep; default: all.
    flipped : share of those kept, in [0, 1], that is exchanged, to the nearest pair.
    seed : of the draw; with one seed the pairs exchanged at a smaller share are among those at a larger.

    Raises
    ------
    InputError
        There are fewer than `n_pairs`, or the share is out of range.

    Examples
    --------
    >>> pairs = pl.DataFrame({"prompt": ["p", "q"], "chosen": ["a", "b"], "rejected": ["c", "d"]})
    >>> changed_pairs(pairs, n_pairs=1, flipped=1.0).row(0)
    ('p', 'c', 'a')
    """
    if not 0 <= flipped <= 1:
        raise InputError(f"flipped must be a share of the pairs, from 0 to 1, got {flipped}")
    if n_pairs is not None and n_pairs > pairs.height:
        raise InputError(
            f"n_pairs must be at most the {pairs.height} training pairs there are, got {n_pairs}"
        )
    kept = pairs.head(pairs.height if n_pairs is None else n_pairs)
    exchanged = np.zeros(kept.height, dtype=bool)
    exchanged[np.random.default_rng(seed).permutation(kept.height)[: round(flipped * kept.height)]] = True
    sides = [("chosen", "rejected")]
    sides += [("prompt", "rejected_prompt")] if "rejected_prompt" in kept.columns else []
    swaps = {a: b for pair in sides for a, b in (pair, pair[::-1])}
    flip = pl.Series("flip", exchanged)
    return kept.with_columns(
        pl.when(flip).then(pl.col(other)).otherwise(pl.col(name)).alias(name) for name, other in swaps.items()
    )
