"""The methods that learn from stored responses: what each learns from, and the one trainer of all."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from infalign.alignment.likelihood import best_and_worst, check_draws, likelihood_loss
from infalign.alignment.objectives import build_objective
from infalign.alignment.ppo import prompt_rows
from infalign.alignment.preference import (
    balanced_alpha,
    bonbon_loss,
    bonbon_target,
    dataset_pairs,
    dpo_loss,
    ipo_loss,
    rollout_pairs,
)
from infalign.alignment.regression import regression_loss, regression_targets
from infalign.alignment.sequences import Sequences, chunks, response_log_probs
from infalign.alignment.training import Learner, run_fingerprint, run_updates, starting_policy
from infalign.errors import InputError
from infalign.language.models import check_context, encode_prompts, encode_responses
from infalign.mathematics.checks import finite_array
from infalign.records.methods import (
    BoNBoNSettings,
    BoNSFTSettings,
    DPOSettings,
    IPOSettings,
    OfflineSettings,
    PairSettings,
    RegressionSettings,
)
from infalign.records.policy import Policy

Loss = Callable[[torch.Tensor, torch.Tensor, NDArray[np.int64]], torch.Tensor]


@dataclass
class StoredResponses(Sequences):
    """Prompts with responses, and what the reference says of these."""

    reference_log_probs: NDArray[np.float64]  # (n,) nats, summed, at the temperature of sampling


@dataclass
class StoredRollouts(StoredResponses):
    """Rollouts of the reference, those of a prompt side by side."""

    prompt_ids: list[str]  # (P,)
    rewards: NDArray[np.float64]  # (P, K); read row by row they are those of the responses


@dataclass(frozen=True)
class Material:
    """What a policy is trained from.

    Parameters
    ----------
    reference, tokenizer : the policy that is trained starts from this model.
    scores : scored reference rollouts: prompt_id, sample_id, reward, tokens, log_prob.
    prompts : columns prompt_id and prompt (the text up to where the response starts).
    pairs : the corpus' preference pairs, see `preference.dataset_pairs`.
    temperature : at which the rollouts were sampled, above 0.
    """

    reference: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    scores: pl.DataFrame
    prompts: pl.DataFrame
    pairs: pl.DataFrame
    temperature: float = 1.0


@dataclass(frozen=True)
class Lesson:
    """Examples in the order they are learnt from, and their loss.

    Parameters
    ----------
    responses : what the examples point into.
    batches : one an update, each (m, w): examples of w responses, as rows of `responses`.
    loss : log-probabilities (m, w) in nats, log-ratios to the reference (m, w) and the examples (m, w)
        -> (m,).
    facts : for the policy's manifest, `beta` among them.
    per_token : log-probabilities are divided by the length of their response.
    loss_name : tells apart losses of one method that have the same facts.
    """

    responses: StoredResponses
    batches: list[NDArray[np.int64]]
    loss: Loss
    facts: dict[str, Any]
    per_token: bool = False
    loss_name: str = ""

    @property
    def fingerprint(self) -> str:
        """Hash of everything, the loss by its name and facts."""
        digest = hashlib.sha256(json.dumps([self.loss_name, self.per_token, self.facts]).encode())
        for array in (self.responses.offsets, self.responses.reference_log_probs, *self.batches):
            digest.update(np.ascontiguousarray(array).tobytes())
        for prompt, response in zip(self.responses.prompts, self.responses.responses, strict=True):
            digest.update(json.dumps([prompt, response]).encode())
        return digest.hexdigest()


def stored_rollouts(
    scores: pl.DataFrame, prompts: pl.DataFrame, tokenizer: PreTrainedTokenizerBase
) -> StoredRollouts:
    """Put scored rollouts in order: by prompt_id, then by sample_id.

    Parameters
    ----------
    scores, prompts, tokenizer : see `Material`.

    Raises
    ------
    InputError
        No rollouts, a prompt without its text, unequal numbers of rollouts, or a number that is not finite.
    """
    table = scores.sort("prompt_id", "sample_id")
    counts = table.group_by("prompt_id", maintain_order=True).len()
    ids = counts["prompt_id"].to_list()
    texts = dict(prompts.select("prompt_id", "prompt").iter_rows())
    missing = [name for name in ids if name not in texts]
    sizes = counts["len"].to_list()
    if not ids or missing or len(set(sizes)) > 1:
        raise InputError(
            "learning from stored responses needs rollouts of the training prompts, as many of each, got "
            f"{len(ids)} prompts with {min(sizes, default=0)} to {max(sizes, default=0)} rollouts, "
            f"{len(missing)} of them no training prompt; roll out and score the training prompts again"
        )
    k = table.height // len(ids)
    encoded = encode_prompts(tokenizer, [texts[name] for name in ids])
    return StoredRollouts(
        [tokens for tokens in encoded for _ in range(k)],
        table["tokens"].to_list(),
        finite_array(table["log_prob"], "log_prob"),
        ids,
        finite_array(table["reward"], "reward").reshape(-1, k),
    )


@torch.no_grad()
def stored_pairs(pairs: pl.DataFrame, material: Material, chunk_size: int) -> StoredResponses:
    """Measure the corpus' responses under the reference: first all chosen ones, then all rejected ones."""
    model = material.reference.eval()
    prompts = encode_prompts(material.tokenizer, pairs["prompt"].to_list()) * 2
    texts = pairs["chosen"].to_list() + pairs["rejected"].to_list()
    responses = encode_responses(material.tokenizer, texts)
    check_context(model, [a + b for a, b in zip(prompts, responses, strict=True)], 0)
    stored = StoredResponses(prompts, responses, np.zeros(len(responses)))
    for chunk in chunks(stored, np.arange(len(responses)), chunk_size, model.device):
        log_probs = response_log_probs(model, chunk, material.temperature)
        stored.reference_log_probs[chunk.rows] = log_probs.cpu().numpy()
    return stored


