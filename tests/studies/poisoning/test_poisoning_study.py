"""What the poisoned trainings of the hedging run sample, and what the caption says."""

from pathlib import Path

import pytest
import yaml

from infalign.catalogue import parse_config
from infalign.records.responses import ResponseSet
from infalign.studies.poisoning.study import STUDY
from infalign.studies.poisoning.tables import poisoned_runs

FOLDERS = {"helpful": "tasks/helpful-c75008e6", "harmless": "tasks/harmless-361a11db"}


@pytest.fixture
def values():
    return yaml.safe_load((Path(__file__).parents[3] / "config" / "hedging.yaml").read_text())


def test_the_reference_answers_the_prompts_of_the_poisoned_pairs(values):
    config = parse_config(values)
    sets = STUDY.responses(config.poisoning, config)
    assert list(sets) == [f"hedging/poisoning/rollouts/{task}" for task in FOLDERS]
    for (task, folder), entry in zip(FOLDERS.items(), sets.values(), strict=True):
        sampling = config.tasks[task].rollouts.model_copy(update={"n_rollouts": 8})
        prompts = f"hedging/poisoning/prompts/{task}.parquet"
        assert entry == ResponseSet(
            task, "poisoned_pairs", f"{folder}/models/reference", sampling, prompts, "reward_train"
        )
        assert entry.options == ["--split", "reward_train"]
        assert entry.seed(config) == 3  # no other responses of the task are drawn with it
    assert not STUDY.scores(config.poisoning, config) and not STUDY.trainings(config.poisoning, config)


def test_trainings_are_named_by_task_rate_and_seed(values):
    names = list(poisoned_runs(parse_config(values).poisoning))
    rates = ("0.00", "0.10", "0.25", "0.50")
    assert names == [f"{task}-rate{rate}-s0" for task in FOLDERS for rate in rates]


def test_the_caption_states_the_level_of_the_intervals(values):
    for level, said in ((0.95, "Bars are 95 % intervals"), (0.9, "Bars are 90 % intervals")):
        config = parse_config(values | {"evaluation": values["evaluation"] | {"level": level}})
        (figure,) = STUDY.figures(config.poisoning, config)
        assert said in figure.caption and figure.tables == ("poisoning",)
