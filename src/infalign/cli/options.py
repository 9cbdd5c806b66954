"""Option types shared by the subcommands, and the strengths a user may give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import tyro

from infalign.errors import InputError

Format = Annotated[Literal["json", "csv"], tyro.conf.arg(help="json: one object a line; csv: the same as a table.")]
Transforms = Annotated[
    tuple[str, ...],
    tyro.conf.arg(metavar="PHI ...", help="Transforms, such as identity, log, 'exp(10)', 'optimal(bon(4))'."),
]
Procedures = Annotated[
    tuple[str, ...],
    tyro.conf.arg(metavar="T ...", help="Procedures, such as none, 'bon(4)', 'won(4)', 'sbon(4, 5.0)', 'bop(3.5)'."),
]
Budgets = Annotated[tuple[float, ...], tyro.conf.arg(metavar="NATS ...", help="KL budgets in nats; or give --beta.")]
Betas = Annotated[
    tuple[float, ...], tyro.conf.arg(metavar="BETA ...", help="Strengths of the KL penalty; or give --kl.")
]
Selector = Annotated[Literal["reward", "judge"], tyro.conf.arg(help="Column by which the procedure selects.")]
Level = Annotated[float, tyro.conf.arg(help="Level of the bootstrap interval over prompts.")]
Resamples = Annotated[int, tyro.conf.arg(help="Bootstrap resamples.")]
Seed = Annotated[int, tyro.conf.arg(help="Seed of the bootstrap.")]


def strengths(kl: Sequence[float], beta: Sequence[float]) -> list[dict[str, float]]:
    """Name each strength, finite and above 0, by the option it came from: exactly one of --kl and --beta has values.

    Examples
    --------
    >>> strengths((), (0.5, 1.0))
    [{'beta': 0.5}, {'beta': 1.0}]
    """
    if bool(kl) == bool(beta):
        got = "both" if kl else "neither"
        raise InputError(f"exactly one of --kl and --beta is needed, got {got}; give one with its values")
    name, values = ("kl", kl) if kl else ("beta", beta)
    for value in values:
        if not 0 < value < float("inf"):
            raise InputError(f"--{name} must be a finite number > 0, got {value}; give a value such as 0.5")
    return [{name: value} for value in values]


def require_values(**options: Sequence[object]) -> None:
    """Raise InputError naming the first option that was given without a value."""
    for name, values in options.items():
        if not values:
            raise InputError(f"{name}: at least one value is needed, got none; see infalign --help")


def check_interval(level: float, resamples: int, seed: int) -> None:
    """Raise InputError when the bootstrap's options are out of range."""
    if not 0 < level < 1:
        raise InputError(f"--level must lie between 0 and 1, got {level}; use 0.95")
    if resamples < 1:
        raise InputError(f"--resamples must be >= 1, got {resamples}; use 2000")
    if seed < 0:
        raise InputError(f"--seed must be >= 0, got {seed}; use 0")
