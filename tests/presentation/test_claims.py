"""Claims: the file, how each kind is measured, and that a world without effects yields no success."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from result_tables import GAINS, build_metrics, build_prompt_metrics

from infalign.catalogue import CLAIM_KINDS
from infalign.errors import InputError
from infalign.mathematics.statistics import Bootstrap
from infalign.presentation.claims import (
    COLUMNS,
    evaluate_claims,
    gold_disagreements,
    judge_and_gold,
    kind_names,
)
from presentation.stored_tables import Tables, load_claims, one_claim, parse_claims

CLAIMS = Path(__file__).parents[2] / "reports" / "claims.yaml"
FAST = Bootstrap(resamples=300)


def difference(**changes):
    measure = {
        "kind": "curve_difference", "task": "helpful", "procedure": "bon(4)",
        "a": {"transform": "exp(10)"}, "b": [{"transform": "raw"}],
    }  # fmt: skip
    return {**measure, **changes}


@pytest.fixture
def tables(ideal, offline, metrics, prompt_metrics, scores):
    return Tables(
        ideal=ideal,
        offline=offline,
        metrics=metrics,
        prompt_metrics=prompt_metrics,
        scores={"helpful": scores},
    )


def row_of(claims, tables, **options):
    frame = evaluate_claims(claims, tables, bootstrap=FAST, **options)
    assert frame.height == 1
    return frame.row(0, named=True)


def test_the_projects_file_is_valid_and_covers_the_paper():
    claims = load_claims(CLAIMS)
    assert len(claims) >= 40
    assert {item.measure.kind for item in claims} == set(kind_names(CLAIM_KINDS)) - {
        "not_run"
    }  # each is measured by now
    ranges = {item.claim: item.expect.paper_range for item in claims if item.expect}
    assert ranges["median-calibration-bon4"] == (0.08, 0.12)
    assert ranges["median-calibration-won4"] == (0.04, 0.09)
    assert ranges["empirical-calibration-bon4"] == ranges["empirical-calibration-won4"] == (0.03, 0.08)


def test_every_claim_gets_a_row_in_order(tables):
    claims = load_claims(CLAIMS)
    frame = evaluate_claims(claims, tables, bootstrap=FAST)
    assert dict(frame.schema) == COLUMNS
    assert frame["claim"].to_list() == [item.claim for item in claims]
    found = dict(zip(frame["claim"], frame["verdict"], strict=True))
    assert found["empirical-calibration-bon4"] == "reproduced"
    assert found["ctrl-beats-ipo-bon4"] == found["summaries-bon4"] == "not run"
    assert found["calibration-resists-reward-hacking-pairs"] == found["prompted-judge-agrees"] == "not run"
    not_measured = frame.filter(pl.col("ours").is_null())
    assert set(not_measured["verdict"]) == {"not run"}
    assert frame.filter(pl.col("ours").is_not_null())["ci_low"].null_count() == 0


def test_empty_tables_give_only_not_run():
    frame = evaluate_claims(load_claims(CLAIMS), Tables(), bootstrap=FAST)
    assert set(frame["verdict"]) == {"not run"}


def test_curve_difference_recovers_the_gains(tables):
    row = row_of(one_claim(difference()), tables)
    assert row["ours"] == pytest.approx(GAINS["exp(10)"] - GAINS["raw"], abs=0.006)
    assert row["ci_low"] < row["ours"] < row["ci_high"]
    assert row["verdict"] == "reproduced"


def test_several_others_stand_by_the_closest_and_missing_ones_are_named(tables):
    others = [{"transform": "raw"}, {"transform": "identity"}, {"transform": "exp(5)"}]
    row = row_of(one_claim(difference(b=others, missing="skip")), tables)
    assert row["ours"] == pytest.approx(GAINS["exp(10)"] - GAINS["identity"], abs=0.006)
    assert "not trained: ppo exp(5) empirical" in row["text"]
    row = row_of(one_claim(difference(b=others)), tables)
    assert row["verdict"] == "not run" and "no policies ppo exp(5) empirical on task helpful" in row["text"]


def test_kl_outside_the_trained_range_is_not_extrapolated(tables):
    row = row_of(one_claim(difference(kl=3.0)), tables)
    assert row["verdict"] == "not run" and row["ours"] is None
    assert "KL 3 not well within the trained range: ppo exp(10) empirical spans KL 0.25 to 1.00" in row["text"]


def test_baselines_get_their_verdicts_where_they_were_trained(all_metrics, all_prompt_metrics):
    tables = Tables(metrics=all_metrics, prompt_metrics=all_prompt_metrics)
    frame = evaluate_claims(load_claims(CLAIMS), tables, bootstrap=FAST)
    found = dict(zip(frame["claim"], frame["verdict"], strict=True))
    for name in ("ipo", "bonbon", "bon-sft", "bond"):
        assert found[f"ctrl-beats-{name}-bon4"] == "reproduced"
        assert found[f"ctrl-beats-{name}-won4"] == found[f"ctrl-beats-{name}-standard-harmless"] == "not run"
    # On standard win rate CTRL's identity (0.14) leads best-of-n likelihood (0.11) and equals BOND (0.14).
    assert found["ctrl-beats-bon-sft-standard"] == "reproduced"
    assert found["ctrl-beats-bond-standard"] == "not reproduced"
    assert found["ppo-and-rloo-agree-bon4"] == found["regression-agrees-with-ppo-bon4"] == "reproduced"
    assert found["ppo-and-rloo-agree-standard"] == "not run"


def test_a_series_that_starts_above_the_kl_is_not_compared(all_metrics, all_prompt_metrics):
    tables = Tables(metrics=all_metrics, prompt_metrics=all_prompt_metrics)
    row = row_of(one_claim(difference(b=[{"method": "dpo"}], kl=0.28)), tables)
    assert row["verdict"] == "not run" and "dpo spans KL 0.30 to 0.90" in row["text"]


def test_growth_is_the_difference_of_differences(tables, metrics, prompt_metrics):
    larger = pl.col("win_rate") + pl.when(pl.col("policy").str.contains("exp10-")).then(
        pl.when(pl.col("procedure") == "bon(32)").then(0.05 * (pl.col("kl") * 2).sqrt()).otherwise(0.0)
    ).otherwise(0.0)
    grown = prompt_metrics.with_columns(win_rate=larger)
    measure = {
        "kind": "difference_growth", "task": "helpful", "procedures": ["bon(2)", "bon(32)"],
        "a": {"transform": "exp(10)"}, "b": {"transform": "raw"},
    }  # fmt: skip
    row = row_of(one_claim(measure), Tables(metrics=metrics, prompt_metrics=grown))
    assert row["ours"] == pytest.approx(0.05, abs=0.012)
    assert row["verdict"] == "reproduced"
    assert row_of(one_claim(measure), tables)["verdict"] != "reproduced"


def test_a_loss_that_shrinks_is_no_gain_that_grows(metrics, prompt_metrics):
    """As on a null corpus, where a difference rose from below zero to zero."""
    other = prompt_metrics.filter(pl.col("policy").str.contains("raw"))
    other = other.with_columns(policy=pl.col("policy").str.replace("raw", "exp10"))
    lost = pl.when(pl.col("procedure") == "bon(2)").then(0.05 * (pl.col("kl") * 2).sqrt()).otherwise(0.0)
    rest = prompt_metrics.filter(~pl.col("policy").str.contains("exp10-kl"))
    world = pl.concat([rest, other.with_columns(win_rate=pl.col("win_rate") - lost)])
    measure = {
        "kind": "difference_growth", "task": "helpful", "procedures": ["bon(2)", "bon(32)"],
        "a": {"transform": "exp(10)"}, "b": {"transform": "raw"},
    }  # fmt: skip
    row = row_of(one_claim(measure), Tables(metrics=metrics, prompt_metrics=world))
    assert row["ours"] == pytest.approx(0.0, abs=1e-9)  # the difference under best-of-32
    assert row["verdict"] == "not reproduced"


def test_offline_difference_at_a_kl_of_the_table(tables):
    measure = {
        "kind": "offline_difference",
        "task": "helpful",
        "procedure": "bon(4)",
        "a": "exp(10)",
        "b": "raw",
    }
    row = row_of(one_claim(measure), tables)
    assert row["ours"] == pytest.approx(0.08)
    # each has half width 0.01; taken as independent the difference has sqrt(2) times it
    assert row["ci_high"] - row["ours"] == pytest.approx(0.01 * 2**0.5)
    assert row_of(one_claim({**measure, "kl": 5.0}), tables)["verdict"] == "not run"


def test_ideal_difference_is_exact_and_stands_by_the_worst_kl(tables, ideal):
    measure = {"kind": "ideal_difference", "procedure": "bon(4)", "a": "identity", "b": ["log", "exp(10)"]}
    row = row_of(one_claim(measure), tables)
    at = ideal.filter(procedure="bon(4)", kl=2.0)
    gap = at.filter(transform="identity")["win_rate"][0] - at.filter(transform="exp(10)")["win_rate"][0]
    assert row["ours"] == row["ci_low"] == row["ci_high"] == pytest.approx(gap)
    assert row["verdict"] == "not reproduced"


def test_calibration_error_and_its_excess(tables):
    level = row_of(one_claim({"kind": "calibration_error", "task": "helpful", "maps": ["identity"]}), tables)
    measure = {"kind": "calibration_error", "task": "helpful", "maps": ["identity"], "minus": "quantile"}
    excess = row_of(one_claim(measure), tables)
    assert level["ours"] - excess["ours"] == pytest.approx(0.0627, abs=0.012)


def test_median_share_counts_policies(tables):
    measure = {
        "kind": "median_share",
        "task": "helpful",
        "procedure": "bon(4)",
        "series": {"transform": "exp(10)"},
    }
    row = row_of(one_claim(measure, {"direction": "not_worse", "reference": 0.75, "margin": 0.0}), tables)
    assert row["ours"] == pytest.approx(0.85, abs=1e-9)
    assert row["verdict"] == "reproduced" and "3 policies" in row["text"]


def test_effects_above_the_papers_range_are_said(tables):
    row = row_of(one_claim(difference(), {"direction": "greater", "paper_range": [0.01, 0.02]}), tables)
    assert row["verdict"] == "reproduced" and "above the paper's range" in row["text"]


def test_gold_disagreement_is_found():
    judge = build_prompt_metrics(GAINS, scorers=("judge",))
    gold = build_prompt_metrics({**GAINS, "exp(10)": GAINS["raw"] - 0.03}, scorers=("gold",))
    both = pl.concat([judge, gold])
    tables = Tables(metrics=build_metrics(both), prompt_metrics=both)
    comparison = judge_and_gold(load_claims(CLAIMS), tables, bootstrap=FAST)
    differing = gold_disagreements(comparison)
    assert "empirical-calibration-bon4" in differing["claim"].to_list()
    assert "empirical-calibration-won4" not in differing["claim"].to_list()
    assert judge_and_gold(load_claims(CLAIMS), Tables(), bootstrap=FAST).is_empty()


def test_selection_by_the_judge_can_take_the_place_of_the_reward(tables, metrics, prompt_metrics):
    only_judge = Tables(metrics=metrics.filter(select="judge"), prompt_metrics=prompt_metrics.filter(select="judge"))
    assert row_of(one_claim(difference()), only_judge)["verdict"] == "not run"
    assert row_of(one_claim(difference()), only_judge, select="judge")["verdict"] == "reproduced"


def test_policies_on_different_prompts_are_an_error(metrics, prompt_metrics):
    partial = prompt_metrics.filter(
        ~(pl.col("policy").str.contains("raw-kl0.50") & (pl.col("prompt_id") == "helpful-003"))
    )
    message = r"ppo raw of task helpful at kl 0.25 and .* at kl 0.5 have different prompts \(40 and 39\)"
    with pytest.raises(InputError, match=message):
        row_of(one_claim(difference()), Tables(metrics=metrics, prompt_metrics=partial))


def test_null_world_reproduces_no_advantage_beyond_the_error_rate():
    """Policies alike under every reward: advantages hold by chance in 2.5 % of worlds at most (one side)."""
    claims = one_claim(difference()) + one_claim(difference(procedure="none"), name="another")
    alike = dict.fromkeys(GAINS, 0.1)
    worlds, found = 150, []
    for seed in range(worlds):
        table = build_prompt_metrics(alike, n_prompts=60, noise=0.1, seed=seed, tasks=("helpful",), brief=True)
        tables = Tables(metrics=build_metrics(table), prompt_metrics=table)
        found += evaluate_claims(claims, tables, bootstrap=Bootstrap(resamples=200, seed=seed))["verdict"].to_list()
    rate = np.mean([verdict == "reproduced" for verdict in found])
    assert rate <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / len(found))
    assert "not run" not in found


def test_the_same_simulation_sees_a_true_advantage():
    gains = {**dict.fromkeys(GAINS, 0.1), "exp(10)": 0.16}
    found = []
    for seed in range(20):
        table = build_prompt_metrics(gains, n_prompts=60, noise=0.1, seed=seed, tasks=("helpful",), brief=True)
        tables = Tables(metrics=build_metrics(table), prompt_metrics=table)
        found += evaluate_claims(one_claim(difference()), tables, bootstrap=FAST)["verdict"].to_list()
    assert found.count("reproduced") >= 12


def test_every_error_of_the_file_is_listed_at_once(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text(
        """
