"""A small language model that learns to answer a judge prompt's questions from preference pairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from infalign.errors import InputError
from infalign.language.models import (
    encode_prompts,
    encode_responses,
    evaluating,
    new_language_model,
    train_tokenizer,
)
from infalign.language.scoring import pad_right
from infalign.language.supervised import train_language_model
from infalign.studies.language_judge.block import TrainedJudge

LETTERS = ("A", "B")  # as `parse_reply` reads them
# A question is all that the model reads, as in its training; a server applies this to what it is asked.
CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def verdict_examples(
    pairs: pl.DataFrame, ask: Callable[[str, str, str], str], *, n_pairs: int | None = None, seed: int
) -> pl.DataFrame:
    """Write preference pairs as questions with their answers, each in one order, half of them in either.

    Parameters
    ----------
    pairs : DataFrame
        prompt, chosen, rejected and, where it may be another, rejected_prompt. Pairs of two prompts are left out,
        since a question has one.
    ask : callable
        Question from prompt, first and second response.
    n_pairs : int, optional
        How many, drawn without replacement. Default: all.
    seed : int
        Of the draw and the orders.

    Returns
    -------
    DataFrame
        Columns `prompt` (the question) and `response` (A or B).

    Raises
    ------
    InputError
        There are fewer pairs.
    """
    if "rejected_prompt" in pairs.columns:
        pairs = pairs.filter(pl.col("rejected_prompt") == pl.col("prompt"))
    n = pairs.height if n_pairs is None else n_pairs
    if pairs.height < n:
        raise InputError(
            f"judge.trained.n_pairs: {n} asked for, but a task has {pairs.height} pairs of responses to one prompt; "
            "lower it"
        )
    drawn = pairs.sample(n, shuffle=True, seed=seed)
    places = np.random.default_rng(seed).permutation(np.arange(n) % 2)
    rows = []
    for row, place in zip(drawn.iter_rows(named=True), places, strict=True):
        texts = (row["chosen"], row["rejected"])
        rows.append((ask(row["prompt"], *(texts if place == 0 else texts[::-1])), LETTERS[place]))
    return pl.DataFrame(rows, schema=["prompt", "response"], orient="row")


def trained_judge(block: TrainedJudge, examples: pl.DataFrame) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Train tokenizer and model from scratch on the questions and answers of `verdict_examples`."""
    texts = [question + answer for question, answer in examples.rows()]
    tokenizer = train_tokenizer(texts, block.vocabulary_size)
    tokenizer.chat_template = CHAT_TEMPLATE
    model = new_language_model(block.from_config, tokenizer, seed=block.seed)
    if block.pretraining is not None:
        train_language_model(model, tokenizer, examples, block.pretraining, seed=block.seed, loss_on="texts")
    return train_language_model(model, tokenizer, examples, block.training, seed=block.seed), tokenizer


def verdict_accuracy(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: pl.DataFrame, batch_size: int = 64
) -> float:
    """Share of the questions of `verdict_examples` whose right answer is likelier, by the answer's first token."""
    letters = [tokens[0] for tokens in encode_responses(tokenizer, LETTERS)]
    questions = encode_prompts(tokenizer, examples["prompt"].to_list())
    answers = np.array([LETTERS.index(answer) for answer in examples["response"]])
    likelier = []
    with evaluating(model), torch.no_grad():
        for start in range(0, len(questions), batch_size):
            batch = questions[start : start + batch_size]
            inputs, lengths = pad_right(batch, model.device)
            logits = model(input_ids=inputs).logits
            last = logits[torch.arange(len(batch), device=model.device), lengths - 1]
            likelier.append(last[:, letters].argmax(dim=1).cpu().numpy())
    return float(np.mean(np.concatenate(likelier) == answers))
