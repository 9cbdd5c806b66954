"""A table of best exponents whose numbers are known."""

import polars as pl

from infalign.studies.exponents.tables import BEST_SCHEMA


def best_exponents(leads=(0.02, 0.07, 0.2), short=0.001):
    """Win rate 0.9 of the best; `leads` over the identity for N = 2, 4 and 32; the optimal one is `short` better."""
    rows = []
    for task, family, sign in (("helpful", "bon", 1), ("harmless", "won", -1)):
        for n, lead in zip((2, 4, 32), leads, strict=True):
            key = (task, f"{family}({n})", n, 0.5)
            best = (sign * n * 2.0, 0.9, n == 32, sign * n * 1.5)
            rows.append((*key, *best, 0.9 - lead, 0.9 - 0.002 * n, 0.9 + short))
    return pl.DataFrame(rows, schema=BEST_SCHEMA, orient="row")
