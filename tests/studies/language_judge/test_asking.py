"""A language model as judge against servers on this machine: well, broken, slow, silent, and gone half-way."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl
import pytest
import torch
from chat_server import completion, serving
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from infalign.errors import InputError
from infalign.studies.language_judge import asking
from infalign.studies.language_judge.asking import (
    Reply,
    ReplyCache,
    ask,
    parse_reply,
    question_hash,
)
from infalign.studies.language_judge.block import LanguageJudge, read_judge_prompt
from infalign.studies.language_judge.questions import question_table, read_verdicts

AT_ONCE = {"retry-after-ms": "1"}  # a server may say how long to wait: tests need not
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def judge(server, **changes):
    defaults = {"retries": 2, "timeout": 5.0, "concurrency": 1}
    return LanguageJudge(**{"server": server, "model": "m", **defaults, **changes})


def asked(server, questions, path, **changes):
    with ReplyCache(path) as cache:
        return ask(judge(server, **changes), questions, cache)


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("A", "first"), (" B.\n", "second"), ("TIE", "tie"), ("Both answer.\n\nVerdict: A\n", "first"),
        ("", "unparsed"), ("a", "unparsed"), ("A or B", "unparsed"), ("AB", "unparsed"), ("[[A]]", "unparsed"),
        ("A\nI think so.", "unparsed"), ("The better one is A", "unparsed"), ("Tie", "unparsed"),
    ],
)  # fmt: skip
def test_replies_are_read_strictly(text, choice):
    assert parse_reply(Reply(text, "stop")) == choice
    assert parse_reply(Reply(text, "length")) == "unparsed"


def test_a_question_is_asked_once_and_says_what_is_wanted(tmp_path):
    with serving(lambda number, body, headers: completion("B")) as (server, requests):
        found = asked(server, ["one?", "two?", "one?"], tmp_path / "r" / "kept.jsonl", max_tokens=7)
        assert [reply.text for reply in found.values()] == ["B", "B"]
        again = asked(server, ["two?", "one?", "three?"], tmp_path / "r" / "kept.jsonl", max_tokens=7)
    assert [body["messages"] for body in requests] == [
        [{"role": "user", "content": text}] for text in ("one?", "two?", "three?")
    ]
    assert {(body["model"], body["max_tokens"], body["temperature"]) for body in requests} == {("m", 7, 0.0)}
    assert found.items() <= again.items()


def test_what_decides_a_reply_is_in_its_key():
    one = judge("http://h/v1")
    others = [{"model": "n"}, {"max_tokens": 9}, {"temperature": 0.5}, {"server": "http://h2/v1"}]
    keys = {question_hash(LanguageJudge(**{**one.model_dump(), **change}), "q") for change in others}
    keys |= {question_hash(one, "q"), question_hash(one, "p")}
    assert len(keys) == 6
    alike = {"server": "http://h/v1/", "retries": 0, "timeout": 1.0, "concurrency": 9, "n_pairs": 3}
    assert question_hash(LanguageJudge(**{**one.model_dump(), **alike}), "q") == question_hash(one, "q")


def test_a_local_model_with_other_weights_is_asked_anew(tmp_path):
    block = judge("http://h/v1", model=str(tmp_path))
    keys = {question_hash(block, "q")}
    for weights in (b"one", b"two"):
        (tmp_path / "model.safetensors").write_bytes(weights)
        asking._local_weights.cache_clear()  # as in another process
        keys.add(question_hash(block, "q"))
    assert len(keys) == 3


@pytest.mark.parametrize("status", [429, 500, 503, None])
def test_a_server_that_recovers_is_asked_again(status, tmp_path):
    def answer(number, body, headers):
        return (status, "{}", AT_ONCE) if number < 3 else completion("A")

    with serving(answer) as (server, requests):
        found = asked(server, ["q?"], tmp_path / "kept.jsonl")
    assert [reply.text for reply in found.values()] == ["A"] and len(requests) == 3


@pytest.mark.parametrize(
    ("given", "tries", "said"),
    [
        ((500, "broken", AT_ONCE), 3, r"HTTP 500, 'broken'; the server is overloaded or broken: wait"),
        ((429, "slowly", AT_ONCE), 3, r"HTTP 429, 'slowly'; the server is overloaded"),
        ((401, "who?", {}), 1, r"HTTP 401, 'who\?'; give a key that it accepts in the .* OPENAI_API_KEY"),
        ((404, "no model m", {}), 1, r"HTTP 404, 'no model m'; correct judge.server .* or judge.model"),
        ((400, "no", {}), 1, r"HTTP 400, 'no'; correct judge.model or the other settings"),
        ("{nothing", 1, r"the answer is no chat completion but '\{nothing'; correct judge.server"),
        ("<html>" + 500 * "x", 1, r"no chat completion but '<html>x+…'"),
        ("[]", 1, "no chat completion"),
        ('{"choices": []}', 1, "no chat completion"),
        ('{"choices": [{"message": {"content": 5}}]}', 1, "no chat completion"),
        ("", 1, "no chat completion but ''"),
    ],
)  # fmt: skip
def test_a_server_that_stays_broken_is_an_input_error(given, tries, said, tmp_path):
    broken = serving(lambda number, body, headers: given)
    with broken as (server, requests), pytest.raises(InputError, match=said) as caught:
        asked(server, ["q?", "p?"], tmp_path / "kept.jsonl")
    assert len(requests) == tries  # and the second question was not begun
    assert f"judge m at {server}" in str(caught.value) and "run it again to go on from there" in str(caught.value)


def test_a_refusal_without_content_is_a_reply(tmp_path):
    body = '{"choices": [{"message": {"content": null, "refusal": "no"}, "finish_reason": "stop"}]}'
    with serving(lambda *request: body) as (server, _):
        (reply,) = asked(server, ["q?"], tmp_path / "kept.jsonl").values()
    assert reply == Reply("", "stop") and parse_reply(reply) == "unparsed"


def test_nobody_there_is_an_input_error(tmp_path):
    with socket.socket() as taken:  # bound but not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(InputError, match=r"cannot be reached \(.*\); start the server or correct judge.server"):
            asked(server, ["q?"], tmp_path / "kept.jsonl", retries=0)


def test_slow_replies_are_waited_for_and_a_silent_server_is_not(tmp_path):
    gone = threading.Event()

    def answer(number, body, headers):
        if body["messages"][0]["content"] == "hang?":
            gone.wait(20)
            return None, "", {}
        time.sleep(0.2)
        return completion("A")

    try:
        with serving(answer) as (server, requests):
            assert len(asked(server, ["a?", "b?"], tmp_path / "kept.jsonl", timeout=4.0)) == 2
            with pytest.raises(InputError, match=r"no whole answer in 1 tries of 0\.3 s; .* raise judge.timeout"):
                asked(server, ["hang?"], tmp_path / "kept.jsonl", timeout=0.3, retries=0)
            assert len(requests) == 3
    finally:
        gone.set()


def test_a_server_that_disappears_half_way_costs_no_question_twice(tmp_path):
    """Several at once: what is under way when the first fails is kept, and the next call asks the rest."""
    questions = [f"q{index}?" for index in range(12)]
    answered, there = [], [True, True, True, True, True, False]

    def answer(number, body, headers):
        if not there[min(number, len(there)) - 1]:
            return None, "", {}
        answered.append(body["messages"][0]["content"])
        return completion("A")

    with serving(answer) as (server, _):
        with pytest.raises(InputError, match="cannot be reached"):
            asked(server, questions, tmp_path / "kept.jsonl", retries=0, concurrency=3)
        assert len(answered) == 5
        with ReplyCache(tmp_path / "kept.jsonl") as cache:
            assert set(cache.replies()) == {question_hash(judge(server), text) for text in answered}
        there[-1] = True
        found = asked(server, questions, tmp_path / "kept.jsonl", concurrency=3)
    assert len(found) == 12 and sorted(answered) == sorted(questions)


KILLED = """
import sys
from infalign.studies.language_judge.asking import ReplyCache, ask
from infalign.studies.language_judge.block import LanguageJudge
judge = LanguageJudge(server=sys.argv[1], model="m", concurrency=1)
with ReplyCache(sys.argv[2]) as cache:
    ask(judge, ["a?", "b?", "c?"], cache)
