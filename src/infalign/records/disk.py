"""How much disk a run needs: the estimate of the start check, of `infalign doctor` and of the costs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from infalign.errors import InputError
from infalign.records.config import Config
from infalign.records.model_sizes import PUBLISHED, ModelSizes, base_sizes
from infalign.records.policy import Policy
from infalign.records.responses import ModelTraining, ResponseSet, ScoreSet, at_policy, shared
from infalign.records.task import Base, Task

BYTES_PER_TOKEN = 6  # text and token of a stored response, compressed by Parquet
BYTES_PER_RESPONSE = 64  # its keys, length and up to six scores of 8 bytes
BYTES_PER_WEIGHT = 4  # float32 in safetensors
CHECKPOINT_COPIES = 6  # weights and two Adam moments, twice while a new checkpoint replaces the old one
FIXED_BYTES = 50_000_000  # data, figures, report, logs


def n_responses(config: Config, responses: ResponseSet) -> tuple[int, int]:
    """Count the prompts of a set of responses, and its responses."""
    corpus = config.tasks[responses.task].corpus
    prompts = corpus.n_train_prompts if responses.split == "train" else corpus.n_evaluation_prompts
    n_prompts = responses.n_prompts or prompts
    return n_prompts, n_prompts * responses.sampling.n_rollouts


def response_bytes(config: Config, responses: ResponseSet) -> int:
    """Estimate the disk of a set of responses of the longest length; its scores are stored with it once more.

    Shards stay beside the set that is put together from them.
    """
    each = responses.sampling.max_new_tokens * BYTES_PER_TOKEN + BYTES_PER_RESPONSE
    return (1 if responses.shards == 1 else 2) * n_responses(config, responses)[1] * each


def model_bytes(task: Task, base: Base, known: Mapping[str, ModelSizes] = PUBLISHED) -> int:
    """Estimate the disk of a model that starts from `base`; 0 for a hub model whose sizes are not known."""
    sizes = base_sizes(task, base, known)
    if sizes is not None:
        return BYTES_PER_WEIGHT * sizes.parameters
    path = (task.reference.base if base.reference else base).path
    return sum(file.stat().st_size for file in Path(path).glob("*.safetensors")) if path else 0


def needed_bytes(
    config: Config,
    policies: Sequence[Policy],
    responses: Mapping[str, ResponseSet],
    scores: Mapping[str, ScoreSet],
    trainings: Mapping[str, ModelTraining],
    results: str | Path,
) -> int:
    """Estimate what a run will still write below `results`, in bytes; what is there counts nothing.

    These are models, responses and scores, and one checkpoint: policies that train at once need one each.
    """
    folder = Path(results)
    stored = {key: responses[entry.responses] for key, entry in scores.items()} | dict(responses)
    missing = [entry for key, entry in stored.items() if not (folder / f"{key}.parquet").exists()]
    models = {
        shared(config, name, "models/reference"): (task, task.reference.base) for name, task in config.tasks.items()
    }
    models |= {key: (config.tasks[training.task], training.settings.base) for key, training in trainings.items()}
    trained = [
        model_bytes(config.tasks[policy.task], config.tasks[policy.task].reference.base)
        for policy in policies
        if not (folder / at_policy(config, policy, "model")).exists()
    ]
    weights = [model_bytes(*model) for key, model in models.items() if not (folder / key).exists()] + trained
    checkpoint = CHECKPOINT_COPIES * max(trained, default=0)
    return FIXED_BYTES + sum(response_bytes(config, entry) for entry in missing) + sum(weights) + checkpoint


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
