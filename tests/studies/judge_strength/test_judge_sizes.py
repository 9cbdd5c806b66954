"""Judges of other sizes: their widths, whose pairs they learn from, their names, and what is refused."""

from pathlib import Path

import pytest
import yaml

from infalign.catalogue import needed_disk, parse_config
from infalign.errors import InputError
from infalign.language.models import new_language_model, train_tokenizer
from infalign.language.reward_models import reward_model_from
from infalign.records.disk import BYTES_PER_WEIGHT
from infalign.records.model_sizes import shape_sizes
from infalign.records.task import FromConfig
from infalign.studies.judge_strength.sizes import (
    compared_policies,
    judge_folder,
    judge_folders,
    resized,
    score_tables,
    sized_judges,
)

CONFIGS = Path(__file__).parents[3] / "config"
SHAPE = FromConfig(hidden_size=16, n_layers=2, n_heads=2, intermediate_size=40, context=64)


@pytest.fixture
def values():
    return yaml.safe_load((CONFIGS / "smoke.yaml").read_text()) | {"judge_strength": {"tasks": ["helpful"]}}


@pytest.fixture
def config(values):
    return parse_config(values)


def n_parameters(shape, vocabulary_size):
    return shape_sizes(shape, vocabulary_size).parameters


def test_parameters_are_those_of_a_reward_model_but_for_norms_and_head():
    tokenizer = train_tokenizer(["Measure the leaves twice. Good luck!"], 130)
    model = reward_model_from(new_language_model(SHAPE, tokenizer, seed=0), tokenizer, seed=0)
    left_out = ("norm", "score")
    weights = [weight for name, weight in model.named_parameters() if not any(x in name for x in left_out)]
    assert n_parameters(SHAPE, len(tokenizer)) == sum(weight.numel() for weight in weights)


@pytest.mark.parametrize("factor", [0.5, 1, 2, 4])
def test_a_width_is_the_nearest_there_is(factor):
    wanted = factor * n_parameters(SHAPE, 512)
    found = resized(SHAPE, 512, wanted)
    assert found.hidden_size % (2 * SHAPE.n_heads) == 0 and found.n_layers == SHAPE.n_layers
    assert found.intermediate_size / found.hidden_size == pytest.approx(2.5)
    step = 2 * SHAPE.n_heads
    for other in (found.hidden_size - step, found.hidden_size + step):
        rival = SHAPE.model_copy(update={"hidden_size": other, "intermediate_size": round(2.5 * other)})
        error, worse = (abs(n_parameters(one, 512) - wanted) for one in (found, rival))
        assert error < worse


def test_what_no_width_reaches_is_said():
    with pytest.raises(InputError, match="no width has about 100,000,000,000 parameters"):
        resized(SHAPE, 512, 1e11)


def test_judges_differ_in_width_and_the_leaked_one_in_its_pairs(config):
    judges = sized_judges(config.judge_strength, config, "helpful")
    assert list(judges) == ["0.5x", "1x", "2x", "4x", "leaked"]
    assert {name: judge.split for name, judge in judges.items() if judge.split != "judge"} == {"leaked": "reward"}
    assert judges["leaked"].settings == judges["1x"].settings
    own = config.tasks["helpful"].judge
    for judge in judges.values():
        assert (judge.settings.training, judge.settings.pretraining) == (own.training, own.pretraining)
    sizes = [n_parameters(judges[name].settings.base.from_config, 300) for name in ("0.5x", "1x", "2x", "4x")]
    assert sizes == sorted(sizes) and len(set(sizes)) == 4
    reward = n_parameters(config.tasks["helpful"].reward_shape, 300)
    assert sizes[1] == reward


def test_folders_are_named_by_settings_and_pairs(config):
    judges = sized_judges(config.judge_strength, config, "helpful")
    names = {name: judge_folder(name, judge) for name, judge in judges.items()}
    assert len(set(names.values())) == 5
    assert names["1x"].split("-")[1] != names["leaked"].split("-")[1]


def test_the_main_comparison_is_judged(config):
    assert [policy.slug for policy in compared_policies(config, "helpful")] == [
        "ppo-raw-kl0.50-s0", "ppo-exp10-k16-kl0.50-s0",
    ]  # fmt: skip
    tables = score_tables(config, "helpful")
    assert list(tables) == ["reference", "ppo-raw-kl0.50-s0", "ppo-exp10-k16-kl0.50-s0"]
    assert tables["reference"].endswith("/scores/evaluation-t1.00")
    assert tables["ppo-raw-kl0.50-s0"].endswith("ppo-raw-kl0.50-s0/scores/evaluation-t1.00-n8")
    with pytest.raises(InputError, match=r"task harmless has no ppo policies on exp\(-10\), which are compared"):
        compared_policies(config, "harmless")


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"tasks": ["sums"]}, "judge_strength.tasks: unknown task 'sums'; the tasks are helpful, harmless"),
        ({"tasks": ["helpful"], "sizes": [2]}, "add 1 to sizes, or give leak: false"),
        ({"tasks": ["helpful"], "sizes": [1, 1.0]}, "judge_strength.sizes: 1.0 is listed twice; remove one"),
        ({"tasks": ["helpful"], "sizes": [0]}, "judge_strength.sizes.0: Input should be greater than 0"),
    ],
)
def test_a_block_that_cannot_be(values, block, message):
    with pytest.raises(InputError) as caught:
        parse_config(values | {"judge_strength": block})
    assert message in str(caught.value)


def test_models_without_a_size_are_refused(values):
    values["tasks"]["helpful"]["judge"] = {"base": {"path": "models/mine"}}
    with pytest.raises(InputError, match="judge and reward model of task helpful must be trained from scratch"):
        parse_config(values)


def test_disk_is_counted_until_the_judges_are_there(config, values, tmp_path):
    without = parse_config({key: value for key, value in values.items() if key != "judge_strength"})
    folders = [tmp_path / path for path in judge_folders(config.judge_strength, config, "helpful").values()]
    vocabulary = config.tasks["helpful"].vocabulary_size
    judges = sized_judges(config.judge_strength, config, "helpful").values()
    weights = sum(n_parameters(judge.settings.base.from_config, vocabulary) for judge in judges)
    more = needed_disk(config, [], tmp_path) - needed_disk(without, [], tmp_path)
    assert more == BYTES_PER_WEIGHT * weights
    for folder in folders:
        folder.mkdir(parents=True)
    assert needed_disk(config, [], tmp_path) == needed_disk(without, [], tmp_path)
