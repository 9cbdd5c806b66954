"""Log-probabilities of given responses under a policy and its reference, and their KL divergence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from infalign.errors import InputError
from infalign.language.models import check_context, evaluating
from infalign.language.scoring import length_sorted, pad_right


@dataclass(frozen=True)
class SequenceStatistics:
    """Log-probabilities of responses and their divergence from the reference.

    Attributes
    ----------
    log_prob, reference_log_prob : ndarray of float64, shape (n,)
        Sums over response tokens, nats.
    kl : ndarray of float64, shape (n,)
        Sum over response positions of the divergence KL(policy ‖ reference) between the two next-token
        distributions over the whole vocabulary, nats; its mean over the policy's own samples estimates
        the sequence KL (Methods: full-vocabulary estimator).
    """

    log_prob: np.ndarray
    reference_log_prob: np.ndarray
    kl: np.ndarray


def sequence_statistics(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    prompt_tokens: Sequence[Sequence[int]],
    response_tokens: Sequence[Sequence[int]],
    *,
    temperature: float = 1.0,
    batch_size: int = 64,
) -> SequenceStatistics:
    """Log-probabilities of given responses under two models on one vocabulary, and their full-vocabulary KL.

    Only response tokens count. The temperature divides both models' logits; the batch size changes speed only.
    """
    if len(prompt_tokens) != len(response_tokens) or not all(map(len, response_tokens)):
        raise InputError(
            f"sequence_statistics needs one non-empty response per prompt, got {len(prompt_tokens)} prompts, "
            f"{len(response_tokens)} responses, the shortest of {min(map(len, response_tokens), default=0)} "
            "tokens; pass sampled tokens, which end with the end-of-sequence token"
        )
    sequences = [[*p, *r] for p, r in zip(prompt_tokens, response_tokens, strict=True)]
    check_context(policy, sequences, 0)
    out = np.zeros((3, len(sequences)))
    with evaluating(policy), evaluating(reference), torch.inference_mode():
        for rows in length_sorted(sequences, batch_size):
            inputs, _ = pad_right([sequences[row] for row in rows], policy.device)
            mask = _response_mask(inputs, rows, prompt_tokens, response_tokens)
            out[:, rows] = _batch_statistics(policy, reference, inputs, mask, temperature).cpu().numpy()
    return SequenceStatistics(*out)


def _batch_statistics(policy, reference, inputs, mask, temperature) -> torch.Tensor:
    """Rows log_prob, reference_log_prob, kl; shape (3, batch)."""
    owner = mask.nonzero()[:, 0]
    targets = inputs[:, 1:][mask][:, None]

    def log_softmax(model: PreTrainedModel) -> torch.Tensor:
        logits = model(input_ids=inputs, use_cache=False).logits[:, :-1][mask]
        return torch.log_softmax(logits.float() / temperature, -1)

    log_p, log_q = log_softmax(policy), log_softmax(reference)
    log_probs = [values.gather(1, targets)[:, 0] for values in (log_p, log_q)]
    per_token = torch.stack([*log_probs, (log_p.exp() * (log_p - log_q)).sum(-1)])
    totals = torch.zeros(3, len(inputs), dtype=torch.float64, device=inputs.device)
    return totals.index_add_(1, owner, per_token.double())


def _response_mask(inputs: torch.Tensor, rows, prompt_tokens, response_tokens) -> torch.Tensor:
    """True where position t predicts a response token; shape (batch, length - 1)."""
    position = torch.arange(1, inputs.shape[1], device=inputs.device)[None, :]
    start = torch.tensor([len(prompt_tokens[row]) for row in rows], device=inputs.device)[:, None]
    stop = start + torch.tensor([len(response_tokens[row]) for row in rows], device=inputs.device)[:, None]
    return (position >= start) & (position < stop)