claims:
  - claim: first
    source: a
    text: b
    paper_value: c
    about: advantage
    colour: blue
    expect: {direction: greater, effect: 0.1}
    measure: {kind: curve_difference, task: helpful, procedure: best(4), a: {transform: exp(10)}, b: [{transform: raw}]}
  - claim: second
    source: a
    text: b
    paper_value: c
    about: luck
    expect: {direction: greater}
    measure: {kind: guess}
"""
    )
    with pytest.raises(InputError) as caught:
        load_claims(path)
    text = str(caught.value)
    assert "5 errors" in text
    assert "claims.0.colour (first): unknown key; remove it" in text
    assert "unknown procedure 'best(4)'" in text
    assert "claims.1.about (second)" in text
    assert "needs either paper_range with its low end, or effect" in text
    assert "kind must be one of curve_difference, difference_growth" in text and "got 'guess'" in text


def test_contradictory_files_are_errors(tmp_path):
    claim = {"claim": "same", "source": "a", "text": "b", "paper_value": "c", "about": "theory"}
    reason = {"kind": "not_run", "reason": "none"}
    ideal = {"kind": "ideal_difference", "procedure": "none", "a": "identity", "b": ["log"]}
    with pytest.raises(InputError) as caught:
        parse_claims({"claims": [{**claim, "measure": reason}, {**claim, "measure": ideal}]})
    assert "claim same: the name occurs 2 times; rename one" in str(caught.value)
    assert "give expect with every measure but not_run, got measure ideal_difference" in str(caught.value)
    with pytest.raises(InputError, match="no such file; give the path of a claims file"):
        load_claims(tmp_path / "absent.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("claims: [")
    with pytest.raises(InputError, match="not readable as YAML"):
        load_claims(broken)
    with pytest.raises(InputError, match="claims: the list is empty; give at least one claim"):
        parse_claims({"claims": []})
