"""Variational best-of-N: values against brute force, and policies against the exact best-of-N distribution."""

import itertools
import math
from decimal import Decimal, localcontext

import numpy as np
import polars as pl
import pytest
import torch
from toy import destination, online_task
from transformers import AutoModelForCausalLM

from infalign.alignment import ppo
from infalign.alignment.best_of_n import build_best_of_n_objective, fit_curve, log_gain_of_best, log_one_minus
from infalign.alignment.objectives import build_objective
from infalign.errors import InputError
from infalign.mathematics import exponential_curve
from infalign.records.methods import VBoNSettings

FAST = {
    "updates": 60,
    "prompts_per_update": 2,
    "samples_per_prompt": 128,
    "epochs": 2,
    "minibatches": 2,
    "learning_rate": 0.003,
    "adam_epsilon": 1e-8,
    "gae_lambda": 1.0,
    "checkpoint_every": 3,
    "kl_penalty": "full_vocabulary",
    "group_baseline": True,
}


def known(toy, prompt):
    """Log-probability and reward of all 40 responses to a prompt."""
    texts = toy.tokenizer.batch_decode(toy.responses, skip_special_tokens=True)
    return toy.log_probs(toy.reference, prompt), toy.score([prompt] * len(texts), texts, None)


def log_below(log_probs, rewards):
    """Exact log F under the total order: reward, then log-probability."""
    order = np.lexsort((log_probs, rewards))
    below = np.empty(len(order))
    below[order] = np.concatenate([[-np.inf], np.logaddexp.accumulate(log_probs[order])[:-1]])
    return below


def log_best(log_probs, rewards, n):
    """Exact log π_BoN."""
    return log_probs + log_gain_of_best(log_below(log_probs, rewards), log_probs, n)


def listed_best(log_probs, rewards, n):
    """π_BoN by listing every n-tuple of responses and its winner."""
    p, rank = np.exp(log_probs), np.lexsort((log_probs, rewards)).argsort()
    out = np.zeros(len(p))
    for draw in itertools.product(range(len(p)), repeat=n):
        out[max(draw, key=rank.__getitem__)] += math.prod(p[i] for i in draw)
    return out


def rollouts(toy, size, seed=5):
    """Scored responses of the reference."""
    rng = np.random.default_rng(seed)
    frames = []
    for prompt_id, prompt in toy.prompts.iter_rows():
        log_probs, rewards = known(toy, prompt)
        drawn = rng.choice(len(log_probs), size=size, p=np.exp(log_probs) / np.exp(log_probs).sum())
        columns = {"reward": rewards[drawn], "log_prob": log_probs[drawn]}
        frames.append(pl.DataFrame({"prompt_id": prompt_id, "sample_id": np.arange(size), **columns}))
    return pl.concat(frames)


def in_steps(toy):
    """The toy with rewards rounded to whole numbers: most are tied."""
    toy.rewards = {key: float(round(reward)) for key, reward in toy.rewards.items()}
    return toy


def table(rewards, log_probs=-3.0, prompt_id="a"):
    columns = {"reward": np.asarray(rewards, dtype=float), "log_prob": log_probs}
    return pl.DataFrame({"prompt_id": prompt_id, "sample_id": range(len(rewards)), **columns})


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_best_of_n_is_that_of_listing_every_draw(toy, n, tied):
    log_probs, rewards = known(in_steps(toy) if tied else toy, "a")
    assert np.exp(log_best(log_probs, rewards, n)) == pytest.approx(listed_best(log_probs, rewards, n))


@pytest.mark.parametrize("n", [1, 4, 32, 1024])
def test_best_of_n_sums_to_one(toy, n):
    for prompt in toy.prompts["prompt"]:
        assert np.exp(log_best(*known(toy, prompt), n)).sum() == pytest.approx(1.0)


def test_two_tokens_by_hand():
    """The good token has probability 0.3: best of 2 draws it unless both are the bad one, 1 - 0.49."""
    log_probs, below = np.log([0.7, 0.3]), np.array([-np.inf, np.log(0.7)])
    assert np.exp(log_probs + log_gain_of_best(below, log_probs, 2)) == pytest.approx([0.49, 0.51])


