"""Learning from stored responses, on policies small enough to be listed whole."""

import copy
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from scipy.special import expit
from toy import destination
from transformers import AutoModelForCausalLM

from infalign.alignment import offline
from infalign.alignment.lessons import LESSONS, Material, make_lesson
from infalign.alignment.objectives import build_objective
from infalign.alignment.preference import bonbon_loss, bonbon_target
from infalign.alignment.training import Learner, TrainingDiverged, starting_policy
from infalign.errors import InputError
from infalign.records.methods import (
    METHODS,
    BoNBoNSettings,
    BoNSFTSettings,
    DPOSettings,
    IPOSettings,
    RegressionSettings,
)
from infalign.records.policy import Policy

SETTINGS = {
    "dpo": DPOSettings,
    "ipo": IPOSettings,
    "bon_sft": BoNSFTSettings,
    "bonbon": BoNBoNSettings,
    "regression": RegressionSettings,
}
FAST = {
    "updates": 150,
    "examples_per_update": 128,
    "learning_rate": 0.005,
    "adam_epsilon": 1e-8,
    "chunk_size": 256,
    "weight_average": 0.25,
}
SHORT = FAST | {"updates": 8, "examples_per_update": 16, "checkpoint_every": 3}
MANY_PAIRS = {"n_responses": 200, "n_comparisons": 5000, "examples_per_update": 64}


def roll_out(toy, n_rollouts: int) -> pl.DataFrame:
    """Scored responses of the reference with their tokens and exact log-probabilities."""
    rng = np.random.default_rng(5)
    frames = []
    for prompt_id, prompt in toy.prompts.iter_rows():
        log_p = toy.log_probs(toy.reference, prompt)
        drawn = rng.choice(len(log_p), size=n_rollouts, p=np.exp(log_p) / np.exp(log_p).sum())
        columns = {
            "sample_id": np.arange(n_rollouts),
            "reward": all_rewards(toy, prompt)[drawn],
            "tokens": [toy.responses[i] for i in drawn],
            "log_prob": log_p[drawn],
        }
        frames.append(pl.DataFrame(columns).with_columns(prompt_id=pl.lit(prompt_id)))
    return pl.concat(frames)


def all_rewards(toy, prompt: str) -> np.ndarray:
    texts = toy.tokenizer.batch_decode(toy.responses, skip_special_tokens=True)
    return toy.score([prompt] * len(texts), texts, None)


@pytest.fixture
def material(toy):
    return Material(toy.reference, toy.tokenizer, roll_out(toy, 200), toy.prompts, corpus_pairs(toy))


@pytest.fixture
def ample(toy, material):
    """So many rollouts that the optimum on them is near the exact one."""
    return replace(material, scores=roll_out(toy, 2000))


def corpus_pairs(toy) -> pl.DataFrame:
    rows = [
        ("a", "a b", "c", "reward_train"),
        ("b b", "c", "a", "reward_train"),
        ("a", "b", "c", "judge_train"),
    ]
    return pl.DataFrame(rows, schema=["prompt", "chosen", "rejected", "split"], orient="row")


def make(material, method, kind, strength, reward=None, calibrator=None, seed=0, **settings):
    policy = Policy("toy", method, reward, calibrator, None, None, kind, strength, seed)
    chosen = SETTINGS[method](**settings)
    return make_lesson(policy, chosen, material), chosen


def train(material, lesson, settings, tmp_path, name="run"):
    log = offline.train_offline(material, lesson, settings, destination(tmp_path, name))
    return AutoModelForCausalLM.from_pretrained(tmp_path / name), log


def distance(toy, policy, target) -> float:
    """Mean over prompts of KL(policy ‖ target); target: prompt -> log-weights of the 40 responses."""
    kls = []
    for prompt in toy.prompts["prompt"]:
        log_p, log_q = toy.log_probs(policy, prompt), target(prompt)
        kls.append((np.exp(log_p) * (log_p - log_q + np.logaddexp.reduce(log_q))).sum())
    return float(np.mean(kls))


def best_of_n(toy, prompt: str, n: int) -> np.ndarray:
    """Exact log-probabilities of best-of-n; equal rewards belong to one response."""
    p, rewards = np.exp(toy.log_probs(toy.reference, prompt)), all_rewards(toy, prompt)
    up_to, below = (np.array([p[order(rewards, r)].sum() for r in rewards]) for order in (np.less_equal, np.less))
    return np.log(up_to**n - below**n)


