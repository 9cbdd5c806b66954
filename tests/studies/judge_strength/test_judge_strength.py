"""Judges against one another, where every win rate can be counted by hand."""

from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from infalign.mathematics.statistics import Bootstrap
from infalign.presentation.claims import evaluate_claims
from infalign.studies.judge_strength.figures import figure_judge_strength
from infalign.studies.judge_strength.tables import (
    PROMPT_JUDGES_SCHEMA,
    policy_table,
    prompt_judgements,
    strength_table,
)
from presentation.stored_tables import Tables, load_claims

FAST = Bootstrap(resamples=300)
POLICIES = pl.DataFrame({"policy": ["raw-s0"], "transform": ["raw"], "strength_kind": ["kl"], "strength": [0.5]})
CLAIMS = [
    claim
    for claim in load_claims(Path(__file__).parents[3] / "reports" / "claims.yaml")
    if claim.measure.kind in ("judged_difference", "judge_excess")
]


def responses(rewards, kl=None):
    """Two prompts with the same rewards."""
    rows = [(prompt, sample, reward) for prompt, (sample, reward) in product("ab", enumerate(rewards))]
    frame = pl.DataFrame(rows, schema=["prompt_id", "sample_id", "reward"], orient="row")
    return frame if kl is None else frame.with_columns(kl=pl.lit(kl))


def judged(**scores):
    """One judge's scores of each table, the same for both prompts."""
    rows = [
        (name, prompt, sample, score)
        for name, values in scores.items()
        for prompt, (sample, score) in product("ab", enumerate(values))
    ]
    return pl.DataFrame(rows, schema=["policy", "prompt_id", "sample_id", "score"], orient="row")


def test_the_reward_selects_and_each_judge_decides():
    tables = {"reference": responses([0.0, 1.0]), "raw-s0": responses([2.0, 3.0, 1.0], kl=0.4)}
    scores = {
        "1x": judged(**{"reference": [0.0, 1.0], "raw-s0": [2.0, 0.5, 1.0]}),
        "leaked": judged(**{"reference": [0.0, 1.0], "raw-s0": [2.0, 3.0, 1.0]}),
        "gold": judged(**{"reference": [None, None], "raw-s0": [None] * 3}),
    }
    found = prompt_judgements("helpful", POLICIES, tables, scores, ["none", "bon(2)"])
    assert found.schema == PROMPT_JUDGES_SCHEMA and found["kl"].unique().to_list() == pytest.approx([0.4])
    assert found["kind"].unique(maintain_order=True).to_list() == [
        "independent",
        "leaked",
    ]  # gold is not known
    rates = {key: part["win_rate"].to_list() for key, part in found.group_by("judge", "procedure")}
    # Of pairs of 3 samples the response of reward 3 (judged 0.5) is best in 2, that of 2 (judged 2) in 1.
    assert rates["1x", "bon(2)"] == pytest.approx([1 / 3] * 2)
    assert rates["1x", "none"] == pytest.approx([(1 + 0.5 + 0.75) / 3] * 2)
    assert rates["leaked", "bon(2)"] == pytest.approx([1.0] * 2)


LEAD, EXCESS = 0.05, {"gold": 0.0, "1x": -0.01, "2x": 0.0, "judge": 0.0, "leaked": 0.02, "reward_model": 0.04}


def world(tasks=("helpful", "harmless"), n_prompts=30, lead=LEAD):
    """Policies of two series at KL 0.25 and 1; judges are above gold by a number that grows with the root of KL."""
    rng, rows = np.random.default_rng(0), []
    goals = {"helpful": ("bon(4)", "exp(10)"), "harmless": ("won(4)", "exp(-10)")}
    for task in tasks:
        procedure, transform = goals[task]
        noise = {
            (name, kl): 0.02 * rng.standard_normal(n_prompts) for name, kl in product(("raw", transform), (0.25, 1.0))
        }
        for judge, ((name, kl), waves), text in product(EXCESS, noise.items(), ("none", procedure)):
            kind = judge if judge in ("gold", "leaked", "reward_model") else "independent"
            rates = 0.5 + (0.3 + lead * (name != "raw") + EXCESS[judge]) * np.sqrt(kl) + waves - waves.mean()
            facts = (task, judge, kind, text, f"ppo-{name}-kl{kl}", name, "kl", kl)
            rows += [(*facts, f"p{i:02d}", kl, rate) for i, rate in enumerate(rates)]
    return pl.DataFrame(rows, schema=PROMPT_JUDGES_SCHEMA, orient="row")


