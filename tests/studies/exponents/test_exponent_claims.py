"""Claims on the best exponent, as claims.yaml has them, from a table with known numbers."""

from pathlib import Path

import polars as pl
import pytest

from infalign.presentation.claims import evaluate_claims
from presentation.stored_tables import Tables, load_claims
from studies.exponents.best_exponents import best_exponents

CLAIMS = [
    claim
    for claim in load_claims(Path(__file__).parents[3] / "reports" / "claims.yaml")
    if claim.measure.kind in ("exponent_lead", "exponent_growth")
]


def test_claims_on_the_best_exponent():
    rows = evaluate_claims(CLAIMS, Tables(best_exponents=best_exponents()))
    verdicts = dict(rows.select("claim", "verdict").iter_rows())
    assert verdicts["best-exponent-near-optimal-bon"] == verdicts["ideal-gain-grows-with-n-won"] == "reproduced"
    assert verdicts["t10-enough-bon32"] == "not reproduced"
    ours = dict(rows.select("claim", "ours").iter_rows())
    assert ours["ideal-gain-grows-with-n-bon"] == pytest.approx(0.18)
    assert ours["t10-enough-bon32"] == pytest.approx(0.064)
    (text,) = rows.filter(claim="ideal-gain-grows-with-n-bon")["text"]
    assert "KL 0.5; best t: 4 for N = 2, 64 for N = 32; exact" in text


def test_claims_that_do_not_hold_and_those_without_numbers():
    rows = evaluate_claims(CLAIMS, Tables(best_exponents=best_exponents((0.2, 0.1, 0.05), short=0.05)))
    verdicts = dict(rows.select("claim", "verdict").iter_rows())
    assert verdicts["ideal-gain-grows-with-n-bon"] == "not reproduced"
    assert verdicts["best-exponent-near-optimal-won"] == "not reproduced"
    assert set(evaluate_claims(CLAIMS, Tables())["verdict"]) == {"not run"}
    few = evaluate_claims(CLAIMS, Tables(best_exponents=best_exponents().filter(pl.col("n") < 32)))
    assert set(few["verdict"]) == {"not run"} and "no exponents of task helpful for N = 32" in few["text"][0]
