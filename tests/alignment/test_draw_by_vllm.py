"""Training responses drawn by vLLM: by a stand-in that draws with transformers, and by vLLM itself on the CPU."""

from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from toy import END, make_toy
from transformers import AutoModelForCausalLM

from infalign.alignment import draw_by_vllm as drawing
from infalign.alignment import ppo
from infalign.alignment.draw_by_vllm import drawing_seeds
from infalign.alignment.processes import Processes
from infalign.errors import InputError
from infalign.language.generation import sample_tokens
from infalign.language.sampling_engines import Samples
from infalign.records.config import settings_json
from infalign.records.methods import BONDSettings, JBONDSettings, PPOSettings, VBoNSettings
from vllm_environment import vllm_python  # noqa: F401 (a fixture)

SETTINGS = {
    "engine": "vllm",
    "updates": 4,
    "prompts_per_update": 2,
    "samples_per_prompt": 8,
    "learning_rate": 0.01,
    "schedule": "constant",
    "checkpoint_every": 2,
}
SIZES = {"tied": {}, "untied": {"tie_word_embeddings": False, "n_layer": 2}}
LONG = "a b c b " * 40  # more than the 128 tokens that vLLM's cache of prompts keeps together on the CPU


class OneEach:
    """Stands in for the objective: the reward itself, and no pull towards the reference."""

    beta = 0.0
    fingerprint = "one each"

    def values(self, prompt_ids, rewards, reference_log_probs=None):
        return rewards


class Interrupted(Exception):
    """Ends a training as if it had been killed."""


def model(kind="tied"):
    """A toy with heads of 32 and two prompts, one of them long."""
    toy = make_toy(**SIZES[kind] | {"n_embd": 64, "n_head": 2, "n_positions": 256})
    return replace(toy, prompts=pl.DataFrame({"prompt_id": ["long", "short"], "prompt": [LONG, "b"]}))


def train(folder, name="run", kind="tied", stop_after=None, **settings):
    """Train on the number of `a` in a response, from the same start each time."""
    toy, calls = model(kind), []

    def score(prompts, responses, finished):
        calls.append(1)
        if stop_after is not None and len(calls) > stop_after:
            raise Interrupted
        return np.array([float(response.count("a")) for response in responses])

    return ppo.train_ppo(
        toy.reference, toy.tokenizer, toy.prompts, OneEach(), score, PPOSettings(**SETTINGS | settings),
        seed=3, max_new_tokens=3, output_dir=folder / name, scratch_dir=folder / "scratch", progress=False,
    )  # fmt: skip


def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


def same(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


class StandIn:
    """Draws with transformers from the weights that it last read, by each response's seed."""

    def __init__(self, folder, facts):
        self.folder, self.facts, self.read, self.seeds = folder, facts, 0, []
        self.reload()

    def reload(self):
        self.model = AutoModelForCausalLM.from_pretrained(self.folder)
        self.read += 1

    def samples(self, prompt_tokens, seeds):
        self.seeds.append(seeds)
        length = self.facts["max_new_tokens"]
        uniforms = np.array([np.random.default_rng(seed).random(length) for (seed,) in seeds])
        facts = {"eos_id": self.facts["eos_id"], "max_new_tokens": length}
        drawn = sample_tokens(self.model, prompt_tokens, uniforms, **facts)
        return Samples(drawn.tokens, [float(row.sum()) for row in drawn.log_probs], drawn.finished)


@pytest.fixture
def stand_ins(monkeypatch):
    """Every sampler that a training started."""
    started = []

    @contextmanager
    def sampler(folder, **facts):
        started.append(StandIn(folder, facts))
        yield started[-1]

    monkeypatch.setattr(drawing, "vllm_sampler", sampler)
    return started


@pytest.mark.parametrize("kind", list(SIZES))
@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 16}], ids=["weights", "adapters"])
def test_responses_are_those_of_the_weights_of_their_update(stand_ins, tmp_path, kind, lora):
    log = train(tmp_path, kind=kind, lora=lora)
    (sampler,) = stand_ins
    assert sampler.read == 4
    assert log["draw_gap"].max() < 1e-5 and log["kl"].to_list()[-1] > 0.01
    assert sampler.facts["context"] == 160 + 3 and sampler.facts["batch_size"] == 16
    assert sampler.facts["dtype"] == "float32" and sampler.facts["gpu_memory"] == 0.3
    assert not list((tmp_path / "scratch").iterdir())


def test_old_weights_show_in_the_log(stand_ins, tmp_path, monkeypatch):
    monkeypatch.setattr(StandIn, "reload", lambda self: setattr(self, "model", model().reference))
    gaps = train(tmp_path)["draw_gap"].to_list()
    assert gaps[0] < 1e-5 and min(gaps[1:]) > 1e-2


def test_stopped_run_draws_the_same_and_ends_with_the_same_policy(stand_ins, tmp_path):
    log = train(tmp_path, "undisturbed")
    with pytest.raises(Interrupted):
        train(tmp_path, "resumed", stop_after=3)
    assert [path.suffix for path in (tmp_path / "scratch").iterdir()] == [".safetensors"]
    resumed = train(tmp_path, "resumed")
    whole, _, rest = (sampler.seeds for sampler in stand_ins)
    assert len(whole) == 4 and rest == whole[2:]
    assert resumed.drop("seconds").equals(log.drop("seconds"))
    assert same(weights(tmp_path / "undisturbed"), weights(tmp_path / "resumed"))


