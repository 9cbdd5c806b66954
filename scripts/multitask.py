"""Two remarks of InfAlign on its regulariser, in numbers: theorem 4, and regularising T(π) against T(π_ref)."""

from itertools import product
from pathlib import Path

import numpy as np
import polars as pl

from infalign.mathematics.frontier import ideal
from infalign.mathematics.optimum import optimal
from infalign.mathematics.procedures import parse_procedure
from infalign.mathematics.transforms import parse_transform
from infalign.records.command import run_command
from infalign.records.tables import write_table
from infalign.studies.multitask.mathematics import (
    Divergence,
    LogLinearTask,
    carried_tilt,
    compare_multitask,
    rate_at_transformed_kl,
    tilt_at_transformed_kl,
)

N_PROMPTS, N_RESPONSES, N_FEATURES = 4, 6, 3
BETAS = (0.3, 1.0, 3.0)
DIVERGENCES: tuple[Divergence, ...] = ("sft_to_policy", "policy_to_sft")
PROCEDURES, BUDGETS = ("bon(4)", "won(4)"), (0.1, 0.5, 1.0)
OTHERS = ("identity", "log", "exp(5)", "exp(10)", "exp(-5)", "exp(-10)")


def multitask(*, out: Path, change_of_variables: Path, n_tasks: int = 20, seed: int = 0) -> None:
    """Write how regularised alignment compares with the multi-task, and with standard alignment.

    The first table has a row per divergence (KL(p ‖ π) or KL(π ‖ p)), sign of the reward and beta: over the
    tasks the largest `objective_range` and `constant`, the least and most `total_variation` and `reward_gain`.
    The second has a row per procedure T and `kl` = KL(T(π) ‖ T(π_ref)): win rate through T of the solution, the
    standard one of the identity at that KL, the best of other transforms there; its KL(π ‖ π_ref), `policy_kl`,
    and the win rate through T of the optimal transform at that.

    Parameters
    ----------
    out, change_of_variables : tables to write.
    n_tasks : random log-linear tasks.
    seed : of the tasks.
    """
    tasks = [random_task(np.random.default_rng([seed, index])) for index in range(n_tasks)]
    rows = [multitask_row(tasks, *case) for case in product(DIVERGENCES, (1, -1), BETAS)]
    write_table(pl.DataFrame(rows), out, {"seed": seed})
    carried = [carried_row(*case) for case in product(PROCEDURES, BUDGETS)]
    write_table(pl.DataFrame(carried), change_of_variables, {"transforms": OTHERS})


def random_task(rng: np.random.Generator) -> LogLinearTask:
    """Features and rewards are normal, probabilities uniform on the simplex."""
    shape = (N_PROMPTS, N_RESPONSES)
    prompts, demonstrations = (
        rng.dirichlet(np.ones(N_PROMPTS)),
        rng.dirichlet(np.ones(N_RESPONSES), N_PROMPTS),
    )
    return LogLinearTask(
        rng.normal(size=(*shape, N_FEATURES)), prompts, demonstrations, rng.normal(size=shape)
    )


def multitask_row(tasks: list[LogLinearTask], divergence: Divergence, reward_sign, beta: float) -> dict:
    """The extremes over all tasks."""
    found = [compare_multitask(task, divergence, reward_sign, beta) for task in tasks]
    facts = {"divergence": divergence, "reward_sign": reward_sign, "beta": beta, "n_tasks": len(tasks)}
    facts |= {"objective_range": max(one.objective_range for one in found)}
    facts |= {"constant": max(abs(one.constant) for one in found)}
    for name in ("total_variation", "reward_gain"):
        values = [getattr(one, name) for one in found]
        facts |= {f"{name}_least": min(values), f"{name}_most": max(values)}
    return facts


def carried_row(text: str, kl: float) -> dict[str, str | float]:
    """The solution regularised after the procedure, at one KL."""
    procedure = parse_procedure(text)
    policy = carried_tilt(procedure, rate_at_transformed_kl(procedure, kl))
    others = [
        procedure.win_rate(tilt_at_transformed_kl(parse_transform(name), procedure, kl)) for name in OTHERS
    ]
    return {
        "procedure": text,
        "kl": kl,
        "win_rate": procedure.win_rate(policy),
        "standard_win_rate": ideal("identity", "none", kl=kl).win_rate,
        "best_other_win_rate": max(others),
        "policy_kl": policy.kl,
        "optimal_win_rate": optimal(text, kl=policy.kl).win_rate,
    }


if __name__ == "__main__":
    run_command(multitask)
