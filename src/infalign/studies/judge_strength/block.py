"""The block `judge_strength`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from infalign.records.block import Positive, StudyBlock, unknown_task
from infalign.records.task import Task


class JudgeStrength(StudyBlock):
    """Judges of several sizes, and one that learnt from the reward model's own pairs."""

    tasks: Annotated[list[str], Field(min_length=1)]
    sizes: Annotated[list[Positive], Field(min_length=1)] = Field(
        [0.5, 1.0, 2.0, 4.0],
        description="parameters of the judges, as multiples of the reward model's; the width is what changes",
    )
    leak: bool = Field(
        True,
        description="one more judge of size 1, trained on the reward model's pairs instead of the judge's",
    )

    @model_validator(mode="after")
    def _leak_has_its_equal(self) -> JudgeStrength:
        if self.leak and 1.0 not in self.sizes:
            raise ValueError("leak is measured against the judge of size 1; add 1 to sizes, or give leak: false")
        return self


def judge_strength_problems(strength: JudgeStrength, tasks: Mapping[str, Task]) -> list[str]:
    """Why judges of other sizes cannot be trained."""
    problems = []
    for name in strength.tasks:
        if name not in tasks:
            problems.append(f"judge_strength.tasks: {unknown_task(name, tasks)}")
            continue
        task = tasks[name]
        if task.corpus.teaches != "preferences":
            problems.append(f"judge_strength.tasks: the corpus of task {name} has no pairs; remove {name}")
        if task.judge.base.from_config is None or task.reward_shape is None:
            problems.append(
                f"judge_strength.tasks: judge and reward model of task {name} must be trained from scratch "
                f"(base: from_config), so that a size can be chosen; remove {name}"
            )
    return problems
