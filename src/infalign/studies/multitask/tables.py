"""Tables of the multi-task theorem over random tasks, and of alignment regularised after the procedure."""

from __future__ import annotations

from itertools import product
from typing import Literal

import numpy as np
import polars as pl

from infalign.mathematics.frontier import ideal
from infalign.mathematics.optimum import optimal
from infalign.mathematics.procedures import parse_procedure
from infalign.mathematics.transforms import parse_transform
from infalign.studies.multitask.change_of_variables import (
    carried_tilt,
    rate_at_transformed_kl,
    tilt_at_transformed_kl,
)
from infalign.studies.multitask.mathematics import Divergence, LogLinearTask, compare_multitask

N_PROMPTS, N_RESPONSES, N_FEATURES = 4, 6, 3
BETAS = (0.3, 1.0, 3.0)
DIVERGENCES: tuple[Divergence, ...] = ("sft_to_policy", "policy_to_sft")
REWARD_SIGNS: tuple[Literal[1, -1], ...] = (1, -1)
PROCEDURES, BUDGETS = ("bon(4)", "won(4)"), (0.1, 0.5, 1.0)
OTHER_TRANSFORMS = ("identity", "log", "exp(5)", "exp(10)", "exp(-5)", "exp(-10)")


def multitask_table(n_tasks: int, seed: int) -> pl.DataFrame:
    """Compare regularised alignment with the multi-task of demonstrations and reward, over random tasks.

    Returns
    -------
    DataFrame
        A row for each divergence, sign of the reward and beta. `objective_range` and the size of `constant` are
        the largest over the tasks. Of `total_variation` and `reward_gain` there are the least and the most.
    """
    tasks = [random_task(np.random.default_rng([seed, index])) for index in range(n_tasks)]
    return pl.DataFrame([_extremes(tasks, *case) for case in product(DIVERGENCES, REWARD_SIGNS, BETAS)])


def random_task(rng: np.random.Generator) -> LogLinearTask:
    """Draw a task: normal features and rewards, probabilities uniform on the simplex."""
    shape = (N_PROMPTS, N_RESPONSES)
    prompts = rng.dirichlet(np.ones(N_PROMPTS))
    demonstrations = rng.dirichlet(np.ones(N_RESPONSES), N_PROMPTS)
    features = rng.normal(size=(*shape, N_FEATURES))
    return LogLinearTask(features, prompts, demonstrations, rng.normal(size=shape))


def _extremes(
    tasks: list[LogLinearTask], divergence: Divergence, reward_sign: Literal[1, -1], beta: float
) -> dict[str, str | float]:
    """One row of the table of the theorem."""
    comparisons = [compare_multitask(task, divergence, reward_sign, beta) for task in tasks]
    row: dict[str, str | float] = {"divergence": divergence, "reward_sign": reward_sign, "beta": beta}
    row["n_tasks"] = len(tasks)
    row["objective_range"] = max(comparison.objective_range for comparison in comparisons)
    row["constant"] = max(abs(comparison.constant) for comparison in comparisons)
    for name in ("total_variation", "reward_gain"):
        values = [getattr(comparison, name) for comparison in comparisons]
        row |= {f"{name}_least": min(values), f"{name}_most": max(values)}
    return row


def change_of_variables_table() -> pl.DataFrame:
    """Compare the policy that is regularised after the procedure T with others.

    Returns
    -------
    DataFrame
        A row for each T and `kl` = KL(T(π) ‖ T(π_ref)). `win_rate` is that of π through T. `standard_win_rate`
        is that of standard alignment on the identity at this KL. `best_other_win_rate` is the best of the other
        OTHER_TRANSFORMS at this KL after T. `policy_kl` is KL(π ‖ π_ref). `optimal_win_rate` is that of the optimal
        transform through T at `policy_kl`.
    """
    return pl.DataFrame([_carried_row(*case) for case in product(PROCEDURES, BUDGETS)])


def _carried_row(text: str, kl: float) -> dict[str, str | float]:
    """One procedure and KL."""
    procedure = parse_procedure(text)
    policy = carried_tilt(procedure, rate_at_transformed_kl(procedure, kl))
    others = [tilt_at_transformed_kl(parse_transform(name), procedure, kl) for name in OTHER_TRANSFORMS]
    return {
        "procedure": text,
        "kl": kl,
        "win_rate": procedure.win_rate(policy),
        "standard_win_rate": ideal("identity", "none", kl=kl).win_rate,
        "best_other_win_rate": max(procedure.win_rate(other) for other in others),
        "policy_kl": policy.kl,
        "optimal_win_rate": optimal(text, kl=policy.kl).win_rate,
    }
