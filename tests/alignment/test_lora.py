"""Adapters: what is trained, what is saved, what a checkpoint holds."""

import numpy as np
import pytest
import torch
import trainings
from safetensors import safe_open
from toy import destination, make_toy, online_task
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from infalign.alignment import batches, policy_update, ppo
from infalign.alignment.lora import adapted_policy, adapter_dropout, merged_weights
from infalign.alignment.processes import ALONE
from infalign.errors import InputError
from infalign.records.block import settings_json
from infalign.records.methods import Lora, PPOSettings, VBoNSettings

LORA = {"rank": 4, "alpha": 8}


def trained_learner(toy, **lora):
    """A learner after a few steps, so that its adapters say something."""
    learner = ppo.new_learner(toy.reference, PPOSettings(**trainings.SETTINGS, lora=LORA | lora))
    batch = trainings.every_response(toy)
    batch.tokens = batches.measure_tokens(learner, batch)
    batch.values = batch.rewards
    policy_update.update_policy(learner, batch, 0.3, np.random.default_rng(0))
    return learner


@pytest.mark.parametrize("sizes", [{}, {"tie_word_embeddings": False}], ids=["tied", "untied"])
def test_merged_policy_is_the_policy_with_adapters(tmp_path, sizes):
    toy = make_toy(**sizes)
    learner = trained_learner(toy)
    learner.policy.save_pretrained(tmp_path, state_dict=merged_weights(learner.policy))
    merged = AutoModelForCausalLM.from_pretrained(tmp_path)
    for prompt in toy.prompts["prompt"]:
        expected = toy.log_probs(learner.policy, prompt)
        assert toy.log_probs(merged, prompt) == pytest.approx(expected, abs=2e-6)
        assert np.abs(expected - toy.log_probs(toy.reference, prompt)).max() > 1e-3


def test_merging_is_the_product_of_the_two_matrices(toy):
    learner = trained_learner(toy)
    name = "transformer.h.0.attn.c_attn"  # its weight is (in, out), the transpose of a linear layer's
    layer = learner.policy.get_submodule(name)
    low, high = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    expected = toy.reference.get_parameter(f"{name}.weight") + (8 / 4) * (high @ low).T
    assert torch.allclose(merged_weights(learner.policy)[f"{name}.weight"], expected, atol=1e-7)


def test_before_training_policy_and_reference_are_one(toy):
    learner = ppo.new_learner(toy.reference, PPOSettings(lora=LORA))
    for prompt in toy.prompts["prompt"]:
        assert (toy.log_probs(learner.policy, prompt) == toy.log_probs(toy.reference, prompt)).all()


def test_only_adapters_and_value_head_move_and_weights_are_shared(toy):
    before = {name: tensor.clone() for name, tensor in toy.reference.state_dict().items()}
    learner = trained_learner(toy)
    assert all(torch.equal(tensor, before[name]) for name, tensor in toy.reference.state_dict().items())
    shared = {parameter.data_ptr() for parameter in toy.reference.parameters()}
    own = [name for name, p in learner.policy.named_parameters() if p.data_ptr() not in shared]
    assert own and all(".lora_" in name for name in own)
    assert set(learner.parameters) == {f"policy/{name}" for name in own} | {
        "value_head/weight", "value_head/bias",
    }  # fmt: skip


def test_checkpoint_holds_no_frozen_weight(tmp_path):
    trainings.interrupted(tmp_path, "policy", ALONE, 3, lora=LORA)
    (path,) = (tmp_path / "scratch").iterdir()
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith("weight/policy/")]  # noqa: SIM118
    assert names and all(".lora_" in name for name in names)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_resumed_run_with_adapters_is_bit_identical(tmp_path, dropout):
    lora = {"lora": LORA | {"dropout": dropout}}
    log = trainings.run(tmp_path, "undisturbed", ALONE, **lora)
    trainings.interrupted(tmp_path, "resumed", ALONE, 5, **lora)
    torch.manual_seed(99)  # of a new process
    resumed = trainings.run(tmp_path, "resumed", ALONE, **lora)
    assert resumed.drop("seconds").equals(log.drop("seconds"))
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("undisturbed", "resumed"))
    assert one == other


def test_adapters_reach_most_of_the_objective(toy, toy_objective, tmp_path):
    """As much of it as the attainable one, by enumeration; without adapters more than 0.95."""
    settings = trainings.SETTINGS | {"updates": 60, "samples_per_prompt": 128, "learning_rate": 0.01}
    settings = PPOSettings(**settings | {"epochs": 1, "minibatches": 2, "lora": LORA})
    ppo.train_ppo(toy.reference, online_task(toy), toy_objective, settings, destination(tmp_path))
    policy, beta = AutoModelForCausalLM.from_pretrained(tmp_path / "run"), toy_objective.beta
    reached = attainable = 0.0
    for prompt in toy.prompts["prompt"]:
        log_ref, log_p = toy.log_probs(toy.reference, prompt), toy.log_probs(policy, prompt)
        values = toy.values(toy_objective, prompt)
        start = (np.exp(log_ref) * values).sum()
        reached += (np.exp(log_p) * (values - beta * (log_p - log_ref))).sum() - start
        attainable += beta * np.logaddexp.reduce(log_ref + values / beta) - start
    assert reached / attainable > 0.8


def test_dropout_acts_in_its_place_only_and_by_its_seed(toy):
    policy = trained_learner(toy, dropout=0.5).policy
    tokens = torch.tensor([[0, 1, 2]])

    def logits():
        with torch.no_grad():
            return policy(tokens).logits

    plain, state = logits(), torch.get_rng_state()
    with adapter_dropout(policy, 1):
        one = logits()
    with adapter_dropout(policy, 1):
        again = logits()
    with adapter_dropout(policy, 2):
        other = logits()
    assert torch.equal(one, again) and not torch.equal(one, other) and not torch.equal(one, plain)
    assert torch.equal(logits(), plain) and torch.equal(torch.get_rng_state(), state)


def test_first_weights_depend_on_the_seed_only(toy):
    def first(seed):
        policy = adapted_policy(toy.reference, Lora(), seed)
        return torch.cat([p.flatten() for name, p in policy.named_parameters() if ".lora_A." in name])

    one = first(0)
    torch.manual_seed(99)
    assert torch.equal(one, first(0)) and not torch.equal(one, first(1))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["no_such_layer"], "lora.target_modules: .*no_such_layer.*name linear layers of GPT2LMHeadModel"),
        (["wte"], "transformer.wte is an embedding or the output layer"),
    ],
)
def test_layers_that_cannot_be_adapted_are_named(toy, names, message):
    with pytest.raises(InputError, match=message):
        adapted_policy(toy.reference, Lora(target_modules=names), 0)


def test_all_linear_layers_but_the_output_layer_are_adapted():
    sizes = {"vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    model = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=2, num_key_value_heads=2))
    policy = adapted_policy(model, Lora(rank=2), 0)
    layers = {name.split(".lora_A")[0].rsplit(".", 1)[-1] for name, _ in policy.named_parameters() if ".lora_A" in name}
    assert layers == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_settings_without_adapters_are_written_as_before():
    assert "lora" not in settings_json(PPOSettings()) and "lora" not in settings_json(VBoNSettings())
    assert '"lora": {"alpha": 32.0' in settings_json(PPOSettings(lora={}))


def test_adapters_and_averaged_weights_exclude_one_another():
    with pytest.raises(ValueError, match="weight_average is a mean of weights"):
        PPOSettings(lora={}, weight_average=0.5)
