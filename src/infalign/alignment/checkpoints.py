"""Training state in one safetensors file: weights, optimiser moments and, as metadata, counters and log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from infalign.alignment.processes import ALONE, Processes, divided_like, whole_tensor
from infalign.records.tables import write_atomically

MOMENTS = ("exp_avg", "exp_avg_sq")


def save_checkpoint(
    path: Path,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.AdamW,
    average: Mapping[str, torch.Tensor],
    state: Mapping[str, object],
    processes: Processes = ALONE,
) -> None:
    """Write everything that a resumed run needs, whole or not at all; all processes call, the main one writes.

    Parameters
    ----------
    parameters : mapping of str to Parameter
        By `module/name`; the optimiser changes some of them, all are saved.
    average : mapping of str to Tensor
        Running mean of the weights of the module `policy`, by name; may be empty.
    state : mapping
        Counters and log, as JSON takes them.
    """
    tensors = {f"weight/{name}": tensor.detach() for name, tensor in parameters.items()}
    steps = 0
    for name, tensor in parameters.items():
        moments = optimizer.state.get(tensor, {})
        tensors |= {f"{moment}/{name}": moments[moment] for moment in MOMENTS if moment in moments}
        steps = max(steps, int(moments.get("step", 0)))
    tensors |= {f"average/{name}": tensor for name, tensor in average.items()}
    saved = {}
    for name, part in tensors.items():
        whole = whole_tensor(part)
        if processes.main:
            saved[name] = whole.contiguous().cpu()
    if processes.main:
        metadata = {"state": json.dumps({**state, "optimizer_steps": steps})}
        write_atomically(path, lambda partial: save_file(saved, partial, metadata=metadata))


def load_checkpoint(
    path: Path, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.AdamW
) -> tuple[dict, dict[str, torch.Tensor]]:
    """Put a checkpoint's weights and moments back in place, and return its state and average; see `save_checkpoint`."""
    with safe_open(path, framework="pt") as file, torch.no_grad():
        state = json.loads(file.metadata()["state"])
        steps = float(state.pop("optimizer_steps"))
        names = set(file.keys())
        for name, parameter in parameters.items():
            parameter.copy_(divided_like(file.get_tensor(f"weight/{name}"), parameter))
            if f"exp_avg/{name}" in names:
                moments = {moment: divided_like(file.get_tensor(f"{moment}/{name}"), parameter) for moment in MOMENTS}
                optimizer.state[parameter] = {"step": torch.tensor(steps), **moments}
        average = {
            name.removeprefix("policy/"): divided_like(
                file.get_tensor(f"average/{name.removeprefix('policy/')}"), parameter
            )
            for name, parameter in parameters.items()
            if name.startswith("policy/") and f"average/{name.removeprefix('policy/')}" in names
        }
    return state, average
