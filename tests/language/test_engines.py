"""The engine vllm against a stand-in for vLLM: what is asked, what is accepted, what is said when it fails."""

import os
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from infalign.errors import InputError
from infalign.language import sampling_engines, scoring_engines
from infalign.language import vllm_process as vllm_process_module
from infalign.language.generation import sample_responses
from infalign.language.models import encode_prompts, save_model
from infalign.language.reward_models import reward_model_from
from infalign.language.sampling_engines import response_seed, sample_from, vllm_sampler, vllm_samples
from infalign.language.scoring import causal_sequences, reward_scores, scores_of_logits
from infalign.language.scoring_engines import reward_scorer
from infalign.language.vllm_process import engine_versions, visible_device, vllm_process, vllm_versions
from infalign.records.task import Rollouts

# Responses say which prompt and seed they belong to: their first token is the prompt's length, their
# log-probability the seed's rest, and how many calls reloaded the weights; one of three is cut. Rewards are the
# sequence's sum and length.
STAND_IN = """
import atexit, json, os, pathlib
from types import SimpleNamespace

MODE = os.environ.get("STAND_IN")
if MODE == "abort":
    atexit.register(os.abort)

class SamplingParams(SimpleNamespace):
    pass

class PoolingParams(SimpleNamespace):
    pass

class LLM:
    def __init__(self, **options):
        print("a line that is no answer")
        if MODE == "unknown":
            raise ValueError("an architecture that is not supported")
        self.options, self.calls = options, []

    def collective_rpc(self, method):
        self.calls.append(method)

    def apply_model(self, function):
        self.calls.append(function.__name__)

    def reset_prefix_cache(self):
        self.calls.append("reset")
        return MODE != "cached"

    def generate(self, prompts, parameters, use_tqdm):
        if MODE == "dies":
            os._exit(9)
        if MODE == "short":
            prompts = prompts[:-1]
        assert self.options["runner"] == "generate"
        assert not self.calls or self.calls == ["reload_weights", "_pack_output_layer", "reset"]
        return [response(p["prompt_token_ids"], q, len(self.calls)) for p, q in zip(prompts, parameters)]

    def classify(self, prompts, pooling_params, use_tqdm):
        assert self.options["runner"] == "pooling" and not pooling_params.use_activation
        labels = json.loads((pathlib.Path(self.options["model"]) / "config.json").read_text())["id2label"]
        sequences = [prompt["prompt_token_ids"] for prompt in prompts]
        logits = [[sum(s) / 100, len(s) / 10][: len(labels)] for s in sequences]
        if MODE == "infinite":
            logits[0][0] = float("inf")
        return [SimpleNamespace(outputs=SimpleNamespace(probs=row)) for row in logits]

def response(prompt, parameters, n_calls):
    cut = parameters.seed % 3 == 0
    tokens = [len(prompt)] + [5] * (parameters.max_tokens - 1)
    if not cut:
        tokens = tokens[: 1 + parameters.seed % (parameters.max_tokens - 1)] + parameters.stop_token_ids
    if MODE == "goes_on":
        tokens = parameters.stop_token_ids + tokens
    found = SimpleNamespace(
        token_ids=tokens,
        cumulative_logprob=float("nan") if MODE == "nan" else -float(parameters.seed % 997 + 1000 * n_calls),
        finish_reason="length" if cut else "stop",
    )
    return SimpleNamespace(outputs=[found])
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Another Python environment with something that is called vLLM; how it behaves is set by a call."""
    site = tmp_path / "site"
    facts = site / "vllm-0.31.0.dist-info" / "METADATA"
    facts.parent.mkdir(parents=True)
    facts.write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.31.0\n")
    (site / "vllm.py").write_text(STAND_IN)
    (site / "torch.py").write_text("class cuda:\n    is_available = staticmethod(lambda: False)\n")
    monkeypatch.setenv("INFALIGN_VLLM_PYTHON", python(tmp_path, f"PYTHONPATH={site} exec {sys.executable}"))
    return lambda mode: monkeypatch.setenv("STAND_IN", mode)