"""


def test_kill_9_loses_no_reply_that_had_come(tmp_path):
    waiting, stop = threading.Event(), threading.Event()

    def answer(number, body, headers):
        if number == 3:
            waiting.set()
            stop.wait(30)
            return None, "", {}
        return completion("A")

    path = tmp_path / "kept.jsonl"
    with serving(answer) as (server, requests):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, server, str(path)], env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        try:
            assert waiting.wait(60)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=10)
            stop.set()
        with open(path, "a") as file:
            file.write('{"question": "half a li')  # and a line that was being written
        found = asked(server, ["a?", "b?", "c?"], path)
    assert [body["messages"][0]["content"] for body in requests] == ["a?", "b?", "c?", "c?"]
    assert len(found) == 3


@pytest.mark.parametrize("number_sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_stop_waits_for_what_is_under_way(number_sent, tmp_path):
    waiting, signalled = threading.Event(), threading.Event()

    def answer(number, body, headers):
        if number == 2:
            waiting.set()
            signalled.wait(30)
            time.sleep(0.5)  # the answer comes after the signal
        return completion("A")

    path = tmp_path / "kept.jsonl"
    with serving(answer) as (server, requests):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, server, str(path)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert waiting.wait(60)
            process.send_signal(number_sent)
            signalled.set()
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
        assert f"judge m at {server}: stopped by a signal; what was answered is kept" in said
        found = asked(server, ["a?", "b?", "c?"], path)
    assert [body["messages"][0]["content"] for body in requests] == ["a?", "b?", "c?"]
    assert len(found) == 3


def test_half_lines_are_passed_over_and_said(tmp_path, caplog):
    path = tmp_path / "kept.jsonl"
    with ReplyCache(path) as cache:
        cache.keep("k1", Reply("line\none\u2028", "stop"))
    with open(path, "a") as file:
        file.write('{"question": "k2", "rep')
    with ReplyCache(path) as cache, caplog.at_level(logging.WARNING):
        cache.keep("k3", Reply("B", "stop"))
        assert cache.replies() == {"k1": Reply("line\none\u2028", "stop"), "k3": Reply("B", "stop")}
    assert "1 broken lines passed over" in caplog.text
    with pytest.raises(InputError, match="replies cannot be kept there"), ReplyCache(tmp_path):
        pass


def test_the_key_goes_to_the_server_alone(tmp_path, monkeypatch, caplog):
    """Even a server that sends it back does not get it into a message, a log or the file."""
    key, seen = "sk-very-secret-key", []

    def answer(number, body, headers):
        seen.append(headers["Authorization"])
        return completion(f"A {headers['Authorization']}") if number == 1 else (401, f"bad {seen[-1]}", {})

    monkeypatch.setenv("OPENAI_API_KEY", f"{key}\n")
    refused = pytest.raises(InputError, match=r"HTTP 401, 'bad Bearer \*\*\*'")
    with caplog.at_level(logging.DEBUG), serving(answer) as (server, _), refused as caught:
        asked(server, ["q?", "p?"], tmp_path / "kept.jsonl")
    assert seen == [f"Bearer {key}"] * 2
    assert key not in str(caught.value) + caplog.text + (tmp_path / "kept.jsonl").read_text()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-naïve")
    with pytest.raises(InputError, match="OPENAI_API_KEY: holds characters that no key has") as caught:
        asked("http://127.0.0.1:9/v1", ["q?"], tmp_path / "kept.jsonl")
    assert "naïve" not in str(caught.value)


def test_replies_become_verdicts_on_the_policys_response(tmp_path):
    """The server prefers the longer answer; the policy's is longer in the first pair, equal in the second."""
    pairs = pl.DataFrame({
        "prompt_id": ["x", "y"], "pair": [0, 0], "sample_id": [4, 5], "reference_sample_id": [6, 7],
        "prompt": [" Why? ", "How {first}?"], "response": ["A long answer.", "Same."],
        "reference_response": ["Short.", "Same."],
    })  # fmt: skip
    prompt = read_judge_prompt("pairwise-v1")
    case = {"task": "t", "policy": "p", "procedure": "none"}
    table = question_table(pairs, case, lambda *texts: prompt.ask(prompt.principles["helpful"], *texts))
    assert table["order"].to_list() == ["policy_first", "reference_first"] * 2

    def longer(number, body, headers):
        text = body["messages"][0]["content"]
        first, second = text.split("=== Answer A ===\n")[1].split("\n\n=== End ===")[0].split("\n\n=== Answer B ===\n")
        return completion("A" if len(first) > len(second) else "B" if len(first) < len(second) else "Well")

    with serving(longer) as (server, requests):
        found = read_verdicts(judge(server), table, asked(server, table["text"], tmp_path / "kept.jsonl"))
    assert found["verdict"].to_list() == ["win", "win", "unparsed", "unparsed"]
    assert found["reply"].to_list() == ["A", "B", "Well", "Well"] and len(requests) == 3
    assert found["question"].to_list() == [question_hash(judge(server), text) for text in table["text"]]


