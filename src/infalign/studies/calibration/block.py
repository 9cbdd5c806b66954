"""The block `calibration`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from infalign.records.block import Count, Positive, StudyBlock
from infalign.records.config import Goal
from infalign.records.task import Rollouts, Task


class Calibration(StudyBlock):
    """Calibration from few rollouts and with few anchors (InfAlign, appendix on anchor points)."""

    rollouts: Annotated[list[Count], Field(min_length=1)] = Field(
        [1, 3, 5, 7, 100], description="n, rollouts whose median calibrates: anchors(1)"
    )
    anchors: Annotated[list[Count], Field(min_length=1)] = Field(
        [1, 2, 5, 10], description="p of anchors(p), from all rollouts"
    )
    n_measured: Annotated[int, Field(ge=2)] = Field(
        100, description="further responses of the reference a prompt, on which all is measured"
    )
    draws: Count = Field(4, description="disjoint sets of n rollouts that are averaged, as far as the rollouts suffice")
    kl: Annotated[list[Positive], Field(min_length=1)] = Field(
        [0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0], description="budgets of the frontiers, in nats"
    )


def calibration_problems(calibration: Calibration, tasks: Mapping[str, Task], goals: Mapping[str, Goal]) -> list[str]:
    """Why calibrations cannot be measured on every task."""
    problems, most = [], max(calibration.rollouts)
    for name, task in tasks.items():
        available = task.rollouts.n_rollouts
        if most > available:
            problems.append(
                f"calibration.rollouts must be at most {available} (tasks.{name}.rollouts.n_rollouts), got {most}"
            )
        if name in goals and goals[name].transform == "raw":
            problems.append(f"goals.{name}.transform: raw is not calibrated; give a transform or leave calibration out")
    return problems


def calibration_sampling(task: Task, calibration: Calibration) -> Rollouts:
    """How the reference is sampled to measure calibrations: as for the main condition, `n_measured` a prompt."""
    return task.rollouts.model_copy(
        update={"n_rollouts": calibration.n_measured, "temperature": task.samples.temperatures[0]}
    )
