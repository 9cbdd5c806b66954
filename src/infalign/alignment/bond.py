"""Best-of-N distillation by a Jeffreys divergence: stage by stage (BOND), and with a moving anchor (J-BOND).

Both minimise (1 − j)·KL(π_BoN ‖ π) + j·KL(π ‖ π_BoN), where π_BoN is the best of n_each responses of an anchor.
Let F⁻ be the anchor's probability of a reward below y's, and F that of a reward no higher than y's. With ties
broken at random, π_BoN(y) = anchor(y)·(F^n − F⁻^n)/(F − F⁻), so that

    −KL(π ‖ π_BoN) = E_π[log((F^n − F⁻^n)/(F − F⁻))] − KL(π ‖ anchor).

Without ties the value is log n + (n − 1)·log F: the objective of PPO with β = 1 and the anchor as its
reference. The forward part is the likelihood of the best of n_each anchor responses, up to the entropy of
π_BoN, which does not depend on π.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from infalign.alignment.batches import Batch, OnlineTask, check_rewards, sample_batch
from infalign.alignment.best_of_anchor import BestOfAnchor, WorseThanBoth, build_best_of_anchor
from infalign.alignment.policy_update import accumulate_ppo_gradient, update_policy
from infalign.alignment.ppo import new_learner
from infalign.alignment.sequences import Sequences, chunks, response_log_probs
from infalign.alignment.training import Destination, Learner, run_fingerprint, run_updates
from infalign.errors import InputError
from infalign.language.generation import sample_responses
from infalign.language.models import encode_prompts
from infalign.records.methods import BONDSettings, JBONDSettings

Update = Callable[[Learner], dict[str, float]]


def bond_stages(n: int, n_each: int) -> int:
    """Count how often best-of-n_each must be distilled for best-of-n; an InputError unless n is a power of n_each.

    Examples
    --------
    >>> bond_stages(1, 2), bond_stages(16, 4)
    (0, 2)
    """
    stages = next((k for k in range(64) if n_each**k >= n), 64)
    if n < 1 or n_each**stages != n:
        raise InputError(
            f"BOND distils best-of-{n_each} stage by stage, so n must be a power of {n_each} "
            f"(1, {n_each}, {n_each**2}, ...), got {n}; change n or n_each"
        )
    return stages


def jbond_updates(n: float, updates: int) -> int:
    """Count J-BOND's updates: `updates` for each doubling of n; an InputError where n < 1.

    Examples
    --------
    >>> jbond_updates(1, 35), jbond_updates(8, 35), jbond_updates(3, 35)
    (0, 105, 56)
    """
    if not n >= 1:
        raise InputError(f"J-BOND needs n >= 1, got {n}; n = 1 is the reference itself")
    return math.ceil(updates * math.log2(n))


def anchored_learner(
    reference: PreTrainedModel, settings: BONDSettings | JBONDSettings, temperature: float, updates: int
) -> Learner:
    """Start policy and anchor from copies of the reference; the learner's `reference` is the anchor."""
    learner = new_learner(copy.deepcopy(reference), settings, temperature, updates)
    learner.kept["anchor"] = learner.reference
    return learner


@torch.no_grad()
def move_anchor(learner: Learner, share: float) -> None:
    """Move the anchor's weights by this share of the way to the policy's; 1: it becomes the policy."""
    pairs = zip(learner.reference.parameters(), learner.policy.parameters(), strict=True)
    for anchor, policy in pairs:
        anchor.lerp_(policy, share)


def accumulate_likelihood(learner: Learner, sequences: Sequences, rows: NDArray[np.int64], weight: float) -> float:
    """Add the gradient of weight × mean negative log-likelihood of some responses to the parameters' gradients.

    Returns the mean of −log π(response), nats a response, without the weight. There is at least one row.
    """
    total = 0.0
    for chunk in chunks(sequences, rows, learner.settings.chunk_size, learner.device):
        with learner.autocast():
            loss = -response_log_probs(learner.policy, chunk, learner.temperature).sum() / len(rows)
        (weight * loss).backward()
        total += loss.item()
    return total


