"""Reward models: load, start, and what kind a model is.

A reward model is a sequence classifier with one label (a reward) or two (label 1 is the positive one).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from infalign.errors import InputError
from infalign.language.models import load_model, load_tokenizer, loading, seeded, start_model
from infalign.language.supervised import train_language_model
from infalign.records.tables import read_table

if TYPE_CHECKING:
    from infalign.records.task import Learns, PreferenceModel

BINARY = "multi_label_classification"  # transformers' name of the loss on one logit, and our mark of it


def load_reward_model(
    source: str | Path, revision: str | None = None, *, seed: int = 0, complete: bool = False
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a reward model and its tokenizer, in float32, as `load_language_model` does.

    A plain language model may be loaded this way too: a reward head with one label is then drawn from the seed. With
    `complete` a model whose files lack weights, such as the head, is refused. So are more than two labels.
    """
    with loading(str(source), revision) as arguments:
        config = AutoConfig.from_pretrained(str(source), **arguments)
    is_classifier = any("ForSequenceClassification" in name for name in config.architectures or [])
    n_labels = config.num_labels if is_classifier else 1
    if n_labels > 2:
        raise InputError(
            f"reward model {source} has {n_labels} labels; give one with one label (a reward) or two "
            "(label 1 is the positive one)"
        )
    auto = AutoModelForSequenceClassification
    return load_model(auto, str(source), revision, seed, complete=complete, num_labels=n_labels)


def gives_probability(model: PreTrainedModel) -> bool:
    """Say whether a reward model's score is the probability of its positive label."""
    return model.config.num_labels == 2 or model.config.problem_type == BINARY


def reward_model_from(
    language_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    seed: int,
    learns: Learns = "preferences",
) -> PreTrainedModel:
    """Reward model with one label on a copy of a language model's weights, its linear head drawn from the seed.

    The head's output is the reward, or for a model that learns labels the logit of the positive label.
    """
    head: dict[str, Any] = {"num_labels": 1, "id2label": {0: "reward"}}
    if learns == "labels":
        head |= {"id2label": {0: "positive"}, "problem_type": BINARY}
    config = type(language_model.config)(**{**language_model.config.to_dict(), **head})
    config.pad_token_id = tokenizer.pad_token_id
    with seeded(seed):
        model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    model.base_model.load_state_dict(language_model.base_model.state_dict())
    return model.to(language_model.device)


def untrained_reward_model(
    block: PreferenceModel, tokenizer: Path, reference: Path, demonstrations: Path, *, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a published reward model, which is taken as it is, or start one on a language model.

    Without `training` the block's base is the published model, and the other arguments are not read. They are the
    tokenizer's folder, that of the reference policy and, for pretraining, a table with `prompt` and `response`.
    """
    if block.training is None and block.base.published is not None:
        return load_reward_model(*block.base.published, complete=True)
    start, encoder = pretrained_start(block, tokenizer, reference, demonstrations, seed=seed)
    return reward_model_from(start, encoder, seed=seed, learns=block.learns), encoder


def pretrained_start(
    block: PreferenceModel, tokenizer: Path, reference: Path, demonstrations: Path, *, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load or make the language model that a reward model starts from, and train it if the block has pretraining.

    The arguments are those of `untrained_reward_model`.
    """
    encoder = load_tokenizer(tokenizer)
    start, encoder = start_model(block.base, tokenizer=encoder, reference=reference, seed=seed)
    if block.pretraining is not None:
        texts = read_table(demonstrations, ["prompt", "response"])
        train_language_model(start, encoder, texts, block.pretraining, seed=seed, loss_on="texts")
    return start, encoder
