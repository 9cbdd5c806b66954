"""Best-of-N distillation by a Jeffreys divergence: stage by stage (BOND), and with a moving anchor (J-BOND).

Both minimise (1 − j)·KL(π_BoN ‖ π) + j·KL(π ‖ π_BoN), π_BoN the best of n_each responses of an anchor.
With F⁻ and F the anchor's probability of a reward below y's and of one no higher than y's, and ties broken
at random, π_BoN(y) = anchor(y)·(F^n − F⁻^n)/(F − F⁻), so that

    −KL(π ‖ π_BoN) = E_π[log((F^n − F⁻^n)/(F − F⁻))] − KL(π ‖ anchor).

Without ties the value is log n + (n − 1)·log F: the objective of PPO with β = 1 and the anchor as its
reference. The forward part is the likelihood of the best of n_each anchor responses, up to the entropy of
π_BoN, on which π has no influence.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import ArrayLike, NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from infalign.alignment.ppo import (
    STREAMS,
    Batch,
    ScoreFunction,
    accumulate_gradient,
    check_rewards,
    new_learner,
    prompt_rows,
    sample_batch,
    update_policy,
)
from infalign.alignment.sequences import Sequences, chunks, response_log_probs
from infalign.alignment.training import Learner, run_fingerprint, run_updates
from infalign.errors import InputError
from infalign.language.generation import sample_responses, sample_tokens
from infalign.language.models import encode_prompts
from infalign.records.methods import BONDSettings, JBONDSettings

ANCHOR_STREAM, BEST_STREAM = 3, 4  # generators of one step beside PPO's STREAMS
WORST_REWARD = -math.log(16)  # of J-BOND
Update = Callable[[Learner], dict[str, float]]


def log_density_of_best(below: ArrayLike, equal: ArrayLike, n_samples: int, n: int) -> NDArray[np.float64]:
    """Log of how much likelier best-of-n makes a response, from anchor samples that do not hold it.

    The response counts as one more sample, tied with itself: F⁻ = below / (M + 1) and
    F = (below + equal + 1) / (M + 1). So nothing is the logarithm of 0 (the same (1 + ...) / (M + 1) as the
    transform `log`), and for n = 2 the value is log 2 + log of the mid-rank (F⁻ + F) / 2: ties count half.
    Strict counts would be biased where responses repeat.

    Parameters
    ----------
    below, equal : (rows,), how many of the samples have a lower and an equal reward.
    n_samples : M, at least 1.
    n : of best-of-n, at least 1.

    Returns
    -------
    (rows,) log((F^n − F⁻^n)/(F − F⁻)), between (n − 1)·log(1 / (M + 1)) and log n.

    Examples
    --------
    >>> np.exp(log_density_of_best([0, 1], [1, 0], 3, 2)).round(6).tolist()  # 2/4 + 0, and 1/4 + 2/4
    [0.5, 0.75]
    """
    lower = np.asarray(below, dtype=float) / (n_samples + 1)
    upper = lower + (np.asarray(equal, dtype=float) + 1) / (n_samples + 1)
    return n * np.log(upper) + np.log1p(-((lower / upper) ** n)) - np.log(upper - lower)


@dataclass(frozen=True)
class BestOfAnchor:
    """The best of n_each responses of an anchor, known by M scored responses to every prompt.

    Parameters
    ----------
    prompt_ids : of the training prompts, in their order.
    responses : tokens, M for every prompt.
    rewards : (prompts, M), finite.
    n_each : of best-of-n, at most M.
    beta : of the KL to the anchor: 1 makes the objective minus the backward divergence.
    """

    prompt_ids: Sequence[str]
    responses: Sequence[Sequence[list[int]]]
    rewards: NDArray[np.float64]
    n_each: int
    beta: float = 1.0

    def values(
        self, prompt_ids: Sequence[str], rewards: np.ndarray, reference_log_probs: np.ndarray | None = None
    ) -> np.ndarray:
        """Log density of best-of-n_each at fresh responses, (n,); see `log_density_of_best`.

        Parameters
        ----------
        prompt_ids : n training prompts.
        rewards : (n,), finite.
        reference_log_probs : unused; other objectives need them.
        """
        places = {prompt_id: row for row, prompt_id in enumerate(self.prompt_ids)}
        samples = self.rewards[[places[prompt_id] for prompt_id in prompt_ids]]
        below = (samples < rewards[:, None]).sum(axis=1)
        equal = (samples == rewards[:, None]).sum(axis=1)
        return log_density_of_best(below, equal, samples.shape[1], self.n_each)

    def draw(self, rows: NDArray[np.int64], rng: np.random.Generator) -> list[list[int]]:
        """Best of n_each responses drawn without replacement to each of these prompts; ties at random."""
        candidates = rng.random((len(rows), self.rewards.shape[1])).argsort(axis=1)[:, : self.n_each]
        winners = self.rewards[rows[:, None], candidates].argmax(axis=1)
        best = candidates[np.arange(len(rows)), winners]
        return [list(self.responses[row][place]) for row, place in zip(rows, best, strict=True)]

    @property
    def fingerprint(self) -> str:
        """Hash of the samples."""
        digest = hashlib.sha256(repr([self.n_each, list(self.prompt_ids)]).encode())
        digest.update(self.rewards.tobytes() + repr(self.responses).encode())
        return digest.hexdigest()


def best_of_anchor(scores: pl.DataFrame, prompts: pl.DataFrame, n_each: int, step: int = 0) -> BestOfAnchor:
    """Put the anchor's scored responses beside the training prompts.

    Parameters
    ----------
    scores : columns prompt_id, sample_id, reward, tokens; the same number for every prompt.
    prompts : column prompt_id; further prompts of `scores` are left out.
    n_each : of best-of-n.
    step : the update the samples are for, as messages name it.

    Raises
    ------
    InputError
        A prompt without responses, unequal numbers, fewer than n_each, or a reward that is not finite.
    """
    ids = prompts["prompt_id"].to_list()
    groups = scores.sort("sample_id").group_by("prompt_id").agg("reward", "tokens")
    rewards = dict(groups.select("prompt_id", "reward").iter_rows())
    tokens = dict(groups.select("prompt_id", "tokens").iter_rows())
    counts = sorted({len(rewards.get(prompt_id, [])) for prompt_id in ids})
    if counts[0] != counts[-1] or counts[0] < n_each:
        raise InputError(
            f"best-of-{n_each} distillation needs the same number of anchor responses to every training "
            f"prompt and at least {n_each}, got from {counts[0]} to {counts[-1]}; roll out all training "
            "prompts, or more responses"
        )
    table = np.array([rewards[prompt_id] for prompt_id in ids], dtype=float)
    check_rewards(table.ravel(), np.repeat(ids, table.shape[1]).tolist(), step)
    return BestOfAnchor(ids, [tokens[prompt_id] for prompt_id in ids], table, n_each)


@dataclass(frozen=True)
class WorseThanBoth:
    """J-BOND's reward of one batch: −log 16 for a response worse than both anchor responses, else 0.

    A response at quantile u of a continuous reward is worse than both with probability (1 − u)², so it
    earns −log 16·(1 − u)² on average: log u at u = ½ and at u = 1, close to it between.

    Parameters
    ----------
    worse : (rows,), the lower of the two anchor rewards for each response of the batch.
    """

    worse: NDArray[np.float64]
    beta: float = 1.0
    fingerprint: str = "worse than both of two anchor responses: -log 16"

    def values(
        self, prompt_ids: Sequence[str], rewards: np.ndarray, reference_log_probs: np.ndarray | None = None
    ) -> np.ndarray:
        """Rewards of the batch, (rows,); what equals the worse of the two is not worse than both.

        Examples
        --------
        >>> WorseThanBoth(np.array([1.0, 1.0])).values(["a", "a"], np.array([1.0, 0.5])).round(3).tolist()
        [0.0, -2.773]
        """
        return np.where(rewards < self.worse, WORST_REWARD, 0.0)


def n_stages(n: int, n_each: int) -> int:
    """How often best-of-n_each must be distilled to reach best-of-n.

    Raises
    ------
    InputError
        n is no power of n_each.

    Examples
    --------
    >>> n_stages(1, 2), n_stages(16, 4)
    (0, 2)
    """
    stages = next((k for k in range(64) if n_each**k >= n), 64)
    if n < 1 or n_each**stages != n:
        raise InputError(
            f"BOND distils best-of-{n_each} stage by stage, so n must be a power of {n_each} "
            f"(1, {n_each}, {n_each**2}, ...), got {n}; change n or n_each"
        )
    return stages


def n_updates(n: float, updates: int) -> int:
    """J-BOND's number of updates: `updates` for each doubling of n.

    Raises
    ------
    InputError
        n < 1.

    Examples
    --------
    >>> n_updates(1, 35), n_updates(8, 35), n_updates(3, 35)
    (0, 105, 56)
    """
    if not n >= 1:
        raise InputError(f"J-BOND needs n >= 1, got {n}; n = 1 is the reference itself")
    return math.ceil(updates * math.log2(n))


def anchored_learner(
    reference: PreTrainedModel, settings: BONDSettings | JBONDSettings, temperature: float, updates: int
) -> Learner:
    """Start policy and anchor from the reference, which itself stays as it is.

    Parameters
    ----------
    reference : causal language model.
    settings : of the training.
    temperature : of sampling, above 0.
    updates : how many there are in all.

    Returns
    -------
    Learner whose `reference` is the anchor; checkpoints hold it.
    """
    learner = new_learner(copy.deepcopy(reference), settings, temperature, updates)
    learner.kept["anchor"] = learner.reference
    return learner


@torch.no_grad()
def move_anchor(learner: Learner, share: float) -> None:
    """Move the anchor's weights by this share of the way to the policy's; 1: it becomes the policy."""
    pairs = zip(learner.reference.parameters(), learner.policy.parameters(), strict=True)
    for anchor, policy in pairs:
        anchor.lerp_(policy, share)


def accumulate_likelihood(
    learner: Learner, sequences: Sequences, rows: NDArray[np.int64], weight: float
) -> float:
    """Put the gradient of the mean negative log-likelihood of some rows, times a weight, into the parameters.

    Parameters
    ----------
    learner : the gradient is added to what is there.
    sequences : prompts with the responses to make likelier.
    rows : of them, at least one.
    weight : of the gradient.

    Returns
    -------
    Mean of −log π(response), nats a response, without the weight.
    """
    total = 0.0
    for chunk in chunks(sequences, rows, learner.settings.chunk_size, learner.device):
        with learner.autocast():
            loss = -response_log_probs(learner.policy, chunk, learner.temperature).sum() / len(rows)
        (weight * loss).backward()
        total += loss.item()
    return total


def jeffreys_gradient(
    learner: Learner, batch: Batch, best: Sequences, rows: NDArray[np.int64], beta: float
) -> dict[str, float]:
    """Put the gradient of the Jeffreys divergence, divided by the batch's mean length, into the parameters.

    Parameters
    ----------
    learner : its settings name the weight of the backward part.
    batch : responses of the policy, with advantages: the backward part.
    best : best anchor responses to the batch's prompts, in its order; as many to each prompt as the batch
        has, or one: the forward part.
    rows : of the batch.
    beta : 1.

    Returns
    -------
    What `accumulate_gradient` returns, and forward_loss: −log π(best), nats a response.
    """
    jeffreys = learner.settings.jeffreys
    measured = accumulate_gradient(learner, batch, rows, beta, weight=jeffreys)
    matching = np.unique(rows * len(best.prompts) // len(batch.prompts))
    weight = (1 - jeffreys) / float(batch.lengths.mean())
    return measured | {"forward_loss": accumulate_likelihood(learner, best, matching, weight)}


def update_jeffreys(learner: Learner, batch: Batch, best: Sequences, seed: int) -> dict[str, float]:
    """Take the optimiser steps of one update down the Jeffreys divergence.

    Parameters
    ----------
    learner : changed in place.
    batch : measured with the learner as it is.
    best : best anchor responses to its prompts; see `jeffreys_gradient`.
    seed : shuffles the minibatches.

    Returns
    -------
    The columns of the log.

    Raises
    ------
    TrainingDiverged
        A loss or gradient is not finite; the weights are then those before the step.
    """

    def gradient(learner: Learner, batch: Batch, rows: np.ndarray, beta: float) -> dict[str, float]:
        return jeffreys_gradient(learner, batch, best, rows, beta)

    rng = np.random.default_rng([seed, learner.step, STREAMS["minibatches"]])
    return update_policy(learner, batch, 1.0, rng, gradient)


@dataclass(frozen=True)
class Distillation:
    """What a distillation samples and scores; its draws depend on the seed and the update only.

    Parameters
    ----------
    tokenizer : of the models.
    prompts : columns prompt_id and prompt.
    score_fn : prompts, responses (texts), finished (bools) -> rewards.
    seed : at least 0.
    max_new_tokens : longest response.
    """

    tokenizer: PreTrainedTokenizerBase
    prompts: pl.DataFrame
    score_fn: ScoreFunction
    seed: int
    max_new_tokens: int

    def batch(self, learner: Learner, objective: BestOfAnchor | WorseThanBoth) -> Batch:
        """Responses of the policy at this update."""
        facts = (self.score_fn, self.seed, self.max_new_tokens)
        return sample_batch(learner, self.tokenizer, self.prompts, objective, *facts)

    def rows(self, learner: Learner) -> NDArray[np.int64]:
        """Prompts of this update, each once."""
        return prompt_rows(self.prompts.height, learner.settings.prompts_per_update, self.seed, learner.step)

    def anchor_table(self, learner: Learner, stage: int) -> pl.DataFrame:
        """Sample and score the anchor's responses to every prompt; the draws depend on seed and stage."""
        draws = int(np.random.SeedSequence([self.seed, stage]).generate_state(1)[0])
        n_samples = learner.settings.quantile_samples
        with learner.autocast():
            table = sample_responses(
                learner.reference,
                self.tokenizer,
                self.prompts,
                n_samples,
                max_new_tokens=self.max_new_tokens,
                temperature=learner.temperature,
                seed=draws,
            )
        texts = np.repeat(np.array(self.prompts["prompt"].to_list(), dtype=object), n_samples).tolist()
        rewards = self.score_fn(texts, table["response"].to_list(), table["finished"].to_list())
        return table.with_columns(reward=np.asarray(rewards, dtype=float))

    def anchor_pairs(self, learner: Learner) -> tuple[Sequences, NDArray[np.float64]]:
        """Better of two anchor responses to each prompt of this update, and the lower reward of the two."""
        rows = np.repeat(self.rows(learner), 2)
        texts, ids = ([self.prompts[name][int(row)] for row in rows] for name in ("prompt", "prompt_id"))
        encoded = encode_prompts(self.tokenizer, texts)
        rng = np.random.default_rng([self.seed, learner.step, ANCHOR_STREAM])
        with learner.autocast():
            drawn = sample_tokens(
                learner.reference,
                encoded,
                rng.random((len(encoded), self.max_new_tokens)),
                eos_id=self.tokenizer.eos_token_id,
                max_new_tokens=self.max_new_tokens,
                temperature=learner.temperature,
            )
        responses = self.tokenizer.batch_decode(
            drawn.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        rewards = np.asarray(self.score_fn(texts, responses, list(drawn.finished)), dtype=float)
        check_rewards(rewards, ids, learner.step)
        pairs = rewards.reshape(-1, 2)
        better = 2 * np.arange(len(pairs)) + pairs.argmax(axis=1)
        best = Sequences([encoded[row] for row in better], [drawn.tokens[row] for row in better])
        return best, pairs.min(axis=1)


def bond_update(distillation: Distillation, first: BestOfAnchor) -> Update:
    """BOND's update of a learner at its step.

    Parameters
    ----------
    distillation : what is sampled and scored.
    first : samples of the reference, the anchor of stage 0.
    """
    known = {0: first}  # the present stage's only

    def update(learner: Learner[BONDSettings]) -> dict[str, float]:
        stage, within = divmod(learner.step, learner.settings.updates)
        if within == 0:
            move_anchor(learner, 1.0)
        if stage not in known:
            table = distillation.anchor_table(learner, stage)
            known.clear()
            known[stage] = best_of_anchor(table, distillation.prompts, first.n_each, learner.step)
        batch = distillation.batch(learner, known[stage])
        rows = np.repeat(distillation.rows(learner), learner.settings.samples_per_prompt)
        rng = np.random.default_rng([distillation.seed, learner.step, BEST_STREAM])
        best = Sequences(batch.prompts, known[stage].draw(rows, rng))
        return update_jeffreys(learner, batch, best, distillation.seed)

    return update


def jbond_update(distillation: Distillation) -> Update:
    """J-BOND's update of a learner at its step.

    Parameters
    ----------
    distillation : what is sampled and scored.
    """

    def update(learner: Learner[JBONDSettings]) -> dict[str, float]:
        best, worse = distillation.anchor_pairs(learner)
        objective = WorseThanBoth(np.repeat(worse, learner.settings.samples_per_prompt))
        batch = distillation.batch(learner, objective)
        measured = update_jeffreys(learner, batch, best, distillation.seed)
        move_anchor(learner, learner.settings.anchor_rate)
        return measured

    return update


def train_bond(
    reference: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: pl.DataFrame,
    scores: pl.DataFrame,
    score_fn: ScoreFunction,
    settings: BONDSettings | JBONDSettings,
    *,
    n: int,
    seed: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    output_dir: str | Path,
    scratch_dir: str | Path,
    progress: bool = True,
) -> pl.DataFrame:
    """Distil best-of-n of the reference into a policy, by BOND or J-BOND as the settings say.

    BOND: log n / log n_each stages; each has the policy at its start as anchor and distils best-of-n_each
    of it. The reference's quantiles come from all its stored rollouts, those of later anchors from
    `quantile_samples` responses to every prompt. J-BOND: at each update the anchor moves a little to the
    policy, which distils best-of-2 of it from two anchor responses to each prompt of the batch. One schedule
    of the learning rate and one optimiser run through all updates of either. n = 1 is the reference itself.

    A run that was stopped continues from its last checkpoint to the very same policy: the checkpoint holds
    the anchor, and the anchor's samples, drawn from (seed, stage), are made again.

    Parameters
    ----------
    reference : causal language model; left as it is.
    tokenizer : its tokenizer.
    prompts : columns prompt_id and prompt (the text up to where the response starts).
    scores : scored reference rollouts (prompt_id, sample_id, reward, tokens); J-BOND does not read them.
    score_fn : prompts, responses (texts), finished (bools) -> rewards, each of length n.
    settings : of the training.
    n : of best-of-n; for BOND a power of n_each.
    seed : at least 0.
    max_new_tokens : longest response.
    temperature : of sampling, above 0.
    output_dir : gets the policy and tokenizer as a folder that transformers loads (safetensors).
    scratch_dir : for checkpoints, one file a run, removed when the run is done.
    progress : show a bar where standard error is a terminal.

    Returns
    -------
    One row an update, none for n = 1: the columns of `train_ppo`, where every KL is measured from the
    anchor of the update and `objective` of BOND estimates −KL(π ‖ π_BoN); forward_loss, −log π of the best
    anchor responses in nats a response.

    Raises
    ------
    InputError
        No prompts, an n that the method cannot reach, fewer rollouts than n_each, or a reward that is not
        finite.
    TrainingDiverged
        A loss or gradient is not finite.

    References
    ----------
    Sessa et al. 2024, BOND: aligning LLMs with best-of-N distillation, sections 4 and 5.
    """
    if prompts.is_empty():
        raise InputError(f"{settings.kind} needs at least one training prompt, got none; check the split")
    distillation = Distillation(tokenizer, prompts, score_fn, seed, max_new_tokens)
    facts: list[object] = [n, seed, max_new_tokens, temperature]
    if isinstance(settings, BONDSettings):
        updates = settings.updates * n_stages(n, settings.n_each)
        first = best_of_anchor(scores, prompts, settings.n_each)
        update = bond_update(distillation, first)
        facts.append(first.fingerprint)
    else:
        updates = n_updates(n, settings.updates)
        update = jbond_update(distillation)
    texts = [prompts["prompt_id"].to_list(), prompts["prompt"].to_list()]
    return run_updates(
        anchored_learner(reference, settings, temperature, updates),
        update,
        tokenizer,
        fingerprint=run_fingerprint(reference, settings, *facts, *texts),
        output_dir=output_dir,
        scratch_dir=scratch_dir,
        progress=progress,
    )
