"""Training state in one safetensors file: weights, optimiser moments and, as metadata, counters and log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from infalign.records.tables import write_atomically

MOMENTS = ("exp_avg", "exp_avg_sq")


def save_checkpoint(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.AdamW,
    average: Mapping[str, torch.Tensor],
    state: Mapping[str, object],
) -> None:
    """Write everything a resumed run needs, whole or not at all.

    Parameters
    ----------
    path : of the checkpoint file; replaced if it is there.
    modules : name to module; all their parameters are saved.
    optimizer : AdamW over exactly these parameters, in this order.
    average : running mean of the weights of the module `policy`, by name; may be empty.
    state : counters and log, as JSON takes them.
    """
    parameters = _named(modules)
    tensors = {f"weight/{name}": tensor.detach() for name, tensor in parameters.items()}
    steps = 0
    for name, tensor in parameters.items():
        moments = optimizer.state.get(tensor, {})
        tensors |= {f"{moment}/{name}": moments[moment] for moment in MOMENTS if moment in moments}
        steps = max(steps, int(moments.get("step", 0)))
    tensors |= {f"average/{name}": tensor for name, tensor in average.items()}
    tensors = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    metadata = {"state": json.dumps({**state, "optimizer_steps": steps})}
    write_atomically(path, lambda partial: save_file(tensors, partial, metadata=metadata))


def load_checkpoint(
    path: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.AdamW
) -> tuple[dict, dict[str, torch.Tensor]]:
    """Put a checkpoint's weights and moments back in place.

    Parameters
    ----------
    path : of the checkpoint file.
    modules, optimizer : as they were saved; changed in place.

    Returns
    -------
    state, average : what `save_checkpoint` was given.
    """
    parameters = _named(modules)
    with safe_open(path, framework="pt") as file:
        state = json.loads(file.metadata()["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    steps = float(state.pop("optimizer_steps"))
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[f"weight/{name}"])
            if f"exp_avg/{name}" in tensors:
                moments = {moment: tensors[f"{moment}/{name}"].to(parameter.device) for moment in MOMENTS}
                optimizer.state[parameter] = {"step": torch.tensor(steps), **moments}
    prefix = "average/"
    average = {
        name.removeprefix(prefix): tensor.to(parameters[f"policy/{name.removeprefix(prefix)}"].device)
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    return state, average


def _named(modules: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    return {
        f"{prefix}/{name}": parameter
        for prefix, module in modules.items()
        for name, parameter in module.named_parameters()
    }
