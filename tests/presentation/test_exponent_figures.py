"""Exponents: trained rows from a small known world, the claims, the figure."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from result_tables import GAINS

from infalign.presentation.claims import evaluate_claims
from infalign.presentation.pareto import Resampling
from infalign.studies.exponents.figures import (
    BEST_SCHEMA,
    EXPONENTS_SCHEMA,
    figure_exponents,
    trained_rows,
)
from presentation.stored_tables import Tables, load_claims

CASES = [("helpful", f"bon({n})", n) for n in (2, 4)] + [("harmless", f"won({n})", n) for n in (2, 4)]
CLAIMS = [
    claim
    for claim in load_claims(Path(__file__).parents[2] / "reports" / "claims.yaml")
    if claim.measure.kind in ("exponent_lead", "exponent_growth")
]


@pytest.fixture(scope="module")
def trained(metrics, prompt_metrics):
    rows = trained_rows(metrics, prompt_metrics, CASES, 0.5, Resampling(resamples=100))
    return pl.DataFrame(list(rows), schema=EXPONENTS_SCHEMA)


def test_trained_series_are_those_with_an_exponent_and_the_raw_reward(trained):
    part = trained.filter(procedure="bon(4)").sort("t", nulls_last=True)
    assert part["transform"].to_list() == ["identity", "exp(10)", "raw"]
    assert part["t"].to_list() == [0.0, 10.0, None]
    expected = [0.5 + GAINS[name] for name in part["transform"]]
    assert part["win_rate"].to_numpy() == pytest.approx(expected, abs=0.01)
    assert (part["ci_low"] < part["win_rate"]).all() and set(part["kind"]) == {"trained"}
    assert trained.filter(procedure="won(2)")["t"].drop_nulls().sort().to_list() == [-10.0, 0.0]


def test_a_kl_beyond_the_policies_has_no_row(metrics, prompt_metrics):
    assert list(trained_rows(metrics, prompt_metrics, CASES, 5.0, Resampling(resamples=100))) == []


def best(leads=(0.02, 0.07, 0.2), short=0.001):
    rows = [
        (
            task,
            f"{family}({n})",
            n,
            0.5,
            sign * n * 2.0,
            0.9,
            n == 32,
            sign * n * 1.5,
            0.9 - lead,
            0.9 - 0.002 * n,
            0.9 + short,
        )
        for task, family, sign in (("helpful", "bon", 1), ("harmless", "won", -1))
        for n, lead in zip((2, 4, 32), leads, strict=True)
    ]
    return pl.DataFrame(rows, schema=BEST_SCHEMA, orient="row")


def test_claims_on_the_best_exponent():
    found = evaluate_claims(CLAIMS, Tables(best_exponents=best()))
    verdicts = dict(found.select("claim", "verdict").iter_rows())
    assert (
        verdicts["best-exponent-near-optimal-bon"] == verdicts["ideal-gain-grows-with-n-won"] == "reproduced"
    )
    assert verdicts["t10-enough-bon32"] == "not reproduced"
    ours = dict(found.select("claim", "ours").iter_rows())
    assert ours["ideal-gain-grows-with-n-bon"] == pytest.approx(0.18)
    assert ours["t10-enough-bon32"] == pytest.approx(0.064)
    (text,) = found.filter(claim="ideal-gain-grows-with-n-bon")["text"]
    assert "KL 0.5; best t: 4 for N = 2, 64 for N = 32; exact" in text


def test_claims_that_do_not_hold_and_those_without_numbers():
    found = evaluate_claims(CLAIMS, Tables(best_exponents=best((0.2, 0.1, 0.05), short=0.05)))
    verdicts = dict(found.select("claim", "verdict").iter_rows())
    assert verdicts["ideal-gain-grows-with-n-bon"] == "not reproduced"
    assert verdicts["best-exponent-near-optimal-won"] == "not reproduced"
    assert set(evaluate_claims(CLAIMS, Tables())["verdict"]) == {"not run"}
    few = evaluate_claims(CLAIMS, Tables(best_exponents=best().filter(pl.col("n") < 32)))
    assert set(few["verdict"]) == {"not run"} and "no exponents of task helpful for N = 32" in few["text"][0]


def test_the_figure_has_a_panel_a_task_and_n(trained):
    table = best().filter(pl.col("n") < 32)
    curves = [
        (
            kind,
            task if kind == "offline" else None,
            procedure,
            n,
            "x",
            t,
            0.5,
            0.8 - 0.001 * (t - 4) ** 2,
            0.7,
            0.9,
        )
        for kind in ("ideal", "offline")
        for task, procedure, n in CASES
        for t in (-10.0, 0.0, 10.0)
    ]
    raw = [("offline", *case, "raw", None, 0.5, 0.6, 0.5, 0.7) for case in CASES]
    rows = pl.DataFrame([*curves, *raw], schema=EXPONENTS_SCHEMA, orient="row")
    figure = figure_exponents(pl.concat([rows, trained]), table)
    assert [axis.get_title() for axis in figure.axes] == [
        "helpful, best-of-2", "helpful, best-of-4", "harmless, worst-of-2", "harmless, worst-of-4",
    ]  # fmt: skip
    axis = figure.axes[1]
    stars = [line for line in axis.lines if line.get_marker() == "*"]
    np.testing.assert_allclose([line.get_xydata()[0] for line in stars], [[8.0, 0.9]])
    (points,) = (line for line in axis.lines if line.get_marker() == "s")
    assert sorted(points.get_xdata()) == [0.0, 10.0]
    assert "-10" in [label.get_text() for label in axis.get_xticklabels()]
    figure.canvas.draw()
