"""What every method's training shares: optimiser steps, divergence, checkpoints, the saved policy."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import polars as pl
import torch
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from infalign.alignment.checkpoints import load_checkpoint, save_checkpoint
from infalign.alignment.lora import has_adapters, merged_weights
from infalign.alignment.processes import ALONE, Processes, whole_tensor
from infalign.errors import InputError
from infalign.records.methods import Optimisation

S = TypeVar("S", bound=Optimisation)


class TrainingDiverged(InputError):
    """A loss or gradient is no longer a number; the message says when, why perhaps, and what to do."""


@dataclass
class Learner(Generic[S]):
    """The policy in training, its frozen reference and what else is trained or kept with it.

    Parameters
    ----------
    policy, reference : models of one architecture.
    settings : of the method.
    temperature : of sampling; the policy is the distribution at this temperature.
    trained : further modules with parameters of the optimiser, e.g. a value head.
    kept : further modules that a checkpoint must hold, e.g. an anchor.
    updates : how many there are in all; None: as the settings say.
    processes : that train it; each has a learner.
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
        """What the optimiser changes, by module and name; not what adapters leave as it is."""
        return {
            f"{prefix}/{name}": parameter
            for prefix, module in {"policy": self.policy, **self.trained}.items()
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }

    @property
    def kept_parameters(self) -> dict[str, nn.Parameter]:
        """What a checkpoint holds, by module and name."""
        return self.parameters | {
            f"{prefix}/{name}": parameter
            for prefix, module in self.kept.items()
            for name, parameter in module.named_parameters()
        }

    def autocast(self):
        enabled = self.settings.precision == "bfloat16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def learning_rate(self) -> float:
        """Learning rate of this update by the settings' schedule; also set in the optimiser."""
        rate = self.settings.learning_rate
        if self.settings.schedule == "linear":
            rate *= 1 - self.step / self.total
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def take_step(self, measured: Mapping[str, float], circumstances: str) -> dict[str, float]:
        """Average the gradient in the parameters over the processes, clip it and take one optimiser step.

        Parameters
        ----------
        measured : losses and the like of this step, of all processes.
        circumstances : what the message says of the policy should something not be finite.

        Returns
        -------
        measured with `gradient_norm` (before clipping).

        Raises
        ------
        TrainingDiverged
            A loss or the gradient is not finite; the weights are then those before the step.
        """
        parameters = list(self.parameters.values())
        self.processes.average_gradients(parameters)
        norm = self.processes.clip_gradients(parameters, self.settings.max_gradient_norm)
        taken = {**measured, "gradient_norm": norm}
        bad = [name for name, value in taken.items() if not math.isfinite(value)]
        if bad:
            raise TrainingDiverged(self._diverged(bad, circumstances))
        self.optimizer.step()
        return taken

    def _diverged(self, bad: list[str], circumstances: str) -> str:
        there = self.checkpoint is not None and self.checkpoint.exists()
        saved = f"the last checkpoint is {self.checkpoint}" if there else "no checkpoint was made yet"
        return (
            f"{self.settings.kind} diverged at update {self.step}: {', '.join(bad)} is not finite; {saved}. "
            f"Likely cause: the learning rate ({self.settings.learning_rate:g}) is too high or the objective "
            f"too steep: {circumstances}; lower {self.settings.kind}.learning_rate or the strength"
        )


def starting_policy(reference: PreTrainedModel) -> PreTrainedModel:
    """Copy of the reference to be trained; the reference itself is frozen in place."""
    policy = copy.deepcopy(reference).eval().requires_grad_(True)
    reference.eval().requires_grad_(False)
    return policy


def run_updates(
    learner: Learner[S],
    update: Callable[[Learner[S]], dict[str, float]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    fingerprint: str,
    output_dir: str | Path,
    scratch_dir: str | Path,
    progress: bool = True,
) -> pl.DataFrame:
    """Train from the last checkpoint, or from the start, to the last update.

    A run that was stopped continues to the very same policy if what `update` does depends on the learner
    and its step alone.

    Parameters
    ----------
    learner : changed in place.
    update : samples or draws a batch and takes the optimiser's steps of update `learner.step`.
    tokenizer : saved with the policy.
    fingerprint : names the checkpoint, so that another policy never continues from it.
    output_dir : gets the policy and tokenizer as a folder that transformers loads (safetensors).
    scratch_dir : for checkpoints, one file a run, removed when the run is done.
    progress : show a bar where standard error is a terminal.

    Of several processes the main one writes; all must call.

    Returns
    -------
    One row an update: step, what `update` returned, seconds.

    Raises
    ------
    TrainingDiverged
        A loss or gradient is not finite.
    """
    settings = learner.settings
    learner.checkpoint = Path(scratch_dir) / f"{settings.kind}-{fingerprint}.safetensors"
    log = _resume(learner)
    bar = tqdm(
        range(learner.step, learner.total),
        initial=learner.step,
        total=learner.total,
        disable=None if progress and learner.processes.main else True,
    )
    for step in bar:
        started = time.monotonic()
        measured = update(learner)
        _average_weights(learner)
        log.append({"step": step, **measured, "seconds": time.monotonic() - started})
        learner.step = step + 1
        if learner.step % settings.checkpoint_every == 0 and learner.step < learner.total:
            state = {"step": learner.step, "log": log}
            facts = (learner.kept_parameters, learner.optimizer, learner.average, state, learner.processes)
            save_checkpoint(learner.checkpoint, *facts)
    _save_policy(learner, tokenizer, Path(output_dir))
    if learner.processes.main:
        learner.checkpoint.unlink(missing_ok=True)
    return pl.DataFrame(log) if log else pl.DataFrame(schema={"step": pl.Int64})


def _resume(learner: Learner) -> list[dict]:
    """Continue from a checkpoint if the main process sees one; returns the log so far."""
    if learner.checkpoint is None or not learner.processes.gather([learner.checkpoint.exists()])[0]:
        return []
    state, learner.average = load_checkpoint(learner.checkpoint, learner.kept_parameters, learner.optimizer)
    learner.step = state["step"]
    return state["log"]


def _average_weights(learner: Learner) -> None:
    """Take the weights after this update into the running mean, if the mean has begun."""
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
    """Write the policy as a whole model without adapters; of several processes the main one, and all must call.

    Parameters
    ----------
    learner : whose policy it is.
    folder : that transformers loads then (safetensors), without a tokenizer.
    """
    weights = _saved_weights(learner)
    if learner.processes.main:
        learner.policy.save_pretrained(folder, state_dict=weights)


def _saved_weights(learner: Learner) -> dict[str, torch.Tensor] | None:
    """Weights of the policy as a whole model without adapters, on the CPU; None: it is one already."""
    if has_adapters(learner.policy):
        return merged_weights(learner.policy) if learner.processes.main else None
    if not learner.processes.sharded:
        return None
    whole: dict[torch.Tensor, torch.Tensor] = {}  # what is tied stays so
    named = learner.policy.state_dict(keep_vars=True)
    for tensor in dict.fromkeys(named.values()):
        gathered = whole_tensor(tensor.detach())
        if learner.processes.main:
            whole[tensor] = gathered.cpu()
    return {name: whole[tensor] for name, tensor in named.items() if tensor in whole}


def run_fingerprint(reference: PreTrainedModel, settings: Optimisation, *facts: object) -> str:
    """Hash of everything a run depends on: its settings, further facts (as JSON) and the reference's weights."""
    digest = hashlib.sha256(json.dumps([settings.model_dump(), *facts]).encode())
    for parameter in reference.parameters():
        digest.update(parameter.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
