"""How much disk a run needs, estimated before it starts."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from infalign.errors import InputError
from infalign.records.config import Config
from infalign.records.policy import Policy
from infalign.records.responses import ModelTraining, ResponseSet, ScoreSet, at_policy, shared
from infalign.records.task import Base, Task

BYTES_PER_TOKEN = 12  # text, token and share of the scores of a stored response, compressed
BYTES_PER_WEIGHT = 4  # float32 safetensors
CHECKPOINT_COPIES = 4  # a policy in training: weights, two Adam moments, the value head and the reference
FIXED_BYTES = 50_000_000  # data, figures, report, logs


def needed_bytes(
    config: Config,
    policies: Sequence[Policy],
    responses: Mapping[str, ResponseSet],
    scores: Mapping[str, ScoreSet],
    trainings: Mapping[str, ModelTraining],
    results: str | Path,
) -> int:
    """Estimate what a run will still write, in bytes; what is there counts nothing.

    Models from the hub are not counted: their size is unknown before they are downloaded.
    """
    there = Path(results)
    missing = [entry for key, entry in responses.items() if not (there / f"{key}.parquet").exists()]
    missing += [
        responses[entry.responses] for key, entry in scores.items() if not (there / f"{key}.parquet").exists()
    ]
    models = {
        shared(config, name, "models/reference"): (task, task.reference.base)
        for name, task in config.tasks.items()
    }
    models |= {
        key: (config.tasks[training.task], training.settings.base) for key, training in trainings.items()
    }
    weights = [_base_bytes(*model) for key, model in models.items() if not (there / key).exists()]
    for policy in policies:
        if not (there / at_policy(config, policy, "model")).exists():
            task = config.tasks[policy.task]
            weights.append(CHECKPOINT_COPIES * _base_bytes(task, task.reference.base))
    return FIXED_BYTES + sum(_response_bytes(config, entry) for entry in missing) + sum(weights)


def check_disk(needed: int, run: str, results: str | Path) -> None:
    """Raise InputError if the disk under `results` holds less than the run is estimated to write."""
    folder = Path(results).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"too little disk: run {run} is estimated to write {needed / 1e9:.2f} GB below {results}, "
            f"{free / 1e9:.2f} GB are free; free some, or make results a link to a larger disk"
        )


def _response_bytes(config: Config, responses: ResponseSet) -> int:
    """One set of responses, with the shards that it is put together from."""
    corpus, sampling = config.tasks[responses.task].corpus, responses.sampling
    prompts = corpus.n_train_prompts if responses.split == "train" else corpus.n_evaluation_prompts
    count = (responses.n_prompts or prompts) * sampling.n_rollouts
    return (1 if responses.shards == 1 else 2) * count * sampling.max_new_tokens * BYTES_PER_TOKEN


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
