"""Captions of the report: every figure and table has one that renders."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils.core import publish_parts
from jinja2 import Environment

REPORT = Path(__file__).parents[2] / "workflow" / "report"
KINDS = {
    "transforms": "Ideal frontiers",
    "calibration_helpful": "task helpful",
    "standard": "Standard win rate",
    "inference_time": "Inference-time win rate",
    "scaling": "Little and much",
    "overview": "Share of the attainable gain",
    "methods": "Every method",
    "matched_kl": "Methods at matched KL",
    "gold": "Judge and gold",
    "temperatures": "Sampling temperatures",
    "temperature_leads": "The temperature at evaluation",
    "hacking_helpful": "Reward hacking and hedging, task helpful",
    "tradeoff_helpful": "Reward and distortion, task helpful",
    "regimes": "The four regimes",
    "poisson_tilt": "Best-of-Poisson and the tilt",
    "front_helpful": "Win rate and mean reward against KL, task helpful",
    "bound_helpful": "lower bound, task helpful",
    "cost_helpful": "What rollouts bring and cost, task helpful",
    "estimation": "How many rollouts estimate F",
    "log_distribution": "Estimates of log F",
    "poisoning": "Poisoned rewards",
    "language_model_judge": "A language model as judge",
    "judge_agreement": "Agreement of the judges",
    "judge_strength": "Judges of several sizes",
    "seeds": "Seeds of training",
    "exponents": "Exponents",
    "calibration_rollouts_helpful": "Calibration from few rollouts, task helpful",
    "calibration_anchors_helpful": "Calibration with few anchors, task helpful",
    "kl_estimators": "Three estimates of the KL",
}


def render(name, figure=None, **config):
    snakemake = SimpleNamespace(wildcards=SimpleNamespace(figure=figure), config={"run": "default", **config})
    text = Environment().from_string((REPORT / name).read_text(encoding="utf-8")).render(snakemake=snakemake)
    return publish_parts(text, writer="html", settings_overrides={"halt_level": 2})["body"]


@pytest.mark.parametrize(("figure", "said"), KINDS.items())
def test_every_figure_has_its_caption(figure, said):
    assert said in render("figure.rst", figure)


def test_the_caption_says_whether_the_language_model_learnt_to_judge():
    asked, learnt = ({"judge": {"model": "m"}}, {"judge": {"trained": {"n_pairs": 1}}})
    assert "without examples, which" in render("figure.rst", "language_model_judge", **asked)
    assert "learnt to answer" in render("figure.rst", "language_model_judge", **learnt)


def test_captions_name_the_selector():
    assert "selects by the reward model" in render("figure.rst", "standard")
    assert "selects by the judge" in render("figure.rst", "scaling_by_judge")


@pytest.mark.parametrize(
    "name",
    [
        "claims.rst",
        "metrics.rst",
        "methods.rst",
        "examples.rst",
        "calibration_costs.rst",
        "verdicts.rst",
        "workflow.rst",
    ],
)
def test_tables_and_workflow_have_captions(name):
    assert len(render(name)) > 200
