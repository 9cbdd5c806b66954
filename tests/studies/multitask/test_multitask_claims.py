"""Claims on the regulariser, from tables with known numbers and as claims.yaml has them."""

from pathlib import Path

import polars as pl
import pytest

from infalign.presentation.claims import evaluate_claims
from presentation.stored_tables import Tables, load_claims

CLAIMS = [
    claim
    for claim in load_claims(Path(__file__).parents[3] / "reports" / "claims.yaml")
    if claim.measure.kind in ("multitask_gap", "multitask_reward", "carried_lead")
]


@pytest.fixture
def tables():
    keys = ["divergence", "reward_sign", "beta", "n_tasks", "total_variation_most", "reward_gain_least"]
    rows = [
        (
            divergence,
            sign,
            beta,
            20,
            1e-9 if divergence == "sft_to_policy" else 0.1 / beta,
            -sign * 0.2 / beta,
        )
        for divergence in ("sft_to_policy", "policy_to_sft")
        for sign in (1, -1)
        for beta in (0.5, 2.0)
    ]
    carried = {"procedure": ["bon(4)"] * 2, "kl": [0.1, 0.5], "win_rate": [0.6, 0.7]}
    carried |= {"standard_win_rate": [0.6, 0.7], "best_other_win_rate": [0.59, 0.68]}
    carried |= {"optimal_win_rate": [0.61, 0.73]}
    return Tables(multitask=pl.DataFrame(rows, schema=keys, orient="row"), change_of_variables=pl.DataFrame(carried))


def test_the_theorem_holds_for_the_other_divergence_only(tables):
    found = {row["claim"]: row for row in evaluate_claims(CLAIMS, tables).iter_rows(named=True)}
    assert {name: row["verdict"] for name, row in found.items()} == {
        "multitask-theorem-as-printed": "not reproduced",
        "multitask-theorem-other-divergence": "reproduced",
        "multitask-theorem-other-sign": "not reproduced",
        "multitask-raises-the-reward-as-printed": "not reproduced",
        "multitask-raises-the-reward-corrected": "reproduced",
        "regularising-after-the-procedure-is-standard": "reproduced",
        "regularising-after-the-procedure-is-optimal": "reproduced",
        "regularising-after-the-procedure-costs": "reproduced",
    }
    assert found["multitask-theorem-as-printed"]["ours"] == pytest.approx(0.2)
    assert "beta 0.5, 2; 20 log-linear tasks" in found["multitask-theorem-as-printed"]["text"]
    assert found["multitask-raises-the-reward-as-printed"]["ours"] == pytest.approx(-0.4)
    assert found["regularising-after-the-procedure-costs"]["ours"] == pytest.approx(-0.01)
    assert "bon(4) at KL 0.1, 0.5; exact" in found["regularising-after-the-procedure-costs"]["text"]


def test_without_their_tables_they_are_not_run():
    assert set(evaluate_claims(CLAIMS, Tables())["verdict"]) == {"not run"}
