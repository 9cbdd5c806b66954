"""Claims and figures of the language model as judge, from tables whose numbers are known."""

import numpy as np
import polars as pl
import pytest

from infalign.mathematics.statistics import Bootstrap
from infalign.presentation.claims import evaluate_claims, judge_and_gold
from infalign.studies.language_judge.figures import figure_judge_agreement, figure_language_model_judge
from infalign.studies.language_judge.page import verdicts_html
from infalign.studies.language_judge.tables import AGREEMENT_SCHEMA, VERDICT_SCHEMA
from presentation.result_tables import GAINS, TASKS, build_metrics
from presentation.stored_tables import Tables, language_judge, load_claims, parse_claims

FAST = Bootstrap(resamples=200)
MEASURE = {"kind": "prompted_difference", "task": "helpful", "procedure": "bon(4)"}
MEASURE |= {"a": {"transform": "exp(10)"}, "b": {"transform": "raw"}}
KAPPA = {"kind": "judge_kappa", "task": "helpful", "procedure": "none"}


@pytest.fixture(scope="module")
def judged(prompt_metrics):
    """The world's win rates, decided by a language model on without a procedure and the goal's."""
    goals = [f"{name}(4)" for name, _ in TASKS.values()]
    rows = prompt_metrics.filter(pl.col("procedure").is_in(["none", *goals]), select="reward")
    return rows.with_columns(scorer=pl.lit("language_model"))


def tables(judged, metrics=None, learnt=False, **more):
    metrics = build_metrics(judged) if metrics is None else metrics
    names = {"language_judge_metrics": metrics, "prompt_language_judge_metrics": judged}
    return Tables(blocks=language_judge(learnt), **names, **more)


def row_of(measure, tables, **expect):
    claim = {"claim": "one", "source": "s", "text": "t", "paper_value": "v", "about": "advantage"}
    claim |= {"expect": {"direction": "greater", "effect": 0.03, **expect}, "measure": measure}
    return evaluate_claims(parse_claims({"claims": [claim]}), tables, bootstrap=FAST).row(0, named=True)


def test_the_difference_is_that_of_the_gains(judged):
    row = row_of(MEASURE, tables(judged))
    assert row["ours"] == pytest.approx(GAINS["exp(10)"] - GAINS["raw"], abs=0.01)
    assert row["ci_low"] < row["ours"] < row["ci_high"] and row["verdict"] == "reproduced"
    assert "40 of 40 prompts" in row["text"]


def test_prompts_that_one_policy_lacks_are_left_out_for_all(judged):
    """The lead is moved to the prompts that are left out: what stays has none."""
    lost = pl.col("prompt_id").is_in(["helpful-000", "helpful-001"]) & pl.col("policy").str.contains("raw-kl0.50")
    kept = judged.filter(~lost)
    shifted = pl.col("prompt_id").is_in(["helpful-000", "helpful-001"]) & (pl.col("policy").str.contains("exp10-kl"))
    absurd = kept.with_columns(win_rate=pl.when(shifted).then(100.0).otherwise("win_rate"))
    row = row_of(MEASURE, tables(absurd, build_metrics(judged)))
    assert row["ours"] == pytest.approx(GAINS["exp(10)"] - GAINS["raw"], abs=0.01)
    assert "38 of 40 prompts" in row["text"]


def test_what_was_not_judged_is_not_run_with_its_reason(judged):
    found = row_of(MEASURE, Tables())
    assert found["verdict"] == "not run" and "no language model was asked about bon(4)" in found["text"]
    found = row_of(MEASURE, tables(judged.filter(pl.col("procedure") == "none")))
    assert found["verdict"] == "not run" and "no language model was asked about bon(4)" in found["text"]
    found = row_of({**MEASURE, "b": {"transform": "log"}}, tables(judged))
    assert found["verdict"] == "not run" and "judged no policies ppo log" in found["text"]
    found = row_of(MEASURE, tables(judged.filter(pl.col("prompt_id").str.ends_with("003")), build_metrics(judged)))
    assert found["verdict"] == "not run" and "too few prompts" in found["text"]
    found = row_of({**MEASURE, "kl": 5.0}, tables(judged))
    assert found["verdict"] == "not run" and "not well within the trained range" in found["text"]
    assert row_of({**KAPPA, "judges": ["judge", "gold"]}, Tables())["verdict"] == "not run"


def agreement(**changes):
    row = dict.fromkeys(AGREEMENT_SCHEMA) | {
        "task": "helpful", "procedure": "none", "scorer_a": "language_model", "scorer_b": "judge", "n_prompts": 40,
        "n_pairs": 120, "agreement": 0.8, "kappa": 0.6, "kappa_low": 0.5, "kappa_high": 0.7, "win_rate_a": 0.6,
        "win_rate_b": 0.7, "difference": -0.1, "difference_low": -0.15, "difference_high": -0.05,
    }  # fmt: skip
    return {**row, **changes}


def agreements(*rows):
    return pl.DataFrame(list(rows), schema=AGREEMENT_SCHEMA)


def kappas(table):
    return Tables(agreement=table, blocks=language_judge(False))


