"""Methods compared: fronts and areas by hand, and curves whose values at a KL are known."""

import numpy as np
import polars as pl
import pytest
from result_tables import GAINS, METHODS, build_methods, build_metrics, build_prompt_metrics, win_rate_at

from infalign.errors import InputError
from infalign.mathematics.pareto_front import front_shares, hypervolume, on_front
from infalign.mathematics.statistics import Bootstrap
from infalign.presentation.claims import evaluate_claims
from infalign.presentation.pareto import (
    METHODS_SCHEMA,
    compare_methods,
)
from presentation.stored_tables import Tables, one_claim

GOALS = {"helpful": "exp(10)", "harmless": "exp(-10)"}
FAST = Bootstrap(resamples=200)


def points(*pairs):
    kl, win_rate = np.array(pairs, dtype=float).T
    return kl, win_rate


def row_of(table, method, kl=0.5, procedure="bon(4)", task="helpful", **fields):
    rows = table.filter(task=task, procedure=procedure, select="reward", scorer="judge", method=method, kl=kl, **fields)
    assert rows.height == 1
    return rows.row(0, named=True)


@pytest.fixture(scope="module")
def exact():
    """Every method without noise in the win rates: the curves are linear in the root of KL."""
    by_prompt = build_prompt_metrics(GAINS, noise=0.0)
    further, further_by_prompt = build_methods(noise=0.0)
    metrics = pl.concat([build_metrics(by_prompt), further])
    return metrics, pl.concat([by_prompt, further_by_prompt])


@pytest.fixture(scope="module")
def compared(exact):
    return compare_methods(*exact, GOALS, bootstrap=FAST)


def test_front_by_hand():
    # The second is dominated by the first, the fourth by the third; the last is no better than the reference.
    kl, win_rate = points((0.1, 0.6), (0.2, 0.6), (0.3, 0.8), (0.3, 0.7), (0.5, 0.9), (0.01, 0.5))
    assert on_front(kl, win_rate).tolist() == [True, False, True, False, True, False]


def test_policies_alike_are_all_on_the_front():
    assert on_front(*points((0.1, 0.6), (0.1, 0.6))).tolist() == [True, True]


def test_share_of_the_front_by_hand():
    kl, win_rate = points((0.1, 0.6), (0.2, 0.55), (0.3, 0.7), (0.4, 0.8), (0.5, 0.75))
    shares = front_shares(kl, win_rate, np.array([0, 0, 1, 1, 2]), 3)
    np.testing.assert_allclose(shares, [1 / 3, 2 / 3, 0.0])
    assert np.isnan(front_shares(*points((0.1, 0.4)), np.array([0]), 1)).all()


def test_on_one_curve_the_share_is_that_of_the_policies():
    kl = np.linspace(0.1, 1.0, 8)
    shares = front_shares(kl, win_rate_at(kl, 0.2), np.array([0] * 6 + [1] * 2), 2)
    np.testing.assert_allclose(shares, [0.75, 0.25])


def test_hypervolume_by_hand():
    kl, win_rate = points((0.25, 0.6), (0.5, 0.7), (0.75, 0.65), (2.0, 0.9), (0.1, 0.4))
    assert hypervolume(kl, win_rate, 1.0) == pytest.approx(0.25 * 0.1 + 0.5 * 0.2)
    assert hypervolume(kl, win_rate, 2.5) == pytest.approx(0.25 * 0.1 + 1.5 * 0.2 + 0.5 * 0.4)
    assert hypervolume(kl, win_rate, 0.2) == 0.0


def test_the_tables_hypervolume_is_that_of_the_means(compared):
    kls, gain = METHODS["ipo"][3:]
    rates = [win_rate_at(kl, gain) - 0.5 for kl in kls]
    by_hand = (kls[1] - kls[0]) * rates[0] + (1.0 - kls[1]) * rates[1]  # the third lies beyond KL 1
    row = row_of(compared, "ipo")
    assert row["hypervolume"] == pytest.approx(by_hand, abs=1e-12)
    assert row["hypervolume_low"] < by_hand < row["hypervolume_high"]