def accumulate_jeffreys_gradient(
    learner: Learner, batch: Batch, best: Sequences, rows: NDArray[np.int64], beta: float
) -> dict[str, float]:
    """Add the gradient of the Jeffreys divergence, divided by the batch's mean length, to the parameters' gradients.

    Parameters
    ----------
    batch : Batch
        Responses of the policy, with advantages: the backward part.
    best : Sequences
        Best anchor responses to the batch's prompts, in its order: the forward part. There is one to each
        prompt, or as many as the batch has.

    Returns
    -------
    dict of str to float
        As of `accumulate_ppo_gradient`, and forward_loss: −log π(best), nats a response.
    """
    jeffreys = learner.settings.jeffreys
    measured = accumulate_ppo_gradient(learner, batch, rows, beta, weight=jeffreys)
    matching = np.unique(rows * len(best.prompts) // len(batch.prompts))
    weight = (1 - jeffreys) / float(batch.lengths.mean())
    return measured | {"forward_loss": accumulate_likelihood(learner, best, matching, weight)}


def update_jeffreys(learner: Learner, task: OnlineTask, batch: Batch, best: Sequences) -> dict[str, float]:
    """Take the optimiser steps of one update; see `update_policy` and `accumulate_jeffreys_gradient`."""

    def gradient(learner: Learner, batch: Batch, rows: np.ndarray, beta: float) -> dict[str, float]:
        return accumulate_jeffreys_gradient(learner, batch, best, rows, beta)

    return update_policy(learner, batch, 1.0, task.rng(learner, "minibatches"), gradient)


def sample_anchor(learner: Learner, task: OnlineTask, stage: int) -> pl.DataFrame:
    """Sample and score the anchor's responses to every prompt; the draws depend on seed and stage."""
    n_samples = learner.settings.quantile_samples
    with learner.autocast():
        table = sample_responses(
            learner.reference,
            task.tokenizer,
            task.prompts,
            n_samples,
            max_new_tokens=task.max_new_tokens,
            temperature=learner.temperature,
            seed=int(np.random.SeedSequence([task.seed, stage]).generate_state(1)[0]),
        )
    texts = np.repeat(np.array(task.prompts["prompt"].to_list(), dtype=object), n_samples).tolist()
    rewards = task.score_fn(texts, table["response"].to_list(), table["finished"].to_list())
    return table.with_columns(reward=np.asarray(rewards, dtype=float))


def sample_anchor_pairs(learner: Learner, task: OnlineTask) -> tuple[Sequences, NDArray[np.float64]]:
    """Draw two anchor responses to each prompt of this update: the better ones, and the lower rewards of the pairs."""
    ids, texts = task.texts(np.repeat(task.rows(learner), 2))
    encoded = encode_prompts(task.tokenizer, texts)
    uniforms = task.rng(learner, "anchor").random((len(encoded), task.max_new_tokens))
    samples = task.sample(learner, learner.reference, encoded, uniforms)
    rewards = task.score(texts, samples.tokens, samples.finished)
    check_rewards(rewards, ids, learner.step)
    pairs = rewards.reshape(-1, 2)
    better = 2 * np.arange(len(pairs)) + pairs.argmax(axis=1)
    best = Sequences([encoded[row] for row in better], [samples.tokens[row] for row in better])
    return best, pairs.min(axis=1)


def _bond_update(task: OnlineTask, first: BestOfAnchor) -> Update:
    """Make BOND's update; `first` are samples of the reference, the anchor of stage 0."""
    anchors = {0: first}  # of the present stage only

    def update(learner: Learner[BONDSettings]) -> dict[str, float]:
        stage, within = divmod(learner.step, learner.settings.updates)
        if within == 0:
            move_anchor(learner, 1.0)
        if stage not in anchors:
            scores = sample_anchor(learner, task, stage)
            anchors.clear()
            anchors[stage] = build_best_of_anchor(scores, task.prompts, first.n_each, learner.step)
        batch = sample_batch(learner, task, anchors[stage])
        rows = np.repeat(task.rows(learner), learner.settings.samples_per_prompt)
        best = Sequences(batch.prompts, anchors[stage].draw(rows, task.rng(learner, "best")))
        return update_jeffreys(learner, task, batch, best)

    return update


def _jbond_update(task: OnlineTask) -> Update:
    """Make J-BOND's update."""

    def update(learner: Learner[JBONDSettings]) -> dict[str, float]:
        best, worse = sample_anchor_pairs(learner, task)
        objective = WorseThanBoth(np.repeat(worse, learner.settings.samples_per_prompt))
        batch = sample_batch(learner, task, objective)
        measured = update_jeffreys(learner, task, batch, best)
        move_anchor(learner, learner.settings.anchor_rate)
        return measured

    return update


def train_bond(
    reference: PreTrainedModel,
    task: OnlineTask,
    scores: pl.DataFrame,
    settings: BONDSettings | JBONDSettings,
    destination: Destination,
    *,
    n: int,
) -> pl.DataFrame:
    """Distil best-of-n of the reference into a policy, by BOND or J-BOND as the settings say.

    BOND has log n / log n_each stages. Each has the policy at its start as anchor and distils best-of-n_each of
    it; the first takes its quantiles from the scored reference rollouts `scores` (prompt_id, sample_id, reward,
    tokens), which J-BOND does not read. J-BOND's anchor moves a little to the policy at each update, and the policy
    distils best-of-2 of it. One schedule of the learning rate and one optimiser run through all updates. n = 1 is
    the reference itself.

    A run that was stopped continues from its last checkpoint to the very same policy: the checkpoint holds
    the anchor, and the anchor's samples, drawn from (seed, stage), are made again.

    Returns
    -------
    polars.DataFrame
        One row an update, none for n = 1: the columns of `train_ppo`, with every KL measured from the anchor of
        the update and BOND's `objective` an estimate of −KL(π ‖ π_BoN); and forward_loss, −log π of the best
        anchor responses in nats a response.

    Raises
    ------
    InputError
        The method cannot reach n, there are fewer rollouts than n_each, or a reward is not finite.
    TrainingDiverged
        A loss or gradient is not finite.

    References
    ----------
    Sessa et al. 2024, BOND: aligning LLMs with best-of-N distillation, sections 4 and 5.
    """
    inputs: list[object] = [n, *task.identity]
    if isinstance(settings, BONDSettings):
        updates = settings.updates * bond_stages(n, settings.n_each)
        first = build_best_of_anchor(scores, task.prompts, settings.n_each)
        update = _bond_update(task, first)
        inputs.append(first.fingerprint)
    else:
        updates = jbond_updates(n, settings.updates)
        update = _jbond_update(task)
    learner = anchored_learner(reference, settings, task.temperature, updates)
    fingerprint = run_fingerprint(reference, settings, *inputs)
    return run_updates(learner, update, task.tokenizer, destination, fingerprint)
