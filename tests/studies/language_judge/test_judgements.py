"""The block judge, pairs of responses, and tables of verdicts: picked and counted by hand."""

from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from infalign.catalogue import parse_config
from infalign.errors import InputError
from infalign.mathematics.statistics import Bootstrap
from infalign.mathematics.winrate import expected_win_rate
from infalign.records.metrics import METRICS_SCHEMA, PROMPT_SCHEMA
from infalign.studies.language_judge.pairs import (
    JUDGEMENT_SCHEMA,
    judged_cases,
    judged_policies,
    response_pairs,
    scored_verdicts,
)
from infalign.studies.language_judge.tables import (
    AGREEMENT_SCHEMA,
    VERDICT_SCHEMA,
    agreement_table,
    judged_metrics,
    pair_values,
    verdict_table,
)

SMOKE = Path(__file__).parents[3] / "config" / "smoke.yaml"
SERVER = {"server": "http://127.0.0.1:8000/v1", "model": "m"}
FAST = Bootstrap(resamples=200)
CASE = {"task": "helpful", "policy": "p", "procedure": "none"}


def config(**judge):
    return parse_config({**yaml.safe_load(SMOKE.read_text()), "judge": {**SERVER, **judge}})


def scores(reward, judge=None, *, kl=0.5):
    """Rows of (prompts, samples); sample ids are shuffled, gold is the judge."""
    reward = np.asarray(reward, dtype=float)
    judge = reward if judge is None else np.asarray(judge, dtype=float)
    prompts, samples = (place.ravel() for place in np.indices(reward.shape))
    frame = pl.DataFrame({
        "prompt_id": [f"q{p}" for p in prompts], "sample_id": samples.astype(np.int32),
        "response": [f"r{p}{s}" for p, s in zip(prompts, samples, strict=True)],
        "reward": reward.ravel(), "judge": judge.ravel(), "gold": judge.ravel(),
        "n_tokens": samples.astype(np.int32) + 1, "kl": np.full(prompts.size, kl),
    })  # fmt: skip
    return frame.sample(fraction=1.0, shuffle=True, seed=0)


def replies(verdicts, *, scorer="language_model", orders=("policy_first", "reference_first"), **case):
    """Judgements of pairs, {(prompt, pair): verdicts by order}."""
    rows = [
        {**CASE, **case, "prompt_id": prompt, "pair": pair, "sample_id": pair, "reference_sample_id": pair,
         "scorer": scorer, "order": order, "question": "h", "reply": "", "finish": "stop", "verdict": verdict}
        for (prompt, pair), both in verdicts.items()
        for order, verdict in zip(orders, both, strict=True)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=JUDGEMENT_SCHEMA)


