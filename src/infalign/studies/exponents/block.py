"""The block `exponents`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from infalign.mathematics.procedures import parse_procedure
from infalign.records.block import Positive, StudyBlock
from infalign.records.config import Goal

Exponent = Annotated[float, Field(ge=-100, le=100)]


class Exponents(StudyBlock):
    """Exponential transforms of many exponents, for the largest and smallest N."""

    n: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] = Field(
        [2, 4, 32], description="N of best-of-N or worst-of-N, as each task's goal has it"
    )
    t: Annotated[list[Exponent], Field(min_length=1)] = Field(
        [-40, -20, -10, -5, -2, 0, 2, 5, 10, 20, 40],
        description="exponents of the offline frontier; 0 is the identity, which they tend to",
    )
    kl: Positive = Field(0.5, description="nats, at which the transforms are compared")


def exponents_problems(exponents: Exponents, measured_n: Sequence[int], goals: Mapping[str, Goal]) -> list[str]:
    """Why exponents cannot be compared: N that no policy is measured at (evaluation.n), goals of other kinds."""
    problems = [
        f"exponents.n: {n} is not one of evaluation.n, so that no policy is measured there; add it"
        for n in exponents.n
        if n not in measured_n
    ]
    return problems + [
        f"exponents: the goal of task {name} must be bon(n) or won(n), got {goal.procedure}; change "
        f"goals.{name}.procedure or remove exponents"
        for name, goal in goals.items()
        if parse_procedure(goal.procedure).name not in ("bon", "won")
    ]
