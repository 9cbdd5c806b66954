"""What the hedging run samples, scores and trains; and which procedures can be hedged."""

from pathlib import Path
from typing import get_args

import pytest
import yaml

from infalign.catalogue import parse_config
from infalign.mathematics.procedures import PROCEDURES
from infalign.records.responses import ModelTraining, ScoreSet
from infalign.studies.hedging.block import PAPER_METHODS, HedgedMethod
from infalign.studies.hedging.figures import series_name
from infalign.studies.hedging.study import STUDY

HELPFUL, SUMS, CHOICE = (
    f"tasks/{folder}" for folder in ("helpful-c75008e6", "arithmetic-e821ca89", "multiple_choice-e83501e2")
)


@pytest.fixture(scope="module")
def config():
    path = Path(__file__).parents[3] / "config" / "hedging.yaml"
    return parse_config(yaml.safe_load(path.read_text()))


def test_every_pool_has_a_thousand_responses_of_the_reference_to_64_prompts(config):
    sets = STUDY.responses(config.hedging, config)
    assert list(sets) == [f"{folder}/pools/n1000-p64/samples" for folder in (HELPFUL, SUMS, CHOICE)]
    for (path, entry), folder in zip(sets.items(), (HELPFUL, SUMS, CHOICE), strict=True):
        assert (entry.model, entry.prompts) == (
            f"{folder}/models/reference", f"{folder}/data/prompts.parquet",
        ), path  # fmt: skip
        rollouts = config.tasks[entry.task].rollouts
        assert entry.sampling == rollouts.model_copy(update={"n_rollouts": 1000})
        assert entry.options == ["--split", "evaluation", "--n-prompts", "64"]
        assert entry.seed(config) == 4  # no other responses of the task are drawn with it


def test_each_proxy_scores_its_pool_beside_the_judge(config):
    models = {
        f"{HELPFUL}/pools/n1000-p64/reward_model": f"{HELPFUL}/models/reward_model",
        f"{HELPFUL}/pools/n1000-p64/flipped-8ae832b2": f"{HELPFUL}/proxies/flipped-8ae832b2",
        f"{HELPFUL}/pools/n1000-p64/few-ee1296d0": f"{HELPFUL}/proxies/few-ee1296d0",
    }
    for folder in (SUMS, CHOICE):
        models[f"{folder}/pools/n1000-p64/reward_model"] = f"{folder}/models/reward_model"
        models[f"{folder}/pools/n1000-p64/small-cc10a910"] = f"{folder}/proxies/small-cc10a910"
    sets = STUDY.scores(config.hedging, config)
    assert {path: entry.reward_model for path, entry in sets.items()} == models
    for path, entry in sets.items():
        folder, pool = path.split("/pools/")
        assert entry == ScoreSet(
            task=folder.removeprefix("tasks/").rsplit("-", 1)[0],
            responses=f"{folder}/pools/{pool.split('/')[0]}/samples",
            prompts=f"{folder}/data/prompts.parquet",
            reward_model=models[path],
            judge=f"{folder}/models/judge",
        )


def test_proxies_are_trained_but_for_the_tasks_own_reward_model(config):
    made, own = STUDY.trainings(config.hedging, config), config.tasks["helpful"].reward_model
    assert made.pop(f"{HELPFUL}/proxies/flipped-8ae832b2") == ModelTraining("helpful", own, "reward", None, 0.25)
    assert made.pop(f"{HELPFUL}/proxies/few-ee1296d0") == ModelTraining("helpful", own, "reward", 1000, None)
    assert list(made) == [f"{folder}/proxies/small-cc10a910" for folder in (SUMS, CHOICE)]
    for entry in made.values():
        assert entry.settings.base.from_config.hidden_size == 48 and entry.settings.learns == "preferences"
        assert entry.options == ["--split", "reward"]


def test_figures_are_of_theory_and_of_each_task(config):
    figures = {entry.name: entry for entry in STUDY.figures(config.hedging, config)}
    tasks = ("helpful", "arithmetic", "multiple_choice")
    of_tasks = [f"{kind}_{task}" for task in tasks for kind in ("hacking", "tradeoff")]
    assert list(figures) == ["regimes", "poisson_tilt", *of_tasks]
    assert figures["hacking_arithmetic"].options == {"task": "arithmetic"}
    assert "task arithmetic**" in figures["hacking_arithmetic"].caption


def test_every_procedure_with_a_varied_field_can_be_hedged():
    varied = {kind.name for kind in PROCEDURES if kind.theta is not None}
    assert set(get_args(HedgedMethod)) == varied >= set(PAPER_METHODS)
    assert series_name("sbon", 4) == "soft best-of-4"
    assert (series_name("new", None), series_name("new", 4)) == ("new", "new, n = 4")