def chat_model(folder):
    """A language model that says A and ends, whatever it is asked."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<s>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    fast.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=4096, bos_token_id=0, eos_token_id=1, pad_token_id=1, tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    letter = vocabulary["A"]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.zero_()
        inputs, outputs = model.model.embed_tokens.weight, model.lm_head.weight
        inputs[:, 0], inputs[letter, 0], inputs[letter, 1] = 1.0, 0.0, 1.0  # A is told from all other tokens
        outputs[letter, 0] = outputs[1, 1] = 5.0  # after those comes A, after A the end
    model.save_pretrained(folder)
    fast.save_pretrained(folder)


def test_transformers_serve_answers(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    chat_model(tmp_path / "model")
    program = Path(sys.executable).parent / "transformers"
    block = LanguageJudge(
        model=str(tmp_path / "model"),
        serve=f"'{program}' serve {{model}} --host 127.0.0.1 --port {{port}} --device cpu",
        max_tokens=4,
    )
    questions = [read_judge_prompt("pairwise-v1").ask("brevity.", "Why?", text, "So.") for text in ("No.", "Yes.")]
    with ReplyCache(tmp_path / "kept.jsonl") as cache:
        assert list(ask(block, questions, cache).values()) == [Reply("A", "stop")] * 2
        (short,) = ask(block.model_copy(update={"max_tokens": 1}), questions[:1], cache).values()
    assert short == Reply("A", "length") and parse_reply(short) == "unparsed"
    kept = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    assert len({row["question"] for row in kept}) == 3
