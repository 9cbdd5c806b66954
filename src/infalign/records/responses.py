"""What a run samples, scores and trains to score, by path below `results/`. One rule each makes all of it.

Three tables drive the rules: sets of responses, their scores, and reward models with judges. Their keys are
paths without an ending. A study adds entries of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from infalign.records import sweep
from infalign.records.config import Config, task_folder
from infalign.records.policy import Policy
from infalign.records.shards import shard_names
from infalign.records.task import PreferenceModel, Rollouts

SHARED = "tasks"
STREAMS = ("rollouts", "samples", "estimation", "poisoned_pairs", "pools", "calibration")
"""Sets of responses that are drawn independently of one another. The seed is the task's plus the place here."""


@dataclass(frozen=True)
class ResponseSet:
    """Responses of one model to the prompts of a split.

    Attributes
    ----------
    stream : str
        One of STREAMS.
    model, prompts : str
        Folder of the policy and table of prompts, below `results/`.
    sampling : Rollouts
        How many responses a prompt, at which temperature.
    n_prompts : int, optional
        The first ones of the split. None: all.
    shards : int
        Jobs that make the set, each its share of the prompts.
    shard : str, optional
        Which share this entry is, e.g. 2/8.
    """

    task: str
    stream: str
    model: str
    sampling: Rollouts
    prompts: str
    split: str
    n_prompts: int | None = None
    shards: int = 1
    shard: str | None = None

    def seed(self, config: Config) -> int:
        """Seed of the draws."""
        return config.tasks[self.task].seed + STREAMS.index(self.stream)

    @property
    def options(self) -> list[str]:
        """Options of scripts/sample.py that say which prompts."""
        options = ["--split", self.split]
        options += [] if self.n_prompts is None else ["--n-prompts", str(self.n_prompts)]
        return options + ([] if self.shard is None else ["--shard", self.shard])


@dataclass(frozen=True)
class ScoreSet:
    """Scores of one set of responses.

    Attributes
    ----------
    responses : str
        Key of the set of responses.
    prompts, reward_model, judge : str
        Table and folders, below `results/`.
    policy : str, optional
        Folder of the policy whose divergence from the reference is measured.
    temperature : float
        At which it was sampled.
    shards : int
        Jobs that score the set.
    """

    task: str
    responses: str
    prompts: str
    reward_model: str
    judge: str
    policy: str | None = None
    temperature: float = 1.0
    shards: int = 1


@dataclass(frozen=True)
class ModelTraining:
    """How a reward model or a judge is trained, on the pairs or labels of a split: reward or judge.

    `n_pairs` and `flipped` are changes of the training pairs; None leaves them as they are.
    """

    task: str
    settings: PreferenceModel
    split: str
    n_pairs: int | None = None
    flipped: float | None = None

    @property
    def options(self) -> list[str]:
        """Options of scripts/train_preference_model.py that say which pairs."""
        changes = {"--n-pairs": self.n_pairs, "--flipped": self.flipped}
        given = [[option, str(value)] for option, value in changes.items() if value is not None]
        return ["--split", self.split, *(text for pair in given for text in pair)]


Entry = TypeVar("Entry", ResponseSet, ScoreSet)


def shared(config: Config, task: str, path: str = "") -> str:
    """Path below `results/` of a file that all runs with this task share."""
    return "/".join(filter(None, [SHARED, task_folder(config, task), path]))


def at_policy(config: Config, policy: Policy, path: str) -> str:
    """Path below `results/` of a file of a policy."""
    return f"{SHARED}/{sweep.policy_folder(config, policy)}/{path}"


def main_scores(config: Config, task: str) -> str:
    """Scores of the reference's rollouts under the task's main condition."""
    return shared(config, task, f"scores/{sweep.conditions(config.tasks[task])[0].name}")


def policy_scores(config: Config, policy: Policy) -> str:
    """Scores of a policy's responses under its task's main condition."""
    return at_policy(config, policy, f"scores/{next(iter(sweep.policy_sets(config.tasks[policy.task])))}")


def reference_responses(config: Config, task: str, sampling: Rollouts, stream: str, **which) -> ResponseSet:
    """Describe responses of a task's reference policy; `which` says to which prompts."""
    model, prompts = shared(config, task, "models/reference"), shared(config, task, "data/prompts.parquet")
    return ResponseSet(task, stream, model, sampling, **{"prompts": prompts, **which})


