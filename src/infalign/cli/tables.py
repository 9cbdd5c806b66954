"""`infalign calibrate`, `winrate` and `frontier`: from tables of scored responses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from infalign.cli.options import (
    Betas,
    Budgets,
    Format,
    Level,
    Procedures,
    Resamples,
    Seed,
    Selector,
    Transforms,
    check_interval,
    require_values,
    strengths,
)
from infalign.cli.output import print_rows

Reference = Annotated[Path, tyro.conf.arg(metavar="REFERENCE.parquet", help="Scored reference rollouts.")]
Scores = Annotated[Path, tyro.conf.arg(metavar="SCORES.parquet", help="Scored responses.")]
Policy = Annotated[Path, tyro.conf.arg(metavar="POLICY.parquet", help="Scored responses of a policy.")]
Out = Annotated[Path, tyro.conf.arg(metavar="OUT.parquet", help="Written whole or not at all.")]
CalibratorText = Annotated[str, tyro.conf.arg(help="empirical, or anchors(p) with p such as 1, 2, 5, 10.")]
Ties = Annotated[
    Literal["half", "weak", "strict"],
    tyro.conf.arg(help="Share of a rollout with an equal reward that counts as beaten: 1/2, 1 or 0."),
]
Opponent = Annotated[
    str | None,
    tyro.conf.arg(metavar="T", help="Procedure of the reference where it differs, such as none: one sample."),
]
LeaveOneOut = Annotated[bool, tyro.conf.arg(help="Leave out the rollout with the response's own sample_id.")]


def run_calibrate(
    reference: tyro.conf.Positional[Reference],
    scores: tyro.conf.Positional[Scores],
    /,
    *,
    out: Out,
    calibrator: CalibratorText = "empirical",
    ties: Ties = "half",
    leave_one_out: LeaveOneOut = False,
) -> int:
    """Add the column `calibrated`: each reward's rank among its prompt's reference rewards.

    Both tables need prompt_id and reward, and sample_id with --leave-one-out.
    """
    from infalign.mathematics.calibration import parse_calibrator
    from infalign.records.scores import calibrated_table
    from infalign.records.tables import n_rows, sha256, write_table

    parsed = parse_calibrator(calibrator)
    table = calibrated_table(reference, scores, parsed, ties=ties, leave_one_out=leave_one_out)
    manifest = {
        "calibrator": parsed.text,
        "ties": ties,
        "leave_one_out": leave_one_out,
        "inputs": {str(path): sha256(path) for path in (reference, scores)},
    }
    write_table(table, out, manifest)
    print(f"{out}: {n_rows(out)} calibrated rewards", file=sys.stderr)
    return 0


def run_winrate(
    policy: tyro.conf.Positional[Policy],
    reference: tyro.conf.Positional[Reference],
    /,
    *,
    procedure: Procedures,
    opponent: Opponent = None,
    select: Selector = "reward",
    level: Level = 0.95,
    resamples: Resamples = 2000,
    seed: Seed = 0,
    format: Format = "json",
) -> int:
    """Win rate of a policy against the reference, the same procedure on both sides (or see --opponent).

    Exact over all subsets of the samples; both tables need prompt_id, reward and judge. The procedure
    selects by --select, the winner is decided by judge. The interval resamples prompts.
    """
    from infalign.mathematics.procedures import parse_procedure
    from infalign.mathematics.winrate import win_rate_by_prompt
    from infalign.records.scores import paired_scores

    require_values(procedure=procedure)
    check_interval(level, resamples, seed)
    targets = [parse_procedure(text) for text in procedure]
    other = None if opponent is None else parse_procedure(opponent)
    opponents = None if other is None else [other]
    sides = paired_scores(policy, reference, select=select, procedures=targets, opponents=opponents)
    rows = []
    for target in targets:
        win_rates = win_rate_by_prompt(*sides, target, other)
        rows.append(
            {"procedure": target.text}
            | ({} if other is None else {"opponent": other.text})
            | {"select": select, "win_rate": float(np.mean(win_rates))}
            | _interval(win_rates, level, resamples, seed)
        )
    print_rows(rows, format)
    return 0


def run_frontier(
    scores: tyro.conf.Positional[Scores],
    /,
    *,
    transform: Transforms,
    procedure: Procedures,
    kl: Budgets = (),
    beta: Betas = (),
    select: Selector = "reward",
    level: Level = 0.95,
    resamples: Resamples = 2000,
    seed: Seed = 0,
    format: Format = "json",
) -> int:
    """Offline frontier: the exact tilt of scored reference rollouts, before any policy is trained.

    The table needs prompt_id, reward and judge, with equally many responses for every prompt.
    """
    from infalign.mathematics.frontier import offline
    from infalign.mathematics.procedures import parse_procedure
    from infalign.mathematics.transforms import parse_transform
    from infalign.records.scores import stacked_scores

    require_values(transform=transform, procedure=procedure)
    check_interval(level, resamples, seed)
    budgets = strengths(kl, beta)
    phis = [parse_transform(text) for text in transform]
    targets = [parse_procedure(text) for text in procedure]
    reward, judge = stacked_scores(scores)
    rows = []
    for phi, target, strength in [(p, t, s) for p in phis for t in targets for s in budgets]:
        point = offline(reward, judge, phi, target, select, **strength)
        rows.append(
            {
                "transform": phi.text,
                "procedure": target.text,
                "beta": point.beta,
                "kl": point.kl,
                "win_rate": point.win_rate,
                "select": select,
            }
            | _interval(point.win_rate_by_prompt, level, resamples, seed)
        )
    print_rows(rows, format)
    return 0


def _interval(values: np.ndarray, level: float, resamples: int, seed: int) -> dict[str, object]:
    """Bootstrap interval over prompts; undefined, so null, for a single prompt."""
    from infalign.mathematics.statistics import bootstrap_mean

    interval = bootstrap_mean(values, level, resamples, seed)
    return {"ci_low": interval.low, "ci_high": interval.high, "level": level, "n_prompts": len(values)}
