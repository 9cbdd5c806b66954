"""Low-rank adapters: a policy that shares the reference's weights and trains small matrices beside them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from infalign.errors import InputError
from infalign.records.methods import Lora

ADAPTER = "default"  # peft's name of the only one


def adapted_policy(reference: PreTrainedModel, settings: Lora, seed: int) -> PreTrainedModel:
    """Make a policy of the reference's own weights, frozen in place, and adapters that change nothing yet.

    Policy and reference are two models that share their weights in memory, so neither has to be switched
    off for the other. The adapters' first weights depend on the seed only and are the same on every device.

    Raises
    ------
    InputError
        `target_modules` names no linear layer of the trunk, or other layers beside them.

    References
    ----------
    Hu et al. 2022, LoRA: low-rank adaptation of large language models.
    """
    from peft import LoraConfig, inject_adapter_in_model

    reference.eval().requires_grad_(False)
    policy = copy.deepcopy(reference, {id(parameter): parameter for parameter in reference.parameters()})
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # peft divides it by the rank: any number
        lora_dropout=settings.dropout,
        target_modules=settings.target_modules,
        bias="none",
    )
    with torch.random.fork_rng(devices=[]):  # the first weights are drawn on the CPU
        torch.default_generator.manual_seed(seed)
        try:
            inject_adapter_in_model(config, policy, adapter_name=ADAPTER)
        except ValueError as error:
            raise InputError(
                f"lora.target_modules: {str(error).splitlines()[0]}; name linear layers of "
                f"{type(reference).__name__}, or leave it out for all"
            ) from error
    _check_layers(policy)
    return policy.eval()


def _check_layers(policy: PreTrainedModel) -> None:
    head = policy.get_output_embeddings()
    wrong = [
        name
        for name, layer in _adapted_layers(policy).items()
        if layer is head or isinstance(layer.base_layer, nn.Embedding)
    ]
    if wrong:
        raise InputError(
            f"lora.target_modules: {', '.join(wrong)} is an embedding or the output layer, which may be one "
            "and the same; name linear layers between them"
        )


def _adapted_layers(policy: PreTrainedModel) -> dict[str, Any]:
    return {name: module for name, module in policy.named_modules() if hasattr(module, "get_delta_weight")}


def has_adapters(policy: PreTrainedModel) -> bool:
    """Whether a policy was made by `adapted_policy`."""
    return bool(_adapted_layers(policy))


def merged_weights(policy: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Add the adapters to the weights beside them, on the CPU; policy and reference are left unchanged.

    The names are those of the model without adapters; tied weights stay tied.
    """
    layers = _adapted_layers(policy)
    named = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in policy.state_dict(keep_vars=True).items()
        if ".lora_" not in name
    }
    moved = {tensor: tensor.detach().cpu() for tensor in dict.fromkeys(named.values())}
    weights = {name: moved[tensor] for name, tensor in named.items()}
    for name, layer in layers.items():
        weights[f"{name}.weight"] = weights[f"{name}.weight"] + layer.get_delta_weight(ADAPTER).detach().cpu()
    return weights


@contextmanager
def adapter_dropout(policy: PreTrainedModel, seed: int) -> Iterator[None]:
    """Let the adapters' dropout act for a while, drawn from the seed; the model's own stays off."""
    dropouts = [
        module
        for layer in _adapted_layers(policy).values()
        for module in layer.lora_dropout.values()
        if isinstance(module, nn.Dropout)
    ]
    devices = [policy.device] if policy.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices, enabled=bool(dropouts)):
        if dropouts:
            torch.manual_seed(seed)
        for module in dropouts:
            module.train()
        try:
            yield
        finally:
            for module in dropouts:
                module.eval()