@pytest.mark.parametrize("n", [1, 2, 7, 128, 1024])
def test_gain_is_precise_at_the_extremes(n):
    """Against 400 digits; π = e^-10000 against its limit n F^(n - 1)."""
    for below, log_prob in itertools.product([1 / 1001, 0.5, 1 - 1e-9, 1.0], [-300.0, -20.0, -1.0, -1e-12]):
        capped = float(min(np.log(below), log_one_minus(log_prob)))
        with localcontext() as context:
            context.prec = 400
            f, p = Decimal(capped).exp(), Decimal(log_prob).exp()
            expected = float((((f + p) ** n - f**n) / p).ln())
        gain = float(log_gain_of_best(capped, log_prob, n))
        assert gain == pytest.approx(expected, rel=1e-10, abs=1e-9)
        tiny = float(log_gain_of_best(np.log(below), -1e4, n))
        assert tiny == pytest.approx(math.log(n) + (n - 1) * np.log(below), rel=1e-12)


def test_limits_of_the_gain():
    assert log_gain_of_best([-np.inf, -1.0, -5.0], [-2.0, -1.0, -1e4], 1).tolist() == [0.0, 0.0, 0.0]
    assert log_gain_of_best(-np.inf, -2.0, 5) == pytest.approx(-8.0)  # nothing below: all n must be it
    assert log_gain_of_best(-np.inf, 0.0, 1024) == 0.0  # the only response there is
    assert log_gain_of_best(-0.1, -1e4, 64) == pytest.approx(math.log(64) - 6.3)  # density n F^(n-1)
    assert log_gain_of_best(0.0, -1e4, 64) == pytest.approx(math.log(64))


def test_values_approach_those_of_the_exact_quantiles(toy):
    log_probs, rewards = known(toy, "a")
    wanted = log_gain_of_best(log_below(log_probs, rewards), log_probs, 4)
    errors = []
    for size in (500, 50_000):
        objective = build_best_of_n_objective(rollouts(toy, size), 4)
        values = objective.values(["id-a"] * 40, rewards, log_probs)
        errors.append(np.average(np.abs(values - wanted), weights=np.exp(log_probs)))
    assert errors[1] < 0.3 * errors[0] and errors[1] < 0.02


def test_values_are_counted_by_hand():
    scores = table([1.0, 2.0, 3.0], np.log([0.5, 0.25, 0.125]))
    rewards, log_probs = np.array([0.0, 2.0, 9.0]), np.log([0.125, 0.25, 0.5])
    exact = build_best_of_n_objective(scores, 2)
    # F: 1/4, 2/4, and 1 - 0.5 instead of 4/4; the gain of best-of-2 is 2F + probability
    assert np.exp(exact.values(["a"] * 3, rewards, log_probs)) == pytest.approx([0.625, 1.25, 1.5])
    bound = build_best_of_n_objective(scores, 3, objective="bound")
    assert np.exp(bound.values(["a"] * 3, rewards)) == pytest.approx([1 / 16, 1 / 4, 1.0])
    assert exact.beta == bound.beta == 1.0


def test_a_probability_never_exceeds_one(toy):
    """Without 1 - π_ref as F's limit, the best of few rollouts would be likelier than certain."""
    log_probs, rewards = known(toy, "a")
    objective = build_best_of_n_objective(rollouts(toy, 32), 32)
    best = log_probs + objective.values(["id-a"] * 40, rewards, log_probs)
    assert best.max() <= 0.0
    assert objective.values(["id-a"], np.array([99.0]), np.array([0.0])) == [0.0]


def test_tied_rewards_are_ordered_by_probability():
    scores = table([1.0, 1.0, 1.0, 0.0], np.log([0.02, 0.02, 0.03, 0.05]))
    objective = build_best_of_n_objective(scores, 2)
    log_probs = np.log([0.01, 0.02, 0.03])
    values = objective.values(["a"] * 3, np.ones(3), log_probs)  # below: 1, 1 and 3, so F: (2, 2, 4) / 5
    assert np.exp(values) == pytest.approx([2 * 0.4 + 0.01, 2 * 0.4 + 0.02, 2 * 0.8 + 0.03])
    measured_anew = objective.values(["a"] * 3, np.ones(3), log_probs + 1e-5)
    assert measured_anew == pytest.approx(values, abs=1e-4)


