"""Scoring responses with a reward model, independent of the batch, and how right its scores are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from scipy.special import expit
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from infalign.errors import InputError
from infalign.language.models import (
    check_context,
    encode_prompts,
    encode_responses,
    evaluating,
    reads_both_ways,
)
from infalign.language.reward_models import gives_probability
from infalign.language.supervised import encode_pairs
from infalign.records.task import Learns


def reward_scores(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    responses: Sequence[str],
    batch_size: int = 32,
    finished: Sequence[bool] | None = None,
) -> np.ndarray:
    """Score responses with a reward model, (n,): its reward, or a classifier's probability of the positive label.

    A model that reads both ways takes prompt and response as one text with its own special tokens. Sequences are
    sorted by length and padded on the right; the batch size changes speed only. A response that is not `finished` was
    cut off, so no end-of-sequence token is appended.
    """
    if reads_both_ways(model):
        check_paired(prompts, responses)
        texts = [prompt + response for prompt, response in zip(prompts, responses, strict=True)]
        return sequence_rewards(model, tokenizer(texts)["input_ids"] if texts else [], batch_size)
    return sequence_rewards(model, causal_sequences(tokenizer, prompts, responses, finished), batch_size)


def check_paired(prompts: Sequence[str], responses: Sequence[str]) -> None:
    """Raise InputError unless there is one prompt for each response."""
    if len(prompts) != len(responses):
        raise InputError(
            f"reward_scores needs one prompt per response, got {len(prompts)} prompts and "
            f"{len(responses)} responses; repeat each prompt for its responses"
        )


def causal_sequences(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    responses: Sequence[str],
    finished: Sequence[bool] | None = None,
) -> list[list[int]]:
    """Tokens of prompt and response together, as a causal reward model reads them; arguments as `reward_scores`."""
    check_paired(prompts, responses)
    distinct = list(dict.fromkeys(prompts))
    encoded = dict(zip(distinct, encode_prompts(tokenizer, distinct), strict=True))
    bodies = encode_responses(tokenizer, responses, finished)
    return [encoded[prompt] + body for prompt, body in zip(prompts, bodies, strict=True)]


def sequence_rewards(model: PreTrainedModel, sequences: Sequence[Sequence[int]], batch_size: int = 32) -> np.ndarray:
    """Score token sequences (prompt and response together), (n,); see `reward_scores`.

    Of a model trained on preferences it is the logit in float32; else the probability of the positive label.
    """
    n_labels = model.config.num_labels or 0
    if "ForSequenceClassification" not in type(model).__name__ or n_labels > 2:
        raise InputError(
            f"a reward model is a sequence classifier with one or two labels, got {type(model).__name__} with "
            f"{n_labels}; load it with load_reward_model"
        )
    check_context(model, sequences, 0)
    read = _encoder_logits if reads_both_ways(model) else _last_logits
    logits = np.zeros((len(sequences), n_labels))
    with evaluating(model), torch.inference_mode():
        for rows in length_sorted(sequences, batch_size):
            padded = pad_right([sequences[row] for row in rows], model.device)
            logits[rows] = read(model, *padded).cpu().numpy()
    return scores_of_logits(model, logits)


def scores_of_logits(model: PreTrainedModel, logits: np.ndarray) -> np.ndarray:
    """Scores from the outputs of a model's head, (n, labels): the logit, or the positive label's probability."""
    scores = logits[:, -1] - logits[:, 0] if logits.shape[1] == 2 else logits[:, 0]
    return expit(scores) if gives_probability(model) else scores


def _last_logits(model: PreTrainedModel, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Apply the linear head `score` in float32 at the last token, shape (batch, labels)."""
    hidden = model.base_model(input_ids=inputs, use_cache=False).last_hidden_state
    last = hidden[torch.arange(len(inputs)), lengths - 1].float()
    head: Any = model.score
    return torch.nn.functional.linear(last, head.weight.float())


