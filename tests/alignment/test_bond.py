"""Best-of-N distillation on policies small enough to be listed whole."""

import numpy as np
import polars as pl
import pytest
import torch
from scipy.optimize import brentq
from toy import destination, online_task
from transformers import AutoModelForCausalLM

from infalign.alignment import best_of_anchor, bond, policy_update
from infalign.alignment.batches import OnlineTask, sample_batch
from infalign.alignment.sequences import Sequences
from infalign.alignment.training import TrainingDiverged, prompt_rows
from infalign.errors import InputError
from infalign.records.methods import BONDSettings, JBONDSettings

FAST = {
    "samples_per_prompt": 128,
    "prompts_per_update": 2,
    "group_baseline": True,
    "kl_penalty": "full_vocabulary",
    "epochs": 1,
    "gae_lambda": 1.0,
    "learning_rate": 0.003,
    "adam_epsilon": 1e-8,
    "checkpoint_every": 3,
}
MANY_PAIRS = FAST | {"prompts_per_update": 128, "samples_per_prompt": 2}
SMALL = FAST | {"samples_per_prompt": 4}
EVEN = (np.arange(1000) + 0.5) / 1000  # levels of 1000 responses without chance


@pytest.fixture
def rollouts(toy) -> pl.DataFrame:
    """2000 scored responses of the reference to each prompt, with their tokens."""
    return table_at(toy, np.random.default_rng(5).random((2, 2000)))


def table_at(toy, levels) -> pl.DataFrame:
    """Scored responses at these levels of the reference's distribution function, (prompts, samples)."""
    frames = []
    for (prompt_id, prompt), of_prompt in zip(toy.prompts.iter_rows(), levels, strict=True):
        p = np.exp(toy.log_probs(toy.reference, prompt))
        drawn = np.searchsorted(np.cumsum(p) / p.sum(), of_prompt)
        tokens = [toy.responses[i] for i in drawn]
        columns = {"prompt_id": prompt_id, "sample_id": np.arange(len(drawn)), "tokens": tokens}
        frames.append(pl.DataFrame(columns | {"reward": rewards(toy, prompt)[drawn]}))
    return pl.concat(frames)


def rewards(toy, prompt):
    """Reward of every response, (40,)."""
    texts = toy.tokenizer.batch_decode(toy.responses, skip_special_tokens=True)
    return toy.score([prompt] * len(texts), texts, None)


def best_of(p, rewards, n):
    """Exact probabilities under best-of-n; no two rewards are equal."""
    below = (p * (rewards < rewards[:, None])).sum(axis=1)
    return (below + p) ** n - below**n


def train(toy, rollouts, tmp_path, settings, n, name="run", score=None, seed=0):
    task = online_task(toy, score, seed)
    return bond.train_bond(toy.reference, task, rollouts, settings, destination(tmp_path, name), n=n)


def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


def distances(toy, policy, n):
    """Mean over prompts of KL(BoN ‖ π), KL(π ‖ BoN), total variation and of both win rates."""
    rows = []
    for prompt in toy.prompts["prompt"]:
        p, q = (np.exp(toy.log_probs(model, prompt)) for model in (toy.reference, policy))
        r = rewards(toy, prompt)
        target = best_of(p, r, n)
        ranks = (p * (r < r[:, None])).sum(axis=1) + p / 2
        log_ratio = np.log(target / q)
        rows.append([target @ log_ratio, -q @ log_ratio, np.abs(target - q).sum() / 2, q @ ranks, target @ ranks])
    return dict(zip(("forward", "backward", "variation", "wins", "ideal"), np.mean(rows, 0), strict=True))


def reached_n(toy, policy):
    """The n of the best-of-n that wins as often against the reference as the policy, geometric mean."""
    logs = []
    for prompt in toy.prompts["prompt"]:
        p, q = (np.exp(toy.log_probs(model, prompt)) for model in (toy.reference, policy))
        r = rewards(toy, prompt)
        ranks = (p * (r < r[:, None])).sum(axis=1) + p / 2
        logs.append(np.log(brentq(lambda n, p=p, q=q, r=r, ranks=ranks: (best_of(p, r, n) - q) @ ranks, 0.1, 1000)))
    return float(np.exp(np.mean(logs)))


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder)


# values and draws


