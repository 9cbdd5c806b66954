"""Theorem 4 and the remark after it, against closed forms and brute force."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime, brentq

from infalign.errors import InputError
from infalign.mathematics.continuous import Density
from infalign.mathematics.procedures import parse_procedure
from infalign.mathematics.quadrature import Panels
from infalign.mathematics.transforms import parse_transform
from infalign.studies.multitask.change_of_variables import (
    carried_tilt,
    rate_at_transformed_kl,
    tilt_at_transformed_kl,
    transformed_kl,
)
from infalign.studies.multitask.mathematics import (
    LogLinearTask,
    compare_multitask,
    minimiser,
    reward_term,
    sft_divergence,
    sft_loss,
)


def random_task(seed=0, n_features=3):
    rng = np.random.default_rng(seed)
    return LogLinearTask(
        rng.normal(size=(4, 5, n_features)), rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(5), 4),
        rng.normal(size=(4, 5)),
    )  # fmt: skip


def listed_task(seed=0):
    """One prompt, every distribution over four responses representable."""
    rng = np.random.default_rng(seed)
    features = np.eye(4)[None, :, :3]
    return LogLinearTask(features, [1.0], rng.dirichlet(np.ones(4))[None], rng.normal(size=(1, 4)))


def sft_of(task):
    return minimiser(lambda theta: sft_loss(task, theta), [np.zeros(task.features.shape[2])])


@pytest.mark.parametrize("divergence", ["sft_to_policy", "policy_to_sft"])
def test_divergences_are_those_of_the_listed_probabilities(divergence):
    task, rng = random_task(), np.random.default_rng(1)
    theta, sft = rng.normal(size=3), rng.normal(size=3)
    exponentials = [np.exp(task.features @ parameters) for parameters in (theta, sft)]
    policy, fitted = (values / values.sum(axis=1, keepdims=True) for values in exponentials)
    first, second = (fitted, policy) if divergence == "sft_to_policy" else (policy, fitted)
    expected = task.prompts @ (first * np.log(first / second)).sum(axis=1)
    assert sft_divergence(task, theta, sft, divergence)[0] == pytest.approx(expected, rel=1e-12)


def test_gradients_are_those_of_the_values():
    task, rng = random_task(), np.random.default_rng(2)
    theta, sft = rng.normal(size=3), rng.normal(size=3)
    terms = [lambda t: sft_loss(task, t), lambda t: reward_term(task, t)]
    terms += [lambda t, d=d: sft_divergence(task, t, sft, d) for d in ("sft_to_policy", "policy_to_sft")]
    for term in terms:
        numeric = approx_fprime(theta, lambda t, term=term: term(t)[0], 1e-7)
        assert term(theta)[1] == pytest.approx(numeric, abs=1e-5)


def test_sft_meets_the_demonstrations_features():
    task = random_task()
    policy = np.exp(task.log_policy(sft_of(task)))
    assert task.expected_features(policy) == pytest.approx(task.expected_features(task.demonstrations), abs=1e-7)


def test_divergence_to_the_policy_is_the_loss_up_to_its_minimum():
    task, rng = random_task(), np.random.default_rng(3)
    sft = sft_of(task)
    for theta in rng.normal(size=(5, 3)):
        loss = sft_loss(task, theta)[0] - sft_loss(task, sft)[0]
        assert sft_divergence(task, theta, sft, "sft_to_policy")[0] == pytest.approx(loss, abs=1e-7)


def test_regularised_alignment_as_usual_is_the_exponential_tilt():
    task, beta = listed_task(), 0.7
    tilted = task.demonstrations[0] * np.exp(task.rewards[0] / beta)
    tilted /= tilted.sum()
    found = compare_multitask(task, "policy_to_sft", -1, beta)
    assert found.reward_gain == pytest.approx((tilted - task.demonstrations[0]) @ task.rewards[0], abs=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
def test_multitask_policy_is_p_over_a_level_less_the_reward(sign):
    """Stationarity of -p log π + (sign/β) r π with a multiplier: π = p / (level + sign r / β)."""
    task, beta = listed_task(1), 0.9
    p, slope = task.demonstrations[0], sign * task.rewards[0] / beta
    level = brentq(lambda x: (p / (x + slope)).sum() - 1, -slope.min() + 1e-9, -slope.min() + 100)
    policy = p / (level + slope)
    found = compare_multitask(task, "sft_to_policy", sign, beta)
    assert found.reward_gain == pytest.approx((policy - p) @ task.rewards[0], abs=1e-6)
    assert found.total_variation < 1e-6 and found.objective_range < 1e-6
    tilted = p * np.exp(-slope)
    other = compare_multitask(task, "policy_to_sft", sign, beta)
    distance = np.abs(policy - tilted / tilted.sum()).sum() / 2
    assert other.total_variation == pytest.approx(distance, abs=1e-6) and distance > 1e-3


def test_minimisers_are_equal_for_one_divergence_only_and_its_constant_is_less_the_loss():
    for seed, beta in ((0, 0.3), (1, 3.0)):
        task = random_task(seed)
        equal, other = (
            compare_multitask(task, divergence, -1, beta) for divergence in ("sft_to_policy", "policy_to_sft")
        )
        assert equal.total_variation < 1e-6 and equal.objective_range < 1e-6
        assert abs(equal.constant) < 1e-7
        assert other.total_variation > 1e-4 and other.objective_range > 0.1
        assert equal.reward_gain > 0 > compare_multitask(task, "sft_to_policy", 1, beta).reward_gain


def test_errors_say_what_is_wrong():
    with pytest.raises(InputError, match="need as many prompts"):
        LogLinearTask(np.zeros((1, 2, 1)), [0.5, 0.5], [[0.5, 0.5]], [[0.0, 1.0]])
    with pytest.raises(InputError, match="demonstrations must be probabilities above 0"):
        LogLinearTask(np.zeros((1, 2, 1)), [1.0], [[0.0, 1.0]], [[0.0, 1.0]])
    with pytest.raises(InputError, match="beta must be"):
        compare_multitask(listed_task(), "sft_to_policy", 1, 0.0)
    with pytest.raises(InputError, match="no minimum found"):
        minimiser(lambda theta: (0.0, np.ones(1)), [np.zeros(1)])
    with pytest.raises(InputError, match=r"bop\(2.5\): only none"):
        transformed_kl(carried_tilt(parse_procedure("none"), 1.0), parse_procedure("bop(2.5)"))


@pytest.mark.parametrize(("text", "n"), [("bon(3)", 3), ("won(3)", 3), ("none", 1)])
def test_carried_tilt_becomes_the_tilt_under_the_procedure(text, n):
    """Counts of a large sample through the procedure, in the reference's own quantile under it."""
    procedure, rate, rng = parse_procedure(text), 3.0, np.random.default_rng(0)
    policy = carried_tilt(procedure, rate)
    drawn = np.interp(rng.random((200_000, n)), policy.below, policy.panels.u)
    picked = drawn.min(axis=1) if procedure.name == "won" else drawn.max(axis=1)
    quantile = 1 - (1 - picked) ** n if procedure.name == "won" else picked**n
    edges = np.linspace(0, 1, 11)
    expected = np.diff(np.expm1(rate * edges) / np.expm1(rate))
    found = np.histogram(quantile, edges)[0] / len(quantile)
    error = np.sqrt(expected * (1 - expected) / len(quantile))
    assert (np.abs(found - expected) < 4.5 * error + 1e-5).all()


