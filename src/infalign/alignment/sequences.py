"""Prompts and responses as padded chunks, and what a language model says of their response tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import PreTrainedModel


@dataclass(frozen=True)
class Chunk:
    """Some rows as one right-padded tensor, and where their response tokens stand in it."""

    rows: np.ndarray  # (n,) rows of the sequences
    input_ids: torch.Tensor  # (n, L)
    sequence: torch.Tensor  # (m,) row of input_ids
    position: torch.Tensor  # (m,) column whose output predicts the token
    targets: torch.Tensor  # (m,) the token
    flat: torch.Tensor  # (m,) its place among the tokens of all responses


@dataclass
class Sequences:
    """Prompts and their responses as tokens; the tokens of all responses stand in one flat array."""

    prompts: Sequence[list[int]]
    responses: Sequence[list[int]]
    offsets: np.ndarray = field(init=False)  # (n + 1,) of each response in the flat array

    def __post_init__(self) -> None:
        self.offsets = np.concatenate([[0], np.cumsum([len(response) for response in self.responses])])

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each response, (n,)."""
        return np.diff(self.offsets)


def chunks(sequences: Sequences, rows: np.ndarray, size: int, device: torch.device) -> Iterator[Chunk]:
    """Cut rows into right-padded chunks of like lengths, longest first.

    The model is causal, so what stands right of a token cannot change its output: no mask is needed.
    """
    prompts, responses = sequences.prompts, sequences.responses
    totals = np.array([len(prompts[row]) + len(responses[row]) for row in rows])
    order = rows[np.argsort(-totals, kind="stable")]
    for start in range(0, len(order), size):
        part = order[start : start + size]
        texts = [prompts[row] + responses[row] for row in part]
        padded = np.zeros((len(part), len(texts[0])), dtype=np.int64)
        for i, text in enumerate(texts):
            padded[i, : len(text)] = text
        lengths = sequences.lengths[part]
        within = np.concatenate([np.arange(length) for length in lengths])
        sequence = np.repeat(np.arange(len(part)), lengths)
        position = within + np.repeat([len(prompts[row]) - 1 for row in part], lengths)
        flat = within + np.repeat(sequences.offsets[part], lengths)
        arrays = (padded, sequence, position, padded[sequence, position + 1], flat)
        yield Chunk(part, *(torch.from_numpy(array).to(device) for array in arrays))


def token_features(model: PreTrainedModel, chunk: Chunk) -> torch.Tensor:
    """Last hidden states of the trunk that predict the response tokens, shape (m, hidden)."""
    hidden = model.base_model(input_ids=chunk.input_ids, use_cache=False)[0]
    return hidden[chunk.sequence, chunk.position]


def token_distributions(model: PreTrainedModel, features: torch.Tensor, temperature: float) -> torch.Tensor:
    """Next-token log-probabilities over the vocabulary, (m, vocabulary), in float32."""
    logits = model.get_output_embeddings()(features).float()
    return torch.log_softmax(logits if temperature == 1.0 else logits / temperature, dim=-1)


def response_log_probs(model: PreTrainedModel, chunk: Chunk, temperature: float = 1.0) -> torch.Tensor:
    """Log-probability of each response of a chunk, summed over its tokens, in nats, (n,); differentiable."""
    log_p = token_distributions(model, token_features(model, chunk), temperature)
    tokens = log_p.gather(1, chunk.targets[:, None])[:, 0]
    total = torch.zeros(len(chunk.rows), device=tokens.device)
    return total.index_add(0, chunk.sequence, tokens)
