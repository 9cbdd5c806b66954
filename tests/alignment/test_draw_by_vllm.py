"""Training responses drawn by vLLM: by a stand-in that draws with transformers, and by vLLM itself on the CPU."""

import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import drawings
import numpy as np
import polars as pl
import pytest
import torch
from drawings import KINDS, SETTINGS, Interrupted, Objective, model, train
from safetensors.torch import load_file
from toy import destination, online_task
from transformers import AutoModelForCausalLM

from infalign.alignment import draw_by_vllm as drawing
from infalign.alignment import ppo
from infalign.alignment.draw_by_vllm import drawing_seeds
from infalign.alignment.processes import Processes
from infalign.errors import InputError
from infalign.language.generation import sample_tokens
from infalign.language.sampling_engines import Draws
from infalign.records.block import settings_json
from infalign.records.methods import BONDSettings, JBONDSettings, PPOSettings, VBoNSettings
from vllm_environment import vllm_python  # noqa: F401 (a fixture)

ROOT = Path(__file__).parents[2]


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
        return Draws(drawn.tokens, [float(row.sum()) for row in drawn.log_probs], drawn.finished)


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


@pytest.mark.parametrize("kind", list(KINDS))
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
    task = online_task(toy, seed=3)
    parts = {}
    with ExitStack() as stack:
        for processes in (Processes(), Pretended(0, 2), Pretended(1, 2)):
            folder = tmp_path / str(processes.count)  # the second of two reads what the first wrote
            draw = stack.enter_context(drawing.draw_by_vllm(task, folder, processes))
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
    ppo.train_ppo(
        toy.reference,
        online_task(toy),
        Objective(),
        PPOSettings(**SETTINGS),
        destination(tmp_path),
        updates=0,
    )
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
    with pytest.raises(ValueError, match=r"engine_memory is vLLM's share of the GPU, got 0.5 with engine: tran"):
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

    def test_two_processes_draw_what_one_draws(self, tmp_path):
        """Each of the two with a vLLM beside it; with whole weights and with those that FSDP divides."""
        command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2"]
        command += ["--config_file", ROOT / "profiles" / "accelerate" / "data_parallel.yaml"]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run([*command, drawings.__file__, tmp_path], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        alone = train(tmp_path, "alone", kind="untied")
        one = load_file(tmp_path / "alone" / "model.safetensors")
        for name in ("whole", "divided"):
            log = pl.read_parquet(tmp_path / f"{name}.parquet")
            assert log["draw_gap"].max() < 1e-3
            for column in ("kl", "reward", "length"):
                assert log[column].to_list() == pytest.approx(alone[column].to_list(), rel=1e-3, abs=1e-5)
            two = load_file(tmp_path / name / "model.safetensors")
            assert max(float((one[key] - two[key]).abs().max()) for key in one) < 1e-4