def test_bond_value_by_hand_on_two_tokens():
    """Tokens a < b with anchor probabilities 1/4 and 3/4: best of two is 1/16 and 15/16."""
    million = 10**6
    values = best_of_anchor.log_density_of_best([0, million // 4], [million // 4, 3 * million // 4], million, 2)
    assert np.exp(values) * [0.25, 0.75] == pytest.approx([1 / 16, 15 / 16], abs=1e-5)
    values = best_of_anchor.log_density_of_best([0, million // 4], [million // 4, 3 * million // 4], million, 3)
    assert np.exp(values) * [0.25, 0.75] == pytest.approx([1 / 64, 63 / 64], abs=1e-5)


def test_bond_value_without_ties_is_the_log_quantile():
    below = np.arange(1000) * 100
    values = best_of_anchor.log_density_of_best(below, np.zeros(1000), 10**5, 4)
    expected = np.log(4) + 3 * np.log((below + 0.5) / (10**5 + 1))
    assert values[10:] == pytest.approx(expected[10:], abs=1e-4)
    assert np.isfinite(values).all()


def test_bond_value_of_a_thousand_is_finite():
    values = best_of_anchor.log_density_of_best([0, 32], [0, 0], 32, 1000)
    assert values == pytest.approx([999 * np.log(1 / 33), np.log(33)], rel=1e-6)


def test_bond_value_by_hand_from_samples_with_a_tie():
    samples = best_of_anchor.BestOfAnchor(["x"], [[[0]] * 4], np.array([[0.0, 1.0, 1.0, 2.0]]), 2)
    values = samples.values(["x", "x", "x"], np.array([-1.0, 1.0, 3.0]))  # (F⁻, F) = (0, 1), (1, 4), (4, 5) / 5
    assert np.exp(values) == pytest.approx([1 / 5, 1, 9 / 5])


def test_jbond_reward_by_hand():
    values = best_of_anchor.WorseThanBoth(np.array([0.5, 0.5, 0.5])).values(["x"] * 3, np.array([0.4, 0.5, 0.7]))
    assert values.tolist() == pytest.approx([-np.log(16), 0, 0])


def test_best_of_two_drawn_without_replacement_has_its_exact_frequencies():
    """Rewards 0, 1, 1, 2: of the six pairs three hold the 2, the two tied ones win one and a half each."""
    samples = best_of_anchor.BestOfAnchor(["x"], [[[0], [1], [2], [3]]], np.array([[0.0, 1.0, 1.0, 2.0]]), 2)
    drawn = samples.draw(np.zeros(40_000, dtype=np.int64), np.random.default_rng(0))
    shares = np.bincount([tokens[0] for tokens in drawn], minlength=4) / len(drawn)
    assert shares == pytest.approx([0, 0.25, 0.25, 0.5], abs=0.01)


# gradients


def all_log_probs(toy, policy, prompt):
    """Differentiable log-probability of every response, (40,)."""
    start = toy.tokenizer(prompt)["input_ids"]
    rows = []
    for response in toy.responses:
        log_p = policy(torch.tensor([start + response])).logits[0, len(start) - 1 : -1].log_softmax(-1)
        rows.append(log_p[torch.arange(len(response)), torch.tensor(response)].sum())
    return torch.stack(rows).double()


def exact_gradient(toy, learner, n, jeffreys):
    """Gradient of the enumerated Jeffreys divergence, mean over prompts."""
    learner.policy.zero_grad()
    loss = 0.0
    for prompt in toy.prompts["prompt"]:
        target = best_of(np.exp(toy.log_probs(learner.reference, prompt)), rewards(toy, prompt), n)
        log_target = torch.tensor(np.log(target))
        log_p = all_log_probs(toy, learner.policy, prompt)
        forward = (log_target.exp() * (log_target - log_p)).sum()
        backward = (log_p.exp() * (log_p - log_target)).sum()
        loss = loss + ((1 - jeffreys) * forward + jeffreys * backward) / toy.prompts.height
    loss.backward()
    return learner.policy.lm_head.weight.grad.clone()


@pytest.mark.parametrize(("n", "jeffreys"), [(2, 0.0), (2, 1.0), (3, 0.5)])
def test_gradient_is_the_exact_gradient_of_the_jeffreys_divergence(toy, n, jeffreys):
    settings = BONDSettings(**FAST | {"samples_per_prompt": 4096, "jeffreys": jeffreys})
    learner = bond.anchored_learner(toy.reference, settings, 1.0, 1)
    with torch.no_grad():  # away from the anchor, so that its KL has a gradient
        learner.policy.lm_head.weight.mul_(0.5)
    anchor = best_of_anchor.build_best_of_anchor(table_at(toy, [EVEN, EVEN]), toy.prompts, n)
    batch = sample_batch(learner, online_task(toy), anchor)
    policy_update.set_advantages(batch, 1.0, settings, learner.device)
    rows = np.repeat(prompt_rows(2, 2, seed=0, step=0), 4096)
    best = Sequences(batch.prompts, anchor.draw(rows, np.random.default_rng(0)))
    bond.accumulate_jeffreys_gradient(learner, batch, best, np.arange(len(rows)), 1.0)
    sampled = learner.policy.lm_head.weight.grad * batch.lengths.mean()
    exact = exact_gradient(toy, learner, n, jeffreys)
    assert torch.linalg.norm(sampled - exact) < 0.1 * torch.linalg.norm(exact)


# two tokens a and b, rewards 0 and 1: anchor (1/4, 3/4), best of two (1/16, 15/16), policy (1/2, 1/2)

FORWARD = 1 / 2 - 1 / 16  # of KL(BoN ‖ π) by the logit of a: π(a) − BoN(a)


def backward(values):
    """Derivative of −E_π[values] + KL(π ‖ anchor) by the logit of a, at π = (1/2, 1/2)."""
    costs = np.log([0.5 / 0.25, 0.5 / 0.75]) - values
    return 0.5 * (costs[0] - costs.mean())


@pytest.fixture
def two_tokens(toy):
    """Learner and task of responses of one token; the model's output is a bias and nothing else."""

    def build(settings):
        learner = bond.anchored_learner(toy.reference, settings, 1.0, 1)
        for model, p in ((learner.policy, [0.5, 0.5]), (learner.reference, [0.25, 0.75])):
            model.lm_head = torch.nn.Linear(32, 2)
            torch.nn.init.zeros_(model.lm_head.weight)
            model.lm_head.bias.data = torch.tensor(p).log()

        def score(prompts, responses, finished):
            return np.array([float(response == "b") for response in responses])

        return learner, OnlineTask(toy.tokenizer, toy.prompts, score, 0, 1)

    return build


def bias_gradient(learner, batch, best):
    policy_update.set_advantages(batch, 1.0, learner.settings, learner.device)
    bond.accumulate_jeffreys_gradient(learner, batch, best, np.arange(len(batch.prompts)), 1.0)
    return learner.policy.lm_head.bias.grad.tolist()


@pytest.mark.parametrize("jeffreys", [0.25, 1.0])
def test_bond_gradient_by_hand_on_two_tokens(two_tokens, toy, jeffreys):
    settings = BONDSettings(**FAST | {"samples_per_prompt": 2048, "jeffreys": jeffreys})
    learner, task = two_tokens(settings)
    pool = np.tile(np.repeat([0.0, 1.0], [1000, 3000]), (2, 1))
    anchor = best_of_anchor.BestOfAnchor(toy.prompts["prompt_id"].to_list(), [], pool, 2)
    best = Sequences([[0]] * 16, [[0]] + [[1]] * 15)
    gradient = bias_gradient(learner, sample_batch(learner, task, anchor), best)
    exact = (1 - jeffreys) * FORWARD + jeffreys * backward(np.log([1 / 4, 5 / 4]))
    assert backward(np.log([1 / 4, 5 / 4])) == pytest.approx(0.25 * np.log(15))
    assert gradient == pytest.approx([exact, -exact], rel=0.02)


@pytest.mark.parametrize("jeffreys", [0.25, 1.0])
def test_jbond_gradient_by_hand_on_two_tokens(two_tokens, jeffreys):
    """A response a is worse than both anchor responses with probability 9/16, b never."""
    settings = JBONDSettings(**MANY_PAIRS | {"prompts_per_update": 4096, "jeffreys": jeffreys})
    learner, task = two_tokens(settings)
    best, worse = bond.sample_anchor_pairs(learner, task)
    batch = sample_batch(learner, task, best_of_anchor.WorseThanBoth(np.repeat(worse, 2)))
    gradient = bias_gradient(learner, batch, best)
    exact = (1 - jeffreys) * FORWARD + jeffreys * backward(np.array([-9 / 16 * np.log(16), 0.0]))
    assert gradient == pytest.approx([exact, -exact], rel=0.05)


# training


def test_bond_approaches_best_of_four(toy, rollouts, tmp_path):
    """Reached: forward 0.070, backward 0.067 nats, variation 0.12, wins 0.804 of 0.796."""
    settings = BONDSettings(**FAST | {"updates": 40, "samples_per_prompt": 64, "quantile_samples": 1000})
    log = train(toy, rollouts, tmp_path, settings, n=4)
    reached, start = distances(toy, load(tmp_path / "run"), 4), distances(toy, toy.reference, 4)
    assert log.height == 80
    assert reached["forward"] < 0.085 and reached["backward"] < 0.08 and reached["variation"] < 0.14
    assert min(start["forward"], start["backward"]) > 0.6
    assert reached["wins"] == pytest.approx(reached["ideal"], abs=0.012)
    assert log["objective"][-1] == pytest.approx(0, abs=0.1)  # minus the last stage's backward divergence
    assert log["kl"][40] == 0  # the second stage starts at its anchor


def test_one_stage_of_best_of_four_approaches_it_too(toy, rollouts, tmp_path):
    """Reached: forward 0.043, backward 0.054 nats, variation 0.09, wins 0.779 of 0.796."""
    settings = BONDSettings(**FAST | {"updates": 50, "samples_per_prompt": 64, "n_each": 4})
    train(toy, rollouts, tmp_path, settings, n=4)
    reached = distances(toy, load(tmp_path / "run"), 4)
    assert reached["forward"] < 0.055 and reached["backward"] < 0.065 and reached["variation"] < 0.11


def test_jbond_reaches_between_n_and_twice_n(toy, tmp_path):
    """Reached: n = 5.4 of a nominal 4."""
    log = train(toy, None, tmp_path, JBONDSettings(**MANY_PAIRS | {"updates": 35}), n=4)
    assert log.height == 70
    assert 4 < reached_n(toy, load(tmp_path / "run")) < 8


def test_anchor_of_a_policy_that_follows_doubles_every_so_many_updates():
    """Exponent a of an anchor F^a: the policy at twice a, weights moved by the anchor rate."""
    settings = JBONDSettings(updates=35)
    exponent = 1.0
    for _ in range(70):
        exponent += settings.anchor_rate * (2 * exponent - exponent)
    assert exponent == pytest.approx(4)


def test_anchor_moves_by_the_rate_and_the_reference_stays(toy):
    before = toy.reference.lm_head.weight.clone()
    learner = bond.anchored_learner(toy.reference, JBONDSettings(**SMALL), 1.0, 1)
    with torch.no_grad():
        learner.policy.lm_head.weight.add_(1.0)
    bond.move_anchor(learner, 0.25)
    assert torch.allclose(learner.reference.lm_head.weight, before + 0.25)
    bond.move_anchor(learner, 1.0)
    assert torch.equal(learner.reference.lm_head.weight, learner.policy.lm_head.weight)
    assert torch.equal(toy.reference.lm_head.weight, before)


@pytest.mark.parametrize("settings", [BONDSettings(**SMALL), JBONDSettings(**SMALL)], ids=["bond", "jbond"])
def test_best_of_one_is_the_reference_itself(toy, rollouts, tmp_path, settings):
    log = train(toy, rollouts, tmp_path, settings, n=1)
    assert log.is_empty()
    saved, reference = weights(tmp_path / "run"), toy.reference.state_dict()
    assert all(torch.equal(saved[name], reference[name]) for name in reference)


@pytest.mark.parametrize(
    ("settings", "n", "after"),
    [
        (BONDSettings(**SMALL | {"updates": 4, "checkpoint_every": 6}), 4, 8),  # 6: inside stage 1
        (BONDSettings(**SMALL | {"updates": 4, "checkpoint_every": 4}), 4, 6),  # 4: where stage 1 starts
        (JBONDSettings(**SMALL | {"updates": 4}), 4, 11),
    ],
    ids=["inside a stage", "between stages", "jbond"],
)
def test_resumed_run_is_bit_identical(toy, rollouts, tmp_path, settings, n, after):
    undisturbed = train(toy, rollouts, tmp_path, settings, n, "undisturbed")
    calls = []

    def killed(*arguments):
        calls.append(1)
        if len(calls) == after:
            raise KeyboardInterrupt
        return toy.score(*arguments)

    with pytest.raises(KeyboardInterrupt):
        train(toy, rollouts, tmp_path, settings, n, "resumed", score=killed)
    assert list((tmp_path / "scratch").glob(f"{settings.kind}-*.safetensors"))
    resumed = train(toy, rollouts, tmp_path, settings, n, "resumed")
    assert resumed.drop("seconds").equals(undisturbed.drop("seconds"))
    one, other = weights(tmp_path / "undisturbed"), weights(tmp_path / "resumed")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_minibatches_share_out_the_best_responses(toy, rollouts, tmp_path):
    """Each half of a J-BOND batch takes the best responses to its own prompts."""
    settings = JBONDSettings(**SMALL | {"updates": 1, "minibatches": 2, "epochs": 2})
    log = train(toy, rollouts, tmp_path, settings, n=2)
    assert log.select(pl.all().is_finite().all()).row(0) == (True,) * log.width
    assert log["forward_loss"][0] > 0


# errors


def test_n_that_stages_cannot_reach_is_named(toy, rollouts, tmp_path):
    with pytest.raises(InputError, match=r"n must be a power of 2 \(1, 2, 4, \.\.\.\), got 6"):
        train(toy, rollouts, tmp_path, BONDSettings(**SMALL), n=6)
    with pytest.raises(InputError, match="J-BOND needs n >= 1, got 0"):
        train(toy, rollouts, tmp_path, JBONDSettings(**SMALL), n=0)


def test_fewer_rollouts_than_n_each_are_named(toy, rollouts, tmp_path):
    few = rollouts.filter(pl.col("sample_id") < 3)
    with pytest.raises(InputError, match="at least 4, got from 3 to 3"):
        train(toy, few, tmp_path, BONDSettings(**SMALL | {"n_each": 4}), n=4)
    one_prompt = few.filter(pl.col("prompt_id") == "id-a")
    with pytest.raises(InputError, match="to every training prompt and at least 2, got from 0 to 3"):
        train(toy, one_prompt, tmp_path, BONDSettings(**SMALL), n=2)


@pytest.mark.parametrize("broken_call", [1, 3])
def test_reward_of_bond_that_is_not_finite_is_named(toy, rollouts, tmp_path, broken_call):
    """Call 1 scores the policy of update 0, call 3 the anchor of the second stage."""
    calls = []

    def score(prompts, responses, finished):
        calls.append(1)
        return toy.score(prompts, responses, finished) * (np.nan if len(calls) == broken_call else 1)

    settings = BONDSettings(**SMALL | {"updates": 2})
    with pytest.raises(InputError, match=rf"at update {broken_call - 1} is not finite: got nan for prompt_id 'id-"):
        train(toy, rollouts, tmp_path, settings, n=4, score=score)


def test_reward_of_jbond_that_is_not_finite_is_named(toy, rollouts, tmp_path):
    def broken(prompts, responses, finished):
        return np.full(len(prompts), np.nan)

    with pytest.raises(InputError, match="the reward of 4 of 4 responses at update 0 is not finite"):
        train(toy, rollouts, tmp_path, JBONDSettings(**SMALL), n=2, score=broken)


@pytest.mark.parametrize("kind", [BONDSettings, JBONDSettings])
def test_divergence_names_the_method(toy, rollouts, tmp_path, kind):
    settings = kind(**SMALL | {"learning_rate": 1e30, "updates": 10})
    with pytest.raises(TrainingDiverged, match=f"{settings.kind} diverged at update"):
        train(toy, rollouts, tmp_path, settings, n=2)


def test_no_prompts_is_an_input_error(toy, rollouts, tmp_path):
    toy.prompts = toy.prompts.clear()
    with pytest.raises(InputError, match="the training needs at least one training prompt, got none"):
        train(toy, rollouts, tmp_path, BONDSettings(**SMALL), n=2)
