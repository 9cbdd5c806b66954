"""`infalign plan`: which transform, KL and procedure to choose, from a table of scored rollouts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import tyro

from infalign.cli.options import Format, Level, Resamples, check_interval, require_values
from infalign.cli.output import print_rows
from infalign.cli.tables import Scores

MaxKl = Annotated[
    tuple[float, ...],
    tyro.conf.arg(metavar="NATS ...", help="Budgets for the policy's KL, before the procedure; 0: untrained."),
]
MaxN = Annotated[
    tuple[float, ...],
    tyro.conf.arg(metavar="N ...", help="Budgets for the procedure's mean number of draws; 1: none."),
]
Seed = Annotated[int, tyro.conf.arg(help="Seed of the split into halves and of the bootstrap.")]


def run_plan(
    scores: tyro.conf.Positional[Scores],
    /,
    *,
    max_kl: MaxKl,
    max_n: MaxN,
    level: Level = 0.95,
    resamples: Resamples = 2000,
    seed: Seed = 0,
    format: Format = "json",
) -> int:
    """Choose transform, KL and procedure under budgets, from scored reference rollouts.

    The choice with the best win rate, by judge, against one plain reference sample; the procedure selects
    by reward. Half of the prompts choose, the other half report. One row for each pair of budgets. The
    table needs prompt_id, reward and judge, with equally many responses for every prompt.
    """
    from infalign.mathematics.planning import plan
    from infalign.records.scores import stacked_scores

    require_values(max_kl=max_kl, max_n=max_n)
    check_interval(level, resamples, seed)
    reward, judge = stacked_scores(scores)
    plans = plan(reward, judge, max_kl, max_n, level=level, resamples=resamples, seed=seed)
    print_rows([asdict(row) for row in plans], format)
    return 0
