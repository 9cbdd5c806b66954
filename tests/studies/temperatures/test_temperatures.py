"""Temperatures and splits: what is drawn and claimed, on a world whose numbers are known."""

from itertools import product

import polars as pl
import pytest

from infalign.errors import InputError
from infalign.mathematics.statistics import Bootstrap
from infalign.presentation.claims import evaluate_claims
from infalign.presentation.curves import most_seeds
from infalign.studies.temperatures.figures import figure_temperature_leads, figure_temperatures
from infalign.studies.temperatures.tables import common_kl, temperature_curves, temperature_leads
from presentation.stored_tables import Tables, parse_claims

TEMPERATURES, SPLITS, SEEDS = (0.25, 1.0), ("evaluation", "evaluation_out"), (0, 1, 2)
PROMPTS = [f"p{index:02d}" for index in range(12)]
# Win rate in distribution at either temperature; out of distribution one point less, each seed one point more.
RATES = {"vbon": (0.80, 0.70), "ppo": (0.70, 0.695), "bonbon": (0.75, 0.60)}
BEST_OF_8 = 0.9
KINDS = {"vbon": (None, "n", 8.0), "ppo": ("raw", "kl", 1.2), "bonbon": (None, "n", 8.0)}


def rate(method: str, split: str, temperature: float, seed: int) -> float:
    own = RATES[method][TEMPERATURES.index(temperature)]
    return own - 0.01 * (split == "evaluation_out") + 0.01 * seed


def policy(method, seed, strength=None):
    transform, kind, usual = KINDS[method]
    facts = {"task": "summaries", "policy": f"{method}-{strength or usual:g}-s{seed}", "method": method}
    facts |= {"transform": transform, "calibrator": None, "n_rollouts": None, "strength_kind": kind}
    return facts | {"strength": strength or usual, "seed": seed}


@pytest.fixture(scope="module")
def world():
    """Metrics of all conditions, the same by prompt, and best-of-N; prompts differ by a term that all share."""
    rows, by_prompt, best = [], [], []
    key = {"procedure": "none", "select": "reward", "scorer": "judge"}
    trained = [policy(method, seed) for method, seed in product(RATES, SEEDS)]
    trained.append(policy("ppo", 0, strength=0.25))
    for split, temperature in product(SPLITS, TEMPERATURES):
        condition = {"split": split, "temperature": temperature}
        for facts in trained:
            value = rate(facts["method"], split, temperature, facts["seed"])
            rows.append({**facts, **condition, **key, "win_rate": value, "mean_judge": 10 * value})
            by_prompt += [
                {"task": "summaries", "policy": facts["policy"], **condition, **key, "prompt_id": prompt,
                 "win_rate": value + 0.001 * index, "kl": 1.0}
                for index, prompt in enumerate(PROMPTS)
            ]  # fmt: skip
        best += [
            {"task": "summaries", **condition, "scorer": "judge", "n": n, "prompt_id": prompt,
             "win_rate": value + 0.001 * index, "mean_judge": 10 * value}
            for n, value in ((1, 0.5), (4, 0.85), (8, BEST_OF_8)) for index, prompt in enumerate(PROMPTS)
        ]  # fmt: skip
    return [pl.DataFrame(table, infer_schema_length=None) for table in (rows, by_prompt, best)]


def judged(world, measure, **expect):
    claim = {
        "claim": "a-claim",
        "source": "a paper",
        "text": "A text.",
        "paper_value": "none",
        "about": "advantage",
    }
    claims = parse_claims({"claims": [{**claim, "expect": expect, "measure": measure}]})
    metrics, by_prompt, best = world
    tables = Tables(metrics=metrics, prompt_metrics=by_prompt, best_of_n=best)
    return evaluate_claims(claims, tables, bootstrap=Bootstrap(resamples=200)).row(0, named=True)


def difference(**changes):
    measure = {
        "kind": "temperature_difference", "task": "summaries", "a": {"method": "vbon"},
        "b": [{"transform": "raw"}], "temperatures": [0.25],
    }  # fmt: skip
    return {**measure, **changes}