def _encoder_logits(model: PreTrainedModel, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Run a model that reads both ways without its padding, shape (batch, labels)."""
    mask = torch.arange(inputs.shape[1], device=inputs.device)[None, :] < lengths[:, None]
    return model(input_ids=inputs, attention_mask=mask.long()).logits.float()


def pair_outcomes(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: pl.DataFrame, batch_size: int = 32
) -> np.ndarray:
    """Say of each preference pair whether the chosen response scores higher, (n,).

    1 where it does, 0 where the rejected one does, one half for equal scores. The pairs have the columns `prompt`,
    `chosen`, `rejected`, optionally `rejected_prompt`.
    """
    chosen, rejected = encode_pairs(tokenizer, pairs)
    margin = sequence_rewards(model, chosen, batch_size) - sequence_rewards(model, rejected, batch_size)
    return (margin > 0) + 0.5 * (margin == 0)


def pair_accuracy(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: pl.DataFrame, batch_size: int = 32
) -> float:
    """Share of preference pairs whose chosen response scores higher, see `pair_outcomes`."""
    return float(np.mean(pair_outcomes(model, tokenizer, pairs, batch_size)))


@dataclass(frozen=True)
class LabelAccuracy:
    """How well a classifier tells positive from negative responses, each in [0, 1].

    Attributes
    ----------
    accuracy : float
        Share of responses whose probability of the positive label is on their label's side of 1/2.
    pair_accuracy : float
        Share of pairs of a positive and a negative response in which the positive one scores higher: the
        area under the ROC curve.
    """

    accuracy: float
    pair_accuracy: float


def label_accuracy(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, labels: pl.DataFrame, batch_size: int = 32
) -> LabelAccuracy:
    """Compare a classifier with labels; a probability of 1/2 and equal scores count one half.

    The labels have the columns `prompt`, `response`, `label` (1.0 positive, 0.0 negative), and both values in it.
    """
    positive = labels["label"].to_numpy() == 1.0
    if not gives_probability(model):
        raise InputError(
            "a model that learns labels must give a probability: train it on them, or take a classifier with two "
            "labels; this one gives a reward"
        )
    if positive.all() or not positive.any():
        raise InputError(
            f"the accuracy of a classifier needs responses with both labels, got {positive.sum()} positive of "
            f"{len(positive)}; raise corpus.n_test_labelled"
        )
    prompts, responses = (labels[name].to_list() for name in ("prompt", "response"))
    scores = reward_scores(model, tokenizer, prompts, responses, batch_size)
    right = np.where(scores == 0.5, 0.5, (scores > 0.5) == positive)
    margins = scores[positive][:, None] - scores[~positive]
    return LabelAccuracy(float(right.mean()), float(np.mean((margins > 0) + 0.5 * (margins == 0))))


def held_out_accuracy(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: pl.DataFrame, learns: Learns
) -> dict[str, float]:
    """Accuracy on held-out labels or pairs by name, for a manifest."""
    if learns == "labels":
        accuracy = asdict(label_accuracy(model, tokenizer, examples))
        return {f"held_out_{name}": value for name, value in accuracy.items()}
    return {"held_out_pair_accuracy": pair_accuracy(model, tokenizer, examples)}


def pad_right(sequences: Sequence[Sequence[int]], device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token sequences as one tensor (n, longest), padded on the right with token 0, and their lengths (n,).

    A causal model's outputs at real positions do not depend on what stands to their right, so no
    attention mask is needed.

    Examples
    --------
    >>> padded, lengths = pad_right([[5, 6], [7]], "cpu")
    >>> padded.tolist(), lengths.tolist()
    ([[5, 6], [7, 0]], [2, 1])
    """
    lengths = torch.tensor([len(sequence) for sequence in sequences], device=device)
    padded = torch.zeros((len(sequences), int(lengths.max())), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        padded[row, : len(sequence)] = torch.as_tensor(sequence)
    return padded.to(device), lengths


def length_sorted(sequences: Sequence[Sequence[int]], batch_size: int) -> Iterator[np.ndarray]:
    """Rows of the sequences in batches, the shortest first."""
    order = np.argsort([len(sequence) for sequence in sequences], kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