def make_lesson(wanted: Policy, settings: OfflineSettings, material: Material) -> Lesson:
    """Make what a policy learns from.

    Parameters
    ----------
    wanted : what the policy is trained for; its seed decides which responses are drawn and in which order.
    settings : of its method.
    material : what there is.

    Returns
    -------
    Lesson
        Without batches for n = 1: best of one is the reference itself, and nothing is trained.

    Raises
    ------
    InputError
        Fewer rollouts than the method needs, no pair left, or a strength or reward out of reach.

    Examples
    --------
    >>> sorted(LESSONS)
    ['bon_sft', 'bonbon', 'dpo', 'ipo', 'regression']
    """
    lesson = LESSONS[settings.kind](wanted, settings, material)
    facts = ", ".join(f"{name} {value}" for name, value in lesson.facts.items())
    logging.info("%s learns from %d batches: %s", wanted.slug, len(lesson.batches), facts)
    return lesson


def _passes(examples: NDArray[np.int64], settings: OfflineSettings, seed: int) -> list[NDArray[np.int64]]:
    """Cut shuffled passes over all examples into one batch an update."""
    size = settings.examples_per_update
    return [examples[prompt_rows(len(examples), size, seed, step)] for step in range(settings.updates)]


def _pairs(
    settings: PairSettings, material: Material, seed: int
) -> tuple[StoredResponses, NDArray[np.int64], int]:
    """Responses, pairs (chosen, rejected) of their rows, and how many pairs were dropped."""
    if settings.pairs == "dataset":
        kept, dropped = dataset_pairs(material.pairs)
        rows = np.arange(2 * kept.height).reshape(2, -1).T
        return stored_pairs(kept, material, settings.chunk_size), rows, dropped
    rollouts = stored_rollouts(material.scores, material.prompts, material.tokenizer)
    pairs, dropped = rollout_pairs(rollouts.rewards, settings.n_responses, settings.n_comparisons, seed)
    return rollouts, pairs, dropped


