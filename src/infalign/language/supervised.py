"""Supervised training of language models, reward models and classifiers, with the trainers of TRL and transformers."""

from __future__ import annotations

import tempfile
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from infalign.errors import InputError
from infalign.language.models import check_context, encode_prompts, encode_responses

if TYPE_CHECKING:
    from infalign.records.task import Training

IGNORED = -100  # label of tokens without a loss


def _arguments(training: Training, seed: int, folder: str) -> dict[str, Any]:
    """Settings that all trainers share: float32, no checkpoints, no reports, explicit seeds."""
    return {
        "output_dir": folder,
        "learning_rate": training.learning_rate,
        "num_train_epochs": training.epochs,
        "per_device_train_batch_size": training.batch_size,
        "warmup_steps": training.warmup_ratio,  # below 1 it is a share of the steps
        "weight_decay": training.weight_decay,
        "lr_scheduler_type": "cosine",
        "adam_beta2": 0.98,
        "seed": seed,
        "data_seed": seed,
        "bf16": False,
        "gradient_checkpointing": False,
        "use_cpu": not torch.cuda.is_available(),
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
    }


def _train(
    trainer: Any, arguments: Any, model: PreTrainedModel, training: Training, seed: int, **options: Any
) -> PreTrainedModel:
    """Run a kind of trainer with its kind of arguments, without its printed progress."""
    from transformers import PrinterCallback

    with tempfile.TemporaryDirectory() as folder:
        settings = arguments(**_arguments(training, seed, folder))
        made = trainer(model=model, args=settings, **options)
        made.remove_callback(PrinterCallback)
        made.train()
    return model


def train_language_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    demonstrations: pl.DataFrame,
    training: Training,
    *,
    seed: int,
    loss_on: Literal["responses", "texts"] = "responses",
) -> PreTrainedModel:
    """Train a language model in place on demonstrations (`prompt`, `response`), with TRL's SFTTrainer, and return it.

    The seed is that of the order of the data.

    Parameters
    ----------
    loss_on : {"responses", "texts"}
        responses: supervised finetuning, prompts are read without a loss; texts: pretraining, every token counts.
    """
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    if demonstrations.is_empty():
        raise InputError("there are no demonstrations to train on; check the corpus")
    prompts = encode_prompts(tokenizer, demonstrations["prompt"].to_list())
    responses = encode_responses(tokenizer, demonstrations["response"].to_list())
    rows = [
        {"input_ids": prompt + response, "labels": _prompt_labels(prompt, loss_on) + response}
        for prompt, response in zip(prompts, responses, strict=True)
    ]
    check_context(model, [row["input_ids"] for row in rows], 0)
    options = {"train_dataset": Dataset.from_list(rows), "processing_class": tokenizer}
    return _train(SFTTrainer, partial(SFTConfig, max_length=None), model, training, seed, **options)


def _prompt_labels(prompt: list[int], loss_on: str) -> list[int]:
    return prompt if loss_on == "texts" else [IGNORED] * len(prompt)


def train_reward_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: pl.DataFrame,
    training: Training,
    *,
    seed: int,
) -> PreTrainedModel:
    """Train a Bradley-Terry reward model with one label in place, with TRL's RewardTrainer, and return it.

    Pairs have `prompt`, `chosen`, `rejected` and, if the two may answer different prompts, `rejected_prompt`.
    """
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    chosen, rejected = encode_pairs(tokenizer, pairs)
    check_context(model, chosen + rejected, 0)
    data = Dataset.from_dict({"chosen_ids": chosen, "rejected_ids": rejected})
    options = {"train_dataset": data, "processing_class": tokenizer}
    return _train(RewardTrainer, partial(RewardConfig, max_length=None), model, training, seed, **options)


def train_classifier(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    labels: pl.DataFrame,
    training: Training,
    *,
    seed: int,
) -> PreTrainedModel:
    """Train a classifier in place with binary cross-entropy on its one logit, with transformers' Trainer; return it.

    Labels have `prompt`, `response`, `label` (1.0 positive, 0.0 negative, or a share between them, which the model's
    probability then approaches). The model is from `reward_model_from` with learns="labels".
    """
    from datasets import Dataset
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    if labels.is_empty():
        raise InputError("there are no labelled responses; check the corpus and its splits")
    sequences = _sequences(tokenizer, labels, "prompt", "response")
    check_context(model, sequences, 0)
    rows = {"input_ids": sequences, "labels": labels["label"].reshape((-1, 1)).to_list()}
    options = {"train_dataset": Dataset.from_dict(rows), "data_collator": DataCollatorWithPadding(tokenizer)}
    return _train(Trainer, TrainingArguments, model, training, seed, **options)


EXAMPLE_COLUMNS = {
    "preferences": ["prompt", "chosen", "rejected", "split"],
    "labels": ["prompt", "response", "label", "split"],
}
TRAINERS = {"preferences": train_reward_model, "labels": train_classifier}


def encode_pairs(tokenizer: PreTrainedTokenizerBase, pairs: pl.DataFrame) -> tuple[list[list[int]], list[list[int]]]:
    """Tokens of the chosen and of the rejected sequences of pairs as in `train_reward_model`, prompts included."""
    if pairs.is_empty():
        raise InputError("there are no preference pairs; check the corpus and its splits")
    rejected_prompt = "rejected_prompt" if "rejected_prompt" in pairs.columns else "prompt"
    chosen = _sequences(tokenizer, pairs, "prompt", "chosen")
    return chosen, _sequences(tokenizer, pairs, rejected_prompt, "rejected")


def _sequences(tokenizer: PreTrainedTokenizerBase, rows: pl.DataFrame, prompt: str, response: str) -> list[list[int]]:
    """Tokens of two columns, one after the other."""
    prompts = encode_prompts(tokenizer, rows[prompt].to_list())
    responses = encode_responses(tokenizer, rows[response].to_list())
    return [first + second for first, second in zip(prompts, responses, strict=True)]