def test_a_difference_at_a_temperature_is_paired_by_prompt_and_averaged_over_seeds(world):
    row = judged(world, difference(), direction="greater", effect=0.02)
    assert row["ours"] == pytest.approx(0.10)
    assert row["ci_low"] == pytest.approx(row["ci_high"]) == pytest.approx(0.10)  # prompts' own term cancels
    assert row["verdict"] == "reproduced" and "least favourable of 2" in row["text"]  # the two splits


def test_the_least_favourable_temperature_counts(world):
    row = judged(world, difference(temperatures=[0.25, 1.0]), direction="greater", effect=0.02)
    assert row["ours"] == pytest.approx(0.005)


def test_best_of_n_has_the_n_of_the_policies(world):
    measure = difference(a="best_of_n", b=[{"method": name} for name in ("vbon", "bonbon")], splits=["evaluation"])
    row = judged(world, measure, direction="greater", effect=0.02)
    assert row["ours"] == pytest.approx(BEST_OF_8 - 0.81)


def test_a_drop_is_that_of_each_series(world):
    measure = {
        "kind": "temperature_drop", "task": "summaries", "series": [{"method": "vbon"}, {"method": "bonbon"}],
        "low": 0.25, "high": 1.0,
    }  # fmt: skip
    assert judged(world, measure, direction="greater", effect=0.02)["ours"] == pytest.approx(0.10)
    measure["series"] = [{"transform": "raw"}]
    assert judged(world, measure, direction="greater", effect=0.02)["ours"] == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"temperatures": [0.5]}, "no vbon of one strength at temperature 0.5 on evaluation prompts"),
        ({"b": [{"method": "dpo"}]}, "no dpo of one strength at temperature 0.25 on evaluation prompts"),
        ({"task": "helpful"}, "of task helpful"),
        ({"scorer": "gold"}, "no vbon of one strength"),
    ],
)
def test_what_was_not_evaluated_is_not_run(world, changes, said):
    row = judged(world, difference(**changes), direction="greater", effect=0.02)
    assert row["verdict"] == "not run" and said in row["text"]


def test_several_strengths_are_not_mixed(world):
    metrics, by_prompt, best = world
    more = pl.DataFrame([policy("vbon", seed, strength=4.0) for seed in SEEDS], infer_schema_length=None)
    rows = metrics.filter(method="vbon").drop(*more.columns).unique(["split", "temperature"])
    both = pl.concat([metrics, rows.join(more, how="cross").select(metrics.columns)], how="vertical_relaxed")
    row = judged((both, by_prompt, best), difference(), direction="greater", effect=0.02)
    assert row["verdict"] == "not run" and "no vbon of one strength" in row["text"]


def test_different_prompts_are_an_error(world):
    metrics, by_prompt, best = world
    fewer = by_prompt.filter(~((pl.col("prompt_id") == "p03") & pl.col("policy").str.starts_with("ppo")))
    with pytest.raises(InputError, match=r"different prompts \(12 and 11\)"):
        judged((metrics, fewer, best), difference(), direction="greater", effect=0.02)


def test_curves_are_means_and_deviations_over_the_most_seeds(world):
    metrics, _, best = world
    assert set(most_seeds(metrics)["strength"]) == {8.0, 1.2}
    curves = temperature_curves(metrics, best)
    assert curves["label"].unique(maintain_order=True).to_list() == [
        "PPO, uncalibrated, KL 1.2", "BoNBoN, n = 8", "vBoN, n = 8", "best-of-8 of the reference", "reference",
    ]  # fmt: skip
    row = curves.row(
        by_predicate=(pl.col("method") == "vbon") & (pl.col("split") == "evaluation_out")
        & (pl.col("temperature") == 0.25), named=True,
    )  # fmt: skip
    assert row["win_rate"] == pytest.approx(0.80) and row["win_rate_sd"] == pytest.approx(0.01)
    assert row["mean_judge"] == pytest.approx(8.0) and row["mean_judge_sd"] == pytest.approx(0.1)