def _dpo(wanted: Policy, settings: DPOSettings, material: Material) -> Lesson:
    responses, pairs, dropped = _pairs(settings, material, wanted.seed)
    return Lesson(
        responses,
        _passes(pairs, settings, wanted.seed),
        lambda log_probs, ratios, rows: dpo_loss(ratios[:, 0], ratios[:, 1], wanted.strength),
        {"beta": wanted.strength, "pairs": len(pairs), "pairs_dropped": dropped},
        settings.logprob == "mean",
    )


def _ipo(wanted: Policy, settings: IPOSettings, material: Material) -> Lesson:
    """A KL is turned into the τ at which the identity tilt of the rollouts has it."""
    tau = wanted.strength
    if wanted.strength_kind == "kl":
        tau = build_objective(material.scores, "identity", "empirical", kl=wanted.strength).beta_paper
    responses, pairs, dropped = _pairs(settings, material, wanted.seed)
    return Lesson(
        responses,
        _passes(pairs, settings, wanted.seed),
        lambda log_probs, ratios, rows: ipo_loss(ratios[:, 0], ratios[:, 1], tau),
        {"beta": tau, "pairs": len(pairs), "pairs_dropped": dropped},
        settings.logprob == "mean",
    )


def _draws(rollouts: StoredRollouts, n: int, settings: OfflineSettings, seed: int) -> list[NDArray[np.int64]]:
    """Rows of the best and the worst of n of a prompt's rollouts, (m, 2) an update; none for n = 1."""
    n_prompts, k = rollouts.rewards.shape
    batches = []
    for step in range(settings.updates if n > 1 else 0):
        prompts = prompt_rows(n_prompts, settings.examples_per_update, seed, step)
        rng = np.random.default_rng([seed, step, 1])
        columns = np.stack(best_and_worst(rollouts.rewards[prompts], n, rng), axis=1)
        batches.append(prompts[:, None] * k + columns)
    return batches


def _bon_sft(wanted: Policy, settings: BoNSFTSettings, material: Material) -> Lesson:
    rollouts = stored_rollouts(material.scores, material.prompts, material.tokenizer)
    n = check_draws(wanted.strength, rollouts.rewards.shape[1])
    return Lesson(
        rollouts,
        [batch[:, :1] for batch in _draws(rollouts, n, settings, wanted.seed)],
        lambda log_probs, ratios, rows: likelihood_loss(log_probs[:, 0]),
        {"beta": None},
    )


def _bonbon(wanted: Policy, settings: BoNBoNSettings, material: Material) -> Lesson:
    """Draws whose best and worst rewards are equal are dropped; the rest is dealt out over the updates."""
    rollouts = stored_rollouts(material.scores, material.prompts, material.tokenizer)
    n = check_draws(wanted.strength, rollouts.rewards.shape[1])
    batches, dropped = _dealt(rollouts, _draws(rollouts, n, settings, wanted.seed))
    alpha = settings.alpha
    if alpha == "balanced":
        alpha = balanced_alpha(rollouts.reference_log_probs[batches[0][:, 0]], n) if batches else 0.0
    return Lesson(
        rollouts,
        batches,
        lambda log_probs, ratios, rows: bonbon_loss(log_probs[:, 0], ratios[:, 0], ratios[:, 1], n, alpha),
        {
            "beta": None,
            "alpha": alpha,
            "target_log_ratio": bonbon_target(n),
            "pairs": sum(map(len, batches)),
            "pairs_dropped": dropped,
        },
    )


def _dealt(rollouts: StoredRollouts, batches: list[NDArray[np.int64]]) -> tuple[list[NDArray[np.int64]], int]:
    """Leave out pairs of equal rewards; the others keep their order and are split evenly again."""
    if not batches:
        return [], 0
    every = np.concatenate(batches)
    best, worst = rollouts.rewards.ravel()[every].T
    kept = every[best > worst]
    if len(kept) < len(batches):
        raise InputError(
            f"no pair is left for each of the {len(batches)} updates: the best and the worst reward differ in "
            f"{len(kept)} of {len(every)} draws; check the reward model"
        )
    return np.array_split(kept, len(batches)), len(every) - len(kept)


