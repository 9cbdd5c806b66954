"""The engine vllm with vLLM itself, on the CPU, against transformers."""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import chisquare
from tiny_models import TEXTS, sizes, widen
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GPTNeoXForSequenceClassification,
)

from infalign.language.models import encode_prompts, load_language_model, new_language_model, save_model
from infalign.language.reward_models import reward_model_from
from infalign.language.sampling_engines import sample_from, vllm_samples
from infalign.language.scoring import reward_scores
from infalign.language.scoring_engines import reward_scorer
from infalign.language.sequence_statistics import sequence_statistics
from infalign.language.vllm_process import vllm_versions
from infalign.records.tables import read_manifest
from infalign.records.task import Rollouts
from vllm_environment import vllm_python  # noqa: F401 (a fixture)

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.xdist_group("vllm"),
    pytest.mark.usefixtures("vllm_python"),
]
ROOT = Path(__file__).parents[2]
TOLERANCE = 1e-4
RESPONSES = ["Good luck!", "Measure the leaves twice. Good luck!", "Or not.", "Buy the cup. Goodbye."]


def neox(kind, tokenizer, **changes):
    """A small model as pythia's, heads of 32 as vLLM's attention on the CPU wants them."""
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=128, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0, **changes,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return widen(kind(config), 4.0).eval()


@pytest.fixture(scope="module")
def models(tokenizer):
    wide = sizes(hidden_size=64, intermediate_size=128)
    llama = widen(new_language_model(wide, tokenizer, seed=0), 4.0).eval()
    return {"llama": llama, "neox": neox(GPTNeoXForCausalLM, tokenizer)}