def test_ipo_approaches_the_identity_tilt(toy, ample, tmp_path):
    """KL(policy ‖ tilt) 0.015; the reference has 0.42."""
    lesson, settings = make(ample, "ipo", "beta", 0.3, **FAST | MANY_PAIRS)
    policy, log = train(ample, lesson, settings, tmp_path)

    def tilt(prompt):
        log_ref, rewards = toy.log_probs(toy.reference, prompt), all_rewards(toy, prompt)
        p = np.exp(log_ref)
        calibrated = np.array([p[rewards < r].sum() + p[rewards == r].sum() / 2 for r in rewards])
        return log_ref + calibrated / 0.3

    assert distance(toy, toy.reference, tilt) > 0.25
    assert distance(toy, policy, tilt) < 0.02
    assert log["accuracy"][-1] > 0.95


@pytest.mark.parametrize(("reward", "calibrator"), [("identity", "empirical"), ("exp(10)", "empirical"), ("raw", None)])
def test_regression_approaches_the_tilt_of_its_reward(toy, ample, tmp_path, reward, calibrator):
    """KL(policy ‖ tilt) from 0.001 to 0.004; the reference has 0.29 to 0.48."""
    lesson, settings = make(ample, "regression", "kl", 0.4, reward, calibrator, **FAST)
    policy, log = train(ample, lesson, settings, tmp_path)
    objective = build_objective(ample.scores, reward, calibrator, kl=0.4)

    def tilt(prompt):
        return toy.log_probs(toy.reference, prompt) + toy.values(objective, prompt) / objective.beta

    assert distance(toy, toy.reference, tilt) > 0.25
    assert distance(toy, policy, tilt) < 0.008
    assert log["loss"][-1] < 0.02 * log["loss"][0]
    assert lesson.measures["beta"] == objective.beta_paper


def test_likelihood_of_the_best_approaches_best_of_n(toy, ample, tmp_path):
    """KL(policy ‖ best of 4) 0.020, 0.009 of it because 2,000 rollouts are finite; the reference has 1.54."""
    lesson, settings = make(ample, "bon_sft", "n", 4, **FAST | {"learning_rate": 0.01})
    policy, _ = train(ample, lesson, settings, tmp_path)
    assert distance(toy, toy.reference, lambda prompt: best_of_n(toy, prompt, 4)) > 1.0
    assert distance(toy, policy, lambda prompt: best_of_n(toy, prompt, 4)) < 0.03


def test_bonbon_approaches_its_optimum_and_its_target(toy, ample, tmp_path):
    """KL(policy ‖ optimum) 0.009; the optimum has 0.064 to best of 4, the policy 0.070, the reference 1.54.

    Of the target 5.5 the optimum and the policy reach 5.0, see `bonbon_loss`.
    """
    lesson, settings = make(ample, "bonbon", "n", 4, **FAST | {"updates": 300})
    policy, log = train(ample, lesson, settings, tmp_path)
    optima = {prompt: bonbon_optimum(toy, prompt, 4, 0.005) for prompt in toy.prompts["prompt"]}
    assert distance(toy, policy, lambda prompt: optima[prompt][0]) < 0.02
    assert distance(toy, policy, lambda prompt: best_of_n(toy, prompt, 4)) < 0.1
    reached = np.mean([margin for _, margin in optima.values()])
    assert log["margin"][-20:].mean() == pytest.approx(reached, rel=0.02)
    assert 0.9 * bonbon_target(4) < reached < bonbon_target(4)


