"""What a policy maximises: values, β for a KL, and the errors of the reward's text form."""

import math

import numpy as np
import polars as pl
import pytest
from scipy.special import xlogy

from infalign.alignment.objectives import build_objective
from infalign.errors import InputError
from infalign.mathematics.optimum import optimal


@pytest.fixture
def scores() -> pl.DataFrame:
    """40 rollouts of each of 6 prompts; location and scale of the reward vary by prompt."""
    rng = np.random.default_rng(0)
    rewards = rng.normal(size=(6, 40)) * np.array([[0.3], [0.5], [1.0], [1.0], [2.0], [4.0]]) + np.arange(6)[:, None]
    return pl.DataFrame(
        {
            "prompt_id": np.repeat([f"p{i}" for i in range(6)], 40),
            "sample_id": np.tile(np.arange(40), 6),
            "reward": rewards.ravel(),
        }
    )


def rollouts(scores: pl.DataFrame, prompt_id: str) -> np.ndarray:
    return scores.filter(pl.col("prompt_id") == prompt_id)["reward"].to_numpy()


def tilt_kl(objective, scores: pl.DataFrame) -> float:
    """Mean KL of the exact tilt of the rollouts by the objective's own values."""
    kls = []
    for prompt_id in scores["prompt_id"].unique().to_list():
        rewards = rollouts(scores, prompt_id)
        weights = np.exp(objective.values([prompt_id] * len(rewards), rewards) / objective.beta)
        weights /= weights.sum()
        kls.append(xlogy(weights, len(weights) * weights).sum())
    return float(np.mean(kls))