def python(folder, command):
    """A file that runs as a Python does."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\n{command} "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def folder(tmp_path, language_model, tokenizer):
    save_model(language_model, tokenizer, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def reward_folder(tmp_path, reward_model, tokenizer):
    save_model(reward_model, tokenizer, tmp_path / "reward")
    return tmp_path / "reward"


def settings(engine="vllm", **changes):
    return Rollouts(**{"n_rollouts": 4, "max_new_tokens": 6, "batch_size": 2, "engine": engine, **changes})


def test_each_row_is_the_response_to_its_prompt_and_seed(stand_in, folder, prompts, tokenizer, monkeypatch):
    whole = sample_from(folder, prompts, settings(), seed=7)
    seeds = [response_seed(7, name, i) for name in prompts["prompt_id"] for i in range(4)]
    lengths = map(len, encode_prompts(tokenizer, prompts["prompt"].to_list()))
    assert whole["log_prob"].to_list() == [-float(seed % 997) for seed in seeds]
    assert whole["finished"].to_list() == [seed % 3 != 0 for seed in seeds]
    assert whole["tokens"].list.first().to_list() == [length for length in lengths for _ in range(4)]
    assert whole["n_tokens"].to_list() == whole["tokens"].list.len().to_list()
    assert whole["sample_id"].to_list() == [0, 1, 2, 3] * 3
    monkeypatch.setattr(sampling_engines, "BATCHES_AT_ONCE", 1)  # a prompt at a time
    assert sample_from(folder, prompts, settings(), seed=7).equals(whole)
    alone = sample_from(folder, prompts[1:2], settings(n_rollouts=2), seed=7)
    assert alone.equals(whole.filter(pl.col("prompt_id") == "b", pl.col("sample_id") < 2))


def test_both_engines_write_the_same_columns(stand_in, folder, language_model, tokenizer, prompts):
    ours = sample_responses(language_model, tokenizer, prompts, 4, max_new_tokens=6, seed=7, batch_size=2)
    assert sample_from(folder, prompts, settings("transformers"), seed=7).equals(ours)
    assert sample_from(folder, prompts, settings(), seed=7).schema == ours.schema


def test_scores_are_those_of_the_heads_outputs(stand_in, reward_folder, reward_model, tokenizer, monkeypatch):
    asked, answered, finished = ["Tea?\n"] * 3, ["Good luck!", "Or not.", "Buy the cup."], [True, False, True]
    sequences = causal_sequences(tokenizer, asked, answered, finished)
    with reward_scorer(reward_folder, "vllm") as score:
        scores = score(asked, answered, finished)
        monkeypatch.setattr(scoring_engines, "SEQUENCES_AT_ONCE", 2)
        np.testing.assert_array_equal(score(asked, answered, finished), scores)
        assert score([], [], []).shape == (0,)
    np.testing.assert_allclose(scores, [sum(tokens) / 100 for tokens in sequences])
    with reward_scorer(reward_folder, "transformers") as score:
        found = score(asked, answered, finished)
    exact = reward_scores(reward_model, tokenizer, asked, answered, finished=finished)
    np.testing.assert_allclose(found, exact, atol=1e-6)


def test_a_classifier_gives_probabilities(stand_in, tmp_path, language_model, tokenizer):
    classifier = reward_model_from(language_model, tokenizer, seed=3, learns="labels")
    save_model(classifier, tokenizer, tmp_path / "classifier")
    (tokens,) = causal_sequences(tokenizer, ["Tea?\n"], ["Or not."], [True])
    with reward_scorer(tmp_path / "classifier", "vllm") as score:
        assert score(["Tea?\n"], ["Or not."], [True]) == pytest.approx(1 / (1 + np.exp(-sum(tokens) / 100)))


def test_outputs_of_two_labels_become_one_score():
    two = SimpleNamespace(config=SimpleNamespace(num_labels=2, problem_type=None))
    assert scores_of_logits(two, np.array([[1.0, 1.0]])) == pytest.approx([0.5])


def test_models_that_read_both_ways_are_run_by_transformers(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setenv("INFALIGN_VLLM_PYTHON", "/nowhere/python")
    sizes = {"dim": 16, "n_heads": 2, "n_layers": 1, "hidden_dim": 32, "max_position_embeddings": 64}
    model = DistilBertForSequenceClassification(DistilBertConfig(vocab_size=len(tokenizer), **sizes))
    save_model(model, tokenizer, tmp_path / "encoder")
    with reward_scorer(tmp_path / "encoder", "vllm") as score:
        found = score(["Tea?\n"], ["Or not."], [True])
    np.testing.assert_allclose(found, reward_scores(model, tokenizer, ["Tea?\n"], ["Or not."]), atol=1e-6)


def test_work_that_was_done_counts_however_the_process_ends(stand_in, folder, prompts):
    whole = sample_from(folder, prompts, settings(), seed=7)
    stand_in("abort")
    assert sample_from(folder, prompts, settings(), seed=7).equals(whole)


def held(folder):
    sizes = {"eos_id": 9, "max_new_tokens": 6, "batch_size": 2}
    return vllm_sampler(folder, context=12, temperature=1.0, **sizes)


def test_a_sampler_stays_loaded_and_takes_new_weights(stand_in, folder):
    with held(folder) as sampler:
        assert len(children()) == 1
        once = sampler.samples([[5, 6], [7]], [[1, 2], [3, 4]])
        again = sampler.samples([[5, 6], [7]], [[1, 2], [3, 4]])
        sampler.reload()
        later = sampler.samples([[5, 6], [7]], [[1, 2], [3, 4]])
    assert not children()
    assert once.tokens == again.tokens == later.tokens
    assert once.log_prob == again.log_prob == [-1.0, -2.0, -3.0, -4.0]
    assert later.log_prob == [-3001.0, -3002.0, -3003.0, -3004.0], "weights, output layer and cache"


def test_a_cache_that_keeps_old_weights_ends_the_work(stand_in, folder):
    stand_in("cached")
    with held(folder) as sampler, pytest.raises(InputError, match="ended with 1 before it had answered"):
        sampler.reload()


def test_a_process_sees_its_gpu_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for device in ("cuda", "cuda:1"):
        assert visible_device(torch.device(device)) == {"CUDA_VISIBLE_DEVICES": "1"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-5ab")
    assert visible_device(torch.device("cuda")) == {"CUDA_VISIBLE_DEVICES": "GPU-5ab"}
    assert visible_device(torch.device("cuda:0")) == {"CUDA_VISIBLE_DEVICES": "2"}
    assert visible_device(torch.device("cpu")) == {}


def test_precision_and_share_of_the_gpu_are_asked_for(monkeypatch):
    asked = []

    @contextmanager
    def process(order, environment):
        asked.append((order, environment))
        yield None

    monkeypatch.setattr(sampling_engines, "vllm_process", process)
    monkeypatch.setattr(sampling_engines, "visible_device", lambda device: {"CUDA_VISIBLE_DEVICES": "3"})
    facts = {"context": 9, "eos_id": 2, "max_new_tokens": 3, "temperature": 1.0, "batch_size": 4}
    with vllm_sampler("m", **facts, dtype="bfloat16", gpu_memory=0.2, device=torch.device("cuda")):
        pass
    with vllm_sampler("m", **facts, gpu_memory=0.2):  # no GPU
        pass
    (order, environment), (plain, nothing) = asked
    assert order["dtype"] == "bfloat16" and order["gpu_memory"] == 0.2
    assert environment == {"CUDA_VISIBLE_DEVICES": "3"} and nothing == {}
    assert plain["dtype"] == "float32" and "gpu_memory" not in plain


def test_a_launcher_of_several_processes_does_not_reach_vllm(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "TORCHELASTIC_USE_AGENT_STORE", "ACCELERATE_USE_FSDP"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("VLLM_SOMETHING", "1")
    environment = vllm_process_module._environment()
    assert not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "ACCELERATE_USE_FSDP"} & set(environment)
    assert "TORCHELASTIC_USE_AGENT_STORE" not in environment and environment["VLLM_SOMETHING"] == "1"


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("unknown", r"cannot run model .*ValueError: an architecture that is not supported; use engine: tra"),
        ("dies", r"ended with 9 before it had answered.*lower rollouts.batch_size"),
        ("short", r"returned 11 responses of 12; run the job again"),
        ("goes_on", r"end tokens at \[0.*first end token or after 6 tokens"),
        ("nan", r"log-probabilities that are not finite"),
    ],
)
def test_what_is_not_whole_is_refused(stand_in, folder, prompts, mode, message):
    stand_in(mode)
    with pytest.raises(InputError, match=message):
        sample_from(folder, prompts, settings(), seed=7)


def test_scores_that_are_not_finite_are_refused(stand_in, reward_folder):
    stand_in("infinite")
    with (
        pytest.raises(InputError, match=r"scores of shape \(2, 1\), 1 of them finite, not \(2, 1\)"),
        reward_scorer(reward_folder, "vllm") as score,
    ):
        score(["Tea?\n"] * 2, ["Or not.", "Good luck!"], [True, True])


def test_a_python_without_vllm_is_named(tmp_path, folder, prompts, monkeypatch):
    path = python(tmp_path, f"exec {sys.executable} -S -I")
    monkeypatch.setenv("INFALIGN_VLLM_PYTHON", path)
    with pytest.raises(InputError, match=rf"{path} has no vLLM; install the extra vllm.*INFALIGN_VLLM_PYTHON.*engine"):
        sample_from(folder, prompts, settings(), seed=0)
    monkeypatch.setenv("INFALIGN_VLLM_PYTHON", "/nowhere/python")
    with pytest.raises(InputError, match=r"/nowhere/python does not run: .*; set INFALIGN_VLLM_PYTHON to the python"):
        vllm_versions()


def test_manifests_name_the_version_of_another_engine(stand_in):
    assert engine_versions("transformers") == {}
    assert engine_versions("vllm")["engine"]["vllm"] == "0.31.0"


def test_bad_input_is_named_before_anything_starts(folder, prompts, monkeypatch):
    monkeypatch.setenv("INFALIGN_VLLM_PYTHON", "/nowhere/python")
    with pytest.raises(InputError, match=r"longest prompt has 16 tokens, which with 60 new tokens exceeds"):
        sample_from(folder, prompts, settings(max_new_tokens=60), seed=0)
    with pytest.raises(InputError, match=r"at least one prompt and one sample each, got 0 prompts"):
        sample_from(folder, prompts[:0], settings(), seed=0)
    with pytest.raises(InputError, match=r"temperatures of at least 0.01, got 0.001"):
        vllm_samples(folder, [[5]], [[1]], eos_id=2, max_new_tokens=3, temperature=0.001)


def test_the_process_has_ended_when_its_block_has(stand_in, folder, tmp_path):
    order = {"kind": "reward_model", "model": str(folder)}
    with vllm_process(order):
        started = children()
    assert started and not children()


def children():
    with open(f"/proc/{os.getpid()}/task/{os.getpid()}/children") as file:
        return file.read().split()
