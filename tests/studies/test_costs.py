"""What a configuration costs: by hand where it can be, against what torch counts, and how costs move with settings."""

from pathlib import Path

import polars as pl
import pytest
import torch
import yaml
from peft import LoraConfig, inject_adapter_in_model
from torch.distributed._tools.mem_tracker import MemTracker
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from infalign.alignment.sequences import token_distributions
from infalign.catalogue import all_responses, all_score_sets, all_trainings, needed_disk, parse_config
from infalign.errors import InputError
from infalign.language.generation import sample_tokens
from infalign.records.disk import CHECKPOINT_COPIES, FIXED_BYTES, model_bytes
from infalign.records.model_sizes import ModelSizes
from infalign.records.sweep import policies
from infalign.studies.costs.block import DEVICES, Costs
from infalign.studies.costs.estimate import (
    COSTS_COLUMNS,
    LOGITS_IN_USE,
    TRAIN,
    TRAIN_ADAPTERS,
    TRAINED,
    TaskPlan,
    cost_table,
    plan_task,
    training_work,
    write,
)

ROOT = Path(__file__).parents[2]
SIZES = ModelSizes(hidden_size=64, n_layers=3, intermediate_size=160, vocabulary_size=500)
SLOW = {"float32": 1e-3, "bfloat16": 1e-3, "memory": 1, "share": [0.25, 0.5]}


def values_of(name: str) -> dict:
    return yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())


@pytest.fixture
def smoke():
    return values_of("smoke")


def costs_of(values: dict) -> pl.DataFrame:
    config = parse_config(values)
    rows = policies(config)
    jobs = all_responses(config, rows), all_score_sets(config, rows), all_trainings(config)
    return cost_table(config, config.costs, rows, *jobs)


def stage(table: pl.DataFrame, name: str, task: str = "helpful") -> dict:
    return table.row(by_predicate=(pl.col("task") == task) & (pl.col("stage") == name), named=True)


def llama(sizes: ModelSizes) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=sizes.vocabulary_size, hidden_size=sizes.hidden_size, num_hidden_layers=sizes.n_layers,
        num_attention_heads=4, intermediate_size=sizes.intermediate_size, tie_word_embeddings=True,
        attn_implementation="eager",
    )  # fmt: skip
    return LlamaForCausalLM(config)


@pytest.mark.parametrize(
    "name",
    [
        "default",
        "methods",
        "paper",
        "h200",
        "hh",
        "tldr",
        "imdb",
        "questions",
        "smoke",
        "hedging",
        "ablations",
    ],
)
def test_configurations_have_costs(name):
    config, table = parse_config(values_of(name)), costs_of(values_of(name))
    assert table.columns == COSTS_COLUMNS
    assert set(table["task"]) == set(config.tasks)
    assert table["hours_low"].is_finite().all() and (table["hours_low"] <= table["hours_high"]).all()
    assert (table["memory_gb"] > 0).all() and (table["operations"] >= 0).all()
    assert table.filter(pl.col("stage").str.starts_with("train "))["n_jobs"].sum() == len(policies(config))


def test_every_job_of_the_paper_fits_the_device_it_names():
    assert costs_of(values_of("paper"))["memory_gb"].max() <= DEVICES["h100"].memory


def test_a_reward_model_by_hand(smoke):
    """200 pairs, once, of two texts of 104 + 24 tokens."""
    smoke["costs"] = {"device": SLOW}
    row = stage(costs_of(smoke), "reward_model")
    # one layer of width 16: 4·16² + 3·16·32 parameters; a reward model has no output layer
    matrices = 4 * 16**2 + 3 * 16 * 32
    operations = 3 * 400 * 128 * (2 * matrices + 4 * 16 * 128)
    assert (row["tokens"], row["operations"]) == (400 * 128, operations)
    assert row["hours_low"] == pytest.approx(operations / (0.5 * 1e9) / 3600)
    assert row["hours_high"] == pytest.approx(operations / (0.25 * 1e9) / 3600)
    assert row["disk_gb"] == pytest.approx(4 * (matrices + 300 * 16) / 1e9)
    activations = 6 * 16 + 2 * (16 + 16) + 4 * 32
    assert row["memory_gb"] == pytest.approx((16 * (matrices + 300 * 16) + 64 * 128 * activations * 4) / 1e9)


