"""The claim on the estimation error is measured by the run's table."""

import polars as pl

from infalign.presentation.claims import evaluate_claims
from infalign.studies.estimation.tables import ESTIMATION_SCHEMA
from presentation.stored_tables import Tables, parse_claims


def row_of(measure, tables, expect):
    claim = {"claim": "a", "source": "b", "text": "c", "paper_value": "d", "about": "measurement"}
    claims = parse_claims({"claims": [{**claim, "expect": expect, "measure": measure}]})
    return evaluate_claims(claims, tables).row(0, named=True)


def test_rejection_rate_is_the_tables():
    facts = {
        "task": "sentiment",
        "size": 250,
        "n_full": 600,
        "n_prompts": 500,
        "n_constant": 3,
        "level": 0.05,
    }
    numbers = {"n_rejected": 0, "rejection_rate": 0.0, "ci_low": 0.0, "ci_high": 0.0076}
    table = pl.DataFrame([{**facts, **numbers, "sampling": "nested"}], schema=ESTIMATION_SCHEMA)
    measure = {"kind": "rejection_rate", "task": "sentiment", "size": 250, "sampling": "nested"}
    expect = {"direction": "less", "reference": 0.05, "paper_range": [0.0, 0.005]}
    row = row_of(measure, Tables(estimation=table), expect)
    assert (row["ours"], row["ci_high"], row["verdict"]) == (0.0, 0.0076, "reproduced")
    assert "0 of 500 prompts, 3 of one reward" in row["text"]
    other = row_of({**measure, "sampling": "independent"}, Tables(estimation=table), expect)
    assert other["verdict"] == "not run"
