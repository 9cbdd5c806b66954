"""The training loop of all methods: optimiser steps, divergence, checkpoints and the saved policy."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import polars as pl
import torch
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from infalign.alignment.checkpoints import load_checkpoint, save_checkpoint
from infalign.alignment.lora import has_adapters, merged_weights
from infalign.alignment.processes import ALONE, Processes, whole_tensor
from infalign.errors import InputError
from infalign.records.methods import Optimisation, RLOOSettings

S = TypeVar("S", bound=Optimisation)


class TrainingDiverged(InputError):
    """A loss or gradient is not finite: the measures `names` at update `step`."""

    def __init__(
        self,
        settings: Optimisation | RLOOSettings,
        step: int,
        names: Sequence[str],
        checkpoint: str,
        circumstances: str,
    ) -> None:
        super().__init__(
            f"{settings.kind} diverged at update {step}: {', '.join(names)} is not finite; {checkpoint}. "
            f"Likely cause: the learning rate ({settings.learning_rate:g}) is too high or the objective "
            f"too steep: {circumstances}; lower {settings.kind}.learning_rate or the strength"
        )


@dataclass(frozen=True)
class Destination:
    """Where a training writes.

    Parameters
    ----------
    policy : Path
        Folder that gets the policy and its tokenizer; transformers loads it (safetensors).
    scratch : Path
        Folder of the checkpoint, one file a run; the file is removed when the run is done.
    progress : bool
        Show a bar where standard error is a terminal.
    """

    policy: Path
    scratch: Path
    progress: bool = True


@dataclass
class Learner(Generic[S]):
    """The policy in training, its frozen reference, and the state of the training.

    Parameters
    ----------
    temperature : float
        Of sampling, above 0; the policy is the distribution at this temperature.
    trained, kept : dict of str to Module
        Further modules that the optimiser changes, e.g. a value head, and that only checkpoints hold, e.g. an anchor.
    average : dict of str to Tensor
        Running mean of the policy's weights by name; empty before it begins.
    updates : int, optional
        Number of updates in all; by default that of the settings.
    step : int
        Number of updates that are done.
    """

    policy: PreTrainedModel
    reference: PreTrainedModel
    settings: S
    temperature: float = 1.0
    trained: dict[str, nn.Module] = field(default_factory=dict)
    kept: dict[str, nn.Module] = field(default_factory=dict)
    average: dict[str, torch.Tensor] = field(default_factory=dict)
    updates: int | None = None
    processes: Processes = ALONE
    step: int = 0
    checkpoint: Path | None = None

    def __post_init__(self) -> None:
        self.total = self.settings.updates if self.updates is None else self.updates
        self.optimizer = torch.optim.AdamW(
            list(self.parameters.values()),
            lr=self.settings.learning_rate,
            betas=self.settings.adam_betas,
            eps=self.settings.adam_epsilon,
            weight_decay=self.settings.weight_decay,
        )

    @property
    def device(self) -> torch.device:
        return self.policy.device

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Parameters that the optimiser changes, by `module/name`."""
        return {
            f"{prefix}/{name}": parameter
            for prefix, module in {"policy": self.policy, **self.trained}.items()
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }

    @property
    def kept_parameters(self) -> dict[str, nn.Parameter]:
        """Parameters that a checkpoint holds, by `module/name`."""
        return self.parameters | {
            f"{prefix}/{name}": parameter
            for prefix, module in self.kept.items()
            for name, parameter in module.named_parameters()
        }

    def autocast(self):
        enabled = self.settings.precision == "bfloat16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def learning_rate(self) -> float:
        """Set the optimiser's learning rate to that of this update, and return it."""
        rate = self.settings.learning_rate
        if self.settings.schedule == "linear":
            rate *= 1 - self.step / self.total
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def take_step(self, measured: Mapping[str, float], circumstances: str) -> dict[str, float]:
        """Average the gradient over the processes, clip it and take one optimiser step.

        Returns `measured` (losses of this step over all processes) and `gradient_norm`, before clipping. If one of
        these is not finite, TrainingDiverged tells the `circumstances`; the weights are then those before the step.
        """
        parameters = list(self.parameters.values())
        self.processes.average_gradients(parameters)
        norm = self.processes.clip_gradients(parameters, self.settings.max_gradient_norm)
        taken = {**measured, "gradient_norm": norm}
        not_finite = [name for name, value in taken.items() if not math.isfinite(value)]
        if not_finite:
            exists = self.checkpoint is not None and self.checkpoint.exists()
            saved = f"the last checkpoint is {self.checkpoint}" if exists else "no checkpoint was made yet"
            raise TrainingDiverged(self.settings, self.step, not_finite, saved, circumstances)
        self.optimizer.step()
        return taken


def starting_policy(reference: PreTrainedModel) -> PreTrainedModel:
    """Copy the reference for training; the reference itself is frozen in place."""
    policy = copy.deepcopy(reference).eval().requires_grad_(True)
    reference.eval().requires_grad_(False)
    return policy