class Pretended(Processes):
    """One of several processes, without the others."""

    def gather(self, items):
        return items


def test_any_number_of_processes_draws_the_same(stand_ins, tmp_path):
    toy = model()
    learner = ppo.new_learner(toy.reference, PPOSettings(**SETTINGS))
    ids = ["long", "short"] * 8
    rows = [toy.tokenizer(text)["input_ids"] for text in toy.prompts["prompt"]] * 8
    facts = {"eos_id": END, "seed": 3, "max_new_tokens": 3}
    parts = {}
    with ExitStack() as stack:
        for processes in (Processes(), Pretended(0, 2), Pretended(1, 2)):
            folder = tmp_path / str(processes.count)  # the second of two reads what the first wrote
            draw = stack.enter_context(drawing.draw_by_vllm(rows[:2], folder, processes, **facts))
            parts[processes] = draw(replace(learner, processes=processes), ids, rows).tokens
    alone, first, second = parts.values()
    assert len(first) == len(second) == 8 and first + second == alone
    assert len(set(map(tuple, alone))) > 4
    assert not list(tmp_path.iterdir())


def test_seeds_are_of_update_prompt_and_number():
    seeds = drawing_seeds(0, 5, ["a", "a", "b", "a"])
    assert len(set(seeds)) == 4
    assert drawing_seeds(0, 5, ["b", "a", "a"]) == [seeds[2], seeds[0], seeds[1]]
    assert not set(seeds) & set(drawing_seeds(0, 6, ["a", "a", "b"]))
    assert not set(seeds) & set(drawing_seeds(1, 5, ["a", "a", "b"]))


def test_a_training_without_updates_needs_no_vllm(tmp_path, monkeypatch):
    monkeypatch.setenv("INFALIGN_VLLM_PYTHON", "/nowhere/python")
    toy = model()
    facts = {"seed": 3, "max_new_tokens": 3, "updates": 0, "progress": False}
    ppo.train_ppo(
        toy.reference, toy.tokenizer, toy.prompts, OneEach(), None, PPOSettings(**SETTINGS), **facts,
        output_dir=tmp_path / "run", scratch_dir=tmp_path / "scratch",
    )  # fmt: skip
    assert same(weights(tmp_path / "run"), toy.reference.state_dict())


def test_without_vllm_the_training_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("INFALIGN_VLLM_PYTHON", "/nowhere/python")
    with pytest.raises(InputError, match="engine: vllm: /nowhere/python does not run"):
        train(tmp_path)
    assert not list((tmp_path / "scratch").iterdir())


def test_settings_are_checked_and_the_default_is_written_as_before():
    assert "engine" not in settings_json(PPOSettings()) and "engine" not in settings_json(VBoNSettings())
    assert '"engine": "vllm"' in settings_json(VBoNSettings(engine="vllm"))
    assert PPOSettings(engine="vllm", engine_memory=0.5).engine_memory == 0.5
    with pytest.raises(
        ValueError, match=r"engine_memory is vLLM's share of the GPU, got 0.5 with engine: tran"
    ):
        PPOSettings(engine_memory=0.5)
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match="engine_memory"):
            PPOSettings(engine="vllm", engine_memory=share)
    for settings in (BONDSettings, JBONDSettings):
        with pytest.raises(ValueError, match="engine\n  Input should be 'transformers'"):
            settings(engine="vllm")


with_vllm = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.xdist_group("vllm"),
    pytest.mark.usefixtures("vllm_python"),
]


class TestWithVllm:
    """What holds for vLLM itself, on the CPU."""

    pytestmark = with_vllm

    @pytest.mark.parametrize(
        ("kind", "settings"),
        [
            ("tied", {}),
            ("untied", {}),
            ("tied", {"lora": {"rank": 4, "alpha": 16}}),
            ("untied", {"lora": {"rank": 4, "alpha": 16}, "kl_penalty": "full_vocabulary"}),
        ],
        ids=["tied", "untied", "adapters", "adapters_untied"],
    )
    def test_it_draws_from_the_policy_of_each_update(self, tmp_path, kind, settings):
        log = train(tmp_path, kind=kind, **settings)
        assert log["draw_gap"].max() < 1e-3, "old weights, or keys and values of old weights"
        assert log["kl"][0] == 0.0 and min(log["kl"].to_list()[1:]) > 0.01, "nothing moved"
        assert not list((tmp_path / "scratch").iterdir())

    def test_a_stopped_run_ends_with_the_same_policy(self, tmp_path):
        log = train(tmp_path, "undisturbed")
        with pytest.raises(Interrupted):
            train(tmp_path, "resumed", stop_after=3)
        resumed = train(tmp_path, "resumed")
        assert resumed.drop("seconds").equals(log.drop("seconds"))
        assert same(weights(tmp_path / "undisturbed"), weights(tmp_path / "resumed"))
