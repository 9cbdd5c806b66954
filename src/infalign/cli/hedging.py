"""`infalign hedge`: the parameter of a procedure that is best by the true reward, from scored responses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from infalign.cli.options import Format, Level, Resamples, Seed, check_interval, require_values
from infalign.cli.output import print_rows
from infalign.cli.tables import Scores
from infalign.errors import InputError

if TYPE_CHECKING:
    from infalign.mathematics.families import Family

Methods = Annotated[
    tuple[str, ...],
    tyro.conf.arg(
        metavar="M ...",
        help="bon, bop (best-of-Poisson), sbon (soft best-of-n) or tilt; the parameter is n, mu or lambda.",
    ),
]
Draws = Annotated[
    tuple[int, ...],
    tyro.conf.arg(metavar="N ...", help="Draws of sbon, needed there; of several the best is marked."),
]
Lowest = Annotated[
    float | None, tyro.conf.arg(name="min", metavar="THETA", help="Smallest parameter; 1 for bon, else 0.")
]
Highest = Annotated[
    float | None,
    tyro.conf.arg(
        name="max",
        metavar="THETA",
        help="Largest parameter; as far as the pools allow for bon and bop, 100 (at most 500) for lambda.",
    ),
]


def run_hedge(
    scores: tyro.conf.Positional[Scores],
    /,
    *,
    method: Methods,
    n: Draws = (),
    low: Lowest = None,
    high: Highest = None,
    level: Level = 0.95,
    resamples: Resamples = 2000,
    seed: Seed = 0,
    format: Format = "json",
) -> int:
    """Hedge against reward hacking: the parameter of a procedure with the best expected true reward.

    The procedure selects by reward (the proxy), what counts is judge (the true reward). The table needs
    prompt_id, reward and judge: at least 2 prompts of at least 2 responses. The interval resamples prompts.
    """
    from infalign.mathematics.hedging import hedge
    from infalign.mathematics.pools import Pools
    from infalign.records.scores import pooled_scores

    require_values(method=method)
    check_interval(level, resamples, seed)
    families = _families(method, n)
    for name, bound in (("--min", low), ("--max", high)):
        if bound is not None and not math.isfinite(bound):
            raise InputError(f"{name} must be a finite number, got {bound}; give a value such as 4")
    pools = Pools(*pooled_scores(scores))
    hedges = [
        hedge(family, pools, low=low, high=high, level=level, resamples=resamples, seed=seed) for family in families
    ]
    print_rows(_rows(families, [asdict(each) for each in hedges], joint=len(n) > 1), format)
    return 0


def _families(methods: Sequence[str], n: Sequence[int]) -> list[Family]:
    """The families in the order of the options, sbon once for each n."""
    from infalign.mathematics.families import methods_with_n, parse_family

    needed = methods_with_n()
    if n and not set(needed) & set(methods):
        raise InputError(
            f"--n belongs to the method {' or '.join(needed)} only, got it with {', '.join(methods)}; leave it out"
        )
    counts = {method: n if method in needed and n else (None,) for method in methods}
    return [parse_family(method, count) for method in methods for count in counts[method]]


def _rows(families: Sequence[Family], rows: list[dict[str, Any]], *, joint: bool) -> list[dict[str, Any]]:
    """Rows with n where a method has one, and with the best n of sbon marked where there are several."""
    from infalign.mathematics.families import methods_with_n

    if not any(family.has_n for family in families):
        return [{key: value for key, value in row.items() if key != "n"} for row in rows]
    if not joint:
        return rows
    best = {}
    for method in methods_with_n():
        of_method = [row for row in rows if row["method"] == method]
        best[method] = max(of_method, key=lambda row: row["expected_true"], default=None)
    return [row | {"best": row is best[row["method"]] if row["method"] in best else None} for row in rows]
