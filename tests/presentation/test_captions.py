"""Captions of the report: every figure of every shipped run has one that renders, and so has every table."""

import json
from pathlib import Path
from pkgutil import resolve_name
from types import SimpleNamespace

import pytest
import yaml
from docutils.core import publish_parts
from jinja2 import Environment

from infalign.catalogue import all_figures, parse_config

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "workflow" / "report"
CONFIGS = sorted((ROOT / "config").glob("*.yaml"))
SAID = {
    "transforms": "Ideal frontiers",
    "calibration_helpful": "task helpful",
    "standard": "Standard win rate",
    "inference_time": "Inference-time win rate",
    "scaling": "Little and much",
    "overview": "Share of the attainable gain",
    "methods": "Every method",
    "matched_kl": "Methods at matched KL",
    "gold": "Judge and gold",
    "front_sentiment": "Win rate and mean reward against KL, task sentiment",
    "bound_sentiment": "lower bound, task sentiment",
    "cost_sentiment": "What rollouts bring and cost, task sentiment",
    "temperatures": "Sampling temperatures",
    "temperature_leads": "The temperature at evaluation",
    "hacking_helpful": "Reward hacking and hedging, task helpful",
    "tradeoff_helpful": "Reward and distortion, task helpful",
    "regimes": "The four regimes",
    "poisson_tilt": "Best-of-Poisson and the tilt",
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


def figures_of(path, **changes):
    return all_figures(parse_config(yaml.safe_load(path.read_text(encoding="utf-8")) | changes))


@pytest.fixture(scope="module")
def figures():
    """Figures of all shipped configurations by name; of those of one name the first."""
    return {name: entry for path in reversed(CONFIGS) for name, entry in figures_of(path).items()}


def render(name, caption=None):
    """HTML of a caption; a warning of docutils is an error."""
    snakemake = SimpleNamespace(params=SimpleNamespace(caption=caption), config={"run": "default"})
    text = Environment().from_string((REPORT / name).read_text(encoding="utf-8")).render(snakemake=snakemake)
    return publish_parts(text, writer="html", settings_overrides={"halt_level": 2})["body"]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_figure_has_a_caption_and_something_that_draws_it(path):
    for name, entry in figures_of(path).items():
        shown = render("figure.rst", entry.caption)
        assert len(shown) > 200 and "{" not in shown, name
        if "task" in entry.options:
            assert f"task {entry.options['task']}" in shown and name.endswith(entry.options["task"])
        if "select" in entry.options:
            selector = {"reward": "selects by the reward model", "judge": "selects by the judge"}
            assert selector[entry.options["select"]] in shown, name
        assert callable(resolve_name(entry.draw)), name
        assert json.loads(json.dumps(dict(entry.options))).keys() == entry.options.keys()


@pytest.mark.parametrize(("name", "said"), SAID.items())
def test_captions_say_what_is_drawn(figures, name, said):
    assert said in render("figure.rst", figures[name].caption)


def test_the_caption_says_whether_the_language_model_learnt_to_judge():
    path = ROOT / "config" / "ablations.yaml"
    block = yaml.safe_load(path.read_text(encoding="utf-8"))["judge"]
    learnt = figures_of(path)["language_model_judge"]
    asked = figures_of(path, judge=block | {"trained": None, "model": "a-model"})["language_model_judge"]
    assert "learnt to answer" in learnt.caption
    assert "without examples, which" in asked.caption


@pytest.mark.parametrize("name", sorted(path.name for path in REPORT.glob("*.rst") if path.stem != "figure"))
def test_tables_and_workflow_have_captions(name):
    assert len(render(name)) > 200
