"""Texts and sizes of models small enough for tests."""

from types import SimpleNamespace

import torch

torch.set_num_threads(1)

TEXTS = [
    "Please, how do I brew tea?\n",
    "Measure the leaves twice. Good luck!",
    "Buy the cup or not. Goodbye.",
]


def sizes(**changes):
    defaults = {"hidden_size": 16, "n_layers": 2, "n_heads": 2, "intermediate_size": 32, "context": 64}
    return SimpleNamespace(**{**defaults, **changes})


def settings(**changes):
    defaults = {"learning_rate": 1e-2, "epochs": 1, "batch_size": 8, "warmup_ratio": 0.0, "weight_decay": 0.0}
    return SimpleNamespace(**{**defaults, **changes})


def widen(model, factor=20.0):
    """Random weights far from zero, so that outputs depend on every token."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(factor)
    return model
