"""A judge that learns from pairs: its questions, what it learns, and that a server asks it as it was trained."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from infalign.errors import InputError
from infalign.language.models import encode_prompts, new_language_model, save_model, train_tokenizer
from infalign.language.supervised import train_language_model
from infalign.records.task import FromConfig, Training
from infalign.studies.language_judge.asking import ReplyCache, ask, parse_reply
from infalign.studies.language_judge.block import LanguageJudge, read_judge_prompt
from infalign.studies.language_judge.training import CHAT_TEMPLATE, verdict_accuracy, verdict_examples

PLAIN = ["the cat sat", "a dog ran", "one bird sang"]


def pairs(n, seed):
    """The chosen response has the word kind in it, the rejected one the word rude."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        prompt, first, second = rng.choice(PLAIN, 3)
        rows.append((f"{prompt}?", f" {first} kind", f" {second} rude"))
    return pl.DataFrame(rows, schema=["prompt", "chosen", "rejected"], orient="row")


def question(*texts):
    return read_judge_prompt("pairwise-brief-v1").ask("helpfulness", *texts)


def test_each_pair_is_asked_once_and_half_of_them_in_either_order():
    table = pairs(41, 0)
    found = verdict_examples(table, question, n_pairs=40, seed=3)
    assert found["response"].value_counts().sort("response").rows() == [("A", 20), ("B", 20)]
    for text, answer in found.rows():
        first, second = text.split("\nA: ")[1].split("\nBetter:")[0].split("\nB: ")
        assert "kind" in {"A": first, "B": second}[answer] and "rude" in {"A": second, "B": first}[answer]
    assert verdict_examples(table, question, n_pairs=40, seed=3).equals(found)
    assert not verdict_examples(table, question, n_pairs=40, seed=4).equals(found)
    assert verdict_examples(table, question, seed=3).height == 41


def test_pairs_of_two_prompts_are_no_questions():
    table = pairs(4, 0).with_columns(rejected_prompt=pl.col("prompt"))
    table[2, "rejected_prompt"] = "another?"
    assert verdict_examples(table, question, seed=0).height == 3
    with pytest.raises(InputError, match=r"n_pairs: 4 asked for, but a task has 3 pairs"):
        verdict_examples(table, question, n_pairs=4, seed=0)


def test_it_learns_the_word_that_decides_and_a_server_asks_it_as_in_training(tmp_path, monkeypatch):
    examples = verdict_examples(pairs(600, 0), question, seed=0)
    encoder = train_tokenizer([text + answer for text, answer in examples.rows()], 160)
    encoder.chat_template = CHAT_TEMPLATE
    sizes = FromConfig(hidden_size=32, n_layers=2, n_heads=2, intermediate_size=64, context=128)
    model = new_language_model(sizes, encoder, seed=0)
    held_out = verdict_examples(pairs(100, 1), question, seed=1)
    before = verdict_accuracy(model, encoder, held_out)
    train_language_model(
        model,
        encoder,
        examples,
        Training(learning_rate=1e-2, epochs=3, batch_size=16),
        seed=0,
        loss_on="texts",
    )
    train_language_model(model, encoder, examples, Training(learning_rate=3e-3, epochs=3, batch_size=16), seed=0)
    assert before < 0.7 and verdict_accuracy(model, encoder, held_out) > 0.9
    assert verdict_accuracy(model, encoder, held_out, batch_size=7) > 0.9

    texts = held_out["prompt"].to_list()[:6]
    for text in texts:
        messages = [{"role": "user", "content": text}]
        asked = encoder.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        assert [asked] == encode_prompts(encoder, [text])
    save_model(model, encoder, tmp_path / "model")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    program = Path(sys.executable).parent / "transformers"
    serve = f"'{program}' serve {{model}} --host 127.0.0.1 --port {{port}} --device cpu"
    block = LanguageJudge(model=str(tmp_path / "model"), serve=serve, max_tokens=4)
    with ReplyCache(tmp_path / "kept.jsonl") as cache:
        replies = ask(block, texts, cache).values()
    places = {"A": "first", "B": "second"}
    right = [parse_reply(reply) == places[answer] for reply, answer in zip(replies, held_out["response"], strict=False)]
    assert np.mean(right) > 0.8
