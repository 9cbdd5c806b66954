"""Several processes that train one policy: who does what, and how their gradients become one.

Each process draws, scores and measures its part of an update's responses; what it found goes to all, so that
all hold the whole batch and compute the same advantages from it. Of each minibatch a process takes the gradient
of an equal part, and the mean over the processes is the gradient that a single process would have had, up to
rounding. With FSDP the weights, gradients and moments are divided among the processes too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import distributed, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from infalign.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes of one training, as process `index` of `count` sees them; a single one exchanges nothing.

    With `sharded` the weights of policy and reference are divided among them (FSDP).
    """

    index: int = 0
    count: int = 1
    sharded: bool = False

    @property
    def main(self) -> bool:
        """Whether this process writes the files."""
        return self.index == 0

    def part(self, rows: np.ndarray) -> np.ndarray:
        """The index-th of `count` equal parts of the rows, in their order.

        Examples
        --------
        >>> Processes(1, 2).part(np.arange(6)).tolist()
        [3, 4, 5]
        """
        return np.array_split(rows, self.count)[self.index]

    def gather(self, items: list[T]) -> list[T]:
        """Items of all processes, in the order of the processes."""
        if self.count == 1:
            return items
        parts: list[Any] = [None] * self.count
        distributed.all_gather_object(parts, items)
        return [item for part in parts for item in part]

    def wait(self) -> None:
        """Wait until all processes have called this."""
        self.gather([self.index])

    def add(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace each tensor by its sum over the processes."""
        if self.count > 1:
            for tensor in tensors:
                distributed.all_reduce(tensor)

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes; FSDP has already averaged those of divided weights."""
        if self.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None and not isinstance(p.grad, DTensor)]
        self.add(gradients)
        for gradient in gradients:
            gradient /= self.count

    def clip_gradients(self, parameters: Sequence[nn.Parameter], limit: float) -> float:
        """Scale the averaged gradients down to a norm of at most `limit`, and return their norm before that."""
        if not self.sharded:
            return nn.utils.clip_grad_norm_(parameters, limit).item()
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        pieces = [gradient.to_local() for gradient in gradients if isinstance(gradient, DTensor)]
        whole = [gradient for gradient in gradients if not isinstance(gradient, DTensor)]
        squares = torch.zeros((), device=gradients[0].device)
        for piece in pieces:
            squares += piece.square().sum()
        self.add([squares])
        norm = float(squares + sum(gradient.square().sum() for gradient in whole)) ** 0.5
        for tensor in (*pieces, *whole):
            tensor *= min(1.0, limit / (norm + 1e-6))  # as torch's clip_grad_norm_
        return norm

    def shard(self, model: PreTrainedModel) -> None:
        """Divide a model's weights among the processes, in place, where `sharded` says so.

        Layers, trunk and output layer are units of their own, since trunk and output layer are called separately. An
        embedding that is also the output layer stays whole in every process.
        """
        if not self.sharded:
            return
        mesh = distributed.init_device_mesh(model.device.type, (self.count,))
        trunk: Any = model.base_model
        head: Any = model.get_output_embeddings()
        trunk_weights = set(trunk.parameters())
        tied = {parameter for parameter in head.parameters() if parameter in trunk_weights}
        kinds = set(model._no_split_modules or ())
        units = [module for module in trunk.modules() if type(module).__name__ in kinds]
        for unit in [*units, trunk, *([] if tied else [head])]:
            divided = fully_shard(unit, mesh=mesh, reshard_after_forward=True, ignored_params=tied)
            divided.set_force_sum_reduction_for_comms(True)  # gloo has no mean

    @contextmanager
    def whole(self, model: PreTrainedModel) -> Iterator[None]:
        """Let every process hold a model's whole weights inside the block, for repeated calls."""
        units = [module for module in model.modules() if isinstance(module, FSDPModule)]
        for unit in units:
            unit.set_reshard_after_forward(False, recurse=False)
            unit.unshard()
        try:
            yield
        finally:
            for unit in units:
                unit.reshard()
                unit.set_reshard_after_forward(True, recurse=False)

    def leave(self) -> None:
        """Leave the group of processes."""
        if self.count > 1:
            distributed.destroy_process_group()


ALONE = Processes()


def join_processes() -> Processes:
    """Join the processes that `accelerate launch` started; an InputError where its settings would not be followed."""
    if _n_started() == 1:
        return ALONE
    _check_launch()
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available())
    return Processes(state.process_index, state.num_processes, _asked("ACCELERATE_USE_FSDP"))


def single_process(kind: str) -> Processes:
    """Return ALONE; several processes are an InputError, as each would train the same policy of method `kind`."""
    if _n_started() > 1:
        raise InputError(f"{kind} trains in one process, got {_n_started()}; start it with python")
    return ALONE


def _n_started() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _asked(variable: str) -> bool:
    return os.environ.get(variable, "false").lower() in ("true", "1")


def _check_launch() -> None:
    problems = []
    if os.environ.get("ACCELERATE_MIXED_PRECISION", "no") != "no":
        problems.append("mixed_precision must be 'no': the precision is a setting of the method")
    if _asked("ACCELERATE_USE_DEEPSPEED") or _asked("ACCELERATE_USE_MEGATRON_LM"):
        problems.append("distributed_type must be MULTI_GPU or FSDP")
    if _asked("ACCELERATE_USE_FSDP"):
        if os.environ.get("FSDP_VERSION") != "2":
            problems.append("fsdp_version must be 2")
        problems += [
            f"{name.lower()} must be false"
            for name in (
                "FSDP_OFFLOAD_PARAMS",
                "FSDP_ACTIVATION_CHECKPOINTING",
                "FSDP_CPU_RAM_EFFICIENT_LOADING",  # transformers would load nothing but in the first process
            )
            if _asked(name)
        ]
    if problems:
        raise InputError(f"accelerate's configuration: {'; '.join(problems)}; take one of profiles/accelerate/")


def whole_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """Gather a tensor that is divided among the processes; all of them must call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def divided_like(tensor: torch.Tensor, model: torch.Tensor) -> torch.Tensor:
    """Move a whole tensor to the device of `model`, divided among the processes as `model` is."""
    tensor = tensor.to(model.device)
    if not isinstance(model, DTensor):
        return tensor
    return distribute_tensor(tensor, model.device_mesh, model.placements, src_data_rank=None)
