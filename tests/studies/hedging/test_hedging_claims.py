"""How the claims of hedging are measured, against numbers known by hand; without an effect nothing holds."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from infalign.mathematics.statistics import Bootstrap
from infalign.presentation.claims import evaluate_claims
from infalign.studies.hedging.block import HedgedPool
from infalign.studies.hedging.tables import extrema_table, hedge_tables, poisson_tilt_table
from presentation.stored_tables import Tables, load_claims, parse_claims

CLAIMS = Path(__file__).parents[3] / "reports" / "claims.yaml"
OF_HEDGING = [claim for claim in load_claims(CLAIMS) if claim.measure.kind == "hedge_gain"]
FAST = Bootstrap(resamples=300)
UP = {"direction": "greater", "effect": 0.1}
PROXIES = ("reward_model", "flipped", "few")


def build(task, true_of_u, *, n_prompts=24, m=200, noise=0.02, seed=0, resamples=100):
    """Hedges of every method by three proxies; the true reward is a function of the proxy's quantile, and noise."""
    rng = np.random.default_rng(seed)
    pool = HedgedPool(task=task, true_reward="gold", proxies={name: {} for name in PROXIES})
    parts = []
    for proxy in PROXIES:
        scores = rng.normal(size=(n_prompts, m))
        u = (scores.argsort(axis=1).argsort(axis=1) + 0.5) / m
        true = true_of_u(u) + noise * rng.normal(size=u.shape)
        ids = [f"p{i:03}" for i in range(n_prompts)]
        settings = Bootstrap(resamples=resamples, seed=seed)
        parts.append(hedge_tables(pool, proxy, ids, (list(scores), list(true)), settings)[1:])
    return [pl.concat(tables) for tables in zip(*parts, strict=True)]


@pytest.fixture(scope="module")
def tables():
    hedges, by_prompt = build("helpful", lambda u: u - 0.8 * u**2)
    return Tables(hedges=hedges, prompt_hedges=by_prompt)


def row_of(measure, tables, expect=UP, about="advantage"):
    claim = {"claim": "a", "source": "b", "text": "c", "paper_value": "d", "about": about}
    claims = parse_claims({"claims": [{**claim, "expect": expect, "measure": measure}]})
    return evaluate_claims(claims, tables, bootstrap=FAST).row(0, named=True)


def gain(**fields):
    return {"kind": "hedge_gain", "task": "helpful", "over": ["largest"], **fields}


def test_gain_is_the_tables_difference_in_spreads_of_the_least_favourable(tables):
    row = row_of(gain(), tables)
    scaled = tables.prompt_hedges.group_by("proxy", "method").agg(
        gap=((pl.col("hedge") - pl.col("largest")) / pl.col("spread")).mean()
    )
    assert row["ours"] == pytest.approx(scaled["gap"].min(), abs=0.02) and row["verdict"] == "reproduced"
    assert row["ci_low"] < row["ours"] < row["ci_high"]
    assert "least favourable of 12 comparisons" in row["text"]
    assert "12 prompts, true reward gold; hedges: 12 interior" in row["text"]
    one = row_of(gain(methods=["bon"], proxies=["few"]), tables)
    assert one["ours"] == pytest.approx(scaled.filter(proxy="few", method="bon")["gap"][0])


def test_what_is_kept_is_a_share_of_the_gain_over_the_reference(tables):
    row = row_of(gain(over=["grid"], methods=["bon"], proxies=["few"], kept=0.9), tables)
    part = tables.prompt_hedges.filter(method="bon", proxy="few")
    mine, best = ((part[name] - part["reference"]).mean() for name in ("hedge", "grid"))
    assert row["ours"] == pytest.approx((mine - 0.9 * best) / part["spread"][0])