def reward_and_judge(config: Config, task: str, responses: str, **more) -> ScoreSet:
    """Describe scores by a task's reward model and judge; `more` says what differs."""
    models = {"reward_model": "models/reward_model", "judge": "models/judge"}
    folders = {name: shared(config, task, path) for name, path in models.items()}
    return ScoreSet(task, responses, **{"prompts": shared(config, task, "data/prompts.parquet"), **folders, **more})


def response_sets(config: Config, policies: Iterable[Policy]) -> dict[str, ResponseSet]:
    """List the responses of each reference under every condition, and of each policy where the run asks for them."""
    sets = {}
    for name, task in config.tasks.items():
        for condition_name, condition in sweep.reference_sets(task).items():
            sampling = sweep.reference_sampling(task, condition)
            which = {"split": condition.split, "shards": task.rollouts.shards}
            key = shared(config, name, f"rollouts/{condition_name}")
            sets[key] = reference_responses(config, name, sampling, "rollouts", **which)
    for policy in policies:
        task = config.tasks[policy.task]
        for condition_name, condition in sweep.sampled_sets(config, policy).items():
            sampling = sweep.policy_sampling(task, condition)
            which = {"split": condition.split, "shards": task.samples.shards}
            responses = reference_responses(config, policy.task, sampling, "samples", **which)
            key = at_policy(config, policy, f"samples/{condition_name}")
            sets[key] = replace(responses, model=at_policy(config, policy, "model"))
    return sets


def score_sets(config: Config, policies: Iterable[Policy]) -> dict[str, ScoreSet]:
    """List the scores of these responses."""
    sets = {}
    for name, task in config.tasks.items():
        for condition_name in sweep.reference_sets(task):
            sets[shared(config, name, f"scores/{condition_name}")] = reward_and_judge(
                config, name, shared(config, name, f"rollouts/{condition_name}"), shards=task.rollouts.shards
            )
    for policy in policies:
        task = config.tasks[policy.task]
        for name, condition in sweep.sampled_sets(config, policy).items():
            more = {"temperature": condition.temperature, "shards": task.samples.shards}
            model, samples = (at_policy(config, policy, path) for path in ("model", f"samples/{name}"))
            key = at_policy(config, policy, f"scores/{name}")
            sets[key] = reward_and_judge(config, policy.task, samples, policy=model, **more)
    return sets


def model_trainings(config: Config) -> dict[str, ModelTraining]:
    """List the reward model and the judge of each task."""
    splits = {"reward_model": "reward", "judge": "judge"}
    return {
        shared(config, name, f"models/{model}"): ModelTraining(name, getattr(task, model), split)
        for name, task in config.tasks.items()
        for model, split in splits.items()
    }


def with_shards(sets: Mapping[str, Entry]) -> tuple[dict[str, Entry], dict[str, list[str]]]:
    """Cut the sets that several jobs make: whole sets and shards, and the sets put together with their shards' keys."""
    made: dict[str, Entry] = {}
    merged = {}
    for key, entry in sets.items():
        if entry.shards == 1:
            made[key] = entry
            continue
        merged[key] = shard_names(key, entry.shards)
        made |= zip(merged[key], _shards_of(entry), strict=True)
    return made, merged


def _shards_of(entry: Any) -> list[Any]:
    """Entries of the jobs that make a set."""
    if isinstance(entry, ResponseSet):
        numbers = range(1, entry.shards + 1)
        return [replace(entry, shards=1, shard=f"{number}/{entry.shards}") for number in numbers]
    names = shard_names(entry.responses, entry.shards)
    return [replace(entry, shards=1, responses=name) for name in names]


def paths_pattern(paths: Iterable[str]) -> str:
    """Regular expression of exactly these paths, with what they share written once.

    Snakemake reads it again for every job.

    Examples
    --------
    >>> paths_pattern(["a/ppo/x", "a/ppo/y", "a/bond/x"])
    'a/(?:ppo/(?:x|y)|bond/x)'
    >>> paths_pattern([])
    '(?!)'
    """
    inside: dict[str, list[str]] = {}
    for path in paths:
        first, _, below = path.partition("/")
        inside.setdefault(first, []).append(below)
    if not inside:
        return "(?!)"
    parts = [re.escape(first) + (f"/{paths_pattern(below)}" if any(below) else "") for first, below in inside.items()]
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"