def test_win_rates_at_a_kl_are_those_of_the_curves(compared):
    for method in ("rloo", "regression", "dpo", "ipo", "bon_sft", "bonbon", "bond", "vbon", "vbon_bound"):
        row = row_of(compared, method)
        assert row["win_rate"] == pytest.approx(0.5 + METHODS[method][4], abs=1e-9)
        assert row["difference"] == pytest.approx(METHODS[method][4] - GAINS["exp(10)"], abs=1e-9)
        # Without noise in the win rates the interval is the KLs' alone, and it is there.
        assert row["ci_low"] < row["win_rate"] < row["ci_high"]


def test_a_kl_without_policies_on_both_sides_is_not_reached(compared):
    absent = row_of(compared, "jbond")
    assert (absent["kl_lowest"], absent["kl_highest"]) == pytest.approx((0.05, 0.3))
    assert absent["win_rate"] is absent["difference"] is None
    assert row_of(compared, "jbond", kl=0.25)["win_rate"] is not None
    # from below as well: the line to the reference is no curve of the method's
    assert row_of(compared, "dpo", kl=0.25)["win_rate"] is None


def test_differences_are_to_the_goals_ctrl_and_to_identity_without_a_procedure(compared):
    assert row_of(compared, "ipo")["control"] == "CTRL exp(10)"
    standard = row_of(compared, "ipo", procedure="none")
    assert standard["control"] == "CTRL identity"
    assert standard["difference"] == pytest.approx(0.13 - GAINS["identity"], abs=1e-9)
    own = row_of(compared, "ppo", transform="exp(10)", calibrator="empirical")
    assert own["series"] == own["control"] and own["difference"] is None and own["win_rate"] is not None


def test_without_ctrl_there_is_no_difference(exact):
    metrics, by_prompt = (frame.filter(pl.col("policy").str.starts_with("ipo")) for frame in exact)
    table = compare_methods(metrics, by_prompt, GOALS, bootstrap=FAST)
    assert table["control"].null_count() == table["difference"].null_count() == table.height
    assert row_of(table, "ipo")["front_share"] == 1.0


def test_best_of_one_is_the_reference_and_left_out(compared):
    row = row_of(compared, "bon_sft")
    assert row["n_policies"] == 3
    assert row["kl_lowest"] == pytest.approx(0.2)


def test_shares_add_up_and_columns_are_the_schemas(compared):
    assert dict(compared.schema) == METHODS_SCHEMA
    one = compared.filter(task="helpful", procedure="bon(4)", select="reward", kl=0.5)
    for share in ("front_share", "reward_front_share", "policy_share"):
        assert one[share].sum() == pytest.approx(1.0)
    assert one["series"].is_unique().all()
    assert (one["front_low"] <= one["front_share"]).all() and (one["front_share"] <= one["front_high"]).all()


def test_the_front_of_rewards_is_another_than_that_of_win_rates(all_metrics, all_prompt_metrics):
    """Where vBoN alone gains reward, its policies are the whole front by reward, whatever their win rates."""
    gain = pl.when(pl.col("policy").str.starts_with("vbon-")).then(pl.col("kl")).otherwise(-0.1)
    table = compare_methods(all_metrics, all_prompt_metrics.with_columns(reward_gain=gain), GOALS, bootstrap=FAST)
    assert row_of(table, "vbon")["reward_front_share"] == 1.0
    assert row_of(table, "dpo")["reward_front_share"] == 0.0
    before = compare_methods(all_metrics, all_prompt_metrics, GOALS, bootstrap=FAST)
    assert table["front_share"].equals(before["front_share"])
    # as the fixture has it the reward is a multiple of the win rate's gain: the same front
    assert before["reward_front_share"].equals(before["front_share"])


