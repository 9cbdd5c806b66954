"""Proximal policy optimisation of a language model against an objective."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import polars as pl
import torch
from torch import nn
from transformers import PreTrainedModel

from infalign.alignment.batches import Draw, Maximised, OnlineTask, sample_batch
from infalign.alignment.draw_by_vllm import draw_by_vllm
from infalign.alignment.lora import adapted_policy
from infalign.alignment.policy_update import update_policy
from infalign.alignment.processes import ALONE, Processes
from infalign.alignment.training import Destination, Learner, run_fingerprint, run_updates, starting_policy
from infalign.errors import InputError
from infalign.records.methods import PPOSettings


def new_learner(
    reference: PreTrainedModel,
    settings: PPOSettings,
    temperature: float = 1.0,
    updates: int | None = None,
    *,
    seed: int = 0,
    processes: Processes = ALONE,
) -> Learner[PPOSettings]:
    """Start from the reference: its weights, a value head of zeros and a fresh AdamW.

    The reference's weights are frozen in place, and sharded where the policy's are. `seed` is that of the
    adapters' first weights; `updates` is by default that of the settings.

    Raises
    ------
    InputError
        The processes cannot share the updates equally, or adapters' weights would be sharded.
    """
    _check_shares(settings, processes)
    lora = settings.lora
    policy = starting_policy(reference) if lora is None else adapted_policy(reference, lora, seed)
    value_head = nn.Linear(policy.config.hidden_size, 1, device=policy.device, dtype=torch.float32)
    nn.init.zeros_(value_head.weight)
    nn.init.zeros_(value_head.bias)
    for model in (policy, reference):
        processes.shard(model)
    trained: dict[str, nn.Module] = {"value_head": value_head}
    return Learner(policy, reference, settings, temperature, trained=trained, updates=updates, processes=processes)


def _check_shares(settings: PPOSettings, processes: Processes) -> None:
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
    task: OnlineTask,
    objective: Maximised,
    settings: PPOSettings,
    destination: Destination,
    *,
    updates: int | None = None,
    processes: Processes = ALONE,
) -> pl.DataFrame:
    """Train a policy from the reference to maximise E[objective value] − β·KL(policy ‖ reference).

    A run that was stopped continues from its last checkpoint to the very same policy. All processes call this with
    the same arguments, and the main one writes.

    Parameters
    ----------
    reference : PreTrainedModel
        Causal language model; it is frozen in place.
    objective : Maximised
        Values of rewards and β; it must know every prompt.
    updates : int, optional
        Number of updates, by default that of the settings; 0: the policy is the reference.

    Returns
    -------
    polars.DataFrame
        One row an update: step, kl (nats a response, mean), kl_sampled (its estimate from log-ratios), reward,
        value, objective (value − β·kl), explained_variance, entropy (nats a token), length, finished, draw_gap
        (mean over responses of |log-probability according to the engine − log-probability measured before the
        first step|, nats), policy_loss, value_loss, clip_fraction, ratio_deviation (largest |ratio − 1| before
        the first step), gradient_norm, learning_rate, seconds.

    Raises
    ------
    InputError
        A reward is not finite, the processes cannot share the updates equally, or vLLM cannot draw.
    TrainingDiverged
        A loss or gradient is not finite.

    References
    ----------
    Schulman et al. 2017; Ziegler et al. 2019, Fine-tuning language models from human preferences;
    Balashankar et al. 2025, InfAlign, algorithm 1.
    """
    inputs = [objective.fingerprint, updates, *task.identity]
    fingerprint = run_fingerprint(reference, settings, *inputs)  # before the weights are sharded
    learner = new_learner(reference, settings, task.temperature, updates, seed=task.seed, processes=processes)

    with _engine(learner, task, destination, fingerprint) as draw:

        def update(learner: Learner[PPOSettings]) -> dict[str, float]:
            batch = sample_batch(learner, task, objective, draw)
            return update_policy(learner, batch, objective.beta, task.rng(learner, "minibatches"))

        return run_updates(learner, update, task.tokenizer, destination, fingerprint)


def _engine(
    learner: Learner[PPOSettings], task: OnlineTask, destination: Destination, fingerprint: str
) -> AbstractContextManager[Draw]:
    """Choose the engine that draws; vLLM reads the weights from a folder beside the checkpoint."""
    settings = learner.settings
    if settings.engine == "transformers":
        return nullcontext(task.draw)
    folder = destination.scratch / f"{settings.kind}-{fingerprint}-drawing"
    return draw_by_vllm(task, folder, learner.processes)