def test_sampling_takes_the_operations_that_torch_counts():
    model, n, length = llama(SIZES).eval(), 6, 24
    uniforms = torch.rand((n, length)).numpy()
    with FlopCounterMode(display=False) as counter:
        # no token ends a response: each prompt is read once, and each response is as long as it may be
        sample_tokens(model, [[1] * 12] * 3 + [[2] * 12] * 3, uniforms, eos_id=-1, max_new_tokens=length)
    task = parse_config(values_of("hh")).tasks["helpful"]
    known = {task.reference.base.hub: SIZES}
    plan = TaskPlan("helpful", task, known, {}, 12, length, 12 + length, 12 + length)
    tokens, operations = write(plan, 2, n)
    assert tokens == 2 * 12 + n * length
    assert counter.get_total_flops() == pytest.approx(operations, rel=0.06)  # the last token is not read again


def test_adapters_take_two_forward_passes():
    model, tokens = llama(SIZES), torch.randint(0, 500, (4, 40))
    with FlopCounterMode(display=False) as forward:
        model(tokens)
    model.requires_grad_(False)
    inject_adapter_in_model(LoraConfig(r=2, target_modules="all-linear"), model)
    with FlopCounterMode(display=False) as training:
        model(tokens).logits.sum().backward()
    ratio = training.get_total_flops() / forward.get_total_flops()
    assert ratio == pytest.approx(TRAIN_ADAPTERS, rel=0.2)  # the adapters' own are on top


@pytest.mark.parametrize("kind", ["likelihood", "reward", "divergence"])
@pytest.mark.parametrize("vocabulary", [500, 5000])
def test_a_training_needs_the_memory_that_torch_allocates(kind, vocabulary):
    sizes = SIZES.model_copy(update={"vocabulary_size": vocabulary})
    model, ids = llama(sizes), torch.randint(0, vocabulary, (8, 50))
    model.config._attn_implementation = "sdpa"
    optimizer, tracker = torch.optim.AdamW(model.parameters()), MemTracker()
    tracker.track_external(model, optimizer)
    with tracker:
        for _ in range(2):
            tracker.reset_mod_stats()
            loss_of(kind, model, ids).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    (peak,) = tracker.get_tracker_snapshot("peak").values()
    head = 0 if kind == "reward" else ids.numel()
    estimated = TRAINED * sizes.parameters + ids.numel() * sizes.activations * 4
    estimated += head * vocabulary * LOGITS_IN_USE
    assert 0.5 * estimated < peak["Total"] < 1.02 * estimated


def loss_of(kind: str, model: LlamaForCausalLM, ids: torch.Tensor) -> torch.Tensor:
    """Of supervised training, of a reward model, and of PPO with the KL of the whole distribution."""
    if kind == "likelihood":
        return model(input_ids=ids, labels=ids, use_cache=False).loss
    features = model.base_model(input_ids=ids, use_cache=False)[0].reshape(-1, model.config.hidden_size)
    if kind == "reward":
        return features.sum()
    log_p = token_distributions(model, features, 1.0)
    with torch.no_grad():
        reference = torch.nn.functional.linear(features, model.lm_head.weight)
        log_q = torch.log_softmax(reference.float(), dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1).mean() - log_p.gather(1, ids.reshape(-1, 1)).mean()


def test_the_disk_of_all_stages_is_that_of_the_start_check(smoke, tmp_path):
    config = parse_config(smoke)
    rows = policies(config)
    task = config.tasks["helpful"]
    checkpoint = CHECKPOINT_COPIES * model_bytes(task, task.reference.base)
    stored = costs_of(smoke)["disk_gb"].sum() * 1e9
    assert stored == pytest.approx(needed_disk(config, rows, tmp_path) - FIXED_BYTES - checkpoint)


def test_models_of_studies_learn_from_their_own_pairs(smoke):
    proxies = {"few": {"n_pairs": 50}, "flipped": {"flipped": 0.5}}
    smoke["hedging"] = [{"task": "helpful", "true_reward": "gold", "n_samples": 16, "proxies": proxies}]
    table = costs_of(smoke)
    proxy, reward_model = stage(table, "proxies"), stage(table, "reward_model")
    assert proxy["n_jobs"] == 2 and proxy["tokens"] == 1.25 * reward_model["tokens"]  # 50 and 200 of 200 pairs


def test_studies_and_asked_conditions_count(smoke):
    table = costs_of(smoke)
    estimation = stage(table, "estimation")
    assert (estimation["n_jobs"], estimation["tokens"]) == (1, 6 * 104 + 6 * 80 * 24)
    assert stage(table, "scores of estimation")["tokens"] == 2 * 6 * 80 * 128
    smoke["tasks"]["helpful"]["samples"] = {"n_samples": 8, "temperatures": [1.0, 0.5]}
    assert stage(costs_of(smoke), "samples")["n_jobs"] == 2 * stage(table, "samples")["n_jobs"] == 6
    smoke["tasks"]["helpful"]["samples"]["policies"] = ["ppo-raw-kl0.50-s0"]
    assert stage(costs_of(smoke), "samples")["n_jobs"] == stage(costs_of(smoke), "scores of samples")["n_jobs"] == 4