@pytest.fixture(scope="module")
def tables():
    by_prompt = world()
    outcomes = pl.DataFrame(
        {
            "split": ["judge_test"] * 4 + ["reward_train"] * 4,
            "prompt": list("aabc") * 2,
            "right": [1.0, 0, 1, 1, 1, 1, 1, 1],
        }
    )
    judges = [judge for judge in EXCESS if judge != "gold"]
    keys = list(product(("helpful", "harmless"), judges))
    sizes = {key: 1000 * (1 + judges.index(key[1])) for key in keys}
    goals = {"helpful": "exp(10)", "harmless": "exp(-10)"}
    strengths = strength_table(by_prompt, dict.fromkeys(keys, outcomes), sizes, goals, bootstrap=FAST)
    return by_prompt, strengths, policy_table(by_prompt, bootstrap=FAST)


def test_the_main_comparison_under_each_judge(tables):
    _, strengths, _ = tables
    row = strengths.row(
        by_predicate=(pl.col("task") == "helpful") & (pl.col("judge") == "2x") & (pl.col("procedure") == "bon(4)"),
        named=True,
    )
    root = np.sqrt(0.5)
    assert row["difference"] == pytest.approx(LEAD * root)
    assert row["difference_low"] < row["difference"] < row["difference_high"]
    assert (row["accuracy"], row["reward_pairs_accuracy"], row["n_parameters"]) == (0.75, 1.0, 2000)
    assert row["accuracy_low"] < 0.75 < row["accuracy_high"] and (row["a"], row["b"]) == ("exp(10)", "raw")
    assert strengths["over_gold"].drop_nulls().to_numpy() == pytest.approx(0, abs=1e-9)
    gold = strengths.filter(judge="gold")
    assert gold["over_gold"].null_count() == gold["accuracy"].null_count() == gold.height


def test_each_policy_under_each_judge(tables):
    _, _, policies = tables
    raw = policies.filter(task="helpful", procedure="bon(4)", transform="raw", strength=1.0)
    over = dict(raw.select("judge", "over_gold").iter_rows())
    assert over.pop("gold") is None
    assert over == pytest.approx({name: value for name, value in EXCESS.items() if name != "gold"})
    leaked = raw.row(by_predicate=pl.col("judge") == "leaked", named=True)
    assert leaked["over_independent"] == pytest.approx(0.03) == leaked["over_independent_low"]
    assert leaked["win_rate"] == pytest.approx(0.82) and leaked["ci_low"] < 0.82 < leaked["ci_high"]


def test_a_kl_that_is_not_reached_has_no_difference():
    low = world().filter(pl.col("strength") < 1)
    found = strength_table(low, {}, {}, {"helpful": "exp(10)", "harmless": "exp(-10)"}, bootstrap=FAST)
    assert found["difference"].null_count() == found["accuracy"].null_count() == found.height > 0


def test_claims_on_judges(tables):
    by_prompt = tables[0]
    found = evaluate_claims(CLAIMS, Tables(prompt_judges=by_prompt), bootstrap=Bootstrap(resamples=300))
    ours = dict(found.select("claim", "ours").iter_rows())
    assert ours["every-judge-bon4"] == pytest.approx(LEAD * np.sqrt(0.5))
    assert ours["leaked-judge-favours-overoptimised-won4"] == pytest.approx(0.03)
    assert ours["reward-model-as-judge-overstates-bon4"] == pytest.approx(0.04)
    assert set(found["verdict"]) == {"reproduced"}
    (text,) = found.filter(claim="every-judge-bon4")["text"]
    assert "judges 1x, 2x, judge" in text and "least favourable of 3" in text
    (text,) = found.filter(claim="reward-model-as-judge-overstates-bon4")["text"]
    assert "ppo-raw-kl1.0 at KL 1.00" in text


def test_claims_without_judges_are_not_run(tables):
    assert set(evaluate_claims(CLAIMS, Tables())["verdict"]) == {"not run"}
    other = tables[0].filter(pl.col("kind") == "gold")
    assert set(evaluate_claims(CLAIMS, Tables(prompt_judges=other))["verdict"]) == {"not run"}


def test_the_figure_has_two_panels_a_task(tables):
    _, strengths, policies = tables
    figure = figure_judge_strength(strengths, policies, {"helpful": "bon(4)", "harmless": "won(4)"})
    assert [axis.get_title() for axis in figure.axes] == [
        "helpful, best-of-4", "helpful: policies on the raw reward",
        "harmless, worst-of-4", "harmless: policies on the raw reward",
    ]  # fmt: skip
    lines = [line for line in figure.axes[1].lines if line.get_marker() not in ("None", None, "")]
    assert sorted(line.get_ydata()[-1] for line in lines) == pytest.approx([-1.0, 0.0, 0.0, 2.0, 4.0])
    figure.canvas.draw()


def test_without_gold_the_leaked_judge_stands_against_its_equal(tables):
    by_prompt = tables[0].filter(pl.col("judge") != "gold")
    strengths = tables[1].filter(pl.col("judge") != "gold")
    figure = figure_judge_strength(
        strengths, policy_table(by_prompt, bootstrap=FAST), {"helpful": "bon(4)", "harmless": "won(4)"}
    )
    assert "independent judge of its size" in figure.axes[1].get_ylabel()
