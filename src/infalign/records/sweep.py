"""From a configuration to its policies and to the conditions under which they are sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from infalign.errors import InputError
from infalign.records.block import settings_json, short_hash
from infalign.records.config import Config, PolicyGrid, task_folder
from infalign.records.policy import Policy, plain_number
from infalign.records.task import Rollouts, Task


def policies(config: Config) -> list[Policy]:
    """List the policies of a configuration, in the order of its grids.

    Raises
    ------
    InputError
        A policy occurs twice, or `samples.policies` of a task names one that it does not have.
    """
    rows = [policy for grid in config.policies for policy in _expand(config, grid)]
    seen: dict[tuple[str, str], None] = {}
    for policy in rows:
        if (policy.task, policy.slug) in seen:
            raise InputError(f"policies: {policy.slug} of task {policy.task} is listed twice; remove one")
        seen[policy.task, policy.slug] = None
    for name, task in config.tasks.items():
        unknown = [slug for slug in task.samples.policies or [] if (name, slug) not in seen]
        if unknown:
            raise InputError(
                f"tasks.{name}.samples.policies: {', '.join(unknown)} not among the task's policies, which are "
                f"{', '.join(slug for owner, slug in seen if owner == name)}; correct the name or remove it"
            )
    return rows


def _expand(config: Config, grid: PolicyGrid) -> list[Policy]:
    rows = []
    rewards: list[str | None] = [None] if grid.reward is None else [*grid.reward]
    for task, reward in product(grid.tasks, rewards):
        for calibrator, n_rollouts in _calibrations(config, grid, task, reward):
            ties = None if calibrator is None else grid.ties
            trained_for = (task, grid.method, reward, calibrator, n_rollouts, ties, grid.strength_kind)
            rows += [Policy(*trained_for, *pair) for pair in product(grid.strengths, grid.seeds)]
    return rows


def _calibrations(
    config: Config, grid: PolicyGrid, task: str, reward: str | None
) -> list[tuple[str | None, int | None]]:
    """Calibrators with their numbers of rollouts, as far as the method uses either."""
    settings = config.methods[grid.method]
    counts = grid.n_rollouts or [config.tasks[task].rollouts.n_rollouts]
    if settings.takes_reward and reward != "raw":
        return list(product(grid.calibrator, counts))
    return [(None, count) for count in counts] if settings.estimates_quantiles else [(None, None)]


def with_varied_rollouts(rows: Sequence[Policy], task: str) -> list[Policy]:
    """List a task's policies without a reward whose method and strength occur with several numbers of rollouts."""
    counts: dict[tuple[str, float], set[int | None]] = {}
    rows = [policy for policy in rows if policy.task == task and policy.reward is None and policy.n_rollouts]
    for policy in rows:
        counts.setdefault((policy.method, policy.strength), set()).add(policy.n_rollouts)
    return [policy for policy in rows if len(counts[policy.method, policy.strength]) > 1]


def engines(config: Config, rows: Sequence[Policy]) -> set[str]:
    """Engines that a run needs: those that sample and score, and those that draw while policies train."""
    drawing = {getattr(config.methods[row.method], "engine", "transformers") for row in rows}
    return {task.rollouts.engine for task in config.tasks.values()} | drawing


def policy_folder(config: Config, policy: Policy) -> str:
    """Folder of a policy below `results/tasks/`; it names the settings of its method by their hash."""
    settings = short_hash(settings_json(config.methods[policy.method]))
    return f"{task_folder(config, policy.task)}/policies/{policy.method}-{settings}/{policy.slug}"


@dataclass(frozen=True)
class Condition:
    """Where responses are sampled: the prompts of a split, at a temperature."""

    split: str
    temperature: float

    @property
    def name(self) -> str:
        """Part of the names of files.

        >>> Condition("evaluation_out", 0.25).name
        'evaluation_out-t0.25'
        """
        return f"{self.split}-t{plain_number(self.temperature)}"


def conditions(task: Task) -> list[Condition]:
    """List the conditions of a task's evaluation; the first is the main one."""
    return [Condition(*pair) for pair in product(task.samples.splits, task.samples.temperatures)]


def reference_sets(task: Task) -> dict[str, Condition]:
    """Name the reference's sets of responses: `train`, at the temperature of training, and one a condition."""
    training = Condition("train", task.rollouts.temperature)
    return {"train": training} | {condition.name: condition for condition in conditions(task)}


def policy_sets(task: Task) -> dict[str, Condition]:
    """Name the sets of responses that a policy can have, one a condition, with the number of responses a prompt."""
    return {f"{condition.name}-n{task.samples.n_samples}": condition for condition in conditions(task)}


def sampled_sets(config: Config, policy: Policy) -> dict[str, Condition]:
    """Name the sets of responses that a run asks of a policy, the main condition's first."""
    task = config.tasks[policy.task]
    chosen = task.samples.policies
    sets = list(policy_sets(task).items())
    return dict(sets if chosen is None or policy.slug in chosen else sets[:1])


def reference_sampling(task: Task, condition: Condition) -> Rollouts:
    """How the reference is sampled: K responses a prompt, at the condition's temperature."""
    return task.rollouts.model_copy(update={"temperature": condition.temperature})


def policy_sampling(task: Task, condition: Condition) -> Rollouts:
    """How policies are sampled: as the reference, but `samples.n_samples` responses a prompt."""
    sampling = reference_sampling(task, condition)
    return sampling.model_copy(update={"n_rollouts": task.samples.n_samples})
