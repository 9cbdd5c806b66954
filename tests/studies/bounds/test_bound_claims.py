"""Claims on the lower bound are judged by the worst N."""

import polars as pl

from infalign.presentation.claims import evaluate_claims
from presentation.stored_tables import Tables, parse_claims


def row_of(measure, tables, expect):
    claim = {"claim": "a", "source": "b", "text": "c", "paper_value": "d", "about": "theory"}
    claims = parse_claims({"claims": [{**claim, "expect": expect, "measure": measure}]})
    return evaluate_claims(claims, tables).row(0, named=True)


def test_bounds_are_judged_by_the_worst_n():
    bounds = pl.DataFrame(
        {"n": [1.2, 2.0, 11.0], "n_worlds": 500, "j_less_l": [0.2, 0.7, 2.4], "l_less_l1": [-0.2, 1.2, 98.0]}
    )
    expect = {"direction": "not_worse", "margin": 1e-9}
    measure = {"kind": "bound_slack", "column": "l_less_l1"}
    tables = Tables(bounds=bounds)
    assert row_of(measure, tables, expect)["verdict"] == "not reproduced"
    whole = row_of({**measure, "n_from": 2.0}, tables, expect)
    assert (whole["ours"], whole["verdict"]) == (1.2, "reproduced")
    assert "N from 2 to 11, 500 listed distributions" in whole["text"]
    below = row_of({**measure, "n_below": 2.0}, tables, expect)
    assert (below["ours"], below["verdict"]) == (-0.2, "not reproduced")
    assert row_of({**measure, "n_from": 20.0}, tables, expect)["verdict"] == "not run"
