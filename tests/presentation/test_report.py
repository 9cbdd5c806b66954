"""The tables a reader sees say what the claims say."""

import polars as pl
import pytest

from infalign.presentation.claims import COLUMNS
from infalign.presentation.glance import methods_at_a_glance
from infalign.presentation.published import write_summary
from infalign.presentation.report import VERDICT_LOOKS, claims_html, methods_html, metrics_html
from infalign.presentation.verdicts import VERDICTS


@pytest.fixture
def claims():
    rows = [
        ("gain", "paper", "Gains | much.", "+0.08", 0.0912, 0.0714, 0.1108, "reproduced"),
        ("theory", "paper", "Optimal.", "optimal", 0.001, 0.001, 0.001, "reproduced"),
        ("absent", "paper", "Other.", "0.1", None, None, None, "not run"),
    ]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


@pytest.fixture
def gold():
    return pl.DataFrame(
        {
            "claim": ["gain", "other"], "text": ["Gains.", "Other."], "ours": [0.09, 0.05], "ci_low": [0.07, 0.04],
            "ci_high": [0.11, 0.06], "verdict": ["reproduced", "partly"], "ours_gold": [-0.02, 0.05],
            "ci_low_gold": [-0.03, 0.04], "ci_high_gold": [-0.01, 0.06], "verdict_gold": ["not reproduced", "partly"],
        }
    )  # fmt: skip


def test_claims_page_holds_numbers_verdicts_and_disagreement(claims, gold):
    page = claims_html(claims, gold)
    assert "0.091 [0.071, 0.111]" in page
    assert "✓ reproduced" in page and VERDICT_LOOKS["reproduced"][1].lower() in page.lower()
    assert "3 claims: 2 reproduced, 1 not run" in page
    assert "differs from the judge&#x27;s on 1 of 2 claims" in page or "differs from the judge's on 1 of 2" in page
    assert "-0.020 [-0.030, -0.010]" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_claims_page_without_gold_says_so(claims):
    assert "No gold scorer on these tasks" in claims_html(claims, None)
    assert claims_html(claims) == claims_html(claims)


def test_every_verdict_has_a_look():
    assert set(VERDICT_LOOKS) == set(VERDICTS)
    assert len(set(VERDICT_LOOKS.values())) == len(VERDICTS)


def test_metrics_page_has_a_row_per_policy(metrics):
    page = metrics_html(metrics, [("helpful", "bon(4)"), ("harmless", "won(4)")])
    assert "best-of-4 win rate" in page and "worst-of-4 win rate" in page
    for policy in metrics["policy"].unique():
        assert policy in page


def test_methods_page_says_what_is_reached_and_what_is_not(methods):
    page = methods_html(methods, [("helpful", "none"), ("helpful", "bon(4)")])
    assert "Task helpful, standard" in page and "Task helpful, best-of-4" in page
    assert "win rate at KL 0.5" in page and "not reached: KL 0.05–0.30" in page
    table = methods_at_a_glance(methods, "helpful", "bon(4)")
    assert table["series"].to_list()[:3] == ["PPO, uncalibrated", "CTRL identity", "CTRL exp(10)"]
    row = methods.row(
        by_predicate=(pl.col("series") == "IPO") & (pl.col("task") == "helpful") & (pl.col("kl") == 0.5)
        & (pl.col("procedure") == "bon(4)") & (pl.col("select") == "reward"), named=True,
    )  # fmt: skip
    shown = table.row(by_predicate=pl.col("series") == "IPO", named=True)
    said = "{win_rate:.3f} [{ci_low:.3f}, {ci_high:.3f}]".format(**row)
    assert shown["win rate at KL 0.5"] == said
    assert shown["less CTRL at KL 0.5"].startswith(f"{row['difference']:.3f} [")
    assert shown["policies"] == 3
    assert table.row(by_predicate=pl.col("series") == "CTRL exp(10)", named=True)["less CTRL at KL 0.5"] == "–"


def test_summary_is_markdown_with_date_and_commit(claims, gold, tmp_path):
    path = write_summary(
        tmp_path / "default",
        claims,
        run="default",
        date="2026-01-02",
        commit="abc123",
        gold=gold,
        notes="Power 0.9.",
        methods={"helpful, best-of-4": pl.DataFrame({"series": ["IPO"], "win rate at KL 0.5": ["0.63"]})},
    )
    text = path.read_text(encoding="utf-8")
    assert path.name == "README.md"
    assert "# Run `default`" in text and "Made 2026-01-02 from commit `abc123`." in text and "Power 0.9." in text
    assert "| gain | Gains \\| much. | +0.08 | 0.091 [0.071, 0.111] | reproduced | paper |" in text
    assert "| theory | Optimal. | optimal | 0.001 | reproduced | paper |" in text
    assert "| absent | Other. | 0.1 | – | not run | paper |" in text
    assert "| gain | 0.090 [0.070, 0.110] | reproduced | -0.020 [-0.030, -0.010] | not reproduced |" in text
    assert "## Methods: helpful, best-of-4" in text and "| IPO | 0.63 |" in text
    assert "http" not in text
