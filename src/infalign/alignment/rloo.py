"""REINFORCE with a leave-one-out baseline by TRL's trainer: a second solver of every reward of PPO."""

from __future__ import annotations

import copy
import math
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from datasets import Dataset
from tqdm import tqdm
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
)
from trl import RLOOConfig, RLOOTrainer

from infalign.alignment.batches import Maximised, OnlineTask, check_rewards
from infalign.alignment.training import Destination, TrainingDiverged, prompt_rows
from infalign.errors import InputError
from infalign.language.models import check_context, encode_prompts
from infalign.records.methods import RLOOSettings


def train_rloo(
    reference_folder: str | Path,
    task: OnlineTask,
    objective: Maximised,
    settings: RLOOSettings,
    destination: Destination,
) -> pl.DataFrame:
    """Train a policy from the reference to maximise E[objective value] − β·KL(policy ‖ reference).

    Each update draws a batch, takes one optimiser step on it and discards it. Its prompts are those of PPO's
    update. The model in `reference_folder` (safetensors) is the start and the reference. No checkpoint is kept: a
    run that was stopped starts anew. The caller's random generators are left unchanged.

    Returns
    -------
    polars.DataFrame
        One row an update: step, kl (nats a response, mean log-ratio), reward, value, objective (value − β·kl),
        length, finished, learning_rate, gradient_norm (before clipping), seconds.

    Raises
    ------
    InputError
        A prompt is empty or too long, the tokenizer is of another model, or a reward or value is not finite.
    TrainingDiverged
        A loss or gradient is not finite.

    References
    ----------
    Ahmadian et al. 2024, Back to basics: revisiting REINFORCE style optimization for learning from human
    feedback in LLMs.
    """
    watch = Watch(settings, objective.beta, destination.progress)
    with _generators_kept(), tempfile.TemporaryDirectory() as folder:
        policy = AutoModelForCausalLM.from_pretrained(str(reference_folder), dtype=torch.float32, use_safetensors=True)
        as_loaded = copy.deepcopy(policy.config), policy.generation_config
        trainer = new_trainer(policy, task, objective, settings, folder)
        trainer.add_callback(watch)
        trainer.train()
    policy.config, policy.generation_config = as_loaded  # TRL and transformers set them for the training
    policy.save_pretrained(destination.policy)
    task.tokenizer.save_pretrained(destination.policy)
    return pl.DataFrame(watch.rows)


class Trainer(RLOOTrainer):
    """TRL's trainer with this project's encoding of prompts."""

    processing_class: PreTrainedTokenizerBase

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict]:
        return encode_prompts(self.processing_class, prompts), None, {}


