"""What a configuration costs: by hand where it can be, and how costs move with its settings."""

from pathlib import Path

import polars as pl
import pytest
import yaml

from infalign.catalogue import parse_config
from infalign.errors import InputError
from infalign.mathematics.costs import forward_flops
from infalign.records.config import parse_config_json
from infalign.records.cost_table import (
    COSTS_SCHEMA,
    cost_table,
    price_task,
    training_memory,
    training_times,
    unpriced,
)
from infalign.records.costs import DEVICES, PUBLISHED, Costs, parse_costs
from infalign.records.sweep import policies

ROOT = Path(__file__).parents[2]
# Millions of parameters as the models' cards have them.
PARAMETERS = {
    "EleutherAI/pythia-410m": 405.3,
    "EleutherAI/pythia-1b": 1011.8,
    "EleutherAI/pythia-1.4b": 1414.6,
    "EleutherAI/pythia-2.8b": 2775.2,
    "EleutherAI/pythia-6.9b": 6857.3,
    "Qwen/Qwen2.5-1.5B-Instruct": 1543.7,
    "Qwen/Qwen3-0.6B-Base": 596.0,
    "Qwen/Qwen3-1.7B-Base": 1720.6,
    "Qwen/Qwen3-8B": 8190.7,
    "openai-community/gpt2": 124.4,
    "distilbert/distilbert-base-uncased": 66.4,
}


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())


@pytest.fixture
def smoke():
    return read("smoke")


def priced(values: dict) -> pl.DataFrame:
    config = parse_config(values)
    return cost_table(config, parse_costs(config))


def stage(table: pl.DataFrame, name: str, task: str = "helpful") -> dict:
    return table.row(by_predicate=(pl.col("task") == task) & (pl.col("stage") == name), named=True)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_have_their_number_of_parameters(name):
    # norms and biases are left out, and GPT-2's positions
    assert PUBLISHED[name].parameters / 1e6 == pytest.approx(PARAMETERS[name], rel=0.01)


@pytest.mark.parametrize(
    "name", ["default", "methods", "paper", "h200", "hh", "tldr", "imdb", "questions", "smoke"]
)
def test_configurations_are_priced(name):
    config = parse_config(read(name))
    table = cost_table(config, parse_costs(config))
    assert dict(table.schema) == COSTS_SCHEMA
    assert set(table["task"]) == set(config.tasks)
    assert table["hours"].is_finite().all() and (table["hours"] > 0).all() and (table["memory_gb"] > 0).all()
    assert table.filter(pl.col("stage").str.starts_with("train "))["n_jobs"].sum() == len(policies(config))


def test_every_job_of_the_paper_fits_the_device_it_names():
    config = parse_config(read("paper"))
    assert cost_table(config, parse_costs(config))["memory_gb"].max() <= parse_costs(config).speed().memory


def test_a_reward_model_by_hand(smoke):
    """200 pairs, once, of two texts of 104 + 24 tokens, on a device without anything but slow arithmetic."""
    device = {"float32": 1e-3, "bfloat16": 1e-3, "bandwidth": 1e9, "memory": 1, "utilisation": 0.5}
    smoke["costs"] = {"device": {**device, "layer_seconds": 0, "job_seconds": 0}}
    row = stage(priced(smoke), "reward_model")
    # one layer of width 16: 4·16² + 3·16·32 parameters; the vocabulary's 300·16 are read by none
    body = 4 * 16**2 + 3 * 16 * 32
    flops = 3 * 400 * 128 * (2 * body + 4 * 16 * 128)
    assert row["hours"] == pytest.approx(flops / 0.5e9 / 3600)
    assert row["limit"] == "arithmetic"
    assert row["disk_gb"] == pytest.approx(4 * (body + 300 * 16) / 1e9)
    activations = 4 * 16 + 2 * (16 + 16) + 4 * 32
    assert row["memory_gb"] == pytest.approx((16 * (body + 300 * 16) + 64 * 128 * activations * 4) / 1e9)


def test_mean_lengths_lower_hours_and_not_memory(smoke):
    smoke["costs"] = {"device": "cpu_core"}
    longest = priced(smoke)
    smoke["costs"]["tasks"] = {"helpful": {"prompt_tokens": 12, "response_tokens": 10}}
    shorter = priced(smoke)
    assert shorter["memory_gb"].equals(longest["memory_gb"])
    assert (shorter["hours"] <= longest["hours"]).all()
    assert stage(shorter, "train ppo")["hours"] < stage(longest, "train ppo")["hours"]


