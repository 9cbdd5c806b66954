"""Sampling by the model in a folder, with transformers or with vLLM."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from transformers import AutoModelForCausalLM

from infalign.errors import InputError
from infalign.language.generation import check_prompts, responses_frame, sample_responses
from infalign.language.models import (
    check_context,
    encode_prompts,
    load_language_model,
    load_tokenizer,
    outline,
)
from infalign.language.vllm_process import Ask, visible_device, vllm_process
from infalign.records.task import Rollouts

LOWEST_TEMPERATURE = 0.01  # vLLM takes a lower one for this
BATCHES_AT_ONCE = 16  # of responses that vLLM is asked for in one message, so that few are in memory twice


@dataclass(frozen=True)
class Draws:
    """Sampled responses as vLLM returns them.

    Tokens and `finished` are as in `TokenSamples`. `log_prob` has the log-probability in nats of each row, under the
    distribution it was drawn from.
    """

    tokens: list[list[int]]
    log_prob: list[float]
    finished: np.ndarray


def sample_from(
    folder: str | Path, prompts: pl.DataFrame, sampling: Rollouts, *, seed: int, at_once: int | None = None
) -> pl.DataFrame:
    """Sample responses of the model in a folder, with the engine of the settings; a table as `sample_responses`.

    A prompt's draws depend on the seed and its `prompt_id` only; they are other ones with another engine. `at_once` is
    as in `sample_responses`; vLLM makes batches of its own.
    """
    if sampling.engine == "vllm":
        return _sample_by_vllm(folder, prompts, sampling, seed)
    policy, tokenizer = load_language_model(folder)
    return sample_responses(
        policy,
        tokenizer,
        prompts,
        sampling.n_rollouts,
        max_new_tokens=sampling.max_new_tokens,
        temperature=sampling.temperature,
        seed=seed,
        batch_size=sampling.batch_size,
        at_once=at_once,
    )


def _sample_by_vllm(folder: str | Path, prompts: pl.DataFrame, sampling: Rollouts, seed: int) -> pl.DataFrame:
    check_prompts(prompts, sampling.n_rollouts)
    tokenizer = load_tokenizer(folder)
    ids = prompts["prompt_id"].to_list()
    seeds = [[response_seed(seed, name, i) for i in range(sampling.n_rollouts)] for name in ids]
    samples = vllm_samples(
        folder,
        encode_prompts(tokenizer, prompts["prompt"].to_list()),
        seeds,
        eos_id=tokenizer.eos_token_id,
        max_new_tokens=sampling.max_new_tokens,
        temperature=sampling.temperature,
        batch_size=sampling.batch_size,
    )
    return responses_frame(tokenizer, ids, samples.tokens, samples.log_prob, samples.finished)


def response_seed(seed: int, prompt_id: str, sample_id: int) -> int:
    """Seed of one response, from 1 to 2^62, by SHA-256, whatever others are sampled beside it.

    Examples
    --------
    >>> len({response_seed(0, prompt, i) for prompt in "ab" for i in range(50)})
    100
    """
    digest = hashlib.sha256(f"{seed}/{sample_id}/{prompt_id}".encode()).digest()
    return 1 + int.from_bytes(digest[:8], "big") // 4


def vllm_samples(
    folder: str | Path,
    prompt_tokens: Sequence[Sequence[int]],
    seeds: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    **settings: Any,
) -> Draws:
    """Sample responses with vLLM once, with settings as in `vllm_sampler`; those of a prompt are side by side.

    `seeds` has for each prompt the seeds of its responses, as many for each. It is an InputError if a prompt is empty
    or too long, or vLLM does not return what it was asked for.
    """
    check_context(outline(folder, AutoModelForCausalLM), prompt_tokens, max_new_tokens)
    context = max(map(len, prompt_tokens)) + max_new_tokens
    with vllm_sampler(folder, context=context, max_new_tokens=max_new_tokens, **settings) as sampler:
        return sampler.samples(prompt_tokens, seeds)


@dataclass(frozen=True)
class VllmSampler:
    """A language model that vLLM keeps loaded, with settings as in `vllm_sampler`; `ask` is from `vllm_process`."""

    ask: Ask
    eos_id: int
    max_new_tokens: int
    batch_size: int

    def samples(self, prompt_tokens: Sequence[Sequence[int]], seeds: Sequence[Sequence[int]]) -> Draws:
        """Sample responses, see `vllm_samples`."""
        step = max(1, BATCHES_AT_ONCE * self.batch_size // max(map(len, seeds)))  # prompts
        tokens: list[list[int]] = []
        log_prob: list[float] = []
        for start in range(0, len(prompt_tokens), step):
            some = slice(start, start + step)
            answer = self.ask({"prompts": prompt_tokens[some], "seeds": seeds[some]})
            _check_answer(answer, sum(map(len, seeds[some])), self.eos_id, self.max_new_tokens)
            tokens += answer["tokens"]
            log_prob += answer["log_prob"]
        return Draws(tokens, log_prob, np.array([row[-1] == self.eos_id for row in tokens]))

    def reload(self) -> None:
        """Take the weights that are in the model's folder now."""
        self.ask({"reload": True})


