"""PPO on policies small enough to be listed whole."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from toy import destination, online_task
from transformers import AutoModelForCausalLM

from infalign.alignment import policy_update, ppo
from infalign.alignment.batches import sample_batch
from infalign.alignment.training import TrainingDiverged, prompt_rows
from infalign.errors import InputError
from infalign.records.methods import PPOSettings

FAST = {
    "updates": 60,
    "prompts_per_update": 2,
    "samples_per_prompt": 128,
    "epochs": 1,
    "minibatches": 2,
    "learning_rate": 0.003,
    "adam_epsilon": 1e-8,
    "gae_lambda": 1.0,
    "checkpoint_every": 3,
}
EXACT = FAST | {"kl_penalty": "full_vocabulary", "group_baseline": True}


def train(toy, objective, tmp_path, name="run", score=None, seed=0, **settings):
    task = online_task(toy, score, seed)
    return ppo.train_ppo(toy.reference, task, objective, PPOSettings(**settings), destination(tmp_path, name))


def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


def distance_and_share(toy, objective, policy):
    """Mean over prompts of KL(policy ‖ tilt), and of the share of the attainable objective."""
    kls, reached, attainable = [], [], []
    for prompt in toy.prompts["prompt"]:
        log_ref, log_p = toy.log_probs(toy.reference, prompt), toy.log_probs(policy, prompt)
        values = toy.values(objective, prompt)
        log_tilt = log_ref + values / objective.beta
        log_tilt -= np.logaddexp.reduce(log_tilt)
        p, ref = np.exp(log_p), np.exp(log_ref)
        start = (ref * values).sum()
        reached.append((p * values).sum() - objective.beta * (p * (log_p - log_ref)).sum() - start)
        attainable.append(objective.beta * np.logaddexp.reduce(log_ref + values / objective.beta) - start)
        kls.append((p * (log_p - log_tilt)).sum())
    return np.mean(kls), np.sum(reached) / np.sum(attainable)


def test_responses_of_the_toy_are_all_there_are(toy):
    for prompt in toy.prompts["prompt"]:
        assert np.exp(toy.log_probs(toy.reference, prompt)).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("settings", [EXACT, FAST | {"epochs": 2, "gae_lambda": 0.95}], ids=["exact_kl", "log_ratio"])
def test_policy_approaches_the_tilt_of_its_reward(toy, toy_objective, tmp_path, settings):
    train(toy, toy_objective, tmp_path, **settings)
    policy = AutoModelForCausalLM.from_pretrained(tmp_path / "run")
    distance, share = distance_and_share(toy, toy_objective, policy)
    assert share > 0.95
    assert distance < 0.02


def test_before_the_first_update_ratio_is_one_and_kl_zero(toy, toy_objective, tmp_path):
    log = train(toy, toy_objective, tmp_path, **EXACT | {"updates": 2})
    assert log["ratio_deviation"][0] < 1e-6
    assert log["kl"][0] == 0.0 and log["kl_sampled"][0] == 0.0
    assert log["kl"][1] > 0.0
    assert log["objective"][0] == log["value"][0]
    assert log["learning_rate"].to_list() == [0.003, 0.0015]


def test_what_the_policy_draws_is_as_likely_when_it_is_measured(toy, toy_objective, tmp_path):
    log = train(toy, toy_objective, tmp_path, **EXACT | {"updates": 4, "samples_per_prompt": 8})
    assert log["kl"][-1] > 0 and log["draw_gap"].max() < 1e-5


def test_first_gradient_is_the_exact_gradient_of_the_objective(toy, toy_objective):
    """With many samples the accumulated gradient approaches that of the enumerated objective."""
    settings = PPOSettings(**EXACT | {"samples_per_prompt": 4096, "minibatches": 1, "value_coefficient": 0.0})
    learner = ppo.new_learner(toy.reference, settings)
    with torch.no_grad():  # away from the reference, so that the KL has a gradient
        learner.policy.lm_head.weight.mul_(0.5)
    batch = sample_batch(learner, online_task(toy), toy_objective)
    policy_update.set_advantages(batch, toy_objective.beta, settings, learner.device)
    policy_update.accumulate_ppo_gradient(learner, batch, np.arange(len(batch.prompts)), toy_objective.beta)
    sampled = learner.policy.lm_head.weight.grad * batch.lengths.mean()
    exact = exact_gradient(toy, toy_objective, learner.policy)
    assert torch.linalg.norm(sampled - exact) < 0.1 * torch.linalg.norm(exact)


def exact_gradient(toy, objective, policy):
    policy.zero_grad()
    loss = 0.0
    for prompt in toy.prompts["prompt"]:
        start = toy.tokenizer(prompt)["input_ids"]
        log_ref = torch.tensor(toy.log_probs(toy.reference, prompt))
        values = torch.tensor(toy.values(objective, prompt))
        rows = []
        for response in toy.responses:
            log_p = policy(torch.tensor([start + response])).logits[0, len(start) - 1 : -1].log_softmax(-1)
            rows.append(log_p[torch.arange(len(response)), torch.tensor(response)].sum())
        log_p = torch.stack(rows).double()
        loss = loss - (log_p.exp() * (values - objective.beta * (log_p - log_ref))).sum() / toy.prompts.height
    loss.backward()
    return policy.lm_head.weight.grad


def test_clipped_policy_loss_by_hand_on_two_tokens():
    old, new = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.7, 0.3]).log()  # ratios 1.4 and 0.6
    gain = policy_update.clipped_policy_loss(new, old, torch.tensor([1.0, 1.0]), 0.2)
    loss = policy_update.clipped_policy_loss(new, old, torch.tensor([-1.0, -1.0]), 0.2)
    assert gain.tolist() == pytest.approx([-1.2, -0.6])
    assert loss.tolist() == pytest.approx([1.4, 0.8])


def test_clipped_value_loss_by_hand():
    values, old, returns = torch.tensor([1.0, 0.1]), torch.zeros(2), torch.ones(2)
    assert policy_update.clipped_value_loss(values, old, returns, 0.2).tolist() == pytest.approx([0.32, 0.405])
    assert policy_update.clipped_value_loss(values, old, returns, None).tolist() == pytest.approx([0.0, 0.405])


@pytest.mark.parametrize("weight_average", [0.0, 0.5])
def test_resumed_run_is_bit_identical(toy, toy_objective, tmp_path, weight_average):
    settings = EXACT | {"updates": 8, "samples_per_prompt": 4, "weight_average": weight_average}
    undisturbed = train(toy, toy_objective, tmp_path, "undisturbed", **settings)
    calls = []

    def killed(*arguments):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return toy.score(*arguments)

    with pytest.raises(KeyboardInterrupt):
        train(toy, toy_objective, tmp_path, "resumed", score=killed, **settings)
    counted = []

    def counting(*arguments):
        counted.append(1)
        return toy.score(*arguments)

    resumed = train(toy, toy_objective, tmp_path, "resumed", score=counting, **settings)
    assert len(counted) == 2  # updates 0 to 5 came from the checkpoint
    assert resumed.drop("seconds").equals(undisturbed.drop("seconds"))
    one, other = weights(tmp_path / "undisturbed"), weights(tmp_path / "resumed")
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not list((tmp_path / "scratch").glob("*"))


def test_checkpoint_of_another_run_is_not_continued(toy, toy_objective, tmp_path):
    settings = EXACT | {"updates": 6, "samples_per_prompt": 4}

    def stop(*arguments):
        raise KeyboardInterrupt

    stopped = iter([toy.score] * 4 + [stop])
    with pytest.raises(KeyboardInterrupt):
        train(toy, toy_objective, tmp_path, score=lambda *a: next(stopped)(*a), **settings)
    log = train(toy, toy_objective, tmp_path, seed=1, **settings)
    assert log["step"].to_list() == list(range(6)) and log["kl"][0] == 0.0


def test_chunk_size_does_not_change_the_gradient(toy, toy_objective):
    gradients = []
    for size in (3, 64):
        settings = PPOSettings(**EXACT | {"samples_per_prompt": 8, "chunk_size": size})
        learner = ppo.new_learner(toy.reference, settings)
        batch = sample_batch(learner, online_task(toy), toy_objective)
        policy_update.set_advantages(batch, toy_objective.beta, settings, learner.device)
        policy_update.accumulate_ppo_gradient(learner, batch, np.arange(16), toy_objective.beta)
        gradients.append([parameter.grad for parameter in learner.policy.parameters()])
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*gradients, strict=True))


def test_every_pass_visits_every_prompt_once():
    rows = np.concatenate([prompt_rows(10, 4, seed=2, step=step) for step in range(5)])
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()


def test_policy_is_saved_without_pickle(toy, toy_objective, tmp_path):
    train(toy, toy_objective, tmp_path, **EXACT | {"updates": 1, "samples_per_prompt": 2})
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert "model.safetensors" in names and not {n for n in names if n.endswith((".bin", ".pt", ".pkl"))}
    assert json.loads((tmp_path / "run" / "config.json").read_text())["model_type"] == "gpt2"


def test_reward_that_is_not_finite_is_named(toy, toy_objective, tmp_path):
    def broken(prompts, responses, finished):
        return np.where(np.arange(len(prompts)) == 5, np.nan, 0.0)

    with pytest.raises(InputError) as caught:
        train(toy, toy_objective, tmp_path, score=broken, **EXACT)
    assert "the reward of 1 of 256 responses at update 0 is not finite: got nan for prompt_id" in str(caught.value)


def test_divergence_names_update_checkpoint_and_cause(toy, toy_objective, tmp_path):
    with pytest.raises(TrainingDiverged) as caught:
        train(toy, toy_objective, tmp_path, **EXACT | {"learning_rate": 1e30, "samples_per_prompt": 4})
    message = str(caught.value)
    assert "ppo diverged at update" in message and "is not finite" in message
    assert "no checkpoint was made yet" in message
    assert "learning rate (1e+30) is too high" in message and "lower ppo.learning_rate" in message


def test_no_prompts_is_an_input_error(toy, toy_objective, tmp_path):
    toy.prompts = toy.prompts.clear()
    with pytest.raises(InputError, match="the training needs at least one training prompt, got none"):
        train(toy, toy_objective, tmp_path, **EXACT)


def test_settings_that_contradict_are_named():
    with pytest.raises(ValueError, match="group_baseline needs samples_per_prompt >= 2, got 1"):
        PPOSettings(group_baseline=True)
    with pytest.raises(ValueError, match=r"minibatches must be <= .* = 32, got 64"):
        PPOSettings(minibatches=64)


def test_log_is_a_table_of_numbers(toy, toy_objective, tmp_path):
    log = train(toy, toy_objective, tmp_path, **EXACT | {"updates": 2, "samples_per_prompt": 4})
    assert log.height == 2 and all(dtype.is_numeric() for dtype in log.dtypes)
    assert log.select(pl.all().is_finite().all()).row(0) == (True,) * log.width


def test_averaged_weights_are_the_mean_over_the_last_updates(toy, toy_objective, tmp_path):
    settings = EXACT | {"samples_per_prompt": 4, "schedule": "constant"}
    for updates in (1, 2):
        train(toy, toy_objective, tmp_path, f"after{updates}", **settings | {"updates": updates})
    train(toy, toy_objective, tmp_path, "mean", **settings | {"updates": 2, "weight_average": 1.0})
    one, two, mean = (weights(tmp_path / name) for name in ("after1", "after2", "mean"))
    assert all(torch.allclose((one[name] + two[name]) / 2, mean[name], atol=1e-7) for name in mean)
    assert any(not torch.equal(one[name], two[name]) for name in mean)
