"""Changes of preference pairs before a reward model learns from them."""

from __future__ import annotations

import numpy as np
import polars as pl

from infalign.errors import InputError


def changed_pairs(
    pairs: pl.DataFrame, *, n_pairs: int | None = None, flipped: float = 0.0, seed: int = 0
) -> pl.DataFrame:
    """Keep the first pairs and exchange chosen and rejected, with their prompts, in a share of them.

    The share `flipped`, in [0, 1], is taken to the nearest pair. With one seed the pairs exchanged at a smaller share
    are among those at a larger.

    Examples
    --------
    >>> pairs = pl.DataFrame({"prompt": ["p", "q"], "chosen": ["a", "b"], "rejected": ["c", "d"]})
    >>> changed_pairs(pairs, n_pairs=1, flipped=1.0).row(0)
    ('p', 'c', 'a')
    """
    if not 0 <= flipped <= 1:
        raise InputError(f"flipped must be a share of the pairs, from 0 to 1, got {flipped}")
    if n_pairs is not None and n_pairs > pairs.height:
        raise InputError(f"n_pairs must be at most the {pairs.height} training pairs there are, got {n_pairs}")
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
