"""Sampling responses from a causal language model, reproducibly in any batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from infalign.errors import InputError
from infalign.language.models import check_context, encode_prompts, evaluating

COMPACT_BELOW = 0.8  # the cache is compacted when fewer than this share of its rows is unfinished


@dataclass(frozen=True)
class TokenSamples:
    """Sampled responses as tokens.

    Attributes
    ----------
    tokens : list of list of int
        Of each row; the last one is the end-of-sequence token if the row finished.
    log_probs : list of ndarray
        Log-probability in nats of each token under the distribution it was drawn from (float32).
    finished : ndarray of bool, shape (rows,)
        False where the response was cut at the maximal number of tokens.
    """

    tokens: list[list[int]]
    log_probs: list[np.ndarray]
    finished: np.ndarray


def sample_tokens(
    model: PreTrainedModel,
    prompt_tokens: Sequence[Sequence[int]],
    uniforms: np.ndarray,
    *,
    eos_id: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    batch_size: int = 1024,
) -> TokenSamples:
    """Draw one response per row by inverting each step's distribution function at a given uniform number.

    Rows are sorted by prompt length, padded on the left, and finished rows leave the batch; a row's
    response depends on its prompt and its uniforms only (up to rounding of the model's arithmetic).

    Parameters
    ----------
    model : PreTrainedModel
        Any causal language model with a key-value cache.
    prompt_tokens : sequence of sequences of int, length rows
        A prompt that several rows share is read once per batch.
    uniforms : ndarray, shape (rows, max_new_tokens)
        Numbers in [0, 1), one per token to draw.
    max_new_tokens : int
        Longest response, end-of-sequence token included.
    temperature : float
        Positive divisor of the logits.
    batch_size : int
        Rows sampled at once; changes speed only.
    """
    uniforms = np.asarray(uniforms, dtype=np.float64)
    _check_sampling(prompt_tokens, uniforms, max_new_tokens, temperature)
    check_context(model, prompt_tokens, max_new_tokens)
    tokens = np.full((len(prompt_tokens), max_new_tokens), eos_id, dtype=np.int64)
    log_probs = np.zeros((len(prompt_tokens), max_new_tokens), dtype=np.float32)
    lengths = np.zeros(len(prompt_tokens), dtype=np.int64)
    with evaluating(model), torch.inference_mode():
        for rows in _batches(prompt_tokens, batch_size):
            draws = torch.from_numpy(uniforms[rows]).to(model.device)
            steps = _steps(model, prompt_tokens, rows, draws, eos_id, temperature)
            for step, alive, token, log_prob in steps:
                tokens[alive, step] = token
                log_probs[alive, step] = log_prob
                lengths[alive] = step + 1
    return TokenSamples(
        tokens=[row[:n].tolist() for row, n in zip(tokens, lengths, strict=True)],
        log_probs=[row[:n] for row, n in zip(log_probs, lengths, strict=True)],
        finished=tokens[np.arange(len(tokens)), lengths - 1] == eos_id,
    )


def _check_sampling(
    prompts: Sequence[Sequence[int]], uniforms: np.ndarray, max_new_tokens: int, temperature: float
) -> None:
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens must be >= 1, got {max_new_tokens}; allow at least one token")
    if uniforms.shape != (len(prompts), max_new_tokens):
        raise InputError(
            f"uniforms must have shape {(len(prompts), max_new_tokens)} (rows, max_new_tokens), "
            f"got {uniforms.shape}; draw one number per row and token"
        )
    if not temperature > 0:
        raise InputError(f"temperature must be > 0, got {temperature}; use 1.0 to sample from the model itself")


def _batches(prompts: Sequence[Sequence[int]], batch_size: int) -> Iterator[np.ndarray]:
    """Rows sorted by prompt length, at most batch_size at once, equal prompts side by side."""
    order = sorted(range(len(prompts)), key=lambda row: (len(prompts[row]), tuple(prompts[row])))
    rows = np.array(order, dtype=np.int64)
    for start in range(0, len(rows), batch_size):
        yield rows[start : start + batch_size]


def _steps(model, prompts, rows: np.ndarray, draws: torch.Tensor, eos_id: int, temperature: float):
    """Yield (step, rows still alive, their tokens, their log-probabilities) until all have finished."""
    cache, logits, padding = _read_prompts(model, [tuple(prompts[row]) for row in rows])
    alive = torch.arange(len(rows), device=draws.device)  # batch position of each cache row
    open_rows = torch.ones(len(rows), dtype=torch.bool, device=draws.device)  # of the cache rows
    for step in range(draws.shape[1]):
        log_p = torch.log_softmax(logits.float() / temperature, dim=-1)
        token = _invert(log_p, draws[alive, step])
        log_prob = log_p.gather(1, token[:, None])[:, 0]
        drawn = [x[open_rows].cpu().numpy() for x in (alive, token, log_prob)]
        yield step, rows[drawn[0]], *drawn[1:]
        open_rows = open_rows & (token != eos_id)
        n_open = int(open_rows.sum())
        if n_open == 0 or step + 1 == draws.shape[1]:
            return
        if n_open < COMPACT_BELOW * len(open_rows):
            keep = open_rows.nonzero()[:, 0]
            cache.batch_select_indices(keep)
            alive, token, open_rows = alive[keep], token[keep], open_rows[keep]
        logits = _read(model, token[:, None], cache, padding[alive])


def _read_prompts(
    model: PreTrainedModel, prompts: list[tuple[int, ...]]
) -> tuple[DynamicCache, torch.Tensor, torch.Tensor]:
    """Cache, next-token logits and left padding of every row, reading each distinct prompt once."""
    distinct = {prompt: position for position, prompt in enumerate(dict.fromkeys(prompts))}
    rows = torch.tensor([distinct[prompt] for prompt in prompts], device=model.device)
    cache = DynamicCache(config=model.config)
    longest = max(map(len, distinct))
    padding = torch.tensor([longest - len(prompt) for prompt in distinct], device=model.device)
    padded = [(0,) * (longest - len(prompt)) + prompt for prompt in distinct]
    inputs = torch.tensor(padded, device=model.device)
    logits = _read(model, inputs, cache, padding)
    cache.batch_select_indices(rows)
    return cache, logits[rows], padding[rows]


def _read(model: PreTrainedModel, inputs: torch.Tensor, cache: DynamicCache, padding: torch.Tensor) -> torch.Tensor:
    """Next-token logits after more tokens; the first `padding` positions of a row are not attended to."""
    options = {}
    if padding.any():
        start = cache.get_seq_length()
        places = torch.arange(start + inputs.shape[1], device=inputs.device)[None, :] - padding[:, None]
        options = {"attention_mask": (places >= 0).long(), "position_ids": places[:, start:].clamp(min=0)}
    return model(input_ids=inputs, **options, past_key_values=cache, use_cache=True).logits[:, -1]


def _invert(log_p: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Token whose interval of the distribution function holds the uniform number."""
    cumulative = log_p.double().exp().cumsum(dim=-1)
    target = (uniform * cumulative[:, -1])[:, None]
    token = torch.searchsorted(cumulative, target, right=True)[:, 0]
    return token.clamp(max=log_p.shape[-1] - 1)


def prompt_uniforms(seed: int, prompt_id: str, n_samples: int, max_new_tokens: int) -> np.ndarray:
    """Uniform numbers in [0, 1) of a prompt, whatever others are sampled; shape (n_samples, max_new_tokens).

    The prompt's id is hashed with SHA-256. With more samples the first ones stay as they were.

    Examples
    --------
    >>> few, many = prompt_uniforms(0, "p1", 2, 3), prompt_uniforms(0, "p1", 5, 3)
    >>> bool((few == many[:2]).all())
    True
    """
    key = int.from_bytes(hashlib.sha256(prompt_id.encode()).digest()[:8], "big")
    return np.random.default_rng([seed, key]).random((n_samples, max_new_tokens))


def sample_responses(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: pl.DataFrame,
    n_samples: int,
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    seed: int,
    batch_size: int = 1024,
    at_once: int | None = None,
) -> pl.DataFrame:
    """Sample responses to every prompt; limits, temperature and batches as in `sample_tokens`.

    Parameters
    ----------
    prompts : polars.DataFrame
        Columns `prompt_id` (unique) and `prompt` (the full text up to where the response starts).
    n_samples : int
        Responses per prompt.
    seed : int
        A prompt's draws depend on the seed and its `prompt_id` only.
    at_once : int, optional
        Prompts, in the order given, that share no batch with others: the rounding of a response then depends
        on these alone, and only their draws are in memory. Default: all.

    Returns
    -------
    polars.DataFrame
        One row a response: `prompt_id`, `sample_id` (0 to n_samples - 1), `response` (text without the
        end-of-sequence token), `tokens`, `n_tokens`, `log_prob` (nats, summed), `finished`.
    """
    check_prompts(prompts, n_samples)
    parts = []
    for group in prompts.iter_slices(at_once or prompts.height):
        ids = group["prompt_id"].to_list()
        encoded = encode_prompts(tokenizer, group["prompt"].to_list())
        uniforms = [prompt_uniforms(seed, prompt_id, n_samples, max_new_tokens) for prompt_id in ids]
        samples = sample_tokens(
            model,
            [tokens for tokens in encoded for _ in range(n_samples)],
            np.concatenate(uniforms),
            eos_id=tokenizer.eos_token_id,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            batch_size=batch_size,
        )
        log_prob = [float(log_probs.sum(dtype=np.float64)) for log_probs in samples.log_probs]
        parts.append(responses_frame(tokenizer, ids, samples.tokens, log_prob, samples.finished))
    return pl.concat(parts)


def check_prompts(prompts: pl.DataFrame, n_samples: int) -> None:
    """Raise InputError unless there is something to sample."""
    if prompts.is_empty() or n_samples < 1:
        raise InputError(
            f"sampling needs at least one prompt and one sample each, got {prompts.height} prompts and "
            f"n_samples {n_samples}; check the split and the config"
        )


def responses_frame(
    tokenizer: PreTrainedTokenizerBase,
    ids: Sequence[str],
    tokens: list[list[int]],
    log_prob: Sequence[float],
    finished: np.ndarray,
) -> pl.DataFrame:
    """Sampled responses as a table, see `sample_responses`; those of a prompt are side by side, as many for each."""
    n_samples = len(tokens) // len(ids)
    return pl.DataFrame(
        {
            "prompt_id": [prompt_id for prompt_id in ids for _ in range(n_samples)],
            "sample_id": list(range(n_samples)) * len(ids),
            "response": tokenizer.batch_decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False),
            "tokens": tokens,
            "n_tokens": [len(row) for row in tokens],
            "log_prob": log_prob,
            "finished": finished,
        },
        schema_overrides={"sample_id": pl.Int32, "tokens": pl.List(pl.Int32), "n_tokens": pl.Int32},
    )
