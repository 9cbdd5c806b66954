"""Claims and figures of calibration quality, against values known by hand; the figure of KL estimates."""

import numpy as np
import polars as pl
import pytest

from infalign.errors import InputError
from infalign.presentation.claims import evaluate_claims, judge_and_gold
from infalign.presentation.measures.base import Bootstrap
from infalign.presentation.panels import save_figure
from infalign.presentation.report import costs_html
from infalign.studies.calibration.figures import figure_calibration_quality
from infalign.studies.calibration.tables import CALIBRATION_SCHEMAS, costs_table
from infalign.studies.kl_estimators.figures import figure_kl_estimators
from infalign.studies.kl_estimators.tables import ESTIMATOR_SCHEMA
from presentation.stored_tables import Tables, parse_claims

FAST = Bootstrap(resamples=200)
VALUES = {  # calibrator, rollouts: error and win rate at KL 0.5
    (None, None): (0.2, 0.70),
    ("anchors(1)", 1): (0.21, 0.69),
    ("anchors(1)", 100): (0.12, 0.72),
    ("anchors(2)", 100): (0.08, 0.75),
    ("anchors(10)", 100): (0.06, 0.76),
    ("empirical", 100): (0.06, 0.77),
}
NAMES = [f"p{i}" for i in range(30)]
WAVE = 0.01 * (-1.0) ** np.arange(30)


def of_case(case, facts, **values):
    frame = pl.DataFrame({**facts, **values})
    calibrator, n = (pl.lit(case[0], pl.String), pl.lit(case[1], pl.Int64))
    return frame.with_columns(calibrator=calibrator, n_rollouts=n)


def stacked(name, parts):
    return pl.concat([part.select(*CALIBRATION_SCHEMAS[name]) for part in parts])


@pytest.fixture(scope="module")
def tables():
    errors, points = [], []
    for case, (error, rate) in VALUES.items():
        errors.append(of_case(case, {"task": "helpful"}, prompt_id=NAMES, error=error + WAVE))
        facts = {
            "task": "helpful",
            "transform": "raw" if case[0] is None else "exp(10)",
            "procedure": "bon(4)",
        }
        for scorer, shift in (("judge", 0.0), ("gold", 0.02)):
            points.append(
                of_case(
                    case,
                    {**facts, "scorer": scorer, "kl": 0.5},
                    prompt_id=NAMES,
                    win_rate=rate + shift + WAVE,
                )
            )
    return Tables(
        prompt_calibration_error=stacked("prompt_calibration_error", errors),
        prompt_calibration_frontier=stacked("prompt_calibration_frontier", points),
    )


def claim(measure, expect=None):
    entry = {"claim": "a", "source": "b", "text": "c", "paper_value": "d", "about": "measurement"}
    expect = expect or {"direction": "greater", "effect": 0.01}
    return parse_claims({"claims": [{**entry, "expect": expect, "measure": {"task": "helpful", **measure}}]})


def row_of(measure, tables):
    return evaluate_claims(claim(measure), tables, bootstrap=FAST).row(0, named=True)


def rates(kind, **more):
    return {"kind": kind, "value": "win_rate", "transform": "exp(10)", "procedure": "bon(4)", **more}


def median(n=None):
    return {"calibrator": "anchors(1)"} | ({"n_rollouts": n} if n else {})


def test_a_difference_is_paired_and_the_least_favourable_counts(tables):
    row = row_of(rates("calibration_difference", a=median(), b=[median(1), {}]), tables)
    assert row["ours"] == pytest.approx(0.72 - 0.70)  # the median of the most rollouts less the uncalibrated
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((0.02, 0.02))  # the prompts' waves cancel
    assert row["verdict"] == "reproduced" and "KL 0.5, out of sample" in row["text"]


def test_errors_are_compared_too(tables):
    measure = {
        "kind": "calibration_difference",
        "value": "error",
        "a": median(),
        "b": [{"calibrator": "anchors(2)"}],
    }
    assert row_of(measure, tables)["ours"] == pytest.approx(0.04)


def test_saturation_needs_a_first_step(tables):
    steps = [median(), {"calibrator": "anchors(2)"}, {"calibrator": "anchors(10)"}]
    row = row_of(rates("calibration_saturation", steps=steps), tables)
    assert row["ours"] == pytest.approx((0.75 - 0.72) - (0.76 - 0.75))
    error = {"kind": "calibration_saturation", "value": "error", "steps": steps}
    assert row_of(error, tables)["ours"] == pytest.approx((0.12 - 0.08) - (0.08 - 0.06))
    back = row_of(rates("calibration_saturation", steps=[steps[1], steps[0], median(1)]), tables)
    assert back["ours"] == pytest.approx(0.72 - 0.75) and back["verdict"] == "not reproduced"


