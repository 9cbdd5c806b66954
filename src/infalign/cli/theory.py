"""`infalign ideal`, `optimal` and `procedure`: what the theory says, no data needed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import tyro

from infalign.cli.options import Betas, Budgets, Format, Procedures, Transforms, require_values, strengths
from infalign.cli.output import print_rows
from infalign.errors import InputError

if TYPE_CHECKING:
    from infalign.mathematics.optimum import OptimalSolution

OPTIMAL_COLUMNS = (
    "transform", "procedure", "beta", "kl", "win_rate", "residual", "iterations", "converged"
)  # fmt: skip


def run_ideal(
    *,
    transform: Transforms,
    procedure: Procedures,
    kl: Budgets = (),
    beta: Betas = (),
    format: Format = "json",
) -> int:
    """Ideal frontier (Theorem 3): win rate and KL of the policy that a transform asks for.

    One row for each transform, procedure and strength. beta is for the transform as the paper writes it.
    """
    from infalign.mathematics.frontier import ideal
    from infalign.mathematics.procedures import parse_procedure
    from infalign.mathematics.transforms import parse_transform

    require_values(transform=transform, procedure=procedure)
    budgets = strengths(kl, beta)
    phis = [parse_transform(text) for text in transform]
    targets = [parse_procedure(text) for text in procedure]
    points = [ideal(phi, target, **strength) for phi in phis for target in targets for strength in budgets]
    print_rows([asdict(point) for point in points], format)
    return 0


def run_optimal(*, procedure: Procedures, kl: Budgets = (), beta: Betas = (), format: Format = "json") -> int:
    """Optimal transform for a procedure (Corollary 2, Theorem 1), and the frontier point it reaches.

    One row for each procedure and strength. beta is the one of win rate - beta * KL.
    """
    from infalign.mathematics.optimum import optimal
    from infalign.mathematics.procedures import parse_procedure

    require_values(procedure=procedure)
    budgets = strengths(kl, beta)
    targets = [parse_procedure(text) for text in procedure]
    solutions = [optimal(target, **strength) for target in targets for strength in budgets]
    print_rows([_optimal_row(solution) for solution in solutions], format)
    return 0


def run_procedure(procedures: tyro.conf.Positional[Procedures], /, *, format: Format = "json") -> int:
    """KL to the reference and mean quantile of a procedure applied to the reference policy."""
    from infalign.mathematics.procedures import parse_procedure

    require_values(procedure=procedures)
    targets = [parse_procedure(text) for text in procedures]
    rows = [{"procedure": target.text, "kl": target.kl, "mean_quantile": target.mean_quantile} for target in targets]
    print_rows(rows, format)
    return 0


def _optimal_row(solution: OptimalSolution) -> dict[str, object]:
    if not solution.converged:
        raise InputError(
            f"the optimal transform for {solution.procedure} did not converge: residual {solution.residual} after "
            f"{solution.iterations} iterations; choose a larger --beta or a smaller --kl"
        )
    return {name: getattr(solution, name) for name in OPTIMAL_COLUMNS}
