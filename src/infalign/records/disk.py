"""How much disk a run needs, estimated before it starts."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from infalign.errors import InputError
from infalign.records.config import Config
from infalign.records.judge_sizes import judged_policies, sized_judges
from infalign.records.sweep import Policy, conditions, policy_folder, sampled_sets
from infalign.records.task import Base, Task

BYTES_PER_TOKEN = 12  # text, token and share of the scores of a stored response, compressed
BYTES_PER_WEIGHT = 4  # float32 safetensors
BYTES_PER_SCORE = 16  # a number, and its share of the keys
CHECKPOINT_COPIES = 4  # a policy in training: weights, two Adam moments, the value head and the reference
FIXED_BYTES = 50_000_000  # data, figures, report, logs


def needed_bytes(config: Config, policies: Sequence[Policy], results: str | Path) -> int:
    """Estimate what a run will still write, in bytes; policies that are done count nothing.

    Models from the hub are not counted: their size is unknown before they are downloaded.
    """
    tasks = {name: _task_bytes(task) for name, task in config.tasks.items()}
    todo = [policy for policy in policies if not _is_done(config, policy, Path(results))]
    per_policy = [
        len(sampled_sets(config, policy)) * _samples_bytes(config.tasks[policy.task])
        + CHECKPOINT_COPIES * _policy_bytes(config.tasks[policy.task])
        for policy in todo
    ]
    return (
        FIXED_BYTES
        + _hedging_bytes(config, results)
        + _estimation_bytes(config, results)
        + _poisoning_bytes(config, results)
        + _judge_strength_bytes(config, results)
        + _calibration_bytes(config, results)
        + sum(tasks[name] for name in {policy.task for policy in todo})
        + sum(per_policy)
    )


def check_disk(config: Config, policies: Sequence[Policy], results: str | Path) -> None:
    """Raise InputError if the disk under `results` holds less than the run is estimated to write."""
    folder = Path(results).absolute()
    while not folder.exists():
        folder = folder.parent
    needed, free = needed_bytes(config, policies, results), shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"too little disk: run {config.run} is estimated to write {needed / 1e9:.2f} GB below {results}, "
            f"{free / 1e9:.2f} GB are free; free some, or make results a link to a larger disk"
        )


def _is_done(config: Config, policy: Policy, results: Path) -> bool:
    scores = results / "tasks" / policy_folder(config, policy) / "scores"
    return all((scores / f"{name}.parquet").exists() for name in sampled_sets(config, policy))


def _copies(shards: int) -> int:
    """How often a response is stored: with and without its scores, and so in a shard too."""
    return 2 if shards == 1 else 4


def _task_bytes(task: Task) -> int:
    prompts = task.corpus.n_train_prompts + len(conditions(task)) * task.corpus.n_evaluation_prompts
    tokens = prompts * task.rollouts.n_rollouts * task.rollouts.max_new_tokens
    rollouts = _copies(task.rollouts.shards) * tokens * BYTES_PER_TOKEN
    bases = [model.base for model in (task.reference, task.reward_model, task.judge)]
    return rollouts + sum(_base_bytes(task, base) for base in bases)


def _samples_bytes(task: Task) -> int:
    """One policy's responses under one condition."""
    count = task.corpus.n_evaluation_prompts * task.samples.n_samples
    return _copies(task.samples.shards) * count * task.rollouts.max_new_tokens * BYTES_PER_TOKEN


def _hedging_bytes(config: Config, results: str | Path) -> int:
    """Responses once, their scores once for each proxy, and the proxies that are trained."""
    if (Path(results) / config.run / "hedges.parquet").exists():
        return 0
    total = 0
    for pool in config.hedging:
        task = config.tasks[pool.task]
        count = (pool.n_prompts or task.corpus.n_evaluation_prompts) * pool.n_samples
        total += (1 + len(pool.proxies)) * count * task.rollouts.max_new_tokens * BYTES_PER_TOKEN
        total += sum(
            _base_bytes(task, proxy.base or task.reward_model.base)
            for proxy in pool.proxies.values()
            if not proxy.is_own
        )
    return total


def _estimation_bytes(config: Config, results: str | Path) -> int:
    if config.estimation is None or (Path(results) / config.run / "estimation.parquet").exists():
        return 0
    task = config.tasks[config.estimation.task]
    n_prompts = config.estimation.n_prompts or task.corpus.n_evaluation_prompts
    count = n_prompts * config.estimation.n_rollouts
    return 2 * count * task.rollouts.max_new_tokens * BYTES_PER_TOKEN


def _poisoning_bytes(config: Config, results: str | Path) -> int:
    """Rollouts to the prompts of poisoned pairs; nothing where the number of pairs is known from the data only."""
    if config.poisoning is None or (Path(results) / config.run / "poisoning.parquet").exists():
        return 0
    tokens = 0
    for name in config.poisoning.tasks:
        task = config.tasks[name]
        n_pairs = config.poisoning.n_pairs or getattr(task.corpus, "n_pairs", None) or 0
        tokens += n_pairs * config.poisoning.n_rollouts * task.rollouts.max_new_tokens
    return tokens * BYTES_PER_TOKEN


def _judge_strength_bytes(config: Config, results: str | Path) -> int:
    """The judges themselves, and a score a response and judge."""
    if config.judge_strength is None or (Path(results) / config.run / "judge_strength.parquet").exists():
        return 0
    total = 0
    for name in config.judge_strength.tasks:
        task, judges = config.tasks[name], sized_judges(config, name)
        total += sum(_base_bytes(task, judge.settings.base) for judge in judges.values())
        responses = task.rollouts.n_rollouts + len(judged_policies(config, name)) * task.samples.n_samples
        total += BYTES_PER_SCORE * (len(judges) + 2) * task.corpus.n_evaluation_prompts * responses
    return total


def _calibration_bytes(config: Config, results: str | Path) -> int:
    """Responses on which calibrations are measured, and their scores."""
    if config.calibration is None or (Path(results) / config.run / "calibration_error.parquet").exists():
        return 0
    tokens = [
        task.corpus.n_evaluation_prompts * task.rollouts.max_new_tokens for task in config.tasks.values()
    ]
    return 2 * sum(tokens) * config.calibration.n_measured * BYTES_PER_TOKEN


def _policy_bytes(task: Task) -> int:
    return _base_bytes(task, task.reference.base)


def _base_bytes(task: Task, base: Base) -> int:
    if base.reference:
        return _base_bytes(task, task.reference.base)
    if base.path is not None:
        return sum(file.stat().st_size for file in Path(base.path).glob("*.safetensors"))
    if base.from_config is None:
        return 0
    shape = base.from_config
    layer = 4 * shape.hidden_size**2 + 3 * shape.hidden_size * shape.intermediate_size
    embeddings = 2 * (task.vocabulary_size or 0) * shape.hidden_size
    return BYTES_PER_WEIGHT * (embeddings + shape.n_layers * layer)
