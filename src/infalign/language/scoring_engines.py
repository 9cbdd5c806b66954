"""Scoring by the reward model in a folder, with transformers or with vLLM."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from infalign.errors import InputError
from infalign.language.models import check_context, load_tokenizer, outline, reads_both_ways
from infalign.language.reward_models import load_reward_model
from infalign.language.scoring import causal_sequences, reward_scores, scores_of_logits
from infalign.language.vllm_process import vllm_process
from infalign.records.task import Engine

SEQUENCES_AT_ONCE = 4096  # that vLLM is asked for in one message

Score = Callable[[Sequence[str], Sequence[str], Sequence[bool]], np.ndarray]


@contextmanager
def reward_scorer(folder: str | Path, engine: Engine) -> Iterator[Score]:
    """Open the reward model in a folder with an engine; it is closed with the block.

    Yields a function of prompts, responses and whether each is finished, which returns what `reward_scores` does.
    Models that read both ways are always run by transformers (see docs/engines.md).
    """
    shape = outline(folder, AutoModelForSequenceClassification) if engine == "vllm" else None
    if shape is None or reads_both_ways(shape):
        model, tokenizer = load_reward_model(folder)

        def score(prompts, responses, finished):
            return reward_scores(model, tokenizer, prompts, responses, finished=finished)

        yield score
        return
    with vllm_process({"kind": "reward_model", "model": str(folder)}) as ask:
        yield partial(_scores_by_vllm, ask, shape, load_tokenizer(folder))


def _scores_by_vllm(ask, shape: PreTrainedModel, tokenizer, prompts, responses, finished) -> np.ndarray:
    sequences = causal_sequences(tokenizer, prompts, responses, finished)
    check_context(shape, sequences, 0)
    logits: list[list[float]] = []
    for start in range(0, len(sequences), SEQUENCES_AT_ONCE):
        logits += ask({"sequences": sequences[start : start + SEQUENCES_AT_ONCE]})["logits"]
    expected = (len(sequences), shape.config.num_labels or 0)
    outputs = np.array(logits, dtype=np.float64).reshape(-1, expected[1])
    if outputs.shape != expected or not np.isfinite(outputs).all():
        raise InputError(
            f"vLLM returned scores of shape {outputs.shape}, {np.isfinite(outputs).sum()} of them finite, not "
            f"{expected}; use engine: transformers"
        )
    return scores_of_logits(shape, outputs)