def test_the_figure_has_a_line_for_each_split_and_one_legend_entry_for_each_series(world):
    metrics, _, best = world
    figure = figure_temperatures(metrics, best, ["summaries"])
    left, right = figure.axes
    assert left.get_ylabel() == "Win rate (%)" and right.get_ylabel() == "Mean judge score"
    lines = [container.lines[0] for container in left.containers]
    assert sorted(line.get_linestyle() for line in lines) == ["-"] * 5 + ["--"] * 5
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[-2:] == ["in distribution", "out of distribution"]
    assert len(texts) == len(set(texts)) == 7
    vbon = next(line for line in lines if list(line.get_ydata()) == pytest.approx([0.81, 0.71]))
    assert list(vbon.get_xdata()) == [0.25, 1.0] and vbon.get_linestyle() == "-"


LEADS = {0.5: 0.02, 1.0: 0.05}  # of exp(10) over raw, by temperature


@pytest.fixture(scope="module")
def leads():
    """Two PPO series of two strengths each, whose win rates are linear in KL; at 0.5 the KL is half that at 1."""
    rows, by_prompt = [], []
    key = {
        "task": "helpful",
        "procedure": "bon(4)",
        "select": "reward",
        "scorer": "judge",
        "split": "evaluation",
    }
    for transform, strength, temperature in product(("raw", "exp(10)"), (0.25, 2.0), LEADS):
        facts = {**key, "policy": f"ppo-{transform}-{strength}", "method": "ppo", "transform": transform}
        facts |= {"calibrator": None if transform == "raw" else "empirical", "strength_kind": "kl"}
        facts |= {"n_rollouts": None, "strength": strength, "seed": 0, "temperature": temperature}
        kl = strength * temperature
        rows.append(facts | {"kl": kl})
        value = 0.6 + 0.1 * kl + (LEADS[temperature] if transform == "exp(10)" else 0.0)
        noise = 0.001 * (1 if transform == "raw" else -1)
        by_prompt += [
            {**facts, "prompt_id": prompt, "kl": kl, "win_rate": value + noise * (index - 5.5)}
            for index, prompt in enumerate(PROMPTS)
        ]
    once = {
        **rows[0],
        "policy": "ppo-identity",
        "transform": "identity",
        "kl": 3.0,
    }  # at one temperature alone
    tables = pl.DataFrame([*rows, once]), pl.DataFrame(by_prompt)
    return temperature_leads(*tables, [("helpful", "bon(4)")], bootstrap=Bootstrap(resamples=200))


def test_leads_are_at_a_kl_that_all_series_reach_at_every_temperature(leads):
    assert leads["kl"].to_list() == [(2.0 * 0.5 + 0.25 * 1.0) / 2] * 2
    assert leads.select("temperature", "series", "less").rows() == [
        (temperature, "CTRL exp(10)", "PPO, uncalibrated") for temperature in LEADS
    ]
    assert leads["lead"].to_list() == pytest.approx(list(LEADS.values()))
    assert (leads["lead_low"] < leads["lead"]).all() and (leads["lead"] < leads["lead_high"]).all()


def test_without_a_common_kl_there_is_none():
    facts = {
        "method": "ppo",
        "calibrator": None,
        "n_rollouts": None,
        "split": "evaluation",
        "temperature": 1.0,
    }
    apart = [{**facts, "transform": name, "kl": kl} for name, kl in (("raw", 0.2), ("identity", 0.4))]
    assert common_kl(pl.DataFrame(apart)) is None and common_kl(pl.DataFrame(apart).clear()) is None


def test_a_kl_that_is_not_reached_has_no_lead_and_its_figure_no_point(leads):
    figure = figure_temperature_leads(leads)
    (axis,) = figure.axes
    assert axis.lines[0].get_xdata().tolist() == [0.5, 1.0]
    assert axis.lines[0].get_ydata() == pytest.approx([2.0, 5.0])
    cut = leads.with_columns(lead=pl.when(temperature=1.0).then(pl.col("lead")))
    assert figure_temperature_leads(cut).axes[0].lines[0].get_xdata().tolist() == [1.0]