def test_with_tied_rewards_the_order_makes_a_distribution(toy):
    log_probs, rewards = known(in_steps(toy), "a")
    assert len(set(rewards)) < 10
    objective = build_best_of_n_objective(rollouts(toy, 20_000), 4)
    best = np.exp(log_probs + objective.values(["id-a"] * 40, rewards, log_probs))
    assert best == pytest.approx(np.exp(log_best(log_probs, rewards, 4)), abs=0.01)
    assert best.sum() == pytest.approx(1.0, abs=0.02)
    strict = np.array([np.exp(log_probs[rewards < reward]).sum() for reward in rewards])
    with np.errstate(divide="ignore"):
        without = np.exp(log_probs + log_gain_of_best(np.log(strict), log_probs, 4)).sum()
    assert without < 0.8


@pytest.mark.parametrize("form", ["exact", "bound"])
def test_best_of_one_is_the_reference(toy, form):
    log_probs, rewards = known(toy, "a")
    objective = build_best_of_n_objective(rollouts(toy, 50), 1, objective=form)
    assert np.abs(objective.values(["id-a"] * 40, rewards, log_probs)).max() == 0.0


@pytest.mark.parametrize("form", ["exact", "bound"])
def test_increasing_maps_of_the_reward_change_nothing(toy, form):
    log_probs, rewards = known(toy, "a")
    scores = rollouts(toy, 200)
    one = build_best_of_n_objective(scores, 4, objective=form)
    other = build_best_of_n_objective(scores.with_columns(pl.col("reward").exp() * 3 - 7), 4, objective=form)
    mapped = np.exp(rewards) * 3 - 7
    expected = one.values(["id-a"] * 40, rewards, log_probs)
    assert np.array_equal(other.values(["id-a"] * 40, mapped, log_probs), expected)


@pytest.mark.parametrize("n", [2, 5, 11])
def test_bound_is_the_log_transform_with_beta_from_n(toy, n):
    """N = 1/β + 1: (N − 1) log F with weight 1 of the KL, log F with weight 1/(N − 1)."""
    log_probs, rewards = known(in_steps(toy), "a")
    scores = rollouts(toy, 100)
    bound = build_best_of_n_objective(scores, n, objective="bound", n_rollouts=64)
    log = build_objective(scores, "log", n_rollouts=64, beta=1 / (n - 1))
    values = bound.values(["id-a"] * 40, rewards, log_probs)
    assert values == pytest.approx((n - 1) * log.values(["id-a"] * 40, rewards))
    assert values / bound.beta == pytest.approx(log.values(["id-a"] * 40, rewards) / log.beta)


@pytest.mark.parametrize("n", [2, 8, 64])
def test_bound_is_below_the_exact_objective_by_log_n_at_least(toy, n):
    """Theorem 2, and what its last step drops: L + log N is still a lower bound, and it is L's optimum too."""
    log_probs, rewards = known(toy, "a")
    below = log_below(log_probs, rewards)
    scores = rollouts(toy, 2000)
    ids = ["id-a"] * 40
    exact = build_best_of_n_objective(scores, n).values(ids, rewards, log_probs)
    bound = build_best_of_n_objective(scores, n, objective="bound").values(ids, rewards)
    assert (exact >= bound).all()
    for seed in range(20):
        p = np.random.default_rng(seed).dirichlet(np.full(40, 0.5))
        p[below == -np.inf] = 0.0  # the worst response: L is minus infinity
        p /= p.sum()
        seen = p > 0
        entropy = -(p[seen] * np.log(p[seen])).sum()
        reached = (p[seen] * log_best(log_probs, rewards, n)[seen]).sum() + entropy
        lower = (p[seen] * ((n - 1) * below + log_probs)[seen]).sum() + entropy
        assert reached <= 1e-12 and lower + math.log(n) <= reached


def test_first_rollouts_only(toy):
    scores = rollouts(toy, 60)
    few = build_best_of_n_objective(scores, 4, n_rollouts=7)
    cut = build_best_of_n_objective(scores.filter(pl.col("sample_id") < 7), 4)
    log_probs, rewards = known(toy, "a")
    arguments = (["id-a"] * 40, rewards, log_probs)
    assert np.array_equal(few.values(*arguments), cut.values(*arguments))
    assert few.fingerprint == cut.fingerprint != build_best_of_n_objective(scores, 4).fingerprint
    assert few.fingerprint != build_best_of_n_objective(scores, 4, n_rollouts=7, smooth=True).fingerprint


