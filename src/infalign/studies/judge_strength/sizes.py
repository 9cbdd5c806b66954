"""Judges of other sizes: their widths, their folders, and the policies that they score."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from infalign.errors import InputError
from infalign.records.block import settings_json, short_hash
from infalign.records.config import Config
from infalign.records.model_sizes import shape_sizes
from infalign.records.policy import Policy
from infalign.records.responses import main_scores, policy_scores, shared
from infalign.records.sweep import policies
from infalign.records.task import FromConfig, PreferenceModel, Task
from infalign.studies.judge_strength.block import JudgeStrength

OWN_JUDGE, REWARD_MODEL, LEAKED, GOLD = "judge", "reward_model", "leaked", "gold"
REFERENCE = "reference"
WIDEST = 64  # steps of the width that are tried: 64 × 2 × heads
FARTHEST = 1.5  # factor from the parameters asked for; small models have few widths


class SizedJudge(NamedTuple):
    """How a judge is trained: its settings and whose pairs it learns from."""

    settings: PreferenceModel
    split: Literal["judge", "reward"]


def resized(shape: FromConfig, vocabulary_size: int, parameters: float) -> FromConfig:
    """Change a shape's width, and that of its layers in proportion, to have nearly as many parameters.

    Heads and number of layers stay.

    Raises
    ------
    InputError
        No width in steps of 2 × n_heads comes within a factor of 1.5 of them.

    Examples
    --------
    >>> shape = FromConfig(hidden_size=96, n_layers=3, n_heads=4, intermediate_size=192, context=80)
    >>> resized(shape, 512, 232_960).hidden_size, resized(shape, 512, 4 * 232_960).hidden_size
    (80, 168)
    """
    widths = 2 * shape.n_heads * np.arange(1, WIDEST + 1)
    ratio = shape.intermediate_size / shape.hidden_size
    shapes = [
        shape.model_copy(update={"hidden_size": int(w), "intermediate_size": max(1, round(ratio * w))}) for w in widths
    ]
    gaps = [abs(np.log(shape_sizes(other, vocabulary_size).parameters / parameters)) for other in shapes]
    nearest = int(np.argmin(gaps))
    if gaps[nearest] > np.log(FARTHEST):
        reached = shape_sizes(shapes[nearest], vocabulary_size).parameters
        raise InputError(
            f"judge_strength.sizes: no width has about {parameters:,.0f} parameters (nearest: {reached:,}); use another"
        )
    return shapes[nearest]


def sized_judges(block: JudgeStrength, config: Config, task: str) -> dict[str, SizedJudge]:
    """List the judges of the block `judge_strength` for one of its tasks: `0.5x`, …, `leaked`.

    Raises
    ------
    InputError
        A size is out of reach.
    """
    settings = config.tasks[task]
    judges = {f"{size:g}x": SizedJudge(_judge_block(settings, size), "judge") for size in block.sizes}
    leaked = {LEAKED: SizedJudge(_judge_block(settings, 1.0), "reward")} if block.leak else {}
    return judges | leaked


def _judge_block(task: Task, size: float) -> PreferenceModel:
    """The task's judge at another size."""
    shape, reward = task.judge.base.from_config, task.reward_shape
    assert shape is not None and reward is not None and task.vocabulary_size is not None
    parameters = shape_sizes(reward, task.vocabulary_size).parameters
    shape = resized(shape, task.vocabulary_size, size * parameters)
    base = task.judge.base.model_copy(update={"from_config": shape})
    return task.judge.model_copy(update={"base": base})


def judge_folder(name: str, judge: SizedJudge) -> str:
    """Name a judge's folder below its task's `judges/`; its settings and its pairs are part of it."""
    return f"{name}-{short_hash(settings_json(judge.settings), judge.split)}"


def compared_policies(config: Config, task: str) -> list[Policy]:
    """List a task's policies of the main comparison: PPO on the raw reward and on its goal's transform.

    Raises
    ------
    InputError
        The configuration has only one of the two, or neither.
    """
    rewards = ("raw", config.goals[task].transform)
    most = config.tasks[task].rollouts.n_rollouts
    compared = [
        policy
        for policy in policies(config)
        if (policy.task, policy.method) == (task, "ppo")
        and policy.reward in rewards
        and policy.calibrator in (None, "empirical")
        and policy.n_rollouts in (None, most)
    ]
    absent = [reward for reward in rewards if reward not in {policy.reward for policy in compared}]
    if absent:
        raise InputError(
            f"judge_strength.tasks: task {task} has no ppo policies on {' and '.join(absent)}, which are compared; "
            f"list them under policies or remove {task}"
        )
    return compared


def score_tables(config: Config, task: str) -> dict[str, str]:
    """List the scores under the main condition, by path below `results/`: `reference`, then each policy."""
    scores = {policy.slug: policy_scores(config, policy) for policy in compared_policies(config, task)}
    return {REFERENCE: main_scores(config, task)} | scores


def judge_folders(block: JudgeStrength, config: Config, task: str) -> dict[str, str]:
    """List folders below `results/` of a task's judges: those of several sizes, its own, and its reward model."""
    sized = {
        name: shared(config, task, f"judges/{judge_folder(name, judge)}")
        for name, judge in sized_judges(block, config, task).items()
    }
    return sized | {name: shared(config, task, f"models/{name}") for name in (OWN_JUDGE, REWARD_MODEL)}


def check_judges(block: JudgeStrength, config: Config) -> None:
    """Raise InputError if the block `judge_strength` asks for what is not there: a size, or policies to compare."""
    for task in block.tasks:
        sized_judges(block, config, task)
        compared_policies(config, task)