def prompt_rows(n_prompts: int, size: int, seed: int, step: int) -> np.ndarray:
    """Choose the prompts of one update: piece `step` of an endless sequence of shuffled passes over all.

    Returns `size` positions in 0 .. n_prompts − 1.

    Examples
    --------
    >>> sorted(np.concatenate([prompt_rows(4, 2, seed=0, step=step) for step in (0, 1)]).tolist())
    [0, 1, 2, 3]
    """
    places = np.arange(step * size, (step + 1) * size)
    passes = {int(k): np.random.default_rng([seed, int(k), 0]).permutation(n_prompts) for k in places // n_prompts}
    return np.array([passes[int(k)][i] for k, i in zip(places // n_prompts, places % n_prompts, strict=True)])


def run_updates(
    learner: Learner[S],
    update: Callable[[Learner[S]], dict[str, float]],
    tokenizer: PreTrainedTokenizerBase,
    destination: Destination,
    fingerprint: str,
) -> pl.DataFrame:
    """Train from the last checkpoint, or from the start, to the last update; save the policy.

    A run that was stopped continues to the very same policy if `update` depends on the learner and its
    step alone. All processes must call this; the main one writes.

    Parameters
    ----------
    update : Callable
        Takes the optimiser's steps of update `learner.step`; returns its row of the log.
    fingerprint : str
        Names the checkpoint, so that no other training continues from it.

    Returns
    -------
    polars.DataFrame
        One row an update: step, what `update` returned, seconds.
    """
    learner.checkpoint = destination.scratch / f"{learner.settings.kind}-{fingerprint}.safetensors"
    log = _resume(learner)
    bar = tqdm(
        range(learner.step, learner.total),
        initial=learner.step,
        total=learner.total,
        disable=None if destination.progress and learner.processes.main else True,
    )
    for step in bar:
        started = time.monotonic()
        measured = update(learner)
        _average_weights(learner)
        log.append({"step": step, **measured, "seconds": time.monotonic() - started})
        learner.step = step + 1
        if learner.step % learner.settings.checkpoint_every == 0 and learner.step < learner.total:
            _checkpoint(learner, log)
    _save_policy(learner, tokenizer, destination.policy)
    if learner.processes.main:
        learner.checkpoint.unlink(missing_ok=True)
    return pl.DataFrame(log) if log else pl.DataFrame(schema={"step": pl.Int64})


def _checkpoint(learner: Learner, log: list[dict]) -> None:
    assert learner.checkpoint is not None
    save_checkpoint(
        learner.checkpoint,
        learner.kept_parameters,
        learner.optimizer,
        learner.average,
        {"step": learner.step, "log": log},
        learner.processes,
    )


def _resume(learner: Learner) -> list[dict]:
    """Load the checkpoint if the main process sees one, and return the log so far."""
    if learner.checkpoint is None or not learner.processes.gather([learner.checkpoint.exists()])[0]:
        return []
    state, learner.average = load_checkpoint(learner.checkpoint, learner.kept_parameters, learner.optimizer)
    learner.step = state["step"]
    return state["log"]


def _average_weights(learner: Learner) -> None:
    """Add the weights after this update to the running mean, if the mean has begun."""
    settings = learner.settings
    count = learner.step + 1 - math.floor(learner.total * (1 - settings.weight_average))
    if settings.weight_average == 0 or count < 1:
        return
    for name, parameter in learner.policy.named_parameters():
        if count == 1:
            learner.average[name] = parameter.detach().clone()
        else:
            learner.average[name].lerp_(parameter.detach(), 1 / count)


def _save_policy(learner: Learner, tokenizer: PreTrainedTokenizerBase, output_dir: Path) -> None:
    if learner.average:
        with torch.no_grad():
            for name, parameter in learner.policy.named_parameters():
                parameter.copy_(learner.average[name])
    save_weights(learner, output_dir)
    if learner.processes.main:
        tokenizer.save_pretrained(output_dir)


def save_weights(learner: Learner, folder: Path) -> None:
    """Write the policy as a whole model without adapters and without a tokenizer (safetensors).

    All processes must call this; the main one writes.
    """
    weights = _saved_weights(learner)
    if learner.processes.main:
        learner.policy.save_pretrained(folder, state_dict=weights)


def _saved_weights(learner: Learner) -> dict[str, torch.Tensor] | None:
    """Gather the weights of the whole model without adapters on the CPU; None if the policy is such a model."""
    if has_adapters(learner.policy):
        return merged_weights(learner.policy) if learner.processes.main else None
    if not learner.processes.sharded:
        return None
    whole: dict[torch.Tensor, torch.Tensor] = {}  # tied weights stay tied
    named = learner.policy.state_dict(keep_vars=True)
    for tensor in dict.fromkeys(named.values()):
        gathered = whole_tensor(tensor.detach())
        if learner.processes.main:
            whole[tensor] = gathered.cpu()
    return {name: whole[tensor] for name, tensor in named.items() if tensor in whole}


def run_fingerprint(reference: PreTrainedModel, settings: Optimisation, *inputs: object) -> str:
    """Hash everything a training depends on: settings, further inputs (as JSON) and the reference's weights."""
    digest = hashlib.sha256(json.dumps([settings.model_dump(), *inputs]).encode())
    for parameter in reference.parameters():
        digest.update(parameter.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
