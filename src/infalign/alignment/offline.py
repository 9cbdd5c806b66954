"""Training on stored responses: one trainer for all methods with a `Lesson`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from infalign.alignment.lessons import Lesson, Material
from infalign.alignment.sequences import Sequences, chunks, response_log_probs
from infalign.alignment.training import Destination, Learner, run_fingerprint, run_updates, starting_policy
from infalign.records.methods import OfflineSettings


def train_offline(
    material: Material, lesson: Lesson, settings: OfflineSettings, destination: Destination
) -> pl.DataFrame:
    """Train a policy from the reference, which is frozen in place, on stored responses.

    Without batches in the lesson the policy is the reference.

    Returns
    -------
    polars.DataFrame
        One row an update: step, loss, log_ratio (of the first response of each example to the reference, nats),
        for pairs margin (log-ratio of the first less that of the second) and accuracy (share of margins above
        0), gradient_norm, learning_rate, seconds.

    Raises
    ------
    TrainingDiverged
        A loss or gradient is not finite.
    """

    def update(learner: Learner[OfflineSettings]) -> dict[str, float]:
        rate = learner.learning_rate()
        learner.optimizer.zero_grad(set_to_none=True)
        measured = accumulate_lesson_gradient(learner, lesson, lesson.batches[learner.step])
        state = f"the mean log-ratio of the batch to the reference was {measured['log_ratio']:.3g} nats"
        return learner.take_step(measured, state) | {"learning_rate": rate}

    reference, temperature = material.reference, material.temperature
    learner = Learner(starting_policy(reference), reference, settings, temperature, updates=len(lesson.batches))
    fingerprint = run_fingerprint(reference, settings, lesson.fingerprint, temperature)
    return run_updates(learner, update, material.tokenizer, destination, fingerprint)


def accumulate_lesson_gradient(
    learner: Learner[OfflineSettings], lesson: Lesson, batch: NDArray[np.int64]
) -> dict[str, float]:
    """Add the gradient of a batch's loss, a mean over its examples, to the parameters' gradients.

    Returns the means over the batch of loss and the other measures of `train_offline`'s log.
    """
    totals: dict[str, float] = {}
    for examples in example_chunks(lesson.responses, batch, learner.settings.chunk_size):
        with learner.autocast():
            log_probs = example_log_probs(learner.policy, lesson.responses, examples, learner.temperature)
        before = lesson.responses.reference_log_probs[examples]
        ratios = log_probs - torch.tensor(before, dtype=log_probs.dtype, device=learner.device)
        if lesson.per_token:
            lengths = torch.tensor(lesson.responses.lengths[examples], device=learner.device)
            log_probs, ratios = log_probs / lengths, ratios / lengths
        losses = lesson.loss(log_probs, ratios, examples)
        (losses.sum() / len(batch)).backward()
        for name, value in {"loss": losses, **_measures(ratios)}.items():
            totals[name] = totals.get(name, 0.0) + value.sum().item() / len(batch)
    return totals


def _measures(ratios: torch.Tensor) -> dict[str, torch.Tensor]:
    if ratios.shape[1] == 1:
        return {"log_ratio": ratios[:, 0]}
    margin = ratios[:, 0] - ratios[:, 1]
    return {"log_ratio": ratios[:, 0], "margin": margin, "accuracy": (margin > 0).float()}


def example_chunks(responses: Sequences, batch: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """Cut a batch of examples, shape (m, w), into parts of at most `size` responses and like lengths, longest first.

    An example is never cut: a part holds at least one.
    """
    totals = np.array([[len(responses.prompts[row]) for row in example] for example in batch])
    longest = (totals + responses.lengths[batch]).max(axis=1)
    order = np.argsort(-longest, kind="stable")
    step = max(size // batch.shape[1], 1)
    for start in range(0, len(batch), step):
        yield batch[order[start : start + step]]


def example_log_probs(
    model: PreTrainedModel, responses: Sequences, examples: NDArray[np.int64], temperature: float
) -> torch.Tensor:
    """Log-probabilities of the responses of examples, shape (m, w), in nats; each response is read once."""
    rows, places = np.unique(examples, return_inverse=True)
    (chunk,) = chunks(responses, rows, len(rows), model.device)
    log_probs = response_log_probs(model, chunk, temperature)
    return log_probs[np.argsort(chunk.rows)[places.reshape(examples.shape)]]