@contextmanager
def vllm_sampler(
    folder: str | Path,
    *,
    context: int,
    eos_id: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    batch_size: int = 512,
    dtype: Literal["float32", "bfloat16"] = "float32",
    gpu_memory: float | None = None,
    device: torch.device | None = None,
) -> Iterator[VllmSampler]:
    """Keep a language model loaded with vLLM; its process ends with the block.

    Parameters
    ----------
    context : int
        Tokens of the longest prompt with its response.
    max_new_tokens : int
        Longest response, end-of-sequence token included.
    temperature : float
        Divisor of the logits, at least 0.01; 0 takes the most probable token each time, with the
        log-probabilities of temperature 1.
    batch_size : int
        Rows sampled at once; changes speed only (up to rounding of the model's arithmetic).
    gpu_memory : float, optional
        Share of the GPU's memory that vLLM may take, in (0, 1), if `device` is one; default: vLLM's own.
    device : torch.device, optional
        The GPU to run on, if it is one; default: any that is visible.
    """
    if temperature != 0 and temperature < LOWEST_TEMPERATURE:
        raise InputError(
            f"vLLM samples at temperatures of at least {LOWEST_TEMPERATURE}, got {temperature}; use engine: "
            "transformers"
        )
    order = {"kind": "language_model", "model": str(folder), "context": context, "batch_size": batch_size}
    order |= {"eos_id": eos_id, "max_new_tokens": max_new_tokens, "temperature": temperature, "dtype": dtype}
    environment = {} if device is None else visible_device(device)
    if environment and gpu_memory is not None:
        order["gpu_memory"] = gpu_memory
    with vllm_process(order, environment) as ask:
        yield VllmSampler(ask, eos_id, max_new_tokens, batch_size)


def _check_answer(answer: dict[str, Any], n_rows: int, eos_id: int, max_new_tokens: int) -> None:
    """Responses must be as many as asked for, each ended by the end token or by its length alone."""
    tokens, finished, log_prob = answer["tokens"], answer["finished"], answer["log_prob"]
    if not len(tokens) == len(finished) == len(log_prob) == n_rows:
        raise InputError(f"vLLM returned {len(tokens)} responses of {n_rows}; run the job again")
    for row, (response, ended) in enumerate(zip(tokens, finished, strict=True)):
        ends = [token == eos_id for token in response]
        whole = bool(ends) and not any(ends[:-1]) and ends[-1] == ended
        if not whole or (not ended and len(response) != max_new_tokens) or len(response) > max_new_tokens:
            raise InputError(
                f"vLLM returned response {row} of a batch with {len(response)} tokens, finished: {ended}, end tokens "
                f"at {[place for place, end in enumerate(ends) if end]}; a response ends with its first end token or "
                f"after {max_new_tokens} tokens: this version of vLLM does not fit, see docs/engines.md"
            )
    if not np.isfinite(log_prob).all():
        raise InputError("vLLM returned log-probabilities that are not finite; use engine: transformers")