def test_smooth_fit_recovers_its_own_law():
    """Rewards at the quantiles of F(x) = exp(−a e^(−bx)) are fitted without error."""
    a, b, size = 0.8, 2.5, 99
    quantiles = np.arange(1, size + 1) / (size + 1)
    rewards = -np.log(-np.log(quantiles) / a) / b
    scores = table(np.random.default_rng(0).permutation(rewards))
    objective = build_best_of_n_objective(scores, 3, objective="bound", smooth=True)
    asked = np.array([-0.5, 0.0, 0.33, 4.0])
    assert objective.values(["a"] * 4, asked) == pytest.approx(2 * -a * np.exp(-b * asked), rel=1e-6)
    moved = build_best_of_n_objective(scores.with_columns(pl.col("reward") * 10 + 3), 3, objective="bound", smooth=True)
    assert moved.values(["a"] * 4, 10 * asked + 3) == pytest.approx(objective.values(["a"] * 4, asked))


def test_smooth_fit_is_used_within_the_exact_objective(toy):
    scores = rollouts(toy, 100)
    smooth = build_best_of_n_objective(scores, 4, smooth=True)
    log_probs, rewards = known(toy, "b b")
    a, b, center, spread = fit_curve("id-b b", scores.filter(prompt_id="id-b b")["reward"].to_numpy())
    assert a > 0 and b > 0
    fitted = np.minimum(-a * np.exp(-b * (rewards - center) / spread), log_one_minus(log_probs))
    expected = log_gain_of_best(fitted, log_probs, 4)
    assert smooth.values(["id-b b"] * 40, rewards, log_probs) == pytest.approx(expected)


def test_fit_that_fails_names_the_prompt(monkeypatch):
    with pytest.raises(InputError, match="'p7' cannot be fitted: its 4 rollouts have one reward"):
        build_best_of_n_objective(table([2.0] * 4, prompt_id="p7"), 2, smooth=True)
    solver = exponential_curve.least_squares
    monkeypatch.setattr(exponential_curve, "least_squares", lambda *a: solver(*a, max_nfev=1))
    with pytest.raises(InputError, match=r"'p7' cannot be fitted by -a exp\(-b x\): The maximum number"):
        build_best_of_n_objective(table([1.0, 2.0, 4.0], prompt_id="p7"), 2, smooth=True)


@pytest.mark.parametrize("n", [0, -1, 2.5])
def test_n_that_is_no_number_of_responses_is_named(n):
    with pytest.raises(InputError, match=f"whole number, at least 1, got {n}"):
        build_best_of_n_objective(table([1.0, 2.0, 3.0]), n)


def test_few_rollouts_may_estimate_the_objective_of_a_larger_n():
    bound = build_best_of_n_objective(table([1.0, 2.0, 3.0], prompt_id="a"), 10, objective="bound")
    assert np.exp(bound.values(["a", "a"], np.array([0.0, 2.5]))) == pytest.approx([0.25**9, 0.75**9])


def test_input_that_cannot_be_used_is_named():
    scores = table([1.0, 2.0, 3.0])
    with pytest.raises(InputError, match="must be exact or bound, got 'both'"):
        build_best_of_n_objective(scores, 2, objective="both")
    with pytest.raises(InputError, match=r"n_rollouts must be from 1 to 3 .* got 4"):
        build_best_of_n_objective(scores, 2, n_rollouts=4)
    with pytest.raises(InputError, match="the same number of reference rollouts, got from 2 to 3"):
        build_best_of_n_objective(pl.concat([scores, table([1.0, 2.0], prompt_id="b")]), 2)
    with pytest.raises(InputError, match="log_prob of a must be finite, got nan"):
        build_best_of_n_objective(table([1.0, 2.0], [-1.0, math.nan]), 2)
    with pytest.raises(InputError, match="no rows"):
        build_best_of_n_objective(scores.clear(), 2)
    with pytest.raises(InputError, match="'z' has no reference rollouts"):
        build_best_of_n_objective(scores, 2).values(["z"], np.zeros(1), np.zeros(1))
    with pytest.raises(InputError, match="needs the reference's log-probability"):
        build_best_of_n_objective(scores, 2).values(["a"], np.zeros(1))


def train(toy, objective, tmp_path, n_updates=None, **settings):
    return ppo.train_ppo(
        toy.reference,
        online_task(toy),
        objective,
        VBoNSettings(**settings),
        destination(tmp_path),
        updates=n_updates,
    )