def test_the_table_and_the_claims_measure_alike(all_metrics, all_prompt_metrics):
    table = compare_methods(all_metrics, all_prompt_metrics, GOALS, bootstrap=FAST)
    measure = {
        "kind": "curve_difference", "task": "helpful", "procedure": "bon(4)",
        "a": {"method": "bonbon"}, "b": [{"transform": "exp(10)"}],
    }  # fmt: skip
    tables = Tables(metrics=all_metrics, prompt_metrics=all_prompt_metrics)
    judged = evaluate_claims(one_claim(measure), tables, bootstrap=Bootstrap(resamples=200)).row(0, named=True)
    row = row_of(table, "bonbon")
    assert [judged[name] for name in ("ours", "ci_low", "ci_high")] == [
        row[name] for name in ("difference", "difference_low", "difference_high")
    ]


def test_the_bootstrap_depends_on_its_seed_only(all_metrics, all_prompt_metrics):
    some = all_metrics.filter(task="helpful", procedure="bon(4)", select="reward")
    by_prompt = all_prompt_metrics.sample(fraction=1.0, shuffle=True, seed=1)  # in another order
    first = compare_methods(some, all_prompt_metrics, GOALS, bootstrap=FAST)
    assert first.equals(compare_methods(some, by_prompt, GOALS, bootstrap=FAST))
    other = compare_methods(some, by_prompt, GOALS, bootstrap=Bootstrap(resamples=200, seed=1))
    assert not first["front_low"].equals(other["front_low"])
    assert first["front_share"].equals(other["front_share"])


def test_a_front_that_noise_decides_has_a_wide_interval():
    """Two series of one policy each at one KL: which of them is on the front is a coin's fall."""
    rng = np.random.default_rng(0)
    rates = rng.normal(0.7, 0.1, size=(2, 50))
    rates -= rates.mean(axis=1, keepdims=True) - np.array([[0.7], [0.7001]])
    key = {"task": "helpful", "procedure": "none", "select": "reward", "scorer": "judge"}
    policy = {
        "transform": None,
        "calibrator": None,
        "n_rollouts": None,
        "strength_kind": "n",
        "strength": 2.0,
    }
    metrics = pl.DataFrame([{**key, "policy": name, "method": name, **policy} for name in ("dpo", "ipo")])
    by_prompt = pl.concat(
        pl.DataFrame({"policy": name, "prompt_id": [f"{i:02d}" for i in range(50)], "win_rate": rate, "kl": 0.5})
        for name, rate in zip(("dpo", "ipo"), rates, strict=True)
    ).with_columns(**{name: pl.lit(value) for name, value in key.items()}, reward_gain=pl.lit(0.0))
    row = row_of(compare_methods(metrics, by_prompt, GOALS, bootstrap=Bootstrap()), "ipo", procedure="none")
    assert (row["front_share"], row["front_low"], row["front_high"]) == (1.0, 0.0, 1.0)
    assert row["hypervolume"] == pytest.approx(0.5 * 0.2001)


def test_nothing_trained_and_different_prompts_are_errors(all_metrics, all_prompt_metrics):
    with pytest.raises(InputError, match="no trained policy to compare; list some under policies"):
        compare_methods(all_metrics.clear(), all_prompt_metrics, GOALS, bootstrap=FAST)
    partial = all_prompt_metrics.filter(
        ~((pl.col("policy") == "ipo-kl0.5-s0") & (pl.col("prompt_id") == "helpful-003"))
    )
    with pytest.raises(InputError, match=r"IPO of task helpful at kl 0.25 and .* at kl 0.5 have different prompts"):
        compare_methods(all_metrics, partial, GOALS, bootstrap=FAST)
    shorter = all_prompt_metrics.filter(
        ~(pl.col("policy").str.starts_with("ipo") & (pl.col("prompt_id") == "helpful-003"))
    )
    with pytest.raises(InputError, match=r"have different prompts \(\d+ and \d+\)"):
        compare_methods(all_metrics, shorter, GOALS, bootstrap=FAST)
