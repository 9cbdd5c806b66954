"""Lessons of the methods that learn from stored responses: their examples, in order, and their losses."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from infalign.alignment.likelihood import best_and_worst, check_draws, likelihood_loss
from infalign.alignment.objectives import build_objective, policy_objective
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
from infalign.alignment.rollouts import rollouts_by_prompt
from infalign.alignment.sequences import Sequences, chunks, response_log_probs
from infalign.alignment.training import prompt_rows
from infalign.errors import InputError
from infalign.language.models import check_context, encode_prompts, encode_responses
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
    """Prompts with responses, and the log-probabilities of these under the reference."""

    reference_log_probs: NDArray[np.float64]  # (n,) nats, summed, at the temperature of sampling


@dataclass
class StoredRollouts(StoredResponses):
    """Rollouts of the reference, sorted by prompt_id and sample_id."""

    prompt_ids: list[str]  # (P,)
    rewards: NDArray[np.float64]  # (P, K); read row by row they are those of the responses


@dataclass(frozen=True)
class Material:
    """Models and tables that a policy is trained from.

    Parameters
    ----------
    scores : polars.DataFrame
        Scored reference rollouts: prompt_id, sample_id, reward, tokens, log_prob.
    prompts : polars.DataFrame
        Columns prompt_id and prompt (the text up to where the response starts).
    pairs : polars.DataFrame
        Preference pairs of the corpus; see `preference.dataset_pairs`.
    temperature : float
        Of the rollouts' sampling, above 0; the policy is the distribution at this temperature.
    """

    reference: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    scores: pl.DataFrame
    prompts: pl.DataFrame
    pairs: pl.DataFrame
    temperature: float = 1.0


@dataclass(frozen=True)
class Lesson:
    """Examples in the order of learning, and their loss.

    Parameters
    ----------
    batches : list of ndarray, shape (m, w) each
        One an update: m examples of w responses, as rows of `responses`.
    loss : Callable
        Of log-probabilities (m, w) in nats, log-ratios to the reference (m, w) and the examples (m, w): losses,
        shape (m,).
    measures : dict
        For the policy's manifest, `beta` among them.
    per_token : bool
        Divide log-probabilities by the length of their response.
    loss_name : str
        Distinguishes losses of one method that have the same measures.
    """

    responses: StoredResponses
    batches: list[NDArray[np.int64]]
    loss: Loss
    measures: dict[str, Any]
    per_token: bool = False
    loss_name: str = ""

    @property
    def fingerprint(self) -> str:
        """Hash of all fields; the loss enters by its name and measures."""
        digest = hashlib.sha256(json.dumps([self.loss_name, self.per_token, self.measures]).encode())
        for array in (self.responses.offsets, self.responses.reference_log_probs, *self.batches):
            digest.update(np.ascontiguousarray(array).tobytes())
        for prompt, response in zip(self.responses.prompts, self.responses.responses, strict=True):
            digest.update(json.dumps([prompt, response]).encode())
        return digest.hexdigest()


def make_lesson(policy: Policy, settings: OfflineSettings, material: Material) -> Lesson:
    """Make the lesson of a policy; its seed decides which responses are drawn, and their order.

    A lesson for n = 1 has no batches: best of one is the reference itself. Fewer rollouts than the method needs, no
    pair left, and a strength or reward out of reach are InputErrors.

    Examples
    --------
    >>> sorted(LESSONS)
    ['bon_sft', 'bonbon', 'dpo', 'ipo', 'regression']
    """
    lesson = LESSONS[settings.kind](policy, settings, material)
    measures = ", ".join(f"{name} {value}" for name, value in lesson.measures.items())
    logging.info("%s learns from %d batches: %s", policy.slug, len(lesson.batches), measures)
    return lesson


def _stored_rollouts(material: Material) -> StoredRollouts:
    prompt_ids, (rewards, log_probs) = rollouts_by_prompt(material.scores, "reward", "log_prob")
    texts = dict(material.prompts.select("prompt_id", "prompt").iter_rows())
    missing = [prompt_id for prompt_id in prompt_ids if prompt_id not in texts]
    if missing:
        raise InputError(
            f"learning from stored responses needs rollouts of the training prompts, got {len(prompt_ids)} prompts, "
            f"{len(missing)} of them no training prompts, e.g. {missing[0]!r}; roll out and score the training "
            "prompts again"
        )
    encoded = encode_prompts(material.tokenizer, [texts[prompt_id] for prompt_id in prompt_ids])
    return StoredRollouts(
        [tokens for tokens in encoded for _ in range(rewards.shape[1])],
        material.scores.sort("prompt_id", "sample_id")["tokens"].to_list(),
        log_probs.ravel(),
        prompt_ids,
        rewards,
    )


@torch.no_grad()
def _stored_pairs(pairs: pl.DataFrame, material: Material, chunk_size: int) -> StoredResponses:
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


def _passes(examples: NDArray[np.int64], settings: OfflineSettings, seed: int) -> list[NDArray[np.int64]]:
    """Cut shuffled passes over all examples into one batch an update."""
    size = settings.examples_per_update
    return [examples[prompt_rows(len(examples), size, seed, step)] for step in range(settings.updates)]


def _pair_lesson(
    policy: Policy,
    settings: PairSettings,
    material: Material,
    beta: float,
    loss: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor],
) -> Lesson:
    """Make a lesson of pairs (chosen, rejected) with a loss of their log-ratios and β."""
    if settings.pairs == "dataset":
        kept, dropped = dataset_pairs(material.pairs)
        responses = _stored_pairs(kept, material, settings.chunk_size)
        pairs = np.arange(2 * kept.height).reshape(2, -1).T
    else:
        responses = rollouts = _stored_rollouts(material)
        numbers = (settings.n_responses, settings.n_comparisons, policy.seed)
        pairs, dropped = rollout_pairs(rollouts.rewards, *numbers)
    return Lesson(
        responses,
        _passes(pairs, settings, policy.seed),
        lambda log_probs, ratios, rows: loss(ratios[:, 0], ratios[:, 1], beta),
        {"beta": beta, "pairs": len(pairs), "pairs_dropped": dropped},
        settings.logprob == "mean",
    )


def _dpo(policy: Policy, settings: DPOSettings, material: Material) -> Lesson:
    return _pair_lesson(policy, settings, material, policy.strength, dpo_loss)


def _ipo(policy: Policy, settings: IPOSettings, material: Material) -> Lesson:
    """A KL is turned into the τ at which the identity tilt of the rollouts has it."""
    tau = policy.strength
    if policy.strength_kind == "kl":
        tau = build_objective(material.scores, "identity", "empirical", kl=policy.strength).beta_paper
    return _pair_lesson(policy, settings, material, tau, ipo_loss)


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


def _bon_sft(policy: Policy, settings: BoNSFTSettings, material: Material) -> Lesson:
    rollouts = _stored_rollouts(material)
    n = check_draws(policy.strength, rollouts.rewards.shape[1])
    return Lesson(
        rollouts,
        [batch[:, :1] for batch in _draws(rollouts, n, settings, policy.seed)],
        lambda log_probs, ratios, rows: likelihood_loss(log_probs[:, 0]),
        {"beta": None},
    )


def _bonbon(policy: Policy, settings: BoNBoNSettings, material: Material) -> Lesson:
    """Draws whose best and worst rewards are equal are dropped; the others are split evenly over the updates."""
    rollouts = _stored_rollouts(material)
    n = check_draws(policy.strength, rollouts.rewards.shape[1])
    batches, dropped = _different_pairs(rollouts, _draws(rollouts, n, settings, policy.seed))
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


def _different_pairs(rollouts: StoredRollouts, batches: list[NDArray[np.int64]]) -> tuple[list[NDArray[np.int64]], int]:
    """Leave out pairs of equal rewards; split the others, in their order, evenly over the updates."""
    if not batches:
        return [], 0
    drawn = np.concatenate(batches)
    best, worst = rollouts.rewards.ravel()[drawn].T
    kept = drawn[best > worst]
    if len(kept) < len(batches):
        raise InputError(
            f"no pair is left for each of the {len(batches)} updates: the best and the worst reward differ in "
            f"{len(kept)} of {len(drawn)} draws; check the reward model"
        )
    return np.array_split(kept, len(batches)), len(drawn) - len(kept)


def _regression(policy: Policy, settings: RegressionSettings, material: Material) -> Lesson:
    rollouts = _stored_rollouts(material)
    objective = policy_objective(policy, material.scores)
    ids = np.repeat(rollouts.prompt_ids, rollouts.rewards.shape[1])
    values = objective.values(ids.tolist(), rollouts.rewards.ravel()).reshape(rollouts.rewards.shape)
    targets = torch.tensor(regression_targets(values, objective.beta).ravel(), dtype=torch.float32)
    examples = np.arange(len(targets))[:, None]
    return Lesson(
        rollouts,
        _passes(examples, settings, policy.seed),
        lambda log_probs, ratios, rows: regression_loss(ratios[:, 0], targets[rows[:, 0]].to(ratios.device)),
        objective.measures,
        loss_name=objective.fingerprint,
    )


LESSONS: dict[str, Callable[[Policy, Any, Material], Lesson]] = {
    "dpo": _dpo,
    "ipo": _ipo,
    "bon_sft": _bon_sft,
    "bonbon": _bonbon,
    "regression": _regression,
}