def test_kappa_is_the_tables_of_all_policies():
    table = agreements(agreement(policy="p", kappa=0.1), agreement(), agreement(scorer_b="gold", kappa=0.3))
    item = {**KAPPA, "judges": ["judge", "language_model"]}
    row = row_of(item, kappas(table), reference=0.2)
    assert (row["ours"], row["ci_low"], row["ci_high"], row["verdict"]) == (0.6, 0.5, 0.7, "reproduced")
    assert "120 pairs, 40 prompts" in row["text"]
    undefined = agreements(agreement(kappa=None, kappa_low=None, kappa_high=None))
    assert "kappa is undefined" in row_of(item, kappas(undefined))["text"]
    assert "judge and gold did not judge" in row_of({**KAPPA, "judges": ["gold", "judge"]}, kappas(table))["text"]


def test_the_projects_claims_are_judged(judged):
    claims = [item for item in load_claims("reports/claims.yaml") if item.claim.startswith("prompted-judge")]
    assert len(claims) == 4
    world = tables(judged, agreement=agreements(agreement()))
    found = evaluate_claims(claims, world, bootstrap=FAST)
    assert set(found["verdict"]) == {"reproduced"}
    assert set(evaluate_claims(claims, Tables(), bootstrap=FAST)["verdict"]) == {"not run"}
    assert judge_and_gold(claims, world, bootstrap=FAST).is_empty()  # none of them is said twice


def test_a_judge_that_learnt_is_no_evidence_for_one_that_did_not(judged):
    names = ("prompted-judge", "learnt-judge")
    claims = [item for item in load_claims("reports/claims.yaml") if item.claim.startswith(names)]
    for learnt in (False, True):
        world = tables(judged, learnt=learnt, agreement=agreements(agreement()))
        found = evaluate_claims(claims, world, bootstrap=FAST)
        about = found.with_columns(own=pl.col("claim").str.starts_with("learnt-judge") == learnt)
        assert about.filter("own")["verdict"].to_list() == ["reproduced"] * 4
        others = about.filter(~pl.col("own"))
        assert others["verdict"].to_list() == ["not run"] * 4 and others["text"].str.contains("learn").all()


def verdicts(unparsed=3):
    row = dict.fromkeys(VERDICT_SCHEMA) | {"task": "helpful", "policy": "p", "procedure": "none"}
    return pl.DataFrame([{**row, "n_replies": 100, "unparsed": unparsed}], schema=VERDICT_SCHEMA)


def test_the_figure_shows_what_was_judged_and_what_was_not_read(judged, ideal):
    figure = figure_language_model_judge(build_metrics(judged), ideal, verdicts())
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert [title.split("\n")[0] for title in titles] == [
        "helpful, standard", "helpful, best-of-4", "harmless, standard", "harmless, worst-of-4",
    ]  # fmt: skip
    assert all("scored by language_model" in title for title in titles)
    assert "3 of its 100 replies, 3.0%, not read" in figure.get_suptitle()


def test_the_figure_says_that_nothing_was_read(metrics, ideal):
    unread = metrics.with_columns(scorer=pl.lit("language_model"), win_rate=pl.lit(None, pl.Float64))
    figure = figure_language_model_judge(unread, ideal, verdicts(100))
    assert [text.get_text() for text in figure.axes[0].texts] == ["no reply of the language model could be read"]


def test_the_figure_of_agreement_places_every_two_judges():
    undefined = {"kappa": None, "kappa_low": None, "kappa_high": None}
    rows = [agreement(), agreement(scorer_b="gold", kappa=0.4, kappa_low=0.3, kappa_high=0.5)]
    rows += [agreement(scorer_a="judge", scorer_b="gold", **undefined)]
    rows += [agreement(policy=name, win_rate_a=rate) for name, rate in (("p", 0.55), ("q", 0.75))]
    rows += [agreement(policy="r", n_pairs=0, win_rate_a=None, win_rate_b=None)]
    figure = figure_judge_agreement(agreements(*rows))
    left, right = figure.axes
    np.testing.assert_allclose([line.get_xdata()[0] for line in left.lines[1:]], [0.6, 0.4])
    segments = [collection.get_segments()[0][:, 0].tolist() for collection in left.collections]
    assert segments == [[0.5, 0.7], [0.3, 0.5]]
    assert [text.get_text() for text in left.texts] == ["undefined (120 pairs)"]
    np.testing.assert_allclose(right.lines[0].get_ydata(), [0.55, 0.75])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "language model, trained judge", "language model, gold reward", "trained judge, gold reward",
    ]  # fmt: skip


def test_the_page_of_verdicts_has_a_table_for_each_procedure_and_says_what_was_not_read():
    counts = {"n_prompts": 4, "n_replies": 8, "win": 3, "tie": 1, "loss": 2, "unparsed": 2}
    shares = {"unparsed_share": 0.25, "unparsed_low": 0.1, "unparsed_high": 0.4, "first_share": 0.625}
    bounds = {"lowest_win_rate": 0.4375, "highest_win_rate": 0.6875}
    rows = [
        {"task": "helpful", "policy": "ppo-raw", "procedure": name, **counts, **shares, **bounds}
        for name in ("none", "bon(4)")
    ]
    page = verdicts_html(pl.DataFrame(rows, schema=VERDICT_SCHEMA))
    assert page.count("Task helpful, ") == 2 and "best-of-4" in page
    assert "0.250 [0.100, 0.400]" in page and "0.438 to 0.688" in page and page.count(">0.625<") == 2
