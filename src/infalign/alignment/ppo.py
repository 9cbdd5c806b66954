"""Proximal policy optimisation of a language model against an objective."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from infalign.alignment.advantages import generalised_advantages, token_rewards
from infalign.alignment.draw_by_vllm import Draw, draw_by_vllm
from infalign.alignment.lora import adapted_policy, adapter_dropout, has_adapters
from infalign.alignment.processes import ALONE, Processes
from infalign.alignment.sequences import Chunk, Sequences, chunks, token_distributions, token_features
from infalign.alignment.training import Learner, run_fingerprint, run_updates, starting_policy
from infalign.errors import InputError
from infalign.language.generation import sample_tokens
from infalign.language.models import encode_prompts
from infalign.language.sampling_engines import Samples
from infalign.records.methods import PPOSettings

ScoreFunction = Callable[[Sequence[str], Sequence[str], Sequence[bool]], np.ndarray]
Gradient = Callable[["Learner[PPOSettings]", "Batch", np.ndarray, float], dict[str, float]]
STREAMS = {"prompts": 0, "sampling": 1, "minibatches": 2}  # independent generators of one step


class Maximised(Protocol):
    """What PPO maximises: E[values] − beta·KL(policy ‖ reference); see `objectives`."""

    @property
    def beta(self) -> float: ...

    @property
    def fingerprint(self) -> str: ...

    def values(
        self, prompt_ids: Sequence[str], rewards: np.ndarray, reference_log_probs: np.ndarray | None = None
    ) -> np.ndarray: ...


def clipped_policy_loss(
    log_probs: torch.Tensor, old_log_probs: torch.Tensor, advantages: torch.Tensor, clip: float
) -> torch.Tensor:
    """Loss of each token: the lesser of the plain and the clipped surrogate, negated.

    Parameters
    ----------
    log_probs, old_log_probs : (m,), of the sampled tokens now and when they were sampled, in nats.
    advantages : (m,).
    clip : half-width of the interval around ratio 1, above 0.

    Returns
    -------
    (m,) losses.

    References
    ----------
    Schulman et al. 2017, Proximal policy optimization algorithms, eq. 7.

    Examples
    --------
    >>> ratio = torch.tensor([1.5, 1.5, 0.5])
    >>> clipped_policy_loss(ratio.log(), torch.zeros(3), torch.tensor([1.0, -1.0, 1.0]), 0.2).tolist()
    [-1.2000000476837158, 1.5, -0.5]
    """
    ratio = (log_probs - old_log_probs).exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def clipped_value_loss(
    values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor, clip: float | None
) -> torch.Tensor:
    """Half the squared error of each value, the greater of the plain and the clipped one.

    Parameters
    ----------
    values, old_values : (m,), now and when the batch was sampled.
    returns : (m,), what they should be.
    clip : how far a value may move from its old one; None: anywhere.

    Returns
    -------
    (m,) losses.

    Examples
    --------
    >>> clipped_value_loss(torch.tensor([1.0]), torch.tensor([0.0]), torch.tensor([1.0]), 0.5).tolist()
    [0.125]
    """
    error = (values - returns).square()
    if clip is not None:
        limited = old_values + (values - old_values).clamp(-clip, clip)
        error = torch.maximum(error, (limited - returns).square())
    return 0.5 * error


@dataclass
class Batch(Sequences):
    """Sampled responses with what was known when they were sampled; token arrays are flat, (tokens,)."""

    finished: np.ndarray  # (n,) bool
    rewards: np.ndarray  # (n,) of the reward model
    drawn_log_prob: np.ndarray  # (n,) as who drew them says
    values: np.ndarray = field(default_factory=lambda: np.zeros(0))  # (n,) what the objective makes of them
    tokens: dict[str, torch.Tensor] = field(default_factory=dict)

    def padded(self, name: str) -> np.ndarray:
        """A token array as (n, T) float64, 0 past the end."""
        padded = np.zeros((len(self.lengths), self.lengths.max()))
        padded[np.arange(padded.shape[1]) < self.lengths[:, None]] = self.tokens[name].cpu().numpy()
        return padded

    def flat(self, padded: np.ndarray, device: torch.device) -> torch.Tensor:
        """The inverse of `padded`, in float32."""
        present = np.arange(padded.shape[1]) < self.lengths[:, None]
        return torch.tensor(padded[present], dtype=torch.float32, device=device)


def new_learner(
    reference: PreTrainedModel,
    settings: PPOSettings,
    temperature: float = 1.0,
    updates: int | None = None,
    *,
    seed: int = 0,
    processes: Processes = ALONE,
) -> Learner[PPOSettings]:
    """Start from the reference: same weights, a value head of zeros, a fresh AdamW.

    Parameters
    ----------
    reference : the policy the KL is measured from; its weights are frozen in place.
    settings : of the training.
    temperature : of sampling, above 0; the policy is the distribution at this temperature.
    updates : how many there are in all; None: as the settings say.
    seed : of the adapters' first weights, where there are adapters.
    processes : that train together; where weights are sharded, those of the reference are too.

    Raises
    ------
    InputError
        The processes cannot share the updates equally, or adapters' weights would be sharded.
    """
    check_shares(settings, processes)
    lora = settings.lora
    policy = starting_policy(reference) if lora is None else adapted_policy(reference, lora, seed)
    value_head = nn.Linear(policy.config.hidden_size, 1, device=policy.device, dtype=torch.float32)
    nn.init.zeros_(value_head.weight)
    nn.init.zeros_(value_head.bias)
    for model in (policy, reference):
        processes.shard(model)
    trained: dict[str, nn.Module] = {"value_head": value_head}
    return Learner(
        policy, reference, settings, temperature, trained=trained, updates=updates, processes=processes
    )


def check_shares(settings: PPOSettings, processes: Processes) -> None:
    """Raise InputError unless every process gets as many responses of each minibatch as the others."""
    size = settings.prompts_per_update * settings.samples_per_prompt
    divisor = settings.minibatches * processes.count
    if processes.count > 1 and size % divisor:
        raise InputError(
            f"{processes.count} processes cannot share the {size} responses of an update equally (minibatches: "
            f"{settings.minibatches}); make {settings.kind}.prompts_per_update × samples_per_prompt a multiple of "
            f"{divisor}, or change the number of processes"
        )
    if processes.sharded and settings.lora is not None:
        raise InputError(
            f"{settings.kind}.lora: adapters train beside whole weights, and FSDP divides these; leave out lora, or "
            "launch with profiles/accelerate/data_parallel.yaml"
        )


def train_ppo(
    reference: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: pl.DataFrame,
    objective: Maximised,
    score_fn: ScoreFunction,
    settings: PPOSettings,
    *,
    seed: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    updates: int | None = None,
    output_dir: str | Path,
    scratch_dir: str | Path,
    progress: bool = True,
    processes: Processes = ALONE,
) -> pl.DataFrame:
    """Train a policy from the reference to maximise E[objective value] − β·KL(policy ‖ reference).

    Batches and draws depend on the seed and the update's number only, so a run that was stopped
    continues from its last checkpoint to the very same policy.

    Parameters
    ----------
    reference : causal language model, where the policy starts and the KL is measured from; frozen.
    tokenizer : its tokenizer.
    prompts : columns prompt_id and prompt (the text up to where the response starts).
    objective : values of rewards and β; must know every prompt.
    score_fn : prompts, responses (texts), finished (bools) -> rewards, each of length n.
    settings : of the training.
    seed : at least 0.
    max_new_tokens : longest response.
    temperature : of sampling, above 0.
    updates : how many there are; None: as the settings say; 0: the policy is the reference.
    output_dir : gets the policy and tokenizer as a folder that transformers loads (safetensors).
    scratch_dir : for checkpoints, one file a run, removed when the run is done.
    progress : show a bar where standard error is a terminal.
    processes : that train together; all call this with the same arguments, and the main one writes.

    Returns
    -------
    One row an update: step, kl (nats a response, mean), kl_sampled (log-ratio estimate of it), reward,
    value, objective (value − β·kl), ratio_deviation (largest |ratio − 1| before the first step of the
    update), clip_fraction, policy_loss, value_loss, explained_variance, entropy (nats a token), length,
    finished, draw_gap (mean over the responses of |log-probability as who drew them says − as measured
    here before the first step|, nats a response: rounding, and what else tells the engine from the policy
    in training), learning_rate, gradient_norm, seconds.

    Raises
    ------
    InputError
        No prompts, a reward that is not finite, updates that the processes cannot share equally, or
        vLLM is to draw and is not there or cannot run the model.
    TrainingDiverged
        A loss or gradient is not finite.

    References
    ----------
    Schulman et al. 2017; Ziegler et al. 2019, Fine-tuning language models from human preferences;
    Balashankar et al. 2025, InfAlign, algorithm 1.
    """
    if prompts.is_empty():
        raise InputError("PPO needs at least one training prompt, got none; check the split")

    facts = [objective.fingerprint, seed, max_new_tokens, temperature, updates]
    texts = [prompts["prompt_id"].to_list(), prompts["prompt"].to_list()]
    fingerprint = run_fingerprint(reference, settings, *facts, *texts)  # of whole weights
    learner = new_learner(reference, settings, temperature, updates, seed=seed, processes=processes)
    copied = Path(scratch_dir) / f"{settings.kind}-{fingerprint}-drawing"
    with _engine(learner, tokenizer, prompts, copied, seed, max_new_tokens) as draw:

        def update(learner: Learner[PPOSettings]) -> dict[str, float]:
            batch = sample_batch(learner, tokenizer, prompts, objective, score_fn, seed, max_new_tokens, draw)
            rng = np.random.default_rng([seed, learner.step, STREAMS["minibatches"]])
            return update_policy(learner, batch, objective.beta, rng)

        return run_updates(
            learner,
            update,
            tokenizer,
            fingerprint=fingerprint,
            output_dir=output_dir,
            scratch_dir=scratch_dir,
            progress=progress,
        )


def _engine(
    learner: Learner[PPOSettings],
    tokenizer: PreTrainedTokenizerBase,
    prompts: pl.DataFrame,
    copied: Path,
    seed: int,
    max_new_tokens: int,
) -> AbstractContextManager[Draw]:
    """Who draws the responses of training; vLLM reads the weights from the folder `copied`."""
    eos_id = int(tokenizer.eos_token_id)
    if learner.settings.engine == "transformers":
        return nullcontext(draw_by_policy(eos_id, seed, max_new_tokens))
    encoded = encode_prompts(tokenizer, prompts["prompt"].to_list())
    facts = {"eos_id": eos_id, "seed": seed, "max_new_tokens": max_new_tokens}
    return draw_by_vllm(encoded, copied, learner.processes, **facts)


def draw_by_policy(eos_id: int, seed: int, max_new_tokens: int) -> Draw:
    """Let the policy draw where it is trained.

    Parameters
    ----------
    eos_id : end-of-sequence token.
    seed : of the training; each process draws with the numbers that a single one would use for its part.
    max_new_tokens : longest response.
    """

    def draw(learner: Learner[PPOSettings], ids: Sequence[str], prompts: Sequence[list[int]]) -> Samples:
        own = learner.processes.part(np.arange(len(prompts)))
        rng = np.random.default_rng([seed, learner.step, STREAMS["sampling"]])
        with learner.autocast(), learner.processes.whole(learner.policy):
            samples = sample_tokens(
                learner.policy,
                [prompts[row] for row in own],
                rng.random((len(prompts), max_new_tokens))[own],
                eos_id=eos_id,
                max_new_tokens=max_new_tokens,
                temperature=learner.temperature,
            )
        log_prob = [float(log_probs.sum(dtype=np.float64)) for log_probs in samples.log_probs]
        return Samples(samples.tokens, log_prob, samples.finished)

    return draw


def sample_batch(
    learner: Learner[PPOSettings],
    tokenizer: PreTrainedTokenizerBase,
    prompts: pl.DataFrame,
    objective: Maximised,
    score_fn: ScoreFunction,
    seed: int,
    max_new_tokens: int,
    draw: Draw | None = None,
) -> Batch:
    """Draw the responses of update `learner.step`, score them and measure them under both models.

    The rows are grouped by prompt. Each process draws and scores its part; None: by `draw_by_policy`. Raises
    InputError if a reward is not finite.
    """
    settings = learner.settings
    chosen = np.repeat(
        prompt_rows(prompts.height, settings.prompts_per_update, seed, learner.step),
        settings.samples_per_prompt,
    )
    texts, ids = (np.array(prompts[name].to_list(), dtype=object)[chosen] for name in ("prompt", "prompt_id"))
    encoded = encode_prompts(tokenizer, list(texts))
    own = learner.processes.part(np.arange(len(encoded)))
    draw = draw or draw_by_policy(int(tokenizer.eos_token_id), seed, max_new_tokens)
    samples = draw(learner, list(ids), encoded)
    responses = tokenizer.batch_decode(
        samples.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    scores = np.asarray(score_fn(list(texts[own]), responses, list(samples.finished)), dtype=float)
    columns = (samples.tokens, samples.finished, scores, samples.log_prob)
    rows = learner.processes.gather(list(zip(*columns, strict=True)))
    tokens, finished, rewards, drawn = (list(column) for column in zip(*rows, strict=True))
    batch = Batch(encoded, tokens, np.array(finished), np.array(rewards), np.array(drawn))
    check_rewards(batch.rewards, ids, learner.step)
    batch.tokens = measure_tokens(learner, batch)
    reference_log_probs = batch.padded("reference_log_probs").sum(axis=1)
    batch.values = objective.values(list(ids), batch.rewards, reference_log_probs)
    return batch


def prompt_rows(n_prompts: int, size: int, seed: int, step: int) -> np.ndarray:
    """Prompts of one update: the step-th piece of an endless sequence of shuffled passes over all.

    Parameters
    ----------
    n_prompts : how many there are.
    size : how many an update takes.
    seed, step : at least 0.

    Returns
    -------
    (size,) positions in 0 .. n_prompts − 1.

    Examples
    --------
    >>> sorted(np.concatenate([prompt_rows(4, 2, seed=0, step=step) for step in (0, 1)]).tolist())
    [0, 1, 2, 3]
    """
    wanted = np.arange(step * size, (step + 1) * size)
    passes = {
        int(k): np.random.default_rng([seed, int(k), 0]).permutation(n_prompts) for k in wanted // n_prompts
    }
    return np.array([passes[int(k)][i] for k, i in zip(wanted // n_prompts, wanted % n_prompts, strict=True)])


def check_rewards(rewards: np.ndarray, ids: Sequence[str], step: int) -> None:
    """Raise InputError unless every reward of update `step` is finite."""
    bad = np.flatnonzero(~np.isfinite(rewards))
    if len(bad):
        raise InputError(
            f"the reward of {len(bad)} of {len(rewards)} responses at update {step} is not finite: got "
            f"{rewards[bad[0]]} for prompt_id {ids[bad[0]]!r}; check the reward model"
        )


@torch.no_grad()
def measure_tokens(learner: Learner[PPOSettings], batch: Batch) -> dict[str, torch.Tensor]:
    """Measure every sampled token before the update: what the ratios, values and KL are held against.

    Returns
    -------
    Flat arrays: log_probs, reference_log_probs, values, kl (of the whole distribution at the token's
    position), entropy; and reference_features, (tokens, hidden), for the direct gradient of the KL.
    """
    n_tokens = int(batch.offsets[-1])
    hidden = learner.reference.config.hidden_size
    names = ("log_probs", "reference_log_probs", "values", "kl", "entropy")
    out = {name: torch.zeros(n_tokens, device=learner.device) for name in names}
    out["reference_features"] = torch.zeros(n_tokens, hidden, device=learner.device)
    own = learner.processes.part(np.arange(len(batch.prompts)))
    for chunk in chunks(batch, own, learner.settings.chunk_size, learner.device):
        with learner.autocast():
            features = token_features(learner.policy, chunk)
            reference_features = token_features(learner.reference, chunk)
            log_p = token_distributions(learner.policy, features, learner.temperature)
            log_q = token_distributions(learner.reference, reference_features, learner.temperature)
        p, at = log_p.exp(), chunk.targets[:, None]
        out["log_probs"][chunk.flat] = log_p.gather(1, at)[:, 0]
        out["reference_log_probs"][chunk.flat] = log_q.gather(1, at)[:, 0]
        out["values"][chunk.flat] = learner.trained["value_head"](features.float())[:, 0]
        out["kl"][chunk.flat] = (p * (log_p - log_q)).sum(-1)
        out["entropy"][chunk.flat] = -(p * log_p).sum(-1)
        out["reference_features"][chunk.flat] = reference_features.float()
    learner.processes.add(out.values())  # zeros but for a process's own
    return out


def set_advantages(batch: Batch, beta: float, settings: PPOSettings, device: torch.device) -> None:
    """Add the token arrays `advantages` and `returns` to a measured batch.

    With kl_penalty log_ratio a token costs β times its own log-ratio. With full_vocabulary it costs β
    times the KL of the position after it: the KL of its own position does not depend on the token drawn
    there, and enters the loss directly.
    """
    if settings.kl_penalty == "log_ratio":
        penalties = -beta * (batch.padded("log_probs") - batch.padded("reference_log_probs"))
    else:
        penalties = np.zeros_like(batch.padded("kl"))
        penalties[:, :-1] = -beta * batch.padded("kl")[:, 1:]
    group_size = settings.samples_per_prompt if settings.group_baseline else None
    advantages, returns = generalised_advantages(
        token_rewards(batch.values, penalties, batch.lengths, group_size),
        batch.padded("values"),
        batch.lengths,
        discount=settings.discount,
        gae_lambda=settings.gae_lambda,
    )
    batch.tokens |= {"advantages": batch.flat(advantages, device), "returns": batch.flat(returns, device)}


def chunk_losses(
    learner: Learner[PPOSettings], batch: Batch, chunk: Chunk, beta: float
) -> dict[str, torch.Tensor]:
    """Losses of the tokens of a chunk, (m,) each: policy, value, kl (0 for log_ratio), and their ratios."""
    settings = learner.settings
    known = {name: values[chunk.flat] for name, values in batch.tokens.items()}
    with learner.autocast():
        features = token_features(learner.policy, chunk)
        log_p = token_distributions(learner.policy, features, learner.temperature)
    log_probs = log_p.gather(1, chunk.targets[:, None])[:, 0]
    values = learner.trained["value_head"](features.float())[:, 0]
    losses = {
        "policy": clipped_policy_loss(log_probs, known["log_probs"], known["advantages"], settings.clip),
        "value": clipped_value_loss(values, known["values"], known["returns"], settings.value_clip),
        "kl": torch.zeros_like(log_probs),
        "ratio": (log_probs.detach() - known["log_probs"]).exp(),
    }
    if settings.kl_penalty == "full_vocabulary":
        with torch.no_grad(), learner.autocast():
            log_q = token_distributions(learner.reference, known["reference_features"], learner.temperature)
        losses["kl"] = beta * (log_p.exp() * (log_p - log_q)).sum(-1)
    return losses


def update_policy(
    learner: Learner[PPOSettings],
    batch: Batch,
    beta: float,
    rng: np.random.Generator,
    gradient: Gradient | None = None,
) -> dict[str, float]:
    """Take the optimiser steps of one update.

    Parameters
    ----------
    learner : changed in place.
    batch : measured with the learner as it is.
    beta : weight of the KL in the objective's units.
    rng : shuffles the minibatches.
    gradient : puts a minibatch's gradient into the parameters; None: `accumulate_gradient`.

    Returns
    -------
    The columns of `train_ppo`'s log, and what else `gradient` returns.

    Raises
    ------
    TrainingDiverged
        A loss or gradient is not finite; the weights are then those before the step.
    """
    settings = learner.settings
    rate = learner.learning_rate()
    set_advantages(batch, beta, settings, learner.device)
    taken = []
    for _ in range(settings.epochs):
        order = rng.permutation(len(batch.prompts))
        for rows in np.array_split(order, settings.minibatches):
            learner.optimizer.zero_grad(set_to_none=True)
            own = learner.processes.part(rows)
            with adapter_dropout(learner.policy, _dropout_seed(learner, rng)):
                measured = (gradient or accumulate_gradient)(learner, batch, own, beta)
            measured["clip_fraction"] *= (
                learner.processes.count * batch.lengths[own].sum() / batch.lengths[rows].sum()
            )
            taken.append(learner.take_step(_of_all(learner.processes, measured), _circumstances(batch)))
    averages = {name: float(np.mean([step[name] for step in taken])) for name in taken[0]}
    return (
        _summary(batch, beta)
        | averages
        | {"ratio_deviation": taken[0]["ratio_deviation"], "learning_rate": rate}
    )


def accumulate_gradient(
    learner: Learner[PPOSettings], batch: Batch, rows: np.ndarray, beta: float, weight: float = 1.0
) -> dict[str, float]:
    """Put the gradient of a minibatch's loss, a mean over its tokens, into the parameters.

    Parameters
    ----------
    learner : the gradient is added to what is there.
    batch : with advantages.
    rows : responses of the minibatch.
    beta : weight of the KL in the objective's units.
    weight : the gradient is multiplied by it, what is returned is not.

    Returns
    -------
    policy_loss, value_loss, clip_fraction, ratio_deviation.
    """
    settings = learner.settings
    share = 1.0 / (len(rows) * batch.lengths.mean())
    totals = dict.fromkeys(("policy_loss", "value_loss", "clip_fraction", "ratio_deviation"), 0.0)
    for chunk in chunks(batch, rows, settings.chunk_size, learner.device):
        losses = chunk_losses(learner, batch, chunk, beta)
        policy, value = losses["policy"].sum() * share, losses["value"].sum() * share
        (weight * (policy + losses["kl"].sum() * share + settings.value_coefficient * value)).backward()
        deviation = (losses["ratio"] - 1).abs()
        totals["policy_loss"] += policy.item()
        totals["value_loss"] += value.item()
        totals["clip_fraction"] += (deviation > settings.clip).sum().item() / batch.lengths[rows].sum()
        totals["ratio_deviation"] = max(totals["ratio_deviation"], deviation.max().item())
    return totals


def _dropout_seed(learner: Learner[PPOSettings], rng: np.random.Generator) -> int:
    """Seed of a step's dropout, each process's own; without adapters nothing is drawn."""
    return int(rng.integers(2**62)) + learner.processes.index if has_adapters(learner.policy) else 0


def _of_all(processes: Processes, measured: dict[str, float]) -> dict[str, float]:
    """What all processes measured: means, of the ratio's deviation the largest."""
    parts = processes.gather([measured])
    means = {name: float(np.mean([part[name] for part in parts])) for name in measured}
    return means | {"ratio_deviation": max(part["ratio_deviation"] for part in parts)}


def _circumstances(batch: Batch) -> str:
    kl = float(batch.tokens["kl"].sum()) / len(batch.prompts)
    largest = float(np.abs(batch.values).max())
    return f"the policy was {kl:.3g} nats from the reference, the largest |value| {largest:.3g}"


def _summary(batch: Batch, beta: float) -> dict[str, float]:
    n = len(batch.prompts)
    tokens = batch.tokens
    kl = float(tokens["kl"].sum()) / n
    residual = tokens["returns"] - tokens["values"]
    spread = float(tokens["returns"].var(unbiased=False))
    return {
        "kl": kl,
        "kl_sampled": float((tokens["log_probs"] - tokens["reference_log_probs"]).sum()) / n,
        "reward": float(batch.rewards.mean()),
        "value": float(batch.values.mean()),
        "objective": float(batch.values.mean()) - beta * kl,
        "explained_variance": 1 - float(residual.var(unbiased=False)) / spread if spread > 0 else 0.0,
        "entropy": float(tokens["entropy"].mean()),
        "length": float(batch.lengths.mean()),
        "finished": float(batch.finished.mean()),
        "draw_gap": float(np.abs(batch.drawn_log_prob - batch.padded("log_probs").sum(axis=1)).mean()),
    }