def new_trainer(
    policy: PreTrainedModel, task: OnlineTask, objective: Maximised, settings: RLOOSettings, folder: str
) -> Trainer:
    """Make TRL's trainer on the prompts of all updates in turn; it may write into `folder`.

    The policy must be loaded from the reference's folder: TRL loads the frozen reference from there again. A prompt
    that is empty or too long, and a tokenizer with more tokens than the model, are InputErrors.
    """
    tokenizer, prompts = task.tokenizer, task.prompts
    _check_vocabulary(policy, tokenizer)
    check_context(policy, encode_prompts(tokenizer, prompts["prompt"].to_list()), task.max_new_tokens)
    rows = [
        prompt_rows(prompts.height, settings.prompts_per_update, task.seed, step) for step in range(settings.updates)
    ]
    batches = prompts[np.concatenate(rows)].select("prompt_id", "prompt")
    # The folder's settings of generation are not part of the policy.
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    policy.generation_config = GenerationConfig(**{name: getattr(tokenizer, name) for name in names})
    trainer = Trainer(
        model=policy,
        reward_funcs=_objective_reward(task, objective),
        args=RLOOConfig(**_trainer_arguments(settings, objective.beta, task, folder)),
        train_dataset=Dataset.from_dict(batches.to_dict(as_series=False)),
        processing_class=tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    models: Any = (trainer.model, trainer.ref_model)
    for model in models:
        model.register_forward_pre_hook(_as_when_sampled, with_kwargs=True)
    return trainer


def _check_vocabulary(policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    embeddings: Any = policy.get_input_embeddings()
    rows = embeddings.num_embeddings
    if len(tokenizer) > rows:
        raise InputError(
            f"the tokenizer has {len(tokenizer)} tokens, the reference policy only {rows}; "
            "give the tokenizer that was saved with the reference"
        )


def _as_when_sampled(model: PreTrainedModel, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """Turn dropout off, and number positions from the first token: TRL counts the left padding too."""
    for module in model.children():
        module.eval()
    if kwargs.get("fused_lm_head"):
        kwargs["position_ids"] = (kwargs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    return args, kwargs


def _trainer_arguments(settings: RLOOSettings, beta: float, task: OnlineTask, folder: str) -> dict[str, Any]:
    """Configure TRL: the plain estimator in float32, no checkpoints, no reports."""
    batch = settings.prompts_per_update * settings.samples_per_prompt
    chunk = max(size for size in range(1, min(batch, settings.chunk_size) + 1) if batch % size == 0)
    return {
        "output_dir": folder,
        "max_steps": settings.updates,
        "num_generations": settings.samples_per_prompt,
        "per_device_train_batch_size": chunk,
        "gradient_accumulation_steps": batch // chunk,
        "num_iterations": 1,
        "shuffle_dataset": False,  # the order is the data set's
        "max_completion_length": task.max_new_tokens,
        "temperature": task.temperature,
        "top_k": 0,
        "top_p": 1.0,
        "generation_kwargs": {"remove_invalid_values": True},  # a gradient that is not finite tells of a divergence
        "beta": beta,
        "normalize_advantages": False,
        "reward_clip_range": None,
        "mask_truncated_completions": False,
        "disable_dropout": True,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.schedule,
        "warmup_steps": 0,
        "optim": "adamw_torch",
        "adam_beta1": settings.adam_betas[0],
        "adam_beta2": settings.adam_betas[1],
        "adam_epsilon": settings.adam_epsilon,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_gradient_norm,
        "seed": task.seed,
        "data_seed": task.seed,
        "bf16": False,
        "gradient_checkpointing": False,
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_pin_memory": False,
        "save_strategy": "no",
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
    }


def _objective_reward(task: OnlineTask, objective: Maximised) -> Callable[..., list[float | None]]:
    """Make a reward function of TRL; a value that is not finite is an InputError, as TRL would skip it silently."""

    def value(
        prompts: Sequence[str],
        completion_ids: list[list[int]],
        prompt_id: Sequence[str],
        trainer_state: Any,
        log_metric: Callable[[str, float], None],
        **others: object,
    ) -> list[float | None]:
        finished = [tokens[-1] == task.tokenizer.eos_token_id for tokens in completion_ids]
        rewards = task.score(prompts, completion_ids, finished)
        check_rewards(rewards, prompt_id, trainer_state.global_step)
        values = objective.values(list(prompt_id), rewards)
        _check_values(values, rewards, prompt_id, trainer_state.global_step)
        log_metric("mean_reward", float(rewards.mean()))
        log_metric("finished", float(np.mean(finished)))
        log_metric("largest_value", float(np.abs(values).max()))
        return values.tolist()

    return value


def _check_values(values: np.ndarray, rewards: np.ndarray, ids: Sequence[str], step: int) -> None:
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise InputError(
            f"the value of {len(bad)} of {len(values)} responses at update {step} is not finite: got "
            f"{values[bad[0]]} for reward {rewards[bad[0]]} of prompt_id {ids[bad[0]]!r}; check the transform"
        )


class Watch(TrainerCallback):
    """Log the updates, show a bar, and end a run that diverges; `beta` is in the objective's units."""

    def __init__(self, settings: RLOOSettings, beta: float, progress: bool) -> None:
        self.settings, self.beta = settings, beta
        self.bar = tqdm(total=settings.updates, disable=None if progress else True)
        self.rows: list[dict[str, float]] = []
        self.started = math.nan

    def on_step_begin(self, args, state, control, **kwargs) -> None:
        self.started = time.monotonic()

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        if "grad_norm" not in logs:  # TRL's summary of the whole run
            return
        self._check(state.global_step - 1, logs)
        kl = logs["kl"] * logs["completions/mean_length"]  # TRL's is nats a token
        self.rows.append(
            {
                "step": state.global_step - 1,
                "kl": kl,
                "reward": logs["mean_reward"],
                "value": logs["reward"],
                "objective": logs["reward"] - self.beta * kl,
                "length": logs["completions/mean_length"],
                "finished": logs["finished"],
                "learning_rate": logs["learning_rate"],
                "gradient_norm": logs["grad_norm"],
                "seconds": time.monotonic() - self.started,
            }
        )
        self.bar.update()

    def on_train_end(self, args, state, control, **kwargs) -> None:
        self.bar.close()

    def _check(self, step: int, logs: dict[str, float | None]) -> None:
        measured = {"kl": logs["kl"], "loss": logs["loss"], "gradient_norm": logs["grad_norm"]}
        not_finite = [name for name, value in measured.items() if value is None or not math.isfinite(value)]
        if not_finite:
            before = f"{self.rows[-1]['kl']:.3g} nats from the reference" if self.rows else "the reference"
            raise TrainingDiverged(
                self.settings,
                step,
                not_finite,
                "no checkpoint was made (rloo keeps none)",
                f"one update before, the policy was {before}, the largest |value| {logs['largest_value']:.3g}",
            )


@contextmanager
def _generators_kept() -> Iterator[None]:
    """Restore the caller's random generators afterwards; TRL seeds the global ones."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (the state TRL overwrites)
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
