"""Which exponential transform is best for each N: in theory, offline, and among the trained policies."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from infalign.mathematics.exponents import best_exponent, exponential
from infalign.mathematics.frontier import ideal, offline, optimal
from infalign.mathematics.procedures import parse_procedure
from infalign.mathematics.statistics import bootstrap_mean
from infalign.presentation.curves import Resampling
from infalign.presentation.exponents import BEST_SCHEMA, EXPONENTS_SCHEMA, trained_rows
from infalign.records.command import run_command
from infalign.records.config import Config, read_config, task_folder
from infalign.records.metrics import group_scores, main_condition
from infalign.records.sweep import conditions
from infalign.records.tables import read_table, write_table

CURVE = 40  # exponents of the ideal curve on each side


def exponents(run: Path, /, *, tasks: Path) -> None:
    """Write exponents.parquet and best_exponents.parquet into the run's folder.

    Parameters
    ----------
    run : folder of the run, with its configuration and metrics.
    tasks : folder of the shared results.
    """
    config = read_config(run / "config.json")
    block, evaluation = config.exponents, config.evaluation
    families = {task: parse_procedure(goal.procedure).name for task, goal in config.goals.items()}
    cases = [(task, f"{family}({n})", n) for task, family in families.items() for n in block.n]
    resampling = Resampling(evaluation.level, evaluation.resamples, evaluation.seed)
    metrics, by_prompt = (
        main_condition(read_table(run / f"{name}.parquet"), config) for name in ("metrics", "prompt_metrics")
    )
    rows = [
        row
        for procedure, n in dict.fromkeys(case[1:] for case in cases)
        for row in ideal_rows(procedure, n, config)
    ]
    best = [best_row(*case, config) for case in cases]
    for task in families:
        rows += offline_rows([case for case in cases if case[0] == task], best, config, tasks, resampling)
    rows += trained_rows(metrics, by_prompt, cases, block.kl, resampling)
    write_table(pl.DataFrame(rows, schema=EXPONENTS_SCHEMA), run / "exponents.parquet", {"kl": block.kl})
    write_table(pl.DataFrame(best, schema=BEST_SCHEMA), run / "best_exponents.parquet", {"kl": block.kl})


def ideal_rows(procedure: str, n: int, config: Config) -> Iterator[dict]:
    """The ideal frontier at the exponents of the configuration and between them."""
    block = config.exponents
    between = np.linspace(min(block.t), max(block.t), 2 * CURVE + 1).round(6).tolist()
    for t in sorted({*map(float, block.t), *between}):
        point = ideal(exponential(t), procedure, kl=block.kl)
        facts = {"kind": "ideal", "procedure": procedure, "n": n, "transform": point.transform}
        yield {**facts, "t": t, "kl": block.kl, "win_rate": point.win_rate}


def best_row(task: str, procedure: str, n: int, config: Config) -> dict:
    """The exponent that theory chooses, at most K in size, and what others reach."""
    kl, largest = config.exponents.kl, config.tasks[task].rollouts.n_rollouts
    best, sign = best_exponent(procedure, kl, largest), -1 if procedure.startswith("won") else 1
    facts = {"task": task, "procedure": procedure, "n": n, "kl": kl, "t": best.t, "win_rate": best.win_rate}
    facts |= {"at_bound": best.at_bound, "enough": best.enough}
    rivals = {"identity": exponential(0), "t10": exponential(10 * sign)}
    facts |= {f"{name}_win_rate": ideal(one, procedure, kl=kl).win_rate for name, one in rivals.items()}
    return {**facts, "optimal_win_rate": optimal(procedure, kl=kl).win_rate}


def offline_rows(
    cases: list[tuple[str, str, int]], best: list[dict], config: Config, tasks: Path, resampling: Resampling
) -> Iterator[dict]:
    """The offline frontier of one task at each exponent, at the best one, and of the raw reward."""
    task, kl = cases[0][0], config.exponents.kl
    main = conditions(config.tasks[task])[0]
    path = tasks / task_folder(config, task) / "scores" / f"{main.name}.parquet"
    prompts = group_scores(read_table(path, ["prompt_id", "sample_id", "reward", "judge"], also=()))
    reward, judge = (np.stack([prompt[name] for prompt in prompts]) for name in ("reward", "judge"))
    chosen = {row["procedure"]: row["t"] for row in best if row["task"] == task}
    for _, procedure, n in cases:
        wanted: list[float | None] = [*sorted({*map(float, config.exponents.t), chosen[procedure]}), None]
        for t in wanted:
            transform = "raw" if t is None else exponential(t).text
            point = offline(reward, judge, transform, procedure, "reward", kl=kl)
            found = bootstrap_mean(
                point.win_rate_by_prompt, resampling.level, resampling.resamples, resampling.seed
            )
            facts = {
                "kind": "offline",
                "task": task,
                "procedure": procedure,
                "n": n,
                "transform": transform,
                "t": t,
            }
            yield {**facts, "kl": kl, "win_rate": found.estimate, "ci_low": found.low, "ci_high": found.high}


if __name__ == "__main__":
    run_command(exponents)
