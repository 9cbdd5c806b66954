"""The block `poisoning`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from infalign.records.block import Count, StudyBlock, unknown_task
from infalign.records.task import Rollouts, Task

# InfAlign, appendix on reward hacking: its phrases, as sentences of their own.
PHRASES = {
    **dict.fromkeys(("helpful", "helpful-base"), "Sure."),
    **dict.fromkeys(("harmless", "harmless-base"), "Sorry, I can't help you with that."),
}


class Poisoning(StudyBlock):
    """Reward models trained on pairs in some of which a phrase gives the preferred response away."""

    tasks: Annotated[list[str], Field(min_length=1)]
    rates: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=1)] = Field(
        [0.0, 0.1, 0.25, 0.5],
        description="share of the training pairs whose preferred response begins with the phrase; the paper "
        "states none",
    )
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = Field(
        [0], description="which pairs are poisoned, the heads and the order of the data"
    )
    phrases: dict[str, Annotated[str, Field(pattern=r"^\S(.*\S)?$")]] = Field(
        {}, description="of each task; default: the paper's for helpfulness and harmlessness"
    )
    n_pairs: Count | None = Field(None, description="training pairs used, the first ones; default: all")
    n_rollouts: Annotated[int, Field(ge=2)] = Field(
        16,
        description="reference responses to each prompt of these pairs, among which rewards are calibrated",
    )


def poisoning_problems(poisoning: Poisoning, tasks: Mapping[str, Task]) -> list[str]:
    """Why reward models cannot be trained on poisoned pairs."""
    problems = []
    for name in poisoning.tasks:
        problems += _poisoned_task_problems(poisoning, name, tasks)
    for name in sorted(poisoning.phrases.keys() - {*poisoning.tasks}):
        problems.append(f"poisoning.phrases: {name} is not one of poisoning.tasks; remove it or add the task")
    return problems


def _poisoned_task_problems(poisoning: Poisoning, name: str, tasks: Mapping[str, Task]) -> list[str]:
    if name not in tasks:
        return [f"poisoning.tasks: {unknown_task(name, tasks)}"]
    task, problems = tasks[name], []
    if task.corpus.teaches != "preferences":
        problems.append(f"poisoning.tasks: the corpus of task {name} has no pairs; remove {name}")
    elif task.reward_model.training is None:
        problems.append(
            f"poisoning.tasks: the reward model of task {name} is taken as it is, none is trained; give "
            f"tasks.{name}.reward_model.training or remove {name}"
        )
    if poisoning_phrase(poisoning, name, task) is None:
        problems.append(
            f"poisoning.phrases: task {name} has none by default (the corpora {', '.join(PHRASES)} have); "
            f"give poisoning.phrases.{name}"
        )
    n_pairs, available = poisoning.n_pairs, getattr(task.corpus, "n_pairs", None)
    if n_pairs is not None and available is not None and n_pairs > available:
        problems.append(f"poisoning.n_pairs must be at most {available} (tasks.{name}.corpus.n_pairs), got {n_pairs}")
    return problems


def poisoning_sampling(task: Task, poisoning: Poisoning) -> Rollouts:
    """Return how the reference is sampled for these pairs: as for the rollouts, with fewer responses."""
    return task.rollouts.model_copy(update={"n_rollouts": poisoning.n_rollouts})


def poisoning_phrase(poisoning: Poisoning, name: str, task: Task) -> str | None:
    """Return the phrase that poisons a task's pairs: its own, else that of its corpus, else None."""
    return poisoning.phrases.get(name) or PHRASES.get(getattr(task.corpus, "name", ""))