def _regression(wanted: Policy, settings: RegressionSettings, material: Material) -> Lesson:
    rollouts = stored_rollouts(material.scores, material.prompts, material.tokenizer)
    assert wanted.reward is not None
    objective = build_objective(
        material.scores,
        wanted.reward,
        wanted.calibrator,
        n_rollouts=wanted.n_rollouts,
        ties=wanted.ties or "half",
        **{wanted.strength_kind: wanted.strength},  # type: ignore[arg-type]
    )
    ids = np.repeat(rollouts.prompt_ids, rollouts.rewards.shape[1])
    values = objective.values(ids.tolist(), rollouts.rewards.ravel()).reshape(rollouts.rewards.shape)
    targets = torch.tensor(regression_targets(values, objective.beta).ravel(), dtype=torch.float32)
    examples = np.arange(len(targets))[:, None]
    return Lesson(
        rollouts,
        _passes(examples, settings, wanted.seed),
        lambda log_probs, ratios, rows: regression_loss(ratios[:, 0], targets[rows[:, 0]].to(ratios.device)),
        {"beta": objective.beta_paper, "beta_scaled": objective.beta, "tilt_kl": objective.kl},
        loss_name=objective.fingerprint,
    )


LESSONS: dict[str, Callable[[Policy, Any, Material], Lesson]] = {
    "dpo": _dpo,
    "ipo": _ipo,
    "bon_sft": _bon_sft,
    "bonbon": _bonbon,
    "regression": _regression,
}


def train_offline(
    reference: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    lesson: Lesson,
    settings: OfflineSettings,
    *,
    temperature: float = 1.0,
    output_dir: str | Path,
    scratch_dir: str | Path,
    progress: bool = True,
) -> pl.DataFrame:
    """Train a policy from the reference on stored responses.

    Parameters
    ----------
    reference : causal language model, where the policy starts; frozen.
    tokenizer : its tokenizer.
    lesson : what it learns from; without batches the policy is the reference.
    settings : of the training.
    temperature : of sampling, above 0; the policy is the distribution at this temperature.
    output_dir : gets the policy and tokenizer as a folder that transformers loads (safetensors).
    scratch_dir : for checkpoints, one file a run, removed when the run is done.
    progress : show a bar where standard error is a terminal.

    Returns
    -------
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
        measured = accumulate_gradient(learner, lesson, lesson.batches[learner.step])
        now = f"the mean log-ratio of the batch to the reference was {measured['log_ratio']:.3g} nats"
        return learner.take_step(measured, now) | {"learning_rate": rate}

    return run_updates(
        Learner(starting_policy(reference), reference, settings, temperature, updates=len(lesson.batches)),
        update,
        tokenizer,
        fingerprint=run_fingerprint(reference, settings, lesson.fingerprint, temperature),
        output_dir=output_dir,
        scratch_dir=scratch_dir,
        progress=progress,
    )


def accumulate_gradient(
    learner: Learner[OfflineSettings], lesson: Lesson, batch: NDArray[np.int64]
) -> dict[str, float]:
    """Put the gradient of a batch's loss, a mean over its examples, into the parameters.

    Parameters
    ----------
    learner : the gradient is added to what is there.
    lesson : of the batch.
    batch : (m, w), examples.

    Returns
    -------
    loss and the other measures of `train_offline`'s log, means over the batch.
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
    """Cut a batch into parts of at most `size` responses and like lengths; an example is never cut.

    Parameters
    ----------
    responses : what the batch points into.
    batch : (m, w), examples.
    size : responses of a part; one example is the least a part holds.

    Yields
    ------
    (m', w) parts, longest first.
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
    """Log-probabilities of the responses of examples, (m, w), in nats; each response is read once.

    Parameters
    ----------
    model : causal language model.
    responses : what the examples point into.
    examples : (m, w).
    temperature : above 0.
    """
    rows, places = np.unique(examples, return_inverse=True)
    (chunk,) = chunks(responses, rows, len(rows), model.device)
    log_probs = response_log_probs(model, chunk, temperature)
    return log_probs[np.argsort(chunk.rows)[places.reshape(examples.shape)]]
