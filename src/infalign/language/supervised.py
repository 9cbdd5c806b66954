"""Supervised training of language models, reward models and classifiers, with the trainers of TRL and transformers."""

from __future__ import annotations

import tempfile
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


def _train(trainer: Any) -> None:
    """Run a trainer without its printed progress."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    trainer.train()


def train_language_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    demonstrations: pl.DataFrame,
    training: Training,
    *,
    seed: int,
    loss_on: Literal["responses", "texts"] = "responses",
) -> PreTrainedModel:
    """Train a language model in place on demonstrations, with TRL's SFTTrainer, and return it.

    Parameters
    ----------
    model : PreTrainedModel
    tokenizer : PreTrainedTokenizerBase
    demonstrations : polars.DataFrame
        Columns `prompt`, `response`.
    training : Training
    seed : int
        Order of the data.
    loss_on : {"responses", "texts"}
        responses: supervised finetuning, prompts are read without a loss; texts: pretraining, every token counts.

    Raises
    ------
    InputError
        If there is no demonstration, or one is longer than the context.
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
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(**_arguments(training, seed, folder), max_length=None)
        data = Dataset.from_list(rows)
        _train(SFTTrainer(model=model, args=arguments, train_dataset=data, processing_class=tokenizer))
    return model


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
    """Train a Bradley-Terry reward model in place, with TRL's RewardTrainer, and return it.

    Parameters
    ----------
    model : PreTrainedModel
        Sequence classifier with one label (see `reward_model_from`).
    tokenizer : PreTrainedTokenizerBase
    pairs : polars.DataFrame
        Columns `prompt`, `chosen`, `rejected` and, if chosen and rejected may answer different prompts,
        `rejected_prompt`.
    training : Training
    seed : int
        Order of the data.

    Raises
    ------
    InputError
        If there is no pair, or a sequence is longer than the context.
    """
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    chosen, rejected = encode_pairs(tokenizer, pairs)
    check_context(model, chosen + rejected, 0)
    with tempfile.TemporaryDirectory() as folder:
        arguments = RewardConfig(**_arguments(training, seed, folder), max_length=None)
        data = Dataset.from_dict({"chosen_ids": chosen, "rejected_ids": rejected})
        _train(RewardTrainer(model=model, args=arguments, train_dataset=data, processing_class=tokenizer))
    return model


def train_classifier(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    labels: pl.DataFrame,
    training: Training,
    *,
    seed: int,
) -> PreTrainedModel:
    """Train a classifier in place with binary cross-entropy on its one logit, with transformers' Trainer; return it.

    Parameters
    ----------
    model : PreTrainedModel
        Sequence classifier with one label (see `reward_model_from`, learns="labels").
    tokenizer : PreTrainedTokenizerBase
    labels : polars.DataFrame
        Columns `prompt`, `response`, `label` (1.0 positive, 0.0 negative, or a share between them, which the
        model's probability then approaches).
    training : Training
    seed : int
        Order of the data.

    Raises
    ------
    InputError
        If there is no labelled response, or a sequence is longer than the context.
    """
    from datasets import Dataset
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    if labels.is_empty():
        raise InputError("there are no labelled responses; check the corpus and its splits")
    sequences = _sequences(tokenizer, labels, "prompt", "response")
    check_context(model, sequences, 0)
    rows = {"input_ids": sequences, "labels": labels["label"].reshape((-1, 1)).to_list()}
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(**_arguments(training, seed, folder))
        collator, data = DataCollatorWithPadding(tokenizer), Dataset.from_dict(rows)
        _train(Trainer(model=model, args=arguments, train_dataset=data, data_collator=collator))
    return model


EXAMPLE_COLUMNS = {
    "preferences": ["prompt", "chosen", "rejected", "split"],
    "labels": ["prompt", "response", "label", "split"],
}
TRAINERS = {"preferences": train_reward_model, "labels": train_classifier}


def encode_pairs(tokenizer: PreTrainedTokenizerBase, pairs: pl.DataFrame) -> tuple[list[list[int]], list[list[int]]]:
    """Tokens of the chosen and of the rejected sequences, prompts included.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
    pairs : polars.DataFrame
        As in `train_reward_model`.

    Raises
    ------
    InputError
        If there is no pair.
    """
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