def win_rate(p, reference, rewards):
    beats = (rewards[:, None] > rewards) + 0.5 * (rewards[:, None] == rewards)
    return p @ beats @ reference


def distances(toy, policy, n):
    """Means over prompts: KL(π ‖ π_BoN), total variation, win rates of π and of π_BoN, KL(π_ref ‖ π_BoN)."""
    rows = []
    for prompt in toy.prompts["prompt"]:
        log_ref, rewards = known(toy, prompt)
        log_p, log_q = toy.log_probs(policy, prompt), log_best(log_ref, rewards, n)
        p, q, ref = np.exp(log_p), np.exp(log_q), np.exp(log_ref)
        wins = win_rate(p, ref, rewards), win_rate(q, ref, rewards)
        rows.append([p @ (log_p - log_q), 0.5 * np.abs(p - q).sum(), *wins, ref @ (log_ref - log_q)])
    return np.mean(rows, axis=0)


@pytest.mark.parametrize("tied", [False, True])
def test_exact_policy_approaches_best_of_n(toy, tmp_path, tied):
    toy = in_steps(toy) if tied else toy
    objective = build_best_of_n_objective(rollouts(toy, 2000), 4)
    train(toy, objective, tmp_path, **FAST | {"updates": 40 if tied else 60})
    policy = AutoModelForCausalLM.from_pretrained(tmp_path / "run")
    kl, variation, wins, limit, start = distances(toy, policy, 4)
    assert kl < 0.03 and start > 1.5
    assert variation < 0.07
    assert wins == pytest.approx(limit, abs=0.02)


def bound_optimum(log_probs, rewards, n):
    """π_ref F^(n − 1), normalised, from the exact F."""
    log_q = log_probs + (n - 1) * log_below(log_probs, rewards)
    return log_q - np.logaddexp.reduce(log_q)


@pytest.mark.parametrize("n", [2, 4, 8])
def test_optimum_of_the_bound_is_beyond_best_of_n(toy, n):
    """It is best-of-n for small probabilities only; here they are up to 0.27, and it wins and moves more."""
    for prompt in toy.prompts["prompt"]:
        log_ref, rewards = known(toy, prompt)
        log_p, log_q = bound_optimum(log_ref, rewards, n), log_best(log_ref, rewards, n)
        p, q, ref, seen = np.exp(log_p), np.exp(log_q), np.exp(log_ref), np.isfinite(log_p)
        assert 0.003 < p[seen] @ (log_p - log_q)[seen] < 0.04
        assert 0.02 < 0.5 * np.abs(p - q).sum() < 0.1
        assert p[seen] @ (log_p - log_ref)[seen] > q @ (log_q - log_ref)
        assert win_rate(p, ref, rewards) > win_rate(q, ref, rewards)


def test_bound_policy_approaches_the_optimum_of_the_bound(toy, tmp_path):
    objective = build_best_of_n_objective(rollouts(toy, 2000), 4, objective="bound")
    train(toy, objective, tmp_path, **FAST)
    policy = AutoModelForCausalLM.from_pretrained(tmp_path / "run")
    to_optimum, wins, limits = [], [], []
    for prompt in toy.prompts["prompt"]:
        log_ref, rewards = known(toy, prompt)
        log_q = log_ref + objective.values([f"id-{prompt}"] * 40, rewards)
        log_q -= np.logaddexp.reduce(log_q)
        log_p = toy.log_probs(policy, prompt)
        to_optimum.append(np.exp(log_p) @ (log_p - log_q))
        wins.append(win_rate(np.exp(log_p), np.exp(log_ref), rewards))
        limits.append(win_rate(np.exp(bound_optimum(log_ref, rewards, 4)), np.exp(log_ref), rewards))
    assert np.mean(to_optimum) < 0.05
    assert np.mean(wins) == pytest.approx(np.mean(limits), abs=0.02)
    assert distances(toy, policy, 4)[0] < 0.08


def test_best_of_one_saves_the_reference_untrained(toy, tmp_path):
    objective = build_best_of_n_objective(rollouts(toy, 20), 1)
    log = train(toy, objective, tmp_path, n_updates=0, **FAST)
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "run").state_dict()
    assert log.height == 0
    assert all(torch.equal(saved[name], tensor) for name, tensor in toy.reference.state_dict().items())
