"""The block `estimation`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from infalign.records.block import Count, StudyBlock, unknown_task
from infalign.records.task import Rollouts, Task


class Estimation(StudyBlock):
    """How well few rollouts estimate the distribution of the reward (vBoN, section 5.1); defaults of its table 1."""

    task: str
    n_full: Count = Field(600, description="rollouts of the larger sample")
    sizes: Annotated[list[Count], Field(min_length=1)] = Field(
        [5, 20, 100, 200, 250], description="M, the rollouts of the smaller sample"
    )
    level: Annotated[float, Field(gt=0, lt=1)] = Field(0.05, description="of the Kolmogorov-Smirnov tests")
    n_prompts: Count | None = Field(None, description="evaluation prompts used, the first ones; default: all")

    @model_validator(mode="after")
    def _sizes_fit(self) -> Estimation:
        if max(self.sizes) > self.n_full:
            raise ValueError(
                f"sizes must be at most n_full = {self.n_full}, got {max(self.sizes)}; remove it or raise n_full"
            )
        return self

    @property
    def n_rollouts(self) -> int:
        """Rollouts of a prompt: the larger sample, and the largest smaller one apart from it."""
        return self.n_full + max(self.sizes)


def estimation_problems(estimation: Estimation, tasks: Mapping[str, Task]) -> list[str]:
    """Why the estimation error cannot be measured."""
    name, n_prompts = estimation.task, estimation.n_prompts
    if name not in tasks:
        return [f"estimation.task: {unknown_task(name, tasks)}"]
    available = tasks[name].corpus.n_evaluation_prompts
    if n_prompts is None or n_prompts <= available:
        return []
    return [
        f"estimation.n_prompts must be at most {available} (tasks.{name}.corpus.n_evaluation_prompts), got {n_prompts}"
    ]


def estimation_sampling(task: Task, estimation: Estimation) -> Rollouts:
    """How the reference is sampled for the estimation error: as for the rollouts, with more responses a prompt."""
    return task.rollouts.model_copy(update={"n_rollouts": estimation.n_rollouts})
