"""Metrics of policies whose win rates and shares are known without the code under test."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from infalign.catalogue import parse_config
from infalign.errors import InputError
from infalign.records import metrics
from infalign.records.config import Evaluation
from infalign.records.metrics import (
    BEST_OF_SCHEMA,
    METRICS_SCHEMA,
    PROMPT_SCHEMA,
    best_of_n_rows,
    distinct_bigrams,
    main_condition,
    policy_metrics,
    share_of_offline,
)
from infalign.records.policy import Policy
from infalign.records.sweep import Condition

POLICY = Policy("helpful", "ppo", "identity", "empirical", 100, "half", "kl", 0.5, 0)
MAIN = Condition("evaluation", 1.0)
EVALUATION = Evaluation(n=[2, 4], resamples=200)
OFFLINE = pl.DataFrame(
    {
        "transform": ["identity"] * 2,
        "procedure": ["none"] * 2,
        "select": ["reward"] * 2,
        "scorer": ["judge"] * 2,
        "kl": [0.25, 1.0],
        "win_rate": [0.6, 0.7],
    }
)


def scores(values: np.ndarray, kl: float = 0.5) -> pl.DataFrame:
    """Table of scores, prompts as rows of `values`; reward, judge and gold agree."""
    prompts, samples = values.shape
    flat = values.ravel()
    return pl.DataFrame(
        {
            "prompt_id": np.repeat([f"p{i}" for i in range(prompts)], samples),
            "sample_id": np.tile(np.arange(samples), prompts),
            "reward": flat,
            "judge": flat,
            "gold": flat,
            "kl": np.full(flat.size, kl),
            "n_tokens": np.full(flat.size, 3),
            "tokens": [[1, 2, 3]] * flat.size,
        }
    )


def measured(policy: np.ndarray, reference: np.ndarray, kl: float = 0.5) -> pl.DataFrame:
    rows, _ = policy_metrics(POLICY, 0.1, MAIN, scores(policy, kl), scores(reference), EVALUATION, OFFLINE, 0.5)
    return pl.DataFrame(rows, schema=METRICS_SCHEMA)


def identity_tilt(beta: float, samples: int) -> tuple[np.ndarray, float]:
    """Mid-quantiles of the density e^{u/beta}/Z on (0, 1), and its KL to the uniform, in closed form."""
    probabilities = (np.arange(samples) + 0.5) / samples
    normaliser = beta * np.expm1(1 / beta)
    values = beta * np.log1p(probabilities * np.expm1(1 / beta))
    mean = 1 + 1 / np.expm1(1 / beta) - beta
    return values, mean / beta - np.log(normaliser)


def test_a_policy_like_its_reference_wins_half_of_the_time():
    reference = np.random.default_rng(0).normal(size=(3, 8))
    table = measured(reference, reference)
    np.testing.assert_allclose(table["win_rate"], 0.5, atol=1e-12)
    assert set(table["procedure"]) == {"none", "bon(2)", "bon(4)", "won(2)", "won(4)"}
    assert set(table["scorer"]) == {"judge", "gold"}
    assert table["n_samples"].unique().to_list() == [8]


def test_the_exact_identity_tilt_reaches_its_limit():
    tilt, kl = identity_tilt(0.4, 200)
    uniform = (np.arange(200) + 0.5) / 200
    table = measured(np.tile(tilt, (2, 1)), np.tile(uniform, (2, 1)), kl)
    shares = table.filter(select="reward", scorer="judge")["share_of_limit"]
    np.testing.assert_allclose(shares, 1.0, atol=0.01)


def test_below_a_tenth_of_a_nat_there_is_no_share():
    reference = np.random.default_rng(0).normal(size=(2, 8))
    assert measured(reference + 1, reference, kl=0.05)["share_of_limit"].null_count() == 20


def test_the_share_of_the_offline_curve_is_read_between_its_points():
    key = {"procedure": "none", "select": "reward", "scorer": "judge"}
    middle = 0.6 + 0.1 * (np.sqrt(0.49) - 0.5) / 0.5
    assert share_of_offline("identity", key, 0.49, middle, OFFLINE) == pytest.approx(1.0)
    assert share_of_offline("identity", key, 1.5, 0.7, OFFLINE) is None
    assert share_of_offline("log", key, 0.49, 0.7, OFFLINE) is None


def test_intervals_hold_the_estimate_and_vanish_without_spread():
    rng = np.random.default_rng(1)
    table = measured(rng.normal(0.5, 1, size=(12, 8)), rng.normal(size=(12, 8)))
    assert (table["ci_low"] <= table["win_rate"]).all()
    assert (table["win_rate"] <= table["ci_high"]).all()
    np.testing.assert_allclose(table["kl_low"], 0.5)
    np.testing.assert_allclose(table["kl_high"], 0.5)


def test_the_output_of_best_of_n_has_a_higher_mean_reward():
    reference = np.random.default_rng(2).normal(size=(2, 8))
    table = measured(reference, reference).filter(select="reward", scorer="judge")
    means = dict(zip(table["procedure"], table["mean_reward"], strict=True))
    assert means["won(4)"] < means["won(2)"] < means["none"] < means["bon(2)"] < means["bon(4)"]
    assert means["none"] == pytest.approx(reference.mean())


def test_different_prompts_are_refused():
    values = np.zeros((2, 8))
    reference = scores(values).with_columns(pl.col("prompt_id").str.replace("p1", "other"))
    with pytest.raises(InputError, match="its samples and the reference rollouts have different prompts"):
        policy_metrics(POLICY, 0.1, MAIN, scores(values), reference, EVALUATION, OFFLINE, 0.5)


def test_distinct_bigrams_are_a_share_of_all():
    assert distinct_bigrams(lambda: [pl.Series([[1, 2, 3], [1, 2, 4]])], 4) == 3 / 4
    assert distinct_bigrams(lambda: [pl.Series([[3], []], dtype=pl.List(pl.Int32))], 0) == 0


@pytest.mark.parametrize("at_once", [1, 13, 10_000])
def test_distinct_bigrams_are_those_of_a_set_however_they_are_read(monkeypatch, at_once):
    monkeypatch.setattr(metrics, "PAIRS_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    responses = [rng.integers(70_000, size=n).tolist() for n in (5, 0, 1, 30, 2)] * 2
    responses += [rng.integers(6, size=n).tolist() for n in rng.integers(9, size=40)]
    pairs = [pair for tokens in responses for pair in pairwise(tokens)]
    assert len(set(pairs)) < len(pairs)
    for size in (1, 7, 50):
        blocks = [pl.Series(responses[i : i + size], dtype=pl.List(pl.Int32)) for i in range(0, 50, size)]
        assert distinct_bigrams(lambda blocks=blocks: blocks, len(pairs)) == len(set(pairs)) / len(pairs)


def test_rows_say_their_condition_and_have_no_offline_share_elsewhere():
    reference = np.random.default_rng(4).normal(size=(3, 8))
    there = Condition("evaluation_out", 0.25)
    rows, by_prompt = policy_metrics(
        POLICY, 0.1, there, scores(reference + 1), scores(reference), EVALUATION, OFFLINE.clear(), 0.5
    )
    assert {(row["split"], row["temperature"]) for row in [*rows, *by_prompt]} == {("evaluation_out", 0.25)}
    assert all(row["share_of_offline"] is None for row in rows)


def test_the_main_condition_is_the_first_of_both_lists():
    path = Path(__file__).parents[2] / "config" / "summaries.yaml"
    config = parse_config(yaml.safe_load(path.read_text()))
    rows = [("summaries", s, t) for s in ("evaluation", "evaluation_out") for t in (0.25, 1.0)]
    frame = pl.DataFrame(rows, schema=["task", "split", "temperature"], orient="row")
    assert main_condition(frame, config).rows() == [("summaries", "evaluation", 1.0)]


def test_best_of_n_of_the_reference_is_that_of_independent_draws():
    """With rewards 1..K, all distinct, the best of n beats another response with probability n/(n + 1)."""
    values = np.random.default_rng(5).permuted(np.tile(np.arange(1.0, 13), (3, 1)), axis=1)
    table = pl.DataFrame(best_of_n_rows("t", MAIN, scores(values), [1, 3]), schema=BEST_OF_SCHEMA)
    assert table.height == 3 * 2 * 2  # prompts, n, scorers
    rates = dict(table.group_by("n").agg(pl.col("win_rate").mean()).rows())
    assert rates == pytest.approx({1: 1 / 2, 3: 3 / 4})
    means = dict(table.group_by("n").agg(pl.col("mean_judge").mean()).rows())
    assert means == pytest.approx({1: 6.5, 3: 13 * 3 / 4})  # mean of the largest of n of 1..K


def test_the_reward_gain_is_over_the_reference_through_the_same_procedure():
    """Two points above the reference response by response: so is the best or the worst of any n."""
    reference = np.random.default_rng(1).normal(size=(3, 8))
    arguments = (scores(reference + 2), scores(reference), EVALUATION, OFFLINE, 0.5)
    rows, prompt_rows = policy_metrics(POLICY, 0.1, MAIN, *arguments)
    table, means = pl.DataFrame(prompt_rows, schema=PROMPT_SCHEMA), pl.DataFrame(rows, schema=METRICS_SCHEMA)
    assert set(table["procedure"]) == {"none", "bon(2)", "bon(4)", "won(2)", "won(4)"}
    np.testing.assert_allclose(table["reward_gain"], 2.0)
    standard = means.filter(procedure="none", select="reward", scorer="judge")["mean_reward"][0]
    assert standard == pytest.approx(reference.mean() + 2)


def test_best_of_n_of_the_reference_by_hand():
    values = np.array([[3.0, 1.0, 2.0, 4.0], [0.0, -1.0, 1.0, 2.0]])
    table = pl.DataFrame(best_of_n_rows("helpful", MAIN, scores(values), [1, 2]), schema=BEST_OF_SCHEMA)
    assert set(table["scorer"]) == {"judge", "gold"} and table.height == 2 * 2 * 2
    np.testing.assert_allclose(table.filter(n=1)["win_rate"], 0.5)
    np.testing.assert_allclose(table.filter(n=2)["win_rate"], 2 / 3)
    # of the six pairs of 1, 2, 3, 4 one has its best at 2, two at 3, three at 4
    best = table.filter(n=2, scorer="judge", prompt_id="p0")["mean_reward"][0]
    assert best == pytest.approx((2 + 2 * 3 + 3 * 4) / 6)