def test_only_server_and_model_are_required():
    judge = config().judge
    assert (judge.prompt, judge.n_pairs, judge.temperature) == ("pairwise-v1", 1, 0.0)
    for key in SERVER:
        block = {name: value for name, value in SERVER.items() if name != key}
        with pytest.raises(InputError, match=f"judge: give either {key}, "):
            parse_config({**yaml.safe_load(SMOKE.read_text()), "judge": block})


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ({"server": "127.0.0.1:8000"}, "server must be an address such as"),
        ({"server": "https://me:sk-secret@h/v1"}, "give the key as the environment variable OPENAI_API_KEY"),
        ({"server": "https://h/v1?key=sk-secret"}, "server must have no key, query or fragment"),
        ({"prompt": "none"}, "unknown prompt; the prompts are pairwise-brief-v1, pairwise-v1"),
        ({"procedures": ["sbon(2, 1.0)"]}, r"judges none, bon\(n\) and won\(n\); remove sbon\(2, 1.0\)"),
        ({"n_pairs": 3}, r"judge.n_pairs: 3 pairs through bon\(4\) take 12 responses .* has 8; lower n_pairs"),
        ({"n_prompts": 9}, "judge.n_prompts must be at most 8"),
        ({"tasks": ["helpless"]}, "judge.tasks: unknown task 'helpless'; the tasks are helpful, harmless"),
        ({"principles": {"x": "y"}}, "judge.principles: unknown task 'x'"),
        ({"key": "sk-secret"}, "judge.key: unknown key"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_said(judge, said):
    with pytest.raises(InputError, match=said) as caught:
        config(**judge)
    assert "secret" not in str(caught.value)


def test_a_corpus_without_a_principle_needs_one():
    values = {**yaml.safe_load(SMOKE.read_text()), "judge": SERVER}
    values["tasks"]["helpful"]["corpus"]["name"] = "arithmetic"
    with pytest.raises(InputError, match=r"give judge\.principles\.helpful, or leave the task out"):
        parse_config(values)
    assert parse_config({**values, "judge": {**SERVER, "principles": {"helpful": "the right sum."}}})
    assert parse_config({**values, "judge": {**SERVER, "tasks": ["harmless"]}})


def test_policies_and_procedures_that_are_judged():
    everything = config()
    cases = [(policy.task, policy.slug, text) for policy, text in judged_cases(everything.judge, everything)]
    assert {(task, text) for task, _, text in cases} == {
        ("helpful", "none"), ("helpful", "bon(4)"), ("harmless", "none"), ("harmless", "won(4)"),
    }  # fmt: skip
    (name, *_) = {policy for task, policy, _ in cases if task == "helpful"}
    some = config(policies=[name], tasks=["helpful"], procedures=["bon(2)"])
    assert [(policy.slug, text) for policy, text in judged_cases(some.judge, some)] == [(name, "bon(2)")]
    with pytest.raises(InputError, match=f"judge.policies: mine not among the policies .*{name}"):
        judged_policies(config(policies=["mine"]).judge, everything)


def test_pairs_are_the_best_and_the_worst_of_disjoint_groups():
    ours = [[1.0, 4.0, 3.0, 2.0, 9.0], [5.0, 5.0, 0.0, 7.0, 9.0]]
    theirs = [[0.0, 1.0, 2.0, 3.0], [3.0, 2.0, 1.0, 0.0]]
    best = response_pairs(scores(ours), scores(theirs), "bon(2)", 2)
    assert best.select("prompt_id", "pair", "sample_id", "reference_sample_id").rows() == [
        ("q0", 0, 1, 1), ("q0", 1, 2, 3), ("q1", 0, 0, 0), ("q1", 1, 3, 2),
    ]  # fmt: skip
    assert best["response"].to_list() == ["r01", "r02", "r10", "r13"]
    worst = response_pairs(scores(ours), scores(theirs), "won(2)", 2)
    assert worst.select("sample_id", "reference_sample_id").rows() == [(0, 0), (3, 2), (0, 1), (2, 3)]
    plain = response_pairs(scores(ours), scores(theirs), "none", 3, n_prompts=1)
    assert plain.select("prompt_id", "sample_id", "reference_sample_id").rows() == [
        ("q0", 0, 0), ("q0", 1, 1), ("q0", 2, 2),
    ]  # fmt: skip


def test_pairs_that_cannot_be_picked_are_refused():
    with pytest.raises(InputError, match=r"take 6 responses a prompt, prompt 'q0' has 5; lower judge.n_pairs"):
        response_pairs(scores(np.zeros((1, 5))), scores(np.zeros((1, 9))), "bon(3)", 2)
    with pytest.raises(InputError, match="different prompts"):
        response_pairs(scores(np.zeros((1, 5))), scores(np.zeros((2, 5))), "none", 1)


@pytest.mark.parametrize("procedure", ["none", "bon(3)", "won(3)"])
def test_pairs_have_the_expected_win_rate(procedure):
    """Over many prompts the pairs' verdicts average to the exact expectation over all subsets."""
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(0.4, 1, (400, 12)), rng.normal(0, 1, (400, 12))
    judges = [values + rng.normal(size=values.shape) for values in (ours, theirs)]
    pairs = response_pairs(scores(ours, judges[0]), scores(theirs, judges[1]), procedure, 4)
    found = pair_values(scored_verdicts(pairs, CASE)).filter(scorer="judge").group_by("prompt_id")
    means = found.agg(pl.col("value").mean()).sort("prompt_id")["value"].to_numpy()
    order = np.argsort([f"q{i}" for i in range(400)])
    exact = [expected_win_rate(ours[i], judges[0][i], theirs[i], judges[1][i], procedure) for i in order]
    gap = means - np.array(exact)
    assert gap.mean() == pytest.approx(0.0, abs=3.5 * gap.std() / np.sqrt(400))


def test_scored_verdicts_are_signs_and_there_is_no_gold_where_there_is_none():
    pairs = response_pairs(scores([[1.0, 2.0, 3.0]]), scores([[2.0, 2.0, 2.0]]), "none", 3)
    table = scored_verdicts(pairs, CASE)
    assert dict(table.schema) == JUDGEMENT_SCHEMA
    assert table.filter(scorer="gold")["verdict"].to_list() == ["loss", "tie", "win"]
    without = scored_verdicts(pairs.with_columns(gold=pl.lit(None, pl.Float64)), CASE)
    assert set(without["scorer"]) == {"judge"}


def test_a_pair_is_the_mean_of_its_orders_and_nothing_if_one_is_unparsed():
    table = replies({
        ("a", 0): ("win", "win"), ("a", 1): ("win", "loss"), ("b", 0): ("tie", "win"), ("b", 1): ("win", "unparsed"),
        ("c", 0): ("unparsed", "unparsed"), ("c", 1): ("loss", "loss"),
    })  # fmt: skip
    assert pair_values(table)["value"].to_list() == [1.0, 0.5, 0.75, None, None, 0.0]


def test_win_rates_leave_out_what_could_not_be_read():
    ours, theirs = scores([[1.0, 5.0], [2.0, 6.0], [3.0, 7.0]]), scores(np.zeros((3, 2)))
    table = replies({
        ("q0", 0): ("win", "win"), ("q0", 1): ("win", "loss"),
        ("q1", 0): ("loss", "loss"), ("q1", 1): ("win", "unparsed"),
        ("q2", 0): ("unparsed", "win"), ("q2", 1): ("unparsed", "unparsed"),
    })  # fmt: skip
    facts = dict.fromkeys(METRICS_SCHEMA) | {
        **CASE,
        "temperature": 1.0,
        "split": "evaluation",
        "share_of_limit": 0.9,
    }
    rows, prompt_rows = judged_metrics(table, facts, ours, theirs, FAST)
    (row,) = pl.DataFrame(rows, schema=METRICS_SCHEMA).rows(named=True)
    by_prompt = pl.DataFrame(prompt_rows, schema=PROMPT_SCHEMA)
    assert row["scorer"] == "language_model" and row["select"] == "reward" and row["share_of_limit"] is None
    assert row["win_rate"] == pytest.approx((0.75 + 0.0) / 2) and row["n_prompts"] == 2
    assert (row["ci_low"], row["ci_high"]) == (0.0, 0.75) and row["kl"] == pytest.approx(0.5)
    assert row["mean_reward"] == pytest.approx((3.0 + 2.0) / 2)
    assert by_prompt.select("prompt_id", "win_rate", "reward_gain").rows() == [
        ("q0", 0.75, 3.0),
        ("q1", 0.0, 2.0),
    ]
    nothing = replies({("q0", 0): ("unparsed", "win")})
    rows, prompt_rows = judged_metrics(nothing, facts, ours, theirs, FAST)
    assert prompt_rows == [] and rows[0]["win_rate"] is None and rows[0]["kl"] is None and rows[0]["n_prompts"] == 0


def test_verdicts_are_counted_with_their_shares():
    table = replies({
        ("a", 0): ("win", "loss"), ("b", 0): ("win", "loss"), ("c", 0): ("loss", "win"), ("d", 0): ("tie", "unparsed"),
    })  # fmt: skip
    found = verdict_table(table, FAST)
    assert dict(found.schema) == VERDICT_SCHEMA
    (row,) = found.rows(named=True)
    assert [row[name] for name in ("n_prompts", "n_replies", "win", "tie", "loss", "unparsed")] == [
        4,
        8,
        3,
        1,
        3,
        1,
    ]
    assert row["unparsed_share"] == 1 / 8 and row["unparsed_low"] == 0.0 and row["unparsed_high"] > 1 / 8
    assert row["first_share"] == pytest.approx(4 / 6)  # a, b: the first both times; c: the second both times
    assert row["lowest_win_rate"] == 3.5 / 8 and row["highest_win_rate"] == 4.5 / 8
    silent = verdict_table(replies({("a", 0): ("unparsed", "unparsed")}), FAST).row(0, named=True)
    assert silent["unparsed_share"] == 1.0 and silent["first_share"] is None and silent["lowest_win_rate"] == 0.0


def test_agreement_is_on_the_pairs_that_all_judged():
    language = {
        ("a", 0): ("win", "win"),
        ("b", 0): ("loss", "loss"),
        ("c", 0): ("win", "loss"),
        ("d", 0): ("win", "unparsed"),
    }
    judge = {("a", 0): ["win"], ("b", 0): ["win"], ("c", 0): ["tie"], ("d", 0): ["loss"]}
    parts = [replies(language)]
    parts += [replies(judge, scorer=name, orders=[None]) for name in ("judge", "gold")]
    both = pl.concat([part.with_columns(policy=pl.lit(name)) for name in ("p", "q") for part in parts])
    table = agreement_table(both, FAST)
    assert dict(table.schema) == AGREEMENT_SCHEMA
    pairs = [("language_model", "judge"), ("language_model", "gold"), ("judge", "gold")]
    assert table.select("policy", "scorer_a", "scorer_b").rows() == [
        (policy, *pair) for policy, pair in product((None, "p", "q"), pairs)
    ]
    row = table.row(3, named=True)
    assert (row["n_pairs"], row["n_prompts"], row["agreement"]) == (3, 3, pytest.approx(2 / 3))
    assert row["kappa"] == pytest.approx((2 / 3 - 1 / 3) / (1 - 1 / 3))  # by chance 1/3·2/3 + 1/3·1/3
    assert row["win_rate_a"] == pytest.approx(0.5) and row["win_rate_b"] == pytest.approx(2.5 / 3)
    assert row["difference"] == pytest.approx(-1 / 3)
    together = table.row(0, named=True)
    assert together["n_pairs"] == 6 and together["kappa"] == pytest.approx(row["kappa"])
    assert (together["kappa_low"], together["kappa_high"]) == (row["kappa_low"], row["kappa_high"])
    assert table.row(2, named=True)["kappa"] == pytest.approx(1.0)


def test_agreement_is_null_where_nothing_was_read():
    parts = [
        replies({("a", 0): ("unparsed", "win")}),
        replies({("a", 0): ["win"]}, scorer="judge", orders=[None]),
    ]
    row = agreement_table(pl.concat(parts), FAST).row(0, named=True)
    assert row["n_pairs"] == 0 and row["kappa"] is None and row["difference"] is None
