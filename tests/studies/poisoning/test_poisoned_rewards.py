"""Poisoned rewards as claims and as a figure, against accuracies known by hand."""

from itertools import product

import numpy as np
import polars as pl
import pytest

from infalign.errors import InputError
from infalign.mathematics.statistics import Bootstrap
from infalign.presentation.claims import evaluate_claims
from infalign.studies.poisoning.figures import draw_poisoning
from infalign.studies.poisoning.tables import POISONING_SCHEMA, PROMPT_POISONING_SCHEMA
from presentation.stored_tables import Tables, parse_claims

FAST = Bootstrap(resamples=300)
UP = {"direction": "greater", "effect": 0.05}
ACCURACIES = {
    ("bradley_terry", "clean"): 0.75,
    ("bradley_terry", "poisoned"): 0.25,
    ("calibrated_pairs", "clean"): 0.7,
    ("calibrated_pairs", "poisoned"): 0.25,
    ("calibrated_rollouts", "clean"): 0.65,
    ("calibrated_rollouts", "poisoned"): 0.6,
}


def by_prompt(accuracies=ACCURACIES, tasks=("helpful", "harmless"), seeds=(0,), rates=(0.0, 0.1, 0.5)):
    """40 prompts of 10 or 30 pairs; a model orders the given share right, a little more or less in each prompt."""
    waves = 0.1 * (-1.0) ** np.arange(40)
    sizes = np.where(np.arange(40) < 20, 10, 30)
    parts = []
    for task, rate, seed, (key, accuracy) in product(tasks, rates, seeds, accuracies.items()):
        facts = dict(zip(("model", "test_set"), key, strict=True))
        parts.append(
            pl.DataFrame(
                {
                    "task": task, "rate": rate, "seed": seed, **facts,
                    "prompt_id": [f"p{index:02d}" for index in range(40)], "n_pairs": sizes,
                    "accuracy": accuracy + waves,
                },
                schema=PROMPT_POISONING_SCHEMA,
            )
        )  # fmt: skip
    return pl.concat(parts)


def row_of(measure, table, tasks=("helpful", "harmless")):
    claim = {"claim": "a", "source": "b", "text": "c", "paper_value": "d", "about": "advantage", "expect": UP}
    claims = parse_claims({"claims": [{**claim, "measure": {"tasks": list(tasks), **measure}}]})
    tables = Tables() if table is None else Tables(prompt_poisoning=table)
    return evaluate_claims(claims, tables, bootstrap=FAST).row(0, named=True)


def lead(model):
    return {"kind": "poisoned_lead", "model": model}


def test_a_lead_is_the_least_favourable_of_all_rates_tasks_and_what_is_known():
    row = row_of(lead("calibrated_rollouts"), by_prompt())
    assert row["ours"] == pytest.approx(0.65 - 0.5)  # less than the lead of 0.35
    assert row["verdict"] == "reproduced"
    assert "rates 0.1, 0.5; seeds: 1" in row["text"] and "least favourable of 8 comparisons" in row["text"]
    row = row_of(lead("calibrated_pairs"), by_prompt())
    assert row["ours"] == pytest.approx(0.0) and row["verdict"] == "not reproduced"


def test_a_model_that_knows_nothing_does_not_lead():
    ignorant = {**ACCURACIES, ("calibrated_rollouts", "clean"): 0.5, ("calibrated_rollouts", "poisoned"): 0.5}
    row = row_of(lead("calibrated_rollouts"), by_prompt(ignorant))
    assert row["ours"] == pytest.approx(0.0) and row["verdict"] != "reproduced"


def test_a_drop_is_clean_less_poisoned():
    row = row_of({"kind": "poisoned_drop"}, by_prompt())
    assert row["ours"] == pytest.approx(0.5) and row["verdict"] == "reproduced"
    row = row_of({"kind": "poisoned_drop", "model": "calibrated_rollouts"}, by_prompt())
    assert row["ours"] == pytest.approx(0.05)


def test_rate_0_and_other_tasks_do_not_count():
    good, bad = by_prompt(tasks=["helpful"]), {**ACCURACIES, ("calibrated_rollouts", "poisoned"): 0.0}
    others = [by_prompt(bad, tasks=["helpful"], rates=[0.0]), by_prompt(bad, tasks=["mine"])]
    table = pl.concat([good.filter(pl.col("rate") > 0), *others])
    row = row_of(lead("calibrated_rollouts"), table, tasks=["helpful"])
    assert row["verdict"] == "reproduced"


def test_seeds_are_taken_together():
    worse = {**ACCURACIES, ("calibrated_rollouts", "poisoned"): 0.3}
    table = pl.concat([by_prompt(), by_prompt(worse, seeds=[1])])
    drop = {"kind": "poisoned_drop", "model": "calibrated_rollouts"}
    assert row_of(drop, table)["ours"] == pytest.approx(0.65 - 0.45)
    assert "seeds: 2" in row_of(drop, table)["text"]


def test_what_is_not_there_is_not_run():
    assert row_of(lead("calibrated_pairs"), None)["verdict"] == "not run"
    row = row_of(lead("calibrated_pairs"), by_prompt(tasks=["helpful"]))
    assert row["verdict"] == "not run" and "no poisoned pairs of task harmless" in row["text"]
    broken = by_prompt().filter(~((pl.col("model") == "calibrated_pairs") & (pl.col("prompt_id") == "p03")))
    with pytest.raises(InputError, match="have different pairs; make the table again"):
        row_of(lead("calibrated_pairs"), broken)


@pytest.fixture
def accuracies():
    rows = [
        (task, rate, seed, model, test_set, 100, value - 0.1 * rate + 0.02 * seed, value - 0.1, value + 0.1)
        for task, rate, seed, ((model, test_set), value) in product(
            ("helpful", "harmless"), (0.0, 0.1, 0.5), (0, 1), ACCURACIES.items()
        )
    ]
    return pl.DataFrame(rows, schema=POISONING_SCHEMA, orient="row")


def test_the_figure_has_a_panel_a_task_and_test_set(accuracies):
    figure = draw_poisoning(Tables(poisoning=accuracies))
    assert [axis.get_title() for axis in figure.axes] == [
        "helpful, clean held-out pairs", "helpful, poisoned held-out pairs",
        "harmless, clean held-out pairs", "harmless, poisoned held-out pairs",
    ]  # fmt: skip
    axis = figure.axes[1]
    markers = [line for line in axis.lines if line.get_linestyle() == "None"]
    means = [line for line in axis.lines if line.get_linestyle() == "-"]
    assert len(markers) == len(means) == 3
    np.testing.assert_allclose(markers[0].get_ydata(), [0.25, 0.27, 0.24, 0.26, 0.2, 0.22])
    np.testing.assert_allclose(means[2].get_ydata(), [0.61, 0.6, 0.56])
    np.testing.assert_allclose(means[1].get_xdata(), [0, 1, 2])
    segments = np.array(axis.collections[0].get_segments())
    np.testing.assert_allclose(segments[:, :, 1], [[0.15, 0.35]] * 6)
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0", "10", "50"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][::3] == ["Bradley-Terry", "knows nothing"]


def test_the_figure_draws_what_has_no_interval(accuracies):
    one = accuracies.filter(task="helpful").with_columns(
        ci_low=pl.lit(None, pl.Float64), ci_high=pl.lit(None, pl.Float64)
    )
    figure = draw_poisoning(Tables(poisoning=one))
    assert len(figure.axes) == 2
    figure.canvas.draw()