def bonbon_optimum(toy, prompt, n, alpha):
    """Least expected loss over all distributions: its log-probabilities, and its mean log-ratio best to worst."""
    log_ref, rewards = torch.tensor(toy.log_probs(toy.reference, prompt)), all_rewards(toy, prompt)
    order = np.argsort(rewards)
    upper = np.exp(log_ref.numpy())[order].cumsum()
    lower = np.concatenate([[0.0], upper[:-1]])

    def all_between(low, high):  # all n draws are between these responses
        return np.maximum(high[None, :] - low[:, None], 0.0) ** n

    joint = all_between(lower, upper) - all_between(upper, upper)
    joint = np.triu(joint - all_between(lower, lower) + all_between(upper, lower), k=1)
    worst, best = (torch.tensor(order[rows].copy()) for rows in np.nonzero(joint))
    weights = torch.tensor(joint[np.nonzero(joint)] / joint.sum())
    logits = log_ref.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS([logits], max_iter=500, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        log_p = logits.log_softmax(0)
        ratio = log_p - log_ref
        loss = (weights * bonbon_loss(log_p[best], ratio[best], ratio[worst], n, alpha)).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    ratio = (logits - log_ref).detach()
    return logits.detach().log_softmax(0).numpy(), float((weights * (ratio[best] - ratio[worst])).sum())


def test_dpo_of_bradley_terry_labels_approaches_the_raw_tilt(toy, ample, tmp_path):
    """KL(policy ‖ tilt) 0.013; the reference has 0.41."""
    beta = 2.0
    lesson, settings = make(ample, "dpo", "beta", beta, **FAST | MANY_PAIRS)
    rewards, rng = (
        ample.scores.sort("prompt_id", "sample_id")["reward"].to_numpy(),
        np.random.default_rng(0),
    )

    def relabelled(batch):
        keep = rng.random(len(batch)) < expit(rewards[batch[:, 0]] - rewards[batch[:, 1]])
        return np.where(keep[:, None], batch, batch[:, ::-1])

    lesson = replace(lesson, batches=[relabelled(batch) for batch in lesson.batches])
    policy, _ = train(ample, lesson, settings, tmp_path)

    def tilt(prompt):
        return toy.log_probs(toy.reference, prompt) + all_rewards(toy, prompt) / beta

    assert distance(toy, toy.reference, tilt) > 0.2
    assert distance(toy, policy, tilt) < 0.03


def test_at_the_first_update_policy_and_reference_agree(toy, material, tmp_path):
    lesson, settings = make(material, "ipo", "beta", 0.5, **SHORT)
    _, log = train(material, lesson, settings, tmp_path)
    assert log["loss"][0] == pytest.approx(1.0, abs=1e-5)  # (0 − 1/(2·½))²
    assert log["margin"][0] == pytest.approx(0.0, abs=1e-5)
    assert log["learning_rate"][:2].to_list() == pytest.approx([0.005, 0.005 * 7 / 8])
    assert log.select(pl.all().is_finite().all()).row(0) == (True,) * log.width


def test_a_kl_for_ipo_is_that_of_the_identity_tilt(material):
    lesson, _ = make(material, "ipo", "kl", 0.4, **SHORT)
    expected = build_objective(material.scores, "identity", "empirical", kl=0.4)
    assert lesson.measures["beta"] == expected.beta_paper == expected.beta


@pytest.mark.parametrize("method", ["bon_sft", "bonbon"])
def test_best_of_one_is_the_reference_itself(toy, material, tmp_path, method):
    lesson, settings = make(material, method, "n", 1, **SHORT | {"weight_average": 0.0})
    policy, log = train(material, lesson, settings, tmp_path)
    assert log.height == 0 and lesson.measures["beta"] is None
    one, other = policy.state_dict(), toy.reference.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("method", ["bon_sft", "bonbon"])
def test_fewer_rollouts_than_n_is_an_input_error(material, method):
    with pytest.raises(InputError, match="from 1 to 200, the rollouts of a prompt, got 201"):
        make(material, method, "n", 201, **SHORT)


def test_balanced_alpha_makes_both_terms_alike_at_the_first_batch(material):
    lesson, _ = make(material, "bonbon", "n", 4, alpha="balanced", **SHORT)
    alpha, first = lesson.measures["alpha"], lesson.batches[0]
    likelihood = -lesson.responses.reference_log_probs[first[:, 0]].mean()
    assert alpha * likelihood == pytest.approx((1 - alpha) * 5.5**2)


def test_equal_best_and_worst_are_dropped_and_counted(material):
    """Two values of the reward, alike likely: both of a pair are equal in half of the draws."""
    median = pl.col("reward") > pl.col("reward").median().over("prompt_id")
    tied = replace(material, scores=material.scores.with_columns(reward=median.cast(pl.Float64)))
    lesson, _ = make(tied, "bonbon", "n", 2, **FAST)
    kept, dropped = lesson.measures["pairs"], lesson.measures["pairs_dropped"]
    assert kept + dropped == 150 * 128 and 0.45 < dropped / (kept + dropped) < 0.65
    sizes = {len(batch) for batch in lesson.batches}
    assert len(lesson.batches) == 150 and max(sizes) - min(sizes) <= 1
    rewards = tied.scores.sort("prompt_id", "sample_id")["reward"].to_numpy()
    assert all((rewards[batch] == [1.0, 0.0]).all() for batch in lesson.batches)


@pytest.mark.parametrize(
    ("method", "kind", "strength"), [("dpo", "beta", 0.1), ("ipo", "beta", 0.1), ("bonbon", "n", 4)]
)
def test_no_pair_left_is_an_input_error(material, method, kind, strength):
    flat = replace(material, scores=material.scores.with_columns(reward=pl.lit(1.0)))
    with pytest.raises(InputError, match="no pair is left"):
        make(flat, method, kind, strength, **SHORT)


def test_rollouts_of_other_prompts_are_an_input_error(material):
    other = replace(material, prompts=material.prompts[:1])
    with pytest.raises(InputError, match=r"got 2 prompts, 1 of them no training prompts, e.g. 'id-b b'"):
        make(other, "bon_sft", "n", 2, **SHORT)


def test_batches_pass_over_all_examples(material):
    lesson, _ = make(material, "dpo", "beta", 0.1, **SHORT | {"examples_per_update": 6})
    n = lesson.measures["pairs"]
    assert n + lesson.measures["pairs_dropped"] == 24  # 12 a prompt
    visited = np.concatenate(lesson.batches)[: n * (48 // n)].tolist()
    assert 48 // n >= 2 and all(visited.count(pair) == 48 // n for pair in visited)


def test_stored_log_probabilities_are_those_of_the_reference(toy, material):
    lesson, _ = make(material, "bonbon", "n", 2, **SHORT)
    batch = lesson.batches[0]
    measured = offline.example_log_probs(toy.reference, lesson.responses, batch, 1.0).detach().numpy()
    assert measured == pytest.approx(lesson.responses.reference_log_probs[batch], abs=1e-5)


def test_pairs_of_the_corpus_are_measured_under_the_reference(toy, material):
    settings = SHORT | {"pairs": "dataset"}
    lesson, _ = make(material, "dpo", "beta", 0.1, **settings)
    assert lesson.measures == {"beta": 0.1, "pairs": 2, "pairs_dropped": 0}
    assert lesson.responses.responses == [[0, 1, 3], [2, 3], [2, 3], [0, 3]]
    for row, prompt in enumerate(["a", "b b", "a", "b b"]):
        exact = toy.log_probs(toy.reference, prompt)[toy.responses.index(lesson.responses.responses[row])]
        assert lesson.responses.reference_log_probs[row] == pytest.approx(exact, abs=1e-5)
    assert sorted(np.unique(np.concatenate(lesson.batches), axis=0).tolist()) == [[0, 2], [1, 3]]


def learner_away_from_the_reference(toy, settings):
    learner = Learner(starting_policy(toy.reference), toy.reference, settings)
    with torch.no_grad():
        learner.policy.lm_head.weight.mul_(0.5)
    return learner


def test_mean_log_probabilities_divide_by_the_length(toy, material):
    """Pairs of the corpus: 3 and 2 tokens, 2 and 2 tokens."""
    margins = {}
    for logprob in ("sum", "mean"):
        lesson, settings = make(material, "ipo", "beta", 0.5, **SHORT | {"pairs": "dataset", "logprob": logprob})
        learner = learner_away_from_the_reference(toy, settings)
        margins[logprob] = offline.accumulate_lesson_gradient(learner, lesson, np.array([[0, 2]]))["margin"]
    with torch.no_grad():
        pair = np.array([0, 2])
        now = offline.example_log_probs(learner.policy, lesson.responses, pair[None], 1.0)[0].numpy()
    ratios = now - lesson.responses.reference_log_probs[pair]
    assert margins["sum"] == pytest.approx(ratios[0] - ratios[1], abs=1e-5)
    assert margins["mean"] == pytest.approx(ratios[0] / 3 - ratios[1] / 2, abs=1e-5)


@pytest.mark.parametrize(("method", "kind", "strength"), [("ipo", "beta", 0.5), ("bon_sft", "n", 3)])
def test_chunk_size_does_not_change_the_gradient(toy, material, method, kind, strength):
    gradients = []
    for size in (3, 64):
        lesson, settings = make(material, method, kind, strength, **SHORT | {"chunk_size": size})
        learner = learner_away_from_the_reference(toy, settings)
        offline.accumulate_lesson_gradient(learner, lesson, lesson.batches[0])
        gradients.append([parameter.grad for parameter in learner.policy.parameters()])
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*gradients, strict=True))


def test_temperature_is_that_of_the_policy(toy, material):
    lesson, _ = make(material, "bon_sft", "n", 3, **SHORT)
    halved = copy.deepcopy(toy.reference)
    with torch.no_grad():
        halved.transformer.ln_f.weight.mul_(0.5)
        halved.transformer.ln_f.bias.mul_(0.5)
    batch = lesson.batches[0]
    one = offline.example_log_probs(toy.reference, lesson.responses, batch, 2.0)
    assert torch.allclose(one, offline.example_log_probs(halved, lesson.responses, batch, 1.0), atol=1e-5)


class Stopped(Exception):
    pass


@pytest.mark.parametrize(
    ("method", "kind", "strength", "reward"),
    [("ipo", "beta", 0.5, None), ("bonbon", "n", 4, None), ("regression", "kl", 0.4, "identity")],
)
def test_resumed_run_is_bit_identical(toy, material, tmp_path, method, kind, strength, reward):
    calibrator = reward and "empirical"
    lesson, settings = make(material, method, kind, strength, reward, calibrator, **SHORT)
    undisturbed, log = train(material, lesson, settings, tmp_path, "undisturbed")
    calls = []

    def counting(*arguments, stop=None):
        calls.append(1)
        if len(calls) == stop:
            raise Stopped
        return lesson.loss(*arguments)

    with pytest.raises(Stopped):
        stopping = replace(lesson, loss=lambda *arguments: counting(*arguments, stop=8))
        train(material, stopping, settings, tmp_path, "resumed")
    calls.clear()
    resumed, log_resumed = train(material, replace(lesson, loss=counting), settings, tmp_path, "resumed")
    assert len(calls) == 2  # updates 0 to 5 came from the checkpoint
    assert log_resumed.drop("seconds").equals(log.drop("seconds"))
    one, other = undisturbed.state_dict(), resumed.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not list((tmp_path / "scratch").glob("*"))


def test_every_method_of_the_offline_script_has_a_lesson():
    offline_methods = {kind for kind, method in METHODS.items() if method.script == "train_offline.py"}
    assert set(LESSONS) == offline_methods == set(SETTINGS)


def test_lessons_of_different_policies_differ(material):
    lessons = [
        make(material, "regression", "beta", 0.5, "identity", "empirical", **SHORT)[0],
        make(material, "regression", "beta", 0.5, "log", "empirical", **SHORT)[0],
        make(material, "regression", "beta", 0.4, "identity", "empirical", **SHORT)[0],
        make(material, "regression", "beta", 0.5, "identity", "empirical", seed=1, **SHORT)[0],
        make(material, "bon_sft", "n", 2, **SHORT)[0],
        make(material, "bon_sft", "n", 4, **SHORT)[0],
    ]
    assert len({lesson.fingerprint for lesson in lessons}) == len(lessons)


@pytest.mark.parametrize("method", ["dpo", "regression"])
def test_divergence_names_update_and_cause(toy, material, tmp_path, method):
    reward = ("identity", "empirical") if method == "regression" else (None, None)
    lesson, settings = make(material, method, "beta", 0.5, *reward, **SHORT | {"learning_rate": 1e30})
    with pytest.raises(TrainingDiverged) as caught:
        train(material, lesson, settings, tmp_path)
    message = str(caught.value)
    assert f"{method} diverged at update" in message and "loss" in message
    assert "the mean log-ratio of the batch to the reference was" in message
    assert f"lower {method}.learning_rate" in message


def test_loss_that_is_not_a_number_stops_before_the_step(toy, material, tmp_path):
    lesson, settings = make(material, "bon_sft", "n", 4, **SHORT)
    broken = replace(lesson, loss=lambda log_probs, ratios, rows: log_probs[:, 0] * math.nan)
    with pytest.raises(TrainingDiverged, match="bon_sft diverged at update 0: loss, gradient_norm"):
        train(material, broken, settings, tmp_path)