@pytest.mark.parametrize("kl", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("reward", ["raw", "identity", "log", "exp(10)", "exp(-10)", "optimal(bon(4))"])
def test_beta_meets_the_kl_on_the_reference_rollouts(scores, reward, kl):
    objective = build_objective(scores, reward, kl=kl)
    assert tilt_kl(objective, scores) == pytest.approx(kl, rel=1e-6)
    assert objective.kl == pytest.approx(kl, rel=1e-6)


@pytest.mark.parametrize("p", [1, 5])
def test_beta_meets_the_kl_with_anchors(scores, p):
    objective = build_objective(scores, "exp(10)", f"anchors({p})", kl=0.5)
    assert tilt_kl(objective, scores) == pytest.approx(0.5, rel=1e-6)


def test_raw_is_centred_and_scaled_once_over_all_rollouts(scores):
    objective = build_objective(scores, "raw", None, kl=0.5)
    rewards = scores["reward"].to_numpy()
    values = objective.values(scores["prompt_id"].to_list(), rewards)
    assert values.mean() == pytest.approx(0.0, abs=1e-12) and values.std() == pytest.approx(1.0)
    assert values == pytest.approx((rewards - rewards.mean()) / rewards.std())
    assert values[:40].std() != pytest.approx(values[-40:].std(), rel=0.5)  # not by prompt


def test_strength_in_the_papers_units(scores):
    spread = scores["reward"].to_numpy().std()
    assert build_objective(scores, "exp(10)", beta=0.05).beta == pytest.approx(0.05 * math.exp(-10))
    assert build_objective(scores, "exp(-10)", beta=0.05).beta == 0.05
    assert build_objective(scores, "identity", beta=0.05).beta == 0.05
    assert build_objective(scores, "raw", None, beta=0.05).beta == pytest.approx(0.05 / spread)
    for reward in ("raw", "exp(10)", "identity"):
        assert build_objective(scores, reward, beta=0.05).beta_paper == pytest.approx(0.05)


def test_values_by_hand():
    table = pl.DataFrame({"prompt_id": ["a"] * 4, "sample_id": range(4), "reward": [1.0, 2.0, 3.0, 4.0]})
    rewards = np.array([0.0, 2.0, 9.0])  # calibrated, half ties: 0, 3/8, 1; strictly: 0, 1/4, 1
    ids = ["a"] * 3

    def values(reward, **options):
        return build_objective(table, reward, beta=1.0, **options).values(ids, rewards)

    assert values("identity") == pytest.approx([0, 0.375, 1])
    assert values("identity", ties="weak") == pytest.approx([0, 0.5, 1])
    assert values("exp(10)") == pytest.approx([math.exp(-10), math.exp(-6.25), 1])
    assert values("exp(-10)") == pytest.approx([-1, -math.exp(-3.75), -math.exp(-10)])
    assert values("log") == pytest.approx(np.log([1 / 5, 2 / 5, 1]))


def test_only_the_first_rollouts_calibrate(scores):
    objective = build_objective(scores, "identity", n_rollouts=5, kl=0.5)
    rewards = rollouts(scores, "p2")
    probe = np.linspace(rewards.min(), rewards.max(), 7)
    expected = [(rewards[:5] < value).mean() for value in probe]
    strict = build_objective(scores, "identity", n_rollouts=5, ties="strict", kl=0.5)
    assert strict.values(["p2"] * 7, probe) == pytest.approx(expected)
    assert objective.beta == build_objective(scores, "identity", kl=0.5).beta


def test_one_rollout_is_enough_for_the_median_calibration(scores):
    objective = build_objective(scores, "exp(10)", "anchors(1)", n_rollouts=1, kl=0.5)
    median = rollouts(scores, "p3")[:1]
    assert objective.values(["p3"], median) == pytest.approx(np.exp(10 * (0.5 - 1)))


def test_order_of_the_table_does_not_matter(scores):
    shuffled = scores.sample(fraction=1.0, shuffle=True, seed=1)
    one, other = (build_objective(table, "exp(10)", n_rollouts=7, kl=0.5) for table in (scores, shuffled))
    assert one.fingerprint == other.fingerprint and one.beta == other.beta


def test_optimal_transform_is_the_solution_at_the_budget(scores):
    objective = build_objective(scores, "optimal(bon(4))", kl=0.5)
    solution = optimal("bon(4)", kl=0.5)
    half = objective.values(["p0"], np.array([np.median(rollouts(scores, "p0"))]))
    assert half == pytest.approx(solution.at([0.5]))
    assert objective.beta == pytest.approx(solution.beta, rel=0.2)  # 40 rollouts against the continuum


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reward": "square", "kl": 0.5}, "unknown transform 'square'; valid forms: raw, identity, log, exp"),
        ({"reward": "exp(10)", "calibrator": "quantile", "kl": 0.5}, "unknown calibrator"),
        (
            {"reward": "log", "calibrator": None, "kl": 0.5},
            "log acts on a calibrated reward, got no calibrator",
        ),
        ({"reward": "identity"}, "give exactly one of kl and beta"),
        ({"reward": "identity", "kl": 0.5, "beta": 0.1}, "give exactly one of kl and beta"),
        ({"reward": "identity", "beta": 0.0}, "beta must be a finite number > 0, got 0.0"),
        ({"reward": "raw", "kl": 9.0}, "kl must be below 3.68888 nats"),
        ({"reward": "identity", "kl": 0.5, "n_rollouts": 41}, "n_rollouts must be from 1 to 40 .*, got 41"),
        ({"reward": "identity", "kl": 0.5, "n_rollouts": 0}, "n_rollouts must be from 1 to 40 .*, got 0"),
    ],
)
def test_bad_arguments_are_named(scores, arguments, message):
    with pytest.raises(InputError, match=message):
        build_objective(scores, **arguments)


def test_unknown_prompt_is_named(scores):
    objective = build_objective(scores, "identity", kl=0.5)
    with pytest.raises(InputError, match=r"prompt_id 'elsewhere' has no reference rollouts .*6 prompts have"):
        objective.values(["p0", "elsewhere"], np.zeros(2))


def test_tables_that_cannot_be_used_are_named(scores):
    with pytest.raises(InputError, match="the reference scores have no rows"):
        build_objective(scores.clear(), "identity", kl=0.5)
    with pytest.raises(InputError, match="same number of reference rollouts, got from 39 to 40"):
        build_objective(scores.head(-1), "identity", kl=0.5)
    with pytest.raises(InputError, match="reward of p0 must be finite"):
        build_objective(scores.with_columns(pl.lit(float("nan")).alias("reward")), "identity", kl=0.5)
    tied = scores.with_columns(pl.lit(1.5).alias("reward"))
    with pytest.raises(InputError, match=r"all 240 reference rewards are equal \(1.5\)"):
        build_objective(tied, "raw", kl=0.5)
    with pytest.raises(InputError, match="all rewards are tied within every prompt"):
        build_objective(tied, "identity", kl=0.5)
