"""One update of a policy on a measured batch: PPO's losses, their gradient and the optimiser's steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from infalign.alignment.advantages import generalised_advantages, token_rewards
from infalign.alignment.batches import Batch
from infalign.alignment.lora import adapter_dropout, has_adapters
from infalign.alignment.processes import Processes
from infalign.alignment.sequences import Chunk, chunks, token_distributions, token_features
from infalign.alignment.training import Learner
from infalign.records.methods import PPOSettings

Gradient = Callable[[Learner[PPOSettings], Batch, np.ndarray, float], dict[str, float]]


def clipped_policy_loss(
    log_probs: torch.Tensor, old_log_probs: torch.Tensor, advantages: torch.Tensor, clip: float
) -> torch.Tensor:
    """Loss of each token: the smaller of the plain and the clipped surrogate, negated.

    Parameters
    ----------
    log_probs, old_log_probs, advantages : Tensor, shape (m,)
        Log-probabilities in nats of the sampled tokens, now and when they were sampled; their advantages.
    clip : float
        Half-width of the interval around ratio 1, above 0.

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
    """Loss of each value, shape (m,): half its squared error, the larger of the plain and the clipped one.

    A value is clipped to within `clip` of its old one, from when the batch was sampled; None: it is not.

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


def set_advantages(batch: Batch, beta: float, settings: PPOSettings, device: torch.device) -> None:
    """Add the token arrays `advantages` and `returns` to a measured batch.

    With kl_penalty log_ratio, a token costs β times its own log-ratio. With full_vocabulary, it costs β
    times the KL of the next position: the KL of its own position does not depend on the token drawn there,
    and enters the loss directly.
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


def chunk_losses(learner: Learner[PPOSettings], batch: Batch, chunk: Chunk, beta: float) -> dict[str, torch.Tensor]:
    """Losses of a chunk's tokens, shape (m,) each: policy, value and kl (0 for log_ratio); and their ratios."""
    settings = learner.settings
    before = {name: values[chunk.flat] for name, values in batch.tokens.items()}
    with learner.autocast():
        features = token_features(learner.policy, chunk)
        log_p = token_distributions(learner.policy, features, learner.temperature)
    log_probs = log_p.gather(1, chunk.targets[:, None])[:, 0]
    values = learner.trained["value_head"](features.float())[:, 0]
    losses = {
        "policy": clipped_policy_loss(log_probs, before["log_probs"], before["advantages"], settings.clip),
        "value": clipped_value_loss(values, before["values"], before["returns"], settings.value_clip),
        "kl": torch.zeros_like(log_probs),
        "ratio": (log_probs.detach() - before["log_probs"]).exp(),
    }
    if settings.kl_penalty == "full_vocabulary":
        with torch.no_grad(), learner.autocast():
            log_q = token_distributions(learner.reference, before["reference_features"], learner.temperature)
        losses["kl"] = beta * (log_p.exp() * (log_p - log_q)).sum(-1)
    return losses


def update_policy(
    learner: Learner[PPOSettings],
    batch: Batch,
    beta: float,
    rng: np.random.Generator,
    gradient: Gradient | None = None,
) -> dict[str, float]:
    """Take the optimiser steps of one update on a batch that was measured with the learner in its present state.

    Parameters
    ----------
    beta : float
        Weight of the KL in the objective's units.
    rng : Generator
        Shuffles the minibatches.
    gradient : Gradient, optional
        Adds a minibatch's gradient to the parameters; by default `accumulate_ppo_gradient`.

    Returns
    -------
    dict of str to float
        The columns of `train_ppo`'s log, and further measures that `gradient` returns.

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
            part = learner.processes.part(rows)
            with adapter_dropout(learner.policy, _dropout_seed(learner, rng)):
                measured = (gradient or accumulate_ppo_gradient)(learner, batch, part, beta)
            measured["clip_fraction"] *= learner.processes.count * batch.lengths[part].sum() / batch.lengths[rows].sum()
            taken.append(learner.take_step(_combine_measures(learner.processes, measured), _circumstances(batch)))
    averages = {name: float(np.mean([step[name] for step in taken])) for name in taken[0]}
    return _summary(batch, beta) | averages | {"ratio_deviation": taken[0]["ratio_deviation"], "learning_rate": rate}


def accumulate_ppo_gradient(
    learner: Learner[PPOSettings], batch: Batch, rows: np.ndarray, beta: float, weight: float = 1.0
) -> dict[str, float]:
    """Add the gradient of weight × minibatch loss, a mean over its tokens, to the parameters' gradients.

    Returns policy_loss, value_loss, clip_fraction and ratio_deviation of the responses `rows`, without the weight.
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
    """Draw the seed of a step's dropout, another one for each process; without adapters draw nothing."""
    return int(rng.integers(2**62)) + learner.processes.index if has_adapters(learner.policy) else 0


def _combine_measures(processes: Processes, measured: dict[str, float]) -> dict[str, float]:
    """Average the measures over the processes; of ratio_deviation take the maximum."""
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