def test_kl_saved_is_judged_too(tables):
    row = row_of(gain(saves_kl=True), tables)
    assert row["verdict"] == "reproduced" and "least favourable of 24 comparisons" in row["text"]
    at_end = tables.hedges.with_columns(kl=pl.col("largest_kl"))
    wasteful = Tables(hedges=at_end, prompt_hedges=tables.prompt_hedges)
    row = row_of(gain(saves_kl=True), wasteful)
    assert (row["ours"], row["verdict"]) == (0.0, "not reproduced")


def test_what_is_not_hedged_is_not_run(tables):
    assert row_of(gain(), Tables())["verdict"] == "not run"
    absent = row_of(gain(task="arithmetic"), tables)
    assert absent["verdict"] == "not run" and "task arithmetic is not hedged" in absent["text"]
    absent = row_of(gain(proxies=["few", "small"]), tables)
    assert absent["verdict"] == "not run" and "task helpful is not hedged: no small" in absent["text"]


def test_a_true_reward_that_only_rises_is_not_hacked():
    hedges, by_prompt = build("helpful", lambda u: u, noise=0.0)
    world = Tables(hedges=hedges, prompt_hedges=by_prompt)
    row = row_of(gain(over=["reference", "largest"]), world)
    assert (row["ours"], row["verdict"]) == (0.0, "not reproduced")
    assert row_of(gain(over=["reference"]), world)["verdict"] == "reproduced"
    assert row_of(gain(over=["grid"], kept=0.9), world, {**UP, "effect": 0.02})["verdict"] == "reproduced"


def test_the_projects_claims_hold_where_they_should(tables):
    found = evaluate_claims(OF_HEDGING, tables, bootstrap=FAST)
    verdicts = dict(zip(found["claim"], found["verdict"], strict=True))
    others = {name: verdict for name, verdict in verdicts.items() if name.endswith(("arithmetic", "choice"))}
    assert len(others) == 6 and set(others.values()) == {"not run"}
    assert verdicts["best-of-n-hacks-misspecified-proxies"] == "reproduced"
    assert verdicts["hedging-mitigates-hacking-helpful"] == "reproduced"
    assert verdicts["hedging-better-trade-off-helpful"] == "reproduced"
    assert verdicts["hedge-as-good-as-any-parameter"] == "reproduced"


def test_without_an_effect_no_claim_holds_beyond_the_error_rate():
    found = []
    for seed in range(4):
        hedges, by_prompt = build("helpful", np.zeros_like, m=60, seed=seed, noise=1.0, resamples=20)
        tables = Tables(hedges=hedges, prompt_hedges=by_prompt)
        judged = evaluate_claims(OF_HEDGING, tables, bootstrap=Bootstrap(resamples=100, seed=seed))
        found += judged.filter(pl.col("verdict") != "not run")["verdict"].to_list()
    assert len(found) == 4 * 5
    assert found.count("reproduced") / len(found) <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / len(found))


def test_theory_is_read_from_its_tables():
    tables = Tables(extrema=extrema_table(), poisson_tilt=poisson_tilt_table())
    exact = {"direction": "not_worse", "margin": 0.0}
    row = row_of({"kind": "extrema_slack"}, tables, exact, "theory")
    assert (row["ours"], row["verdict"]) == (0.0, "reproduced")
    more = tables.extrema.with_columns(regime=pl.lit("several extrema"))
    row = row_of({"kind": "extrema_slack"}, Tables(extrema=more), exact, "theory")
    assert (row["ours"], row["verdict"]) == (-1.0, "not reproduced")
    within = {"direction": "equivalent", "margin": 8e-4}
    row = row_of({"kind": "poisson_gap", "value": "kl_gap"}, tables, within, "theory")
    assert row["ours"] == pytest.approx(6.75e-4, abs=3e-6) and row["verdict"] == "reproduced"
    tight = {"direction": "equivalent", "margin": 5e-4}
    assert row_of({"kind": "poisson_gap", "value": "kl_gap"}, tables, tight)["verdict"] == "not reproduced"