@pytest.mark.parametrize("text", ["none", "bon(4)", "won(4)", "bon(32)"])
def test_regularising_after_a_procedure_is_the_standard_problem(text):
    procedure, rate = parse_procedure(text), 3.0
    policy = carried_tilt(procedure, rate)
    mean = 1 / -np.expm1(-rate) - 1 / rate  # of the tilt: its standard win rate
    assert procedure.win_rate(policy) == pytest.approx(mean, abs=1e-9)
    exact = rate * mean - np.log(np.expm1(rate) / rate)
    assert transformed_kl(policy, procedure) == pytest.approx(exact, abs=1e-9)
    assert rate_at_transformed_kl(procedure, exact) == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize("text", ["bon(4)", "won(4)"])
@pytest.mark.parametrize("transform", ["identity", "log", "exp(10)", "exp(-5)"])
def test_no_other_transform_wins_more_at_that_divergence(text, transform):
    procedure = parse_procedure(text)
    best = carried_tilt(procedure, rate_at_transformed_kl(procedure, 0.5))
    other = tilt_at_transformed_kl(parse_transform(transform), procedure, 0.5)
    assert transformed_kl(other, procedure) == pytest.approx(0.5, abs=1e-9)
    assert procedure.win_rate(other) < procedure.win_rate(best)


@pytest.mark.parametrize("text", ["bon(4)", "won(4)"])
def test_transformed_divergence_is_that_of_the_densities(text):
    procedure, n = parse_procedure(text), 4
    panels = Panels.graded(20, 20, per_octave=2)
    density = Density(panels, 2 * panels.u)
    u = (np.arange(200_000) + 0.5) / 200_000
    f, below = 2 * np.exp(2 * u) / np.expm1(2), np.expm1(2 * u) / np.expm1(2)
    level, base = (1 - below, 1 - u) if procedure.name == "won" else (below, u)
    picked, reference = n * level ** (n - 1) * f, n * base ** (n - 1)
    expected = np.mean(picked * np.log(picked / reference))
    assert transformed_kl(density, procedure) == pytest.approx(expected, abs=1e-6)