def test_gold_judges_win_rates_and_no_errors(tables):
    measure = rates("calibration_difference", a=median(), b=[{}])
    assert judge_and_gold(claim(measure), tables, bootstrap=FAST)["ours_gold"].to_list() == pytest.approx(
        [0.02]
    )
    error = {"kind": "calibration_difference", "value": "error", "a": median(), "b": [{}]}
    assert judge_and_gold(claim(error), tables, bootstrap=FAST).is_empty()


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        (
            rates("calibration_difference", a=median(7), b=[{}]),
            "no calibration anchors(1) K=7 of task helpful",
        ),
        (rates("calibration_difference", a=median(), b=[{}], kl=0.7), "with bon(4) at KL 0.7"),
        (rates("calibration_difference", a=median(), b=[{}], task="sums"), "of task sums"),
    ],
)
def test_what_was_not_compared_is_not_run(tables, measure, said):
    row = row_of(measure, tables)
    assert row["verdict"] == "not run" and said in row["text"]
    assert "no calibrations were compared" in row_of(measure, Tables())["text"]


def test_different_prompts_are_an_error(tables):
    some = tables.prompt_calibration_error.filter(
        ~((pl.col("prompt_id") == "p0") & (pl.col("calibrator") == "anchors(2)"))
    )
    measure = {
        "kind": "calibration_difference",
        "value": "error",
        "a": median(),
        "b": [{"calibrator": "anchors(2)"}],
    }
    with pytest.raises(InputError, match="different prompts"):
        row_of(measure, Tables(prompt_calibration_error=some))


def test_the_figure_has_a_line_a_case_and_a_marker_a_policy(tables, tmp_path):
    grid = [0.0, 0.5, 1.0]
    interval = {"ci_low": [0.0, 0.4, 1.0], "ci_high": [0.0, 0.6, 1.0]}
    errors = stacked(
        "calibration_error",
        [
            of_case(case, {"task": "helpful"}, error=grid, share=[0.0, 0.5, 1.0], **interval)
            for case in VALUES
        ],
    )
    frontier = tables.prompt_calibration_frontier.group_by(
        *(name for name in CALIBRATION_SCHEMAS["calibration_frontier"] if name not in ("win_rate", *interval))
    ).agg(pl.col("win_rate").mean())
    metrics = pl.DataFrame(
        {
            "task": "helpful", "procedure": "bon(4)", "select": "reward", "scorer": "judge",
            "transform": ["raw", "exp(10)", "exp(10)", "identity"],
            "calibrator": [None, "anchors(1)", "anchors(1)", "anchors(1)"],
            "n_rollouts": [None, 100, 3, 100], "kl": [0.4, 0.5, 0.6, 0.7], "kl_low": [0.3, 0.4, 0.5, None],
            "kl_high": [0.5, 0.6, 0.7, None], "win_rate": [0.7, 0.71, 0.72, 0.73], "ci_low": [0.6, None, 0.6, 0.6],
            "ci_high": [0.8, None, 0.8, 0.8],
        }
    )  # fmt: skip
    options = {
        "task": "helpful",
        "goal": ("exp(10)", "bon(4)"),
        "cases": list(VALUES)[:3],
        "by_rollouts": True,
    }
    figure = figure_calibration_quality(errors, tables.prompt_calibration_error, frontier, metrics, **options)
    left, right = figure.axes
    assert len(left.lines) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "uncalibrated (error 0.200)", "median of 1 (error 0.210)", "median of 100 (error 0.120)",
    ]  # fmt: skip
    curves = [line for line in right.lines if line.get_linestyle() != "None"]
    assert [line.get_ydata()[-1] for line in curves] == pytest.approx([0.70, 0.69, 0.72])
    markers = [kl for line in right.lines if line.get_linestyle() == "None" for kl in line.get_xdata()]
    assert markers == [0.4, 0.5]  # neither that of three rollouts nor of another transform
    first = [path.read_bytes() for path in save_figure(figure, tmp_path / "a")]
    assert first == [path.read_bytes() for path in save_figure(figure, tmp_path / "b")]


def test_the_figure_of_estimates_has_a_marker_a_policy_and_leaves_out_the_undefined():
    rows = [
        ("t", name, estimator, kl, kl, kl, gap, gap, gap, 1.0, ratio, ratio, ratio, 4, 4)
        for name, kl, ratio in (("a", 0.3, 5.0), ("b", 0.6, None))
        for estimator, gap in (("full_vocabulary", 0.0), ("k1", 0.01), ("k3", -0.02))
    ]
    figure = figure_kl_estimators(pl.DataFrame(rows, schema=ESTIMATOR_SCHEMA, orient="row"))
    left, right = figure.axes
    points = {line.get_label(): line for line in left.lines if not line.get_label().startswith("_")}
    assert [list(line.get_xdata()) for line in points.values()] == [[0.3, 0.6]] * 2
    assert points["k1: log-ratio, t"].get_ydata().tolist() == [0.01, 0.01]
    assert np.isnan(right.lines[0].get_ydata()[1]) and right.lines[0].get_ydata()[0] == 5.0


def test_costs_page_says_seconds_and_their_share():
    page = costs_html(costs_table("helpful", 100, 20.0, 10.0, [60.0]))
    assert "rollouts and scores, 100 a prompt" in page and "training a policy, median of 1" in page
    assert "30.0" in page and "0.50" in page
