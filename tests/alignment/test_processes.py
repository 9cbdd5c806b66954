"""Several processes train what one trains: gradients, whole runs, checkpoints and errors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import trainings
from safetensors.torch import load_file

from infalign.alignment import ppo
from infalign.alignment.processes import ALONE, Processes, join_processes, single_process
from infalign.errors import InputError
from infalign.records.methods import PPOSettings

pytestmark = pytest.mark.xdist_group("processes")  # one launch for all
ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "profiles" / "accelerate"


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """Folder with what two processes made; one training in it was begun by this process alone."""
    folder = tmp_path_factory.mktemp("launched")
    trainings.interrupted(folder / "begun_alone", "policy", ALONE, 5)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2"]
    command += ["--config_file", CONFIGS / "data_parallel.yaml", trainings.__file__, folder]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def found(launched):
    return json.loads((launched / "found.json").read_text())


def furthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.parametrize("name", trainings.UPDATES)
def test_two_processes_take_the_step_of_one(launched, found, name):
    weights, row = trainings.fixed_update(name, ALONE)
    assert furthest(load_file(launched / f"{name}.safetensors"), weights) < 1e-5
    held, all_weights = found["rows"][name].pop("held"), row.pop("held")
    assert found["rows"][name] == pytest.approx(row, rel=1e-4, abs=1e-6)
    if name.startswith("divided"):
        assert held < 0.51 * all_weights + 4 * 32  # the tied embedding is whole
    else:
        assert held == all_weights


def test_the_step_is_larger_than_what_tells_them_apart(toy):
    """The comparison above could fail."""
    weights, _ = trainings.fixed_update("whole", ALONE)
    start = ppo.new_learner(toy.reference, PPOSettings(**trainings.SETTINGS)).parameters
    assert furthest(weights, {name: tensor.detach() for name, tensor in start.items()}) > 1e-3


@pytest.mark.parametrize("name", ["run", "run_divided"])
def test_a_run_of_two_processes_is_that_of_one(launched, tmp_path, name):
    alone = trainings.run(tmp_path, "run", ALONE)
    log = pl.read_parquet(launched / f"{name}.parquet")
    assert log.columns == alone.columns
    for column in set(log.columns) - {"seconds"}:
        assert log[column].to_list() == pytest.approx(alone[column].to_list(), rel=1e-3, abs=1e-5), column
    weights = [load_file(folder / "model.safetensors") for folder in (launched / name, tmp_path / "run")]
    assert furthest(*weights) < 1e-5


@pytest.mark.parametrize("name", ["stopped", "stopped_divided"])
def test_resumed_run_of_two_processes_is_bit_identical(launched, name):
    one, other = (load_file(launched / n / "model.safetensors") for n in (name, f"{name}_not"))
    assert furthest(one, other) == 0
    logs = [pl.read_parquet(launched / f"{n}.parquet").drop("seconds") for n in (name, f"{name}_not")]
    assert logs[0].equals(logs[1])
    assert not list((launched / "scratch").iterdir())


def test_two_processes_continue_what_one_began(launched, tmp_path):
    trainings.run(tmp_path, "run", ALONE)
    begun = load_file(launched / "begun_alone" / "policy" / "model.safetensors")
    assert furthest(begun, load_file(tmp_path / "run" / "model.safetensors")) < 1e-5
    assert pl.read_parquet(launched / "begun_alone.parquet")["step"].to_list() == list(range(6))


def test_an_error_in_one_process_is_raised_in_all(found):
    first, second = found["messages"]
    assert first == second
    for name in ("diverged", "diverged_divided"):
        assert "ppo diverged at update" in first[name] and "is not finite" in first[name]
    assert "the reward of 8 of 16 responses at update 0 is not finite" in first["reward"]


def test_parts_are_equal_and_make_the_whole():
    parts = [Processes(index, 3).part(np.arange(12)) for index in range(3)]
    assert [len(part) for part in parts] == [4, 4, 4]
    assert np.concatenate(parts).tolist() == list(range(12))


@pytest.mark.parametrize(
    ("settings", "processes", "message"),
    [
        ({"prompts_per_update": 9}, Processes(0, 2), "2 processes cannot share the 9 responses of an update"),
        ({"prompts_per_update": 8, "minibatches": 8}, Processes(0, 2), "a multiple of 16"),
        ({"lora": {}}, Processes(0, 2, sharded=True), "ppo.lora: adapters train beside whole weights"),
    ],
)
def test_what_processes_cannot_share_is_said(toy, settings, processes, message):
    with pytest.raises(InputError, match=message):
        ppo.new_learner(toy.reference, PPOSettings(**settings), processes=processes)


def test_one_process_may_have_any_number_of_responses(toy):
    ppo.new_learner(toy.reference, PPOSettings(prompts_per_update=9, minibatches=2))


def test_without_a_launch_there_is_one_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join_processes() == single_process("bond") == ALONE


def test_methods_for_one_process_refuse_several(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InputError, match="bond trains in one process, got 4; start it with python"):
        single_process("bond")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, "mixed_precision must be 'no'"),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "distributed_type must be MULTI_GPU or FSDP"),
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"}, "fsdp_version must be 2"),
        (
            {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "true"},
            "fsdp_offload_params must be false",
        ),
    ],
)
def test_settings_of_accelerate_that_nothing_follows_are_refused(monkeypatch, variables, message):
    for name, value in {"WORLD_SIZE": "2", **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message):
        join_processes()


@pytest.mark.parametrize("name", ["data_parallel", "fsdp"])
def test_shipped_configurations_launch_what_is_understood(monkeypatch, name):
    """The variables that `accelerate launch` would set for the processes."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    words = ["--config_file", str(CONFIGS / f"{name}.yaml"), "--num_processes", "4", "train.py"]
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    assert arguments.multi_gpu or arguments.use_fsdp  # else it would start one process
    variables = prepare_multi_gpu_env(arguments)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert variables.get("ACCELERATE_USE_FSDP", "false") == ("true" if name == "fsdp" else "false")
    monkeypatch.setenv("WORLD_SIZE", "4")
    from infalign.alignment.processes import _check_launch

    _check_launch()
