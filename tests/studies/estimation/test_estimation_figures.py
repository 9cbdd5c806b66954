"""Figures of the estimation error: what is drawn is what the tables say."""

import numpy as np
import polars as pl
import pytest

from infalign.presentation.panels import save_figure
from infalign.studies.estimation.figures import draw_estimation, draw_log_distribution
from infalign.studies.estimation.tables import ESTIMATION_SCHEMA, LOG_DISTRIBUTION_SCHEMA
from presentation.stored_tables import Tables


@pytest.fixture
def estimation():
    facts = {"task": "sentiment", "n_full": 600, "level": 0.05, "n_prompts": 100, "n_constant": 2}
    rows = [
        {
            **facts, "sampling": sampling, "size": size, "n_rejected": n, "rejection_rate": n / 100,
            "ci_low": max(n - 2, 0) / 100, "ci_high": (n + 3) / 100,
        }
        for sampling, size, n in [
            ("nested", 5, 4), ("nested", 250, 0), ("independent", 5, 5), ("independent", 250, 3),
        ]
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=ESTIMATION_SCHEMA)


def test_estimation_draws_both_samplings_the_paper_and_the_level(estimation):
    figure = draw_estimation(Tables(estimation=estimation))
    (axis,) = figure.axes
    drawn = {c.get_label().split("(")[-1].rstrip(")"): c.lines[0].get_ydata() for c in axis.containers}
    np.testing.assert_allclose(drawn["nested"], [0.04, 0.0])
    np.testing.assert_allclose(drawn["independent"], [0.05, 0.03])
    ends = axis.containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose([segment[:, 1] for segment in ends], [[0.02, 0.07], [0.0, 0.03]])
    paper = next(line for line in axis.lines if line.get_label() == "paper, table 1")
    np.testing.assert_allclose(paper.get_ydata(), [0.0614, 0.0])
    assert [label.get_text() for label in axis.get_xticklabels()] == ["5", "250"]
    assert axis.get_title() == "sentiment, 100 prompts, 2 of one reward"


def test_log_distribution_has_a_panel_a_prompt_and_its_fit():
    rewards = np.linspace(-1.0, 1.0, 5)
    parts = [
        pl.DataFrame(
            {
                "task": "t", "kind": kind, "prompt_id": kind, "mean_reward": mean, "size": size, "reward": rewards,
                "log_f": -np.exp(-rewards) - 1 / size, "log_a": 0.0, "b": 1.0,
            },
            schema=LOG_DISTRIBUTION_SCHEMA,
        )
        for kind, mean in (("adversarial", -0.5), ("neutral", 0.0), ("positive", 0.5))
        for size in (10, 600)
    ]  # fmt: skip
    figure = draw_log_distribution(Tables(log_distribution=pl.concat(parts)))
    assert [axis.get_title() for axis in figure.axes] == [
        "adversarial prompt (mean reward -0.50)",
        "neutral prompt (mean reward 0.00)",
        "positive prompt (mean reward 0.50)",
    ]
    few, many, fit = figure.axes[1].lines
    np.testing.assert_allclose(few.get_ydata(), -np.exp(-rewards) - 0.1)
    np.testing.assert_allclose(many.get_ydata(), -np.exp(-rewards) - 1 / 600)
    np.testing.assert_allclose(fit.get_ydata(), -np.exp(-fit.get_xdata()))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["M = 10", "M = 600", "exponential fit"]


def test_bytes_are_the_same_every_time(estimation, tmp_path):
    first, second = (
        [path.read_bytes() for path in save_figure(draw_estimation(Tables(estimation=estimation)), tmp_path / name)]
        for name in ("a", "b")
    )
    assert first == second
