"""The catalogue: every study has its parts, every figure its function, every set of responses its own draws."""

import subprocess
import sys
from inspect import signature
from pathlib import Path
from pkgutil import resolve_name

import pytest
import yaml

from infalign.catalogue import STUDIES, all_figures, all_responses, parse_config
from infalign.errors import InputError
from infalign.records.sweep import policies

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "config").glob("*.yaml"))
HEAVY = ("torch", "transformers", "pandas", "matplotlib", "seaborn")


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_figure_has_a_function_that_takes_its_options(path):
    for name, entry in all_figures(parse_config(read(path))).items():
        assert entry.name == name and entry.caption and entry.draw.startswith("infalign.")
        signature(resolve_name(entry.draw)).bind("tables", **entry.options)


def test_the_configurations_ask_for_every_study_that_has_figures():
    asked = {study.name for study in STUDIES for path in CONFIGS if study.runs(parse_config(read(path)))}
    assert asked == {study.name for study in STUDIES}


def test_a_task_may_not_be_called_so_that_two_figures_have_one_name():
    values = read(ROOT / "config" / "smoke.yaml")
    values["calibration"] = {"rollouts": [1], "anchors": [1], "n_measured": 4}
    assert "calibration_rollouts_helpful" in all_figures(parse_config(values))
    values["tasks"]["rollouts_helpful"] = values["tasks"]["helpful"]
    values["goals"]["rollouts_helpful"] = values["goals"]["helpful"]
    with pytest.raises(InputError, match="two figures would be called calibration_rollouts_helpful; rename a task"):
        all_figures(parse_config(values))


def test_a_run_is_planned_without_loading_models_or_plots():
    code = f"import sys, infalign.catalogue; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_sets_of_responses_are_drawn_independently(path):
    config = parse_config(read(path))
    sets = all_responses(config, policies(config)).values()
    streams: dict[tuple, str] = {}
    for entry in sets:
        assert streams.setdefault((entry.task, entry.model, entry.seed(config)), entry.stream) == entry.stream
    draws = [
        (entry.task, entry.model, entry.seed(config), entry.prompts, entry.split, entry.sampling.temperature)
        for entry in sets
    ]
    assert len(set(draws)) == len(draws)


def test_every_study_has_its_folder_its_rules_and_its_place():
    names = [study.name for study in STUDIES]
    folders = {path.parent.name for path in (ROOT / "src" / "infalign" / "studies").glob("*/study.py")}
    rules = {path.stem for path in (ROOT / "workflow" / "rules" / "studies").glob("*.smk")}
    assert len(set(names)) == len(names)
    assert set(names) == folders == rules