@pytest.fixture(scope="module")
def folders(models, tokenizer, tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    for name, model in models.items():
        save_model(model, tokenizer, root / name)
    return {name: root / name for name in models}


def log_probs(model, prompt, response, temperature=1.0):
    """Log-probabilities of the tokens of one response, without batch or cache."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1].double()
    return torch.log_softmax(logits / temperature, -1)[range(len(response)), response].sum().item()


@pytest.mark.parametrize("name", ["llama", "neox"])
def test_greedy_tokens_stops_and_log_probs_agree(models, folders, tokenizer, name):
    model, steps = models[name], 20
    encoded = encode_prompts(tokenizer, [*TEXTS, "Tea?\n", "The cup?\n", "Please, the leaves?\n"])
    expected = []
    for prompt in encoded:
        tokens = list(prompt)
        with torch.no_grad():
            for _ in range(steps):
                tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
        expected.append(tokens[len(prompt) :])
    eos_id = expected[0][7]  # so that some responses end early
    cut = [row[: row.index(eos_id) + 1] if eos_id in row else row for row in expected]
    samples = vllm_samples(
        folders[name], encoded, [[1]] * len(encoded), eos_id=eos_id, max_new_tokens=steps, temperature=0.0
    )
    assert samples.tokens == cut
    assert samples.finished.tolist() == [row[-1] == eos_id for row in cut]
    assert 0 < samples.finished.sum() < len(encoded), "responses that end and responses that are cut"
    exact = [log_probs(model, prompt, row) for prompt, row in zip(encoded, cut, strict=True)]
    np.testing.assert_allclose(samples.log_prob, exact, atol=TOLERANCE)


def test_samples_repeat_themselves_and_have_the_log_probs_of_transformers(models, folders, tokenizer, prompts):
    settings = Rollouts(n_rollouts=40, max_new_tokens=12, temperature=0.7, batch_size=16, engine="vllm")
    first = sample_from(folders["llama"], prompts, settings, seed=4)
    assert sample_from(folders["llama"], prompts, settings, seed=4).equals(first)
    few = settings.model_copy(update={"n_rollouts": 3})
    alone = sample_from(folders["llama"], prompts[1:2], few, seed=4)
    same = first.filter(pl.col("prompt_id") == "b", pl.col("sample_id") < 3)
    assert alone["tokens"].to_list() == same["tokens"].to_list()
    assert first["tokens"].n_unique() > 100, "seeds differ"
    ends = first["tokens"].list.last() == tokenizer.eos_token_id
    assert ends.to_list() == first["finished"].to_list() and 0 < ends.sum() < first.height
    assert (first.filter(~pl.col("finished"))["n_tokens"] == 12).all()
    assert not first["response"].str.contains("</s>", literal=True).any()
    texts = dict(zip(prompts["prompt_id"], encode_prompts(tokenizer, prompts["prompt"].to_list()), strict=True))
    model, _ = load_language_model(folders["llama"])
    asked = [texts[name] for name in first["prompt_id"]]
    exact = sequence_statistics(model, model, asked, first["tokens"].to_list(), temperature=0.7)
    np.testing.assert_allclose(first["log_prob"], exact.log_prob, atol=TOLERANCE)


def test_samples_follow_the_models_exact_distribution(models, folders):
    """Of two tokens, so that draws that follow one another count too: each first one, and groups of pairs."""
    prompt, n, eos_id = [5, 17, 30], 6000, 2
    tokens = range(models["llama"].config.vocab_size)
    with torch.no_grad():
        logits = models["llama"](torch.tensor([[*prompt, token] for token in tokens])).logits.double()
    first, second = (torch.log_softmax(x, -1).exp() for x in (logits[0, -2], logits[:, -1]))
    exact = {(a, b): float(first[a] * second[a, b]) for a, b in product(tokens, tokens) if a != eos_id}
    exact[(eos_id,)] = float(first[eos_id])
    assert sum(exact.values()) == pytest.approx(1.0)
    samples = vllm_samples(folders["llama"], [prompt], [list(range(1, n + 1))], eos_id=eos_id, max_new_tokens=2)
    counts = Counter(map(tuple, samples.tokens))
    assert set(counts) <= set(exact)
    for group in (lambda row: row[0], lambda row: tuple(token % 10 for token in row)):
        observed, expected = pooled(counts, group), pooled(exact, group)
        common = [key for key in expected if n * expected[key] >= 5]
        assert len(common) > 90
        found, wanted = (np.array([x[key] for key in common]) for x in (observed, expected))
        assert chisquare(found, wanted * found.sum() / wanted.sum()).pvalue > 1e-3


def pooled(weights, group):
    """Sums of the weights of rows by their groups."""
    sums = Counter()
    for row, weight in weights.items():
        sums[group(row)] += weight
    return sums


def test_scores_agree(models, tokenizer, tmp_path):
    asked, finished = [TEXTS[0], "Tea?\n", "Tea?\n", TEXTS[0]], [True, True, False, True]
    scorers = {
        "reward": widen(reward_model_from(models["llama"], tokenizer, seed=2)),
        "two_labels": neox(GPTNeoXForSequenceClassification, tokenizer, num_labels=2),
    }
    for name, model in scorers.items():
        save_model(model, tokenizer, tmp_path / name)
        exact = reward_scores(model, tokenizer, asked, RESPONSES, finished=finished)
        assert np.ptp(exact) > 0.01
        with reward_scorer(tmp_path / name, "vllm") as score:
            np.testing.assert_allclose(score(asked, RESPONSES, finished), exact, atol=TOLERANCE)


def run(script, *arguments):
    command = [sys.executable, ROOT / "scripts" / f"{script}.py", *arguments]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_scripts_write_whole_tables_that_name_the_engine(models, folders, tokenizer, prompts, tmp_path):
    save_model(reward_model_from(models["llama"], tokenizer, seed=2), tokenizer, tmp_path / "reward")
    prompts.with_columns(split=pl.lit("train")).write_parquet(tmp_path / "prompts.parquet")
    settings = json.dumps({"n_rollouts": 8, "max_new_tokens": 10, "engine": "vllm"})
    samples, scores = tmp_path / "samples.parquet", tmp_path / "scores.parquet"
    where = [tmp_path / "prompts.parquet"]
    common = ["--split", "train", "--settings", settings, "--seed", "3", "--out", samples]
    run("sample", folders["llama"], *where, *common)
    models_of = ["--reward-model", tmp_path / "reward", "--judge", tmp_path / "reward"]
    numbers = ("n_train_prompts", "n_evaluation_prompts", "max_prompt_tokens", "max_response_tokens")
    corpus = json.dumps({"source": "preferences", "name": "any", **dict.fromkeys(numbers, 1)})
    run("score", samples, *where, *models_of, "--corpus", corpus, "--engine", "vllm", "--out", scores)
    frame = pl.read_parquet(scores)
    assert frame.height == 24 and frame["reward"].equals(frame["judge"])
    for table in (samples, scores):
        assert read_manifest(table)["engine"] == vllm_versions()