def test_mean_lengths_lower_operations_and_not_memory(smoke):
    longest = costs_of(smoke)
    smoke["costs"] = {"tasks": {"helpful": {"prompt_tokens": 12, "response_tokens": 10}}}
    shorter = costs_of(smoke)
    assert shorter["memory_gb"].equals(longest["memory_gb"]) and shorter["disk_gb"].equals(longest["disk_gb"])
    assert stage(shorter, "train ppo")["operations"] < stage(longest, "train ppo")["operations"]


def test_methods_take_the_work_that_they_do(smoke):
    online = {
        "updates": 10,
        "prompts_per_update": 4,
        "samples_per_prompt": 2,
        "epochs": 1,
        "learning_rate": 1e-3,
    }
    offline = {"updates": 10, "examples_per_update": 8, "learning_rate": 1e-3}
    smoke["methods"] = {
        "ppo": online,
        "four": {**online, "kind": "ppo", "epochs": 4},
        "bond": {**online, "quantile_samples": 32},
        "bon_sft": offline,
        "bonbon": offline,
    }
    reward = {"tasks": ["helpful"], "reward": ["raw"], "kl": [0.5]}
    smoke["policies"] = [{**reward, "method": "ppo"}, {**reward, "method": "four"}]
    counted = {"bond": [4], "bon_sft": [1, 4], "bonbon": [4]}
    smoke["policies"] += [{"tasks": ["helpful"], "method": name, "n": n} for name, n in counted.items()]
    config = parse_config(smoke)
    plan = plan_task(config, Costs(), "helpful")
    work = {
        (row.method, row.strength): training_work(config.methods[row.method], plan, row)[1] for row in policies(config)
    }
    assert work["bon_sft", 1.0] == 0  # best of one is the reference
    assert work["bonbon", 4.0] == 2 * work["bon_sft", 4.0]
    learnt = TRAIN * plan.reference.operations(128, 128, 24)
    assert work["bon_sft", 4.0] == 80 * learnt
    assert work["four", 0.5] - work["ppo", 0.5] == pytest.approx(3 * 80 * learnt)
    # two stages, the second of which rolls its anchor out on the 8 training prompts; as many likelihoods as responses
    assert work["bond", 4.0] > 2 * work["ppo", 0.5] + 2 * 80 * learnt
    table = costs_of(smoke)
    memory = [stage(table, f"train {name}")["memory_gb"] for name in ("bon_sft", "ppo", "bond")]
    assert memory == sorted(memory) and len(set(memory)) == 3


def test_adapters_need_fewer_operations_and_less_memory(smoke):
    whole = stage(costs_of(smoke), "train ppo")
    smoke["methods"]["ppo"]["lora"] = {"rank": 1}
    adapters = stage(costs_of(smoke), "train ppo")
    assert adapters["memory_gb"] < whole["memory_gb"] and adapters["operations"] < whole["operations"]
    assert adapters["disk_gb"] == whole["disk_gb"]


def test_what_is_not_known_is_asked_for(smoke):
    hh = values_of("hh")
    hh["tasks"]["helpful"]["reference"]["base"]["hub"] = "someone/some-model"
    with pytest.raises(InputError, match=r"sizes of someone/some-model .* costs.models.someone/some-model"):
        costs_of(hh)
    sizes = {"hidden_size": 64, "n_layers": 2, "intermediate_size": 128, "vocabulary_size": 1000}
    hh["costs"]["models"] = {"someone/some-model": sizes}
    parameters = 1000 * 64 + 2 * (4 * 64**2 + 3 * 64 * 128)
    assert stage(costs_of(hh), "reference")["disk_gb"] == pytest.approx(4 * parameters / 1e9)
    del hh["costs"]["tasks"]
    with pytest.raises(InputError, match=r"costs.tasks.helpful.n_demonstrations"):
        costs_of(hh)
    smoke["costs"] = {"tasks": {"funny": {}}}
    with pytest.raises(InputError, match="unknown task 'funny'; the tasks are helpful, harmless"):
        costs_of(smoke)


def test_costs_are_no_part_of_what_a_run_is(smoke):
    before = parse_config(smoke).model_dump_json()
    smoke["costs"] = {"device": "h200"}
    config = parse_config(smoke)
    assert config.costs.throughput == DEVICES["h200"]
    assert config.model_dump_json() == before
