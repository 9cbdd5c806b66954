"""Seeds of training: curves whose values are known, the t interval, the claims, the figure."""

from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from infalign.mathematics.statistics import Bootstrap, t_interval
from infalign.presentation.claims import evaluate_claims
from infalign.studies.seeds.figures import figure_seeds
from infalign.studies.seeds.study import MATCHED_KL
from infalign.studies.seeds.tables import seeds_table
from presentation.result_tables import win_rate_at
from presentation.stored_tables import Tables, load_claims

FAST = Bootstrap(resamples=300)
GAINS = {
    ("raw", 0): 0.1,
    ("raw", 1): 0.11,
    ("raw", 2): 0.12,
    ("exp(10)", 0): 0.16,
    ("exp(10)", 1): 0.15,
    ("exp(10)", 2): 0.2,
}
LEADS = [0.06, 0.04, 0.08]
CLAIMS = [
    claim
    for claim in load_claims(Path(__file__).parents[3] / "reports" / "claims.yaml")
    if claim.measure.kind == "every_seed"
]


def tables(gains=GAINS, strengths=(0.25, 1.0), n_prompts=20):
    """Metrics and metrics by prompt of policies whose gain at KL 0.5 is given by transform and seed."""
    rng, facts, rows = np.random.default_rng(0), [], []
    waves = 0.02 * rng.standard_normal(n_prompts)
    for ((transform, seed), gain), kl in product(gains.items(), strengths):
        slug, raw = f"ppo-{transform}-kl{kl}-s{seed}", transform == "raw"
        calibration = (None, None) if raw else ("empirical", 100)
        for procedure in ("none", "bon(4)"):
            key = ("helpful", slug, procedure, "reward", "judge")
            facts.append((*key, "ppo", transform, *calibration, "kl", kl, seed))
            rates = win_rate_at(kl, gain) + (waves - waves.mean()) * (seed + 1) * (1 if raw else -1)
            rows += [(*key, f"p{i:02d}", rate, kl) for i, rate in enumerate(rates)]
    key = ["task", "policy", "procedure", "select", "scorer"]
    names = ["method", "transform", "calibrator", "n_rollouts", "strength_kind", "strength", "seed"]
    metrics = pl.DataFrame(facts, schema=[*key, *names], orient="row")
    return metrics, pl.DataFrame(rows, schema=[*key, "prompt_id", "win_rate", "kl"], orient="row")


def measured(metrics, by_prompt):
    procedures = [("helpful", "none"), ("helpful", "bon(4)")]
    return seeds_table(metrics, by_prompt, procedures, kl=MATCHED_KL, bootstrap=FAST)


@pytest.fixture(scope="module")
def seeds():
    return measured(*tables())


def test_each_seed_and_all_together(seeds):
    rows = seeds.filter(procedure="bon(4)", less="PPO, uncalibrated")
    assert rows["seed"].to_list() == [0, 1, 2, None] and rows["n_seeds"].to_list() == [1, 1, 1, 3]
    assert rows["estimate"].to_numpy() == pytest.approx([*LEADS, np.mean(LEADS)])
    assert (rows["ci_low"] < rows["estimate"]).all() and (rows["estimate"] < rows["ci_high"]).all()
    last = rows.row(-1, named=True)
    assert last["seed_sd"] == pytest.approx(np.std(LEADS, ddof=1))
    half = 4.302652729696142 * last["seed_sd"] / np.sqrt(3)  # t of two degrees of freedom, 97.5 %
    assert (last["seed_low"], last["seed_high"]) == pytest.approx((0.06 - half, 0.06 + half))
    assert rows["seed_sd"].null_count() == 3


def test_win_rates_themselves_are_there_too(seeds):
    rows = seeds.filter(pl.col("less").is_null() & (pl.col("procedure") == "none"))
    assert rows["series"].unique(maintain_order=True).to_list() == ["CTRL exp(10)", "PPO, uncalibrated"]
    raw = rows.filter(series="PPO, uncalibrated")
    assert raw["estimate"].to_numpy() == pytest.approx([0.6, 0.61, 0.62, 0.61])


def test_a_seed_that_only_one_series_has_is_left_out_of_their_difference():
    found = measured(*tables({k: v for k, v in GAINS.items() if k != ("raw", 1)}))
    rows = found.filter(procedure="none", less="PPO, uncalibrated")
    assert rows["seed"].to_list() == [0, 2, None]
    assert rows["estimate"].to_numpy() == pytest.approx([0.06, 0.08, 0.07])


def test_what_is_not_reached_is_null():
    found = measured(*tables(strengths=(0.1, 0.25)))
    assert found["estimate"].null_count() == found["seed_sd"].null_count() == found.height > 0
    figure_seeds(found).canvas.draw()


def test_the_t_interval_covers_at_its_level():
    rng = np.random.default_rng(1)
    found = [t_interval(row) for row in rng.normal(2.0, 3.0, size=(4000, 3))]
    covered = np.mean([one.low < 2.0 < one.high for one in found])
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 4000)
    assert np.isnan(t_interval([1.0]).low) and t_interval([1.0]).estimate == 1.0


def test_claims_hold_for_every_seed():
    metrics, by_prompt = tables()
    by_prompt = by_prompt.with_columns(reward_gain=pl.lit(0.0))
    found = evaluate_claims(
        CLAIMS, Tables(metrics=metrics, prompt_metrics=by_prompt), bootstrap=Bootstrap(resamples=300)
    )
    row = found.row(by_predicate=pl.col("claim") == "every-seed-bon4", named=True)
    assert row["ours"] == pytest.approx(min(LEADS)) and row["verdict"] == "reproduced"
    assert "seeds: 3; the least favourable of 3 comparisons" in row["text"]
    row = found.row(by_predicate=pl.col("claim") == "every-seed-won4", named=True)
    assert row["verdict"] == "not run" and "no two seeds in common" in row["text"]
    assert set(evaluate_claims(CLAIMS, Tables())["verdict"]) == {"not run"}


def test_the_figure_shows_seeds_and_both_intervals(seeds):
    figure = figure_seeds(seeds)
    assert [axis.get_title() for axis in figure.axes] == ["helpful, standard", "helpful, best-of-4"]
    axis = figure.axes[1]
    drawn = [line for line in axis.lines if line.get_marker() == "o" and len(line.get_xdata())]
    np.testing.assert_allclose(drawn[0].get_xdata(), 100 * np.array(LEADS))
    assert [label.get_text() for label in axis.get_yticklabels()] == ["CTRL exp(10)"]
    assert len(axis.collections) == 3
    figure.canvas.draw()