def test_methods_take_the_work_that_they_do(smoke):
    online = {
        "updates": 10,
        "prompts_per_update": 4,
        "samples_per_prompt": 2,
        "epochs": 1,
        "learning_rate": 1e-3,
    }
    smoke["methods"] = {
        "ppo": online,
        "four": {**online, "kind": "ppo", "epochs": 4},
        "bond": {**online, "quantile_samples": 32},
        "bon_sft": {"updates": 10, "examples_per_update": 8, "learning_rate": 1e-3},
        "bonbon": {"updates": 10, "examples_per_update": 8, "learning_rate": 1e-3},
    }
    reward = {"tasks": ["helpful"], "reward": ["raw"], "kl": [0.5]}
    smoke["policies"] = [{**reward, "method": "ppo"}, {**reward, "method": "four"}]
    counted = {"bond": [4], "bon_sft": [1, 4], "bonbon": [4]}
    smoke["policies"] += [{"tasks": ["helpful"], "method": name, "n": n} for name, n in counted.items()]
    smoke["costs"] = {
        "device": {"float32": 1e-3, "bfloat16": 1e-3, "bandwidth": 1e9, "memory": 1, "layer_seconds": 0}
    }
    config = parse_config(smoke)
    task = price_task(config, parse_costs(config), "helpful")
    rows = {(policy.method, policy.strength): policy for policy in policies(config)}
    seconds = {
        key: sum(time.seconds for time in training_times(config, task, policy))
        for key, policy in rows.items()
    }
    assert seconds["bon_sft", 1.0] == 0  # best of one is the reference
    assert seconds["bonbon", 4.0] == pytest.approx(2 * seconds["bon_sft", 4.0])
    learnt = 3 * forward_flops(task.shapes["reference"], 128, 128, 24) / 0.4e9
    assert seconds["bon_sft", 4.0] == pytest.approx(80 * learnt)
    assert seconds["four", 0.5] - seconds["ppo", 0.5] == pytest.approx(3 * 80 * learnt)
    # two stages, the second of which rolls its anchor out on the 8 training prompts; as many likelihoods as responses
    assert seconds["bond", 4.0] > 2 * seconds["ppo", 0.5] + 2 * 80 * learnt
    memory = {key: training_memory(config, task, policy) for key, policy in rows.items()}
    assert memory["bon_sft", 4.0] < memory["ppo", 0.5] < memory["bond", 4.0]


def test_adapters_need_less_memory_time_and_scratch_than_all_weights(smoke):
    whole = stage(priced(smoke), "train ppo")
    smoke["methods"]["ppo"]["lora"] = {"rank": 1}
    adapters = stage(priced(smoke), "train ppo")
    assert adapters["memory_gb"] < whole["memory_gb"] and adapters["hours"] < whole["hours"]
    assert adapters["scratch_gb"] < whole["scratch_gb"] / 10 and adapters["disk_gb"] == whole["disk_gb"]


def test_a_stage_of_many_jobs_costs_that_of_one_times_their_number(smoke):
    table = priced(smoke)
    smoke["policies"] = smoke["policies"][:1]
    smoke["policies"][0]["reward"] = ["raw"]
    fewer = priced(smoke)
    many, one = stage(table, "samples evaluation-t1.00"), stage(fewer, "samples evaluation-t1.00")
    assert (many["n_jobs"], one["n_jobs"]) == (3, 1)
    assert many["hours"] == pytest.approx(3 * one["hours"])
    assert many["disk_gb"] == pytest.approx(3 * one["disk_gb"])
    assert many["memory_gb"] == one["memory_gb"]


def test_blocks_that_are_not_priced_are_named(smoke):
    assert unpriced(parse_config(smoke)) == ["estimation"]
    del smoke["estimation"]
    assert unpriced(parse_config(smoke)) == []


def test_what_is_not_known_is_asked_for(smoke):
    hh = read("hh")
    hh["tasks"]["helpful"]["reference"]["base"]["hub"] = "someone/some-model"
    with pytest.raises(
        InputError, match=r"sizes of model someone/some-model .* costs.models.someone/some-model"
    ):
        priced(hh)
    hh["costs"]["models"] = {"someone/some-model": {"hidden_size": 64, "n_layers": 2, "intermediate_size": 128,
                                                    "vocabulary_size": 1000}}  # fmt: skip
    assert stage(priced(hh), "reference")["disk_gb"] == pytest.approx(
        4 * (1000 * 64 + 2 * (4 * 64**2 + 3 * 64 * 128)) / 1e9
    )
    del hh["costs"]["tasks"]
    with pytest.raises(InputError, match=r"costs.tasks.helpful.n_demonstrations"):
        priced(hh)
    smoke["costs"] = {"tasks": {"funny": {}}}
    with pytest.raises(InputError, match="unknown task 'funny'; the tasks are helpful, harmless"):
        priced(smoke)
    smoke["costs"] = {"device": "abacus"}
    with pytest.raises(InputError, match=r"device.*'a100', 'h100', 'h200' or 'cpu_core'.*got 'abacus'"):
        priced(smoke)


def test_costs_are_no_part_of_what_a_run_is(smoke):
    before = parse_config(smoke).model_dump_json()
    smoke["costs"] = {"device": "h200"}
    config = parse_config(smoke)
    assert parse_costs(config).speed() == DEVICES["h200"]
    assert config.model_dump_json() == before
    assert parse_costs(parse_config_json(before)) == Costs()
