"""One file is one run: what it may say, and what it means for the policies."""

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from infalign.catalogue import RunConfig, needed_disk, parse_config
from infalign.errors import InputError
from infalign.records.block import settings_json
from infalign.records.config import check_data, read_config, read_study_block, shared_json, task_folder
from infalign.records.disk import BYTES_PER_RESPONSE, BYTES_PER_TOKEN, check_disk, model_bytes
from infalign.records.methods import METHODS
from infalign.records.sweep import (
    Condition,
    conditions,
    policies,
    policy_folder,
    policy_sampling,
    policy_sets,
    reference_sampling,
    reference_sets,
    sampled_sets,
    with_varied_rollouts,
)
from infalign.studies.calibration.block import calibration_sampling
from infalign.studies.estimation.block import Estimation, estimation_sampling
from infalign.studies.exponents.block import Exponents
from infalign.studies.hedging.block import pool_sampling, proxy_model
from infalign.studies.poisoning.block import poisoning_phrase, poisoning_sampling
from infalign.studies.poisoning.tables import poisoned_runs

ROOT = Path(__file__).parents[2]
MAIN_CONDITION = Condition("evaluation", 1.0)
RESPONSE = 24 * BYTES_PER_TOKEN + BYTES_PER_RESPONSE  # bytes of a response of the smoke run
CONFIGS = sorted((ROOT / "config").glob("*.yaml")) + sorted((ROOT / "config" / "examples").glob("*.yaml"))


@pytest.fixture
def smoke():
    return yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())


def refused(values) -> str:
    with pytest.raises(InputError) as caught:
        policies(parse_config(values))
    return str(caught.value)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_is_valid(path):
    config = parse_config(yaml.safe_load(path.read_text()))
    assert policies(config)
    # what a run costs is no part of what it records
    recorded = parse_config(json.loads(config.model_dump_json()))
    assert recorded == config.model_copy(update={"costs": recorded.costs})


def test_the_schema_is_in_step_with_the_models():
    written = json.loads((ROOT / "config" / "schema.json").read_text(encoding="utf-8"))
    assert written == RunConfig.model_json_schema(), "run: python scripts/write_schema.py config/schema.json"


def test_all_errors_come_at_once(smoke):
    smoke["colour"] = "blue"
    smoke["tasks"]["helpful"]["rollouts"]["n_rollouts"] = 1
    smoke["policies"][0]["kl"] = [-1.0]
    message = refused(smoke)
    assert "colour: unknown key; remove it" in message
    assert "rollouts.n_rollouts: Input should be greater than or equal to 2, got 1" in message
    assert "policies.0.kl.0: Input should be greater than 0, got -1.0" in message


def test_an_unknown_transform_lists_the_valid_ones(smoke):
    smoke["policies"][0]["reward"] = ["expp(3)"]
    message = refused(smoke)
    assert "expp(3)" in message
    assert "optimal(" in message


def test_an_unknown_procedure_lists_the_valid_ones(smoke):
    smoke["evaluation"]["procedures"] = ["best(4)"]
    message = refused(smoke)
    assert "best(4)" in message
    assert "bon(" in message


def test_more_candidates_than_samples(smoke):
    smoke["evaluation"]["n"] = [2, 4, 9]
    assert "evaluation.n must be at most 8" in refused(smoke)


def test_more_calibrating_rollouts_than_there_are(smoke):
    smoke["policies"][0]["n_rollouts"] = [17]
    assert "policies.n_rollouts must be at most 16" in refused(smoke)


def test_an_unknown_task(smoke):
    smoke["policies"][0]["tasks"] = ["funny"]
    assert "unknown task 'funny'" in refused(smoke)
    assert "the tasks are helpful, harmless" in refused(smoke)


def test_a_policy_that_is_listed_twice(smoke):
    smoke["policies"].append(smoke["policies"][0])
    assert "ppo-raw-kl0.50-s0 of task helpful is listed twice" in refused(smoke)


def test_strengths_are_given_once(smoke):
    smoke["policies"][0]["beta"] = [0.05]
    assert "one of kl: [...], beta: [...], n: [...]" in refused(smoke)


def test_slugs_are_unique_and_readable():
    config = parse_config(yaml.safe_load((ROOT / "config" / "default.yaml").read_text()))
    slugs = [(policy.task, policy.slug) for policy in policies(config)]
    assert len(set(slugs)) == len(slugs) >= 24
    assert ("helpful", "ppo-exp10-kl0.50-s0") in slugs
    assert ("harmless", "ppo-exp-10-anchors1-kl0.50-s0") in slugs


def test_a_task_is_shared_by_runs_with_the_same_block(smoke):
    config = parse_config(smoke)
    other = parse_config(smoke | {"run": "another", "evaluation": {"n": [2]}})
    assert task_folder(config, "helpful") == task_folder(other, "helpful")
    smoke["tasks"]["helpful"]["seed"] = 1
    assert task_folder(config, "helpful") != task_folder(parse_config(smoke), "helpful")


def test_what_only_the_samples_depend_on_leaves_a_task_where_it_is(smoke):
    before = task_folder(parse_config(smoke), "helpful"), shared_json(parse_config(smoke).tasks["helpful"])
    smoke["tasks"]["helpful"]["samples"] = {"n_samples": 7, "temperatures": [0.5, 1.0]}
    task = parse_config(smoke).tasks["helpful"]
    assert (task_folder(parse_config(smoke), "helpful"), shared_json(task)) == before
    assert list(policy_sets(task)) == ["evaluation-t0.50-n7", "evaluation-t1.00-n7"]
    assert list(reference_sets(task)) == ["train", "evaluation-t0.50", "evaluation-t1.00"]


def test_only_the_named_policies_are_sampled_beyond_the_main_condition(smoke):
    smoke["tasks"]["helpful"]["samples"] = {"n_samples": 7, "temperatures": [0.5, 1.0]}
    config = parse_config(smoke)
    own = [policy for policy in policies(config) if policy.task == "helpful"]
    assert all(len(sampled_sets(config, policy)) == 2 for policy in own)
    names = [policy.slug for policy in own]
    smoke["tasks"]["helpful"]["samples"]["policies"] = names[:1]
    config = parse_config(smoke)
    sets = [list(sampled_sets(config, policy)) for policy in policies(config) if policy.task == "helpful"]
    assert sets == [
        ["evaluation-t0.50-n7", "evaluation-t1.00-n7"],
        *[["evaluation-t0.50-n7"]] * (len(names) - 1),
    ]
    smoke["tasks"]["helpful"]["samples"]["policies"] = ["mine"]
    with pytest.raises(InputError, match=r"tasks.helpful.samples.policies: mine not among the task's policies"):
        policies(parse_config(smoke))


def test_policy_and_reference_are_sampled_at_the_same_temperature(smoke):
    smoke["tasks"]["helpful"]["rollouts"]["temperature"] = 0.7
    task = parse_config(smoke).tasks["helpful"]
    (main,) = conditions(task)
    assert policy_sampling(task, main).temperature == reference_sampling(task, main).temperature == 1.0
    assert policy_sampling(task, main).n_rollouts == 8 and reference_sampling(task, main).n_rollouts == 16
    assert reference_sampling(task, reference_sets(task)["train"]) == task.rollouts


def test_prompts_out_of_distribution_are_those_of_summaries(smoke):
    samples = {"n_samples": 8, "splits": ["evaluation", "evaluation_out"], "temperatures": [1.0, 1.0]}
    smoke["tasks"]["helpful"]["samples"] = samples
    assert "samples.temperatures: 1.0 is listed twice" in refused(smoke)
    samples["temperatures"] = [1.0, 0.5]
    assert "this corpus has no prompts out of distribution (summaries and tldr have)" in refused(smoke)
    smoke["tasks"]["helpful"]["corpus"]["name"] = "summaries"
    names = [condition.name for condition in conditions(parse_config(smoke).tasks["helpful"])]
    assert names == [
        "evaluation-t1.00", "evaluation-t0.50", "evaluation_out-t1.00", "evaluation_out-t0.50",
    ]  # fmt: skip


def test_a_model_that_gives_no_rewards_is_refused(smoke):
    smoke["tasks"]["helpful"]["judge"] = {"base": {"reference": True}}
    assert "without training the base must be a trained reward model" in refused(smoke)
    smoke["tasks"]["helpful"]["judge"] = {"base": {"path": "models/judge"}}
    assert parse_config(smoke)


def test_more_conditions_need_more_disk(smoke, tmp_path):
    few = parse_config(smoke)
    smoke["tasks"]["helpful"]["samples"] = {"n_samples": 8, "temperatures": [1.0, 0.5]}
    many = parse_config(smoke)
    sizes = [needed_disk(config, policies(config), tmp_path) for config in (few, many)]
    responses = 8 * (16 + 3 * 8)  # prompts, rollouts, three policies of helpful
    assert sizes[1] - sizes[0] == 2 * responses * RESPONSE


def test_shards_are_in_no_hash_and_no_record_and_need_disk(smoke, tmp_path):
    whole = parse_config(smoke)
    smoke["tasks"]["helpful"]["rollouts"]["shards"] = 4
    smoke["tasks"]["helpful"]["samples"]["shards"] = 2
    cut = parse_config(smoke)
    assert (cut.tasks["helpful"].rollouts.shards, cut.tasks["helpful"].samples.shards) == (4, 2)
    assert cut.model_dump_json() == whole.model_dump_json()
    assert task_folder(cut, "helpful") == task_folder(whole, "helpful")
    assert "shards" not in settings_json(policy_sampling(cut.tasks["helpful"], MAIN_CONDITION))
    sizes = [needed_disk(config, policies(config), tmp_path) for config in (whole, cut)]
    responses = 2 * 2 * 8 * 16 + 4 * 8 * 8  # two tasks with two splits of 8 prompts, four policies
    assert sizes[1] - sizes[0] == 2 * responses * RESPONSE


def test_more_shards_than_prompts_are_refused(smoke):
    smoke["tasks"]["helpful"]["corpus"]["n_train_prompts"] = 20
    smoke["tasks"]["helpful"]["rollouts"]["shards"] = 9
    smoke["tasks"]["helpful"]["samples"]["shards"] = 10
    message = refused(smoke)
    assert "rollouts.shards must be at most 8, got 9: the smallest split has 8 prompts, which are" in message
    assert "samples.shards must be at most 8, got 10" in message
    smoke["tasks"]["helpful"]["corpus"].update(n_train_prompts=64, n_evaluation_prompts=64)
    smoke["tasks"]["helpful"]["rollouts"]["shards"] = 17
    assert "at most 16, got 17: the smallest split has 64 prompts, which are sampled 4 at a time" in refused(smoke)


def test_other_settings_of_a_method_never_overwrite(smoke):
    config = parse_config(smoke)
    before = [policy_folder(config, policy) for policy in policies(config)]
    smoke["methods"]["ppo"]["updates"] = 5
    changed = parse_config(smoke)
    after = [policy_folder(changed, policy) for policy in policies(changed)]
    assert not set(before) & set(after)


def test_too_little_disk_is_said_before_anything_runs(smoke, tmp_path, monkeypatch):
    config = parse_config(smoke)
    needed = needed_disk(config, policies(config), tmp_path / "results")
    check_disk(needed, "smoke", tmp_path / "results")
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1_000_000})())
    with pytest.raises(InputError, match=r"too little disk: run smoke is estimated to write 0\.\d+ GB"):
        check_disk(needed, "smoke", tmp_path / "results")


def test_local_summaries_that_are_not_there_are_named(tmp_path):
    values = yaml.safe_load((ROOT / "config" / "tldr.yaml").read_text())
    check_data(parse_config(values))  # from the hub
    values["data_root"] = str(tmp_path)
    with pytest.raises(InputError, match=r"task summaries needs files .*tldr/\*\*/\*\.parquet, .*there are none"):
        check_data(parse_config(values))
    for name in ("tldr", "tldr-preference"):
        (tmp_path / name / "data").mkdir(parents=True)
        (tmp_path / name / "data" / "train-00000-of-00001.parquet").touch()
    check_data(parse_config(values))


def test_local_questions_that_are_not_there_are_named(tmp_path):
    values = yaml.safe_load((ROOT / "config" / "questions.yaml").read_text())
    check_data(parse_config(values))  # from the hub
    values["data_root"] = str(tmp_path)
    with pytest.raises(InputError) as caught:
        check_data(parse_config(values))
    assert f"task mmlu_pro needs files {tmp_path}/MMLU-Pro/**/*.parquet, there are none" in str(caught.value)
    assert f"task gpqa needs files {tmp_path}/gpqa/gpqa_main.csv, there are none" in str(caught.value)
    (tmp_path / "MMLU-Pro" / "data").mkdir(parents=True)
    (tmp_path / "MMLU-Pro" / "data" / "test-00000-of-00001.parquet").touch()
    (tmp_path / "gpqa").mkdir()
    (tmp_path / "gpqa" / "gpqa_main.csv").touch()
    check_data(parse_config(values))


def test_pairs_of_questions_are_not_there():
    values = yaml.safe_load((ROOT / "config" / "questions.yaml").read_text())
    values["policies"] = [{"tasks": ["gpqa"], "method": "dpo", "beta": [0.1]}]
    assert policies(parse_config(values))
    values["methods"]["dpo"] = {"pairs": "dataset"}
    assert "the corpus of task gpqa has no pairs; use pairs: rollouts" in refused(values)


def test_real_data_that_is_not_there_is_named(tmp_path):
    values = yaml.safe_load((ROOT / "config" / "examples" / "own_dataset.yaml").read_text())
    with pytest.raises(InputError, match="data_root: task mine reads my_pairs, which is not on the hub"):
        check_data(parse_config(values))
    values["data_root"] = str(tmp_path)
    with pytest.raises(InputError, match=r"data_root: task mine needs files .*my_pairs/\*\.jsonl\.gz, there are none"):
        check_data(parse_config(values))
    (tmp_path / "my_pairs").mkdir()
    (tmp_path / "my_pairs" / "train.jsonl.gz").touch()
    check_data(parse_config(values))


@pytest.fixture
def imdb():
    return yaml.safe_load((ROOT / "config" / "imdb_mini.yaml").read_text())


def test_models_learn_what_the_corpus_has(smoke, imdb):
    del imdb["tasks"]["sentiment"]["judge"]["learns"]
    message = refused(imdb)
    assert "tasks.sentiment: a corpus with source reviews has labels, so judge.learns must be labels" in message
    smoke["tasks"]["helpful"]["reward_model"]["learns"] = "labels"
    smoke["tasks"]["helpful"]["judge"]["learns"] = "labels"
    message = refused(smoke)
    assert "source embedded has preferences, so reward_model.learns and judge.learns must be preferences" in message


def test_pairs_of_a_dataset_without_pairs(imdb):
    imdb["methods"]["ipo"] = {"pairs": "dataset"}
    imdb["policies"] = [{"tasks": ["sentiment"], "method": "ipo", "kl": [0.5]}]
    message = refused(imdb)
    assert "methods.ipo.pairs: dataset, but the corpus of task sentiment has no pairs; use pairs: rollouts" in message
    imdb["methods"]["ipo"]["pairs"] = "rollouts"
    assert policies(parse_config(imdb))


def test_words_of_a_prompt_are_fewest_and_most(imdb):
    imdb["tasks"]["sentiment"]["corpus"]["prompt_words"] = [8, 2]
    assert "prompt_words are the fewest and the most, got [8, 2]; exchange them" in refused(imdb)


def test_an_engine_is_part_of_the_name_of_results_only_where_it_is_chosen(smoke):
    before = task_folder(parse_config(smoke), "helpful")
    rollouts = smoke["tasks"]["helpful"]["rollouts"]
    rollouts["engine"] = "transformers"
    assert task_folder(parse_config(smoke), "helpful") == before
    assert "engine" not in settings_json(parse_config(smoke).tasks["helpful"])
    rollouts["engine"] = "vllm"
    task = parse_config(smoke).tasks["helpful"]
    assert task_folder(parse_config(smoke), "helpful") != before
    assert {sampling(task, conditions(task)[0]).engine for sampling in (reference_sampling, policy_sampling)} == {
        "vllm"
    }
    rollouts["engine"] = "sglang"
    with pytest.raises(InputError, match=r"rollouts.engine: Input should be 'transformers' or 'vllm', got 'sglang'"):
        parse_config(smoke)


def test_what_learns_preferences_is_named_as_before_there_were_labels(smoke, imdb):
    """The text of a task's block is what its folder is named by."""
    before = settings_json(parse_config(smoke).tasks["helpful"])
    assert "learns" not in before
    smoke["tasks"]["helpful"]["reward_model"]["learns"] = "preferences"
    assert settings_json(parse_config(smoke).tasks["helpful"]) == before
    assert settings_json(parse_config(imdb).tasks["sentiment"]).count('"learns": "labels"') == 2


def test_reviews_that_are_not_there_are_named(imdb, tmp_path):
    check_data(parse_config(imdb))  # from the hub
    imdb["data_root"] = str(tmp_path)
    (tmp_path / "train.jsonl.gz").touch()
    with pytest.raises(InputError, match=r"data_root: task sentiment needs files [^,]*unsup\.jsonl\.gz, there are"):
        check_data(parse_config(imdb))
    (tmp_path / "unsup.jsonl.gz").touch()
    check_data(parse_config(imdb))


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (
            {"method": "bonbon", "n": [0, 4]},
            "policies.0.n: best-of-n needs n >= 1 (1 is the reference itself)",
        ),
        (
            {"method": "bon_sft", "n": [17]},
            "n must be at most 16 (tasks.helpful.rollouts.n_rollouts), got 17",
        ),
        ({"method": "bond", "n": [6]}, "n must be a power of 2, got 6"),
        ({"method": "dpo", "kl": [0.5]}, "dpo takes its strengths as beta, got kl"),
        ({"method": "vbon", "reward": ["raw"], "n": [4]}, "vbon takes no reward"),
        ({"method": "rloo", "kl": [0.5]}, "rloo needs a reward, e.g. reward: [raw, identity, exp(10)]"),
        ({"method": "ppp", "kl": [0.5]}, "unknown method 'ppp'; the methods are ppo, rloo, regression, dpo"),
    ],
)
def test_what_a_method_cannot_do(smoke, grid, message):
    smoke["policies"] = [{"tasks": ["helpful"], **grid}]
    assert message in refused(smoke)


def test_a_method_of_ones_own_name_says_its_kind(smoke):
    smoke["methods"]["bound"] = {"kind": "vbon", "objective": "bound"}
    smoke["policies"] = [{"tasks": ["helpful"], "method": "bound", "n": [4], "n_rollouts": [8]}]
    assert [policy.slug for policy in policies(parse_config(smoke))] == ["bound-k8-n4-s0"]
    smoke["methods"]["bound"]["kind"] = "vbonn"
    assert "methods.bound" in refused(smoke) and "'vbon'" in refused(smoke)


def test_the_sentiment_run_has_the_sweeps_of_the_paper():
    config = parse_config(yaml.safe_load((ROOT / "config" / "imdb.yaml").read_text()))
    cost = [row for row in policies(config) if row.method == "vbon" and row.strength == 10]
    assert len(cost) == 12  # four M, three seeds; apart from them the sweeps of the appendix:
    rows = [row for row in policies(config) if row not in cost]
    runs = Counter(row.method if row.reward != "log" else "bound" for row in rows)
    assert runs == {
        "ppo": 32,
        "vbon": 33,
        "bonbon": 33,
        "dpo": 33,
        "bon_sft": 32,
        "vbon_bound": 18,
        "bound": 14,
    }
    betas = {row.strength for row in rows if row.method == "ppo" and row.reward == "raw"}
    bound = {row.strength for row in rows if row.reward == "log"}
    bound |= {1 / (row.strength - 1) for row in rows if row.method == "vbon_bound"}
    assert sorted(bound) == pytest.approx(sorted(betas))  # N = 1/beta + 1


def test_default_and_methods_share_everything_up_to_the_policies():
    default, methods = (
        parse_config(yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())) for name in ("default", "methods")
    )
    assert task_folder(default, "helpful") == task_folder(methods, "helpful")
    shared = [{policy_folder(run, policy) for policy in policies(run)} for run in (default, methods)]
    assert len(shared[0] & shared[1]) >= 3
    strengths = {}
    for policy in policies(methods):
        strengths.setdefault(policy.method, set()).add(policy.strength)
    assert all(len(found) >= 4 for found in strengths.values())
    assert {settings.kind for settings in methods.methods.values()} == set(METHODS)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"task": "sums"}, "estimation.task: unknown task 'sums'; the tasks are helpful, harmless"),
        ({"task": "helpful", "sizes": [5, 700]}, "sizes must be at most n_full = 600, got 700; remove it"),
        (
            {"task": "helpful", "n_prompts": 9},
            "estimation.n_prompts must be at most 8 (tasks.helpful.corpus.n_evaluation_prompts), got 9",
        ),
        ({"task": "helpful", "level": 1.0}, "estimation.level: Input should be less than 1, got 1.0"),
    ],
)
def test_an_estimation_that_cannot_be(smoke, block, message):
    smoke["estimation"] = block
    assert message in refused(smoke)


def test_estimation_rolls_out_both_samples_and_counts_their_disk(smoke, tmp_path):
    smoke["estimation"] = {"task": "helpful", "n_full": 60, "sizes": [5, 20]}
    config = parse_config(smoke)
    sampling = estimation_sampling(config.tasks["helpful"], config.estimation)
    assert sampling.n_rollouts == 80
    assert sampling.temperature == config.tasks["helpful"].rollouts.temperature
    without = parse_config({key: value for key, value in smoke.items() if key != "estimation"})
    more = needed_disk(config, [], tmp_path) - needed_disk(without, [], tmp_path)
    assert more == 2 * 8 * 80 * RESPONSE


LABELS = {
    "base": {"reference": True},
    "learns": "labels",
    "training": {"learning_rate": 1.0, "epochs": 1, "batch_size": 1},
}


def hedged(**changes):
    pool = {"task": "helpful", "true_reward": "gold", "n_samples": 40, "proxies": {"reward_model": {}}}
    return {**pool, **changes}


@pytest.mark.parametrize(
    ("pools", "message"),
    [
        ([hedged(task="sums")], "hedging.0.task: unknown task 'sums'; the tasks are helpful, harmless"),
        (
            [hedged(), hedged()],
            "hedging: task helpful is listed twice; give all its proxies and methods in one",
        ),
        (
            [hedged(n_prompts=9)],
            "hedging.0.n_prompts must be at most 8 (tasks.helpful.corpus.n_evaluation_prompts), got 9",
        ),
        ([hedged(n_prompts=3)], "hedging.0.n_prompts: Input should be greater than or equal to 4, got 3"),
        ([hedged(sbon_n=[4, 50])], "hedging.0: sbon_n must be at most n_samples = 40, got 50; remove it"),
        ([hedged(sbon_n=[4, 4])], "hedging.0.sbon_n: 4 is listed twice; remove one"),
        ([hedged(methods=["won"])], "hedging.0.methods.0: Input should be 'bon', 'sbon', 'bop' or 'tilt'"),
        ([hedged(proxies={})], "hedging.0.proxies"),
        (
            [hedged(true_reward="truth")],
            "hedging.0.true_reward: Input should be 'gold' or 'judge', got 'truth'",
        ),
        (
            [hedged(proxies={"a": {"flipped": 1.5}})],
            "proxies.a.flipped: Input should be less than or equal to 1",
        ),
        (
            [hedged(proxies={"a": {"n_pairs": 201}})],
            "hedging.0.proxies.a: n_pairs must be at most 200 (corpus.n_pairs), got 201",
        ),
        (
            [hedged(proxies={"a": {"training": LABELS["training"]}})],
            "proxies.a: pretraining and training are of a model of its own; give its base too",
        ),
        (
            [hedged(proxies={"a": {"base": {"reference": True}}})],
            "hedging.0.proxies.a: without training the base must be a trained reward model",
        ),
        (
            [hedged(proxies={"a": {"base": {"path": "models/a"}, "flipped": 0.5}})],
            "hedging.0.proxies.a: flipped and n_pairs change training pairs, but the model takes no training",
        ),
    ],
)
def test_a_pool_that_cannot_be_hedged(smoke, pools, message):
    smoke["hedging"] = pools
    assert message in refused(smoke)


def test_all_errors_of_pools_come_at_once(smoke):
    smoke["hedging"] = [hedged(n_prompts=9, proxies={"a": {"n_pairs": 201}}), hedged(task="sums")]
    message = refused(smoke)
    assert all(part in message for part in ("n_prompts must be", "n_pairs must be", "unknown task 'sums'"))


def test_the_true_reward_must_exist_and_tell_responses_apart(smoke, imdb):
    imdb["hedging"] = [hedged(task="sentiment")]
    assert "true_reward: gold, but the corpus of task sentiment has no gold reward; use judge" in refused(imdb)
    imdb["hedging"][0] |= {"true_reward": "judge", "proxies": {"a": {"flipped": 0.5}}}
    message = refused(imdb)
    assert "proxies.a: flipped and n_pairs change training pairs, but the model learns labels" in message
    imdb["hedging"][0]["proxies"] = {"a": {}}
    assert parse_config(imdb).hedging[0].task == "sentiment"
    smoke["tasks"]["helpful"]["corpus"]["variant"] = "null"
    smoke["hedging"] = [hedged()]
    assert "variant null, is the same for all responses to a prompt; use judge" in refused(smoke)


def test_a_proxy_of_its_own_learns_what_the_task_learns(imdb):
    base = {"base": {"reference": True}, "training": LABELS["training"]}
    imdb["hedging"] = [hedged(task="sentiment", true_reward="judge", proxies={"a": base, "b": {}})]
    config = parse_config(imdb)
    task, pool = config.tasks["sentiment"], config.hedging[0]
    assert proxy_model(task, pool.proxies["a"]).learns == "labels"
    assert proxy_model(task, pool.proxies["b"]) == task.reward_model


def test_hedging_is_no_part_of_a_task_and_its_disk_is_counted(smoke, tmp_path):
    smoke["hedging"] = [hedged(n_prompts=6, proxies={"a": {}, "b": {"flipped": 0.5}})]
    config = parse_config(smoke)
    without = parse_config(smoke | {"hedging": []})
    assert task_folder(config, "helpful") == task_folder(without, "helpful")
    assert pool_sampling(config.tasks["helpful"], config.hedging[0]).n_rollouts == 40
    sizes = [needed_disk(run, [], tmp_path) for run in (config, without)]
    weights = model_bytes(config.tasks["helpful"], config.tasks["helpful"].reward_model.base)
    assert sizes[0] - sizes[1] == 3 * 6 * 40 * RESPONSE + weights


def test_the_hedging_run_shares_its_models_with_the_default():
    default, run = (
        parse_config(yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())) for name in ("default", "hedging")
    )
    assert task_folder(default, "helpful") == task_folder(run, "helpful")
    own = {policy_folder(run, policy) for policy in policies(run)}
    assert own <= {policy_folder(default, policy) for policy in policies(default)}


def test_policies_that_differ_in_their_rollouts_are_found(smoke):
    smoke["methods"]["vbon"] = {"updates": 1}
    smoke["policies"] += [
        {"tasks": ["helpful"], "method": "vbon", "n": [10], "n_rollouts": [4, 8], "seeds": [0, 1]},
        {"tasks": ["helpful"], "method": "vbon", "n": [2]},
        {"tasks": ["harmless"], "method": "vbon", "n": [10]},
        {
            "tasks": ["harmless"],
            "method": "ppo",
            "reward": ["identity"],
            "kl": [0.5],
            "n_rollouts": [4, 8],
        },
    ]
    rows = policies(parse_config(smoke))
    found = [policy.slug for policy in with_varied_rollouts(rows, "helpful")]
    assert found == ["vbon-k4-n10-s0", "vbon-k4-n10-s1", "vbon-k8-n10-s0", "vbon-k8-n10-s1"]
    assert with_varied_rollouts(rows, "harmless") == []


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"tasks": ["sums"]}, "poisoning.tasks: unknown task 'sums'; the tasks are helpful, harmless"),
        ({"tasks": []}, "poisoning.tasks: List should have at least 1 item"),
        ({"tasks": ["helpful", "helpful"]}, "poisoning.tasks: helpful is listed twice; remove one"),
        (
            {"tasks": ["helpful"], "rates": [0.1, 1.5]},
            "poisoning.rates.1: Input should be less than or equal to 1",
        ),
        ({"tasks": ["helpful"], "rates": [0, 0.0]}, "poisoning.rates: 0.0 is listed twice; remove one"),
        (
            {"tasks": ["helpful"], "seeds": [-1]},
            "poisoning.seeds.0: Input should be greater than or equal to 0",
        ),
        (
            {"tasks": ["helpful"], "phrases": {"harmless": "No."}},
            "poisoning.phrases: harmless is not one of poisoning.tasks; remove it or add the task",
        ),
        (
            {"tasks": ["helpful"], "phrases": {"helpful": " Yes."}},
            "poisoning.phrases.helpful: String should match",
        ),
        (
            {"tasks": ["helpful"], "n_pairs": 201},
            "poisoning.n_pairs must be at most 200 (tasks.helpful.corpus.n_pairs), got 201",
        ),
        (
            {"tasks": ["helpful"], "n_rollouts": 1},
            "poisoning.n_rollouts: Input should be greater than or equal to 2",
        ),
    ],
)
def test_a_poisoning_that_cannot_be(smoke, block, message):
    smoke["poisoning"] = block
    assert message in refused(smoke)


def test_tasks_that_have_nothing_to_poison(smoke, imdb):
    imdb["poisoning"] = {"tasks": ["sentiment"]}
    message = refused(imdb)
    assert "poisoning.tasks: the corpus of task sentiment has no pairs; remove sentiment" in message
    smoke["poisoning"] = {"tasks": ["helpful", "harmless"]}
    smoke["tasks"]["helpful"]["corpus"]["name"] = "summaries"
    smoke["tasks"]["harmless"]["reward_model"] = {"base": {"path": "models/mine"}}
    message = refused(smoke)
    assert "poisoning.phrases: task helpful has none by default" in message
    assert "the reward model of task harmless is taken as it is, none is trained; give" in message
    smoke["poisoning"] = {"tasks": ["helpful"], "phrases": {"helpful": "In short."}}
    config = parse_config(smoke)
    assert poisoning_phrase(config.poisoning, "helpful", config.tasks["helpful"]) == "In short."


def test_poisoned_pairs_have_the_papers_phrases_and_rollouts_of_their_own(smoke, tmp_path):
    smoke["poisoning"] = {"tasks": ["helpful", "harmless"], "n_pairs": 50, "n_rollouts": 4}
    config = parse_config(smoke)
    assert poisoning_phrase(config.poisoning, "helpful", config.tasks["helpful"]) == "Sure."
    assert (
        poisoning_phrase(config.poisoning, "harmless", config.tasks["harmless"]) == "Sorry, I can't help you with that."
    )
    task = config.tasks["helpful"]
    assert poisoning_sampling(task, config.poisoning) == task.rollouts.model_copy(update={"n_rollouts": 4})
    assert len(poisoned_runs(config.poisoning)) == 2 * 4
    without = parse_config({key: value for key, value in smoke.items() if key != "poisoning"})
    assert task_folder(config, "helpful") == task_folder(without, "helpful")


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            {"rollouts": [1, 17]},
            "calibration.rollouts must be at most 16 (tasks.helpful.rollouts.n_rollouts), got 17",
        ),
        (
            {"rollouts": [1], "anchors": [0]},
            "calibration.anchors.0: Input should be greater than or equal to 1",
        ),
        ({"rollouts": [3, 3]}, "calibration.rollouts: 3 is listed twice; remove one"),
    ],
)
def test_a_calibration_that_cannot_be(smoke, block, message):
    smoke["calibration"] = block
    assert message in refused(smoke)


def test_the_raw_reward_as_a_goal_is_not_calibrated(smoke):
    smoke["calibration"] = {"rollouts": [1]}
    smoke["goals"]["harmless"]["transform"] = "raw"
    assert "goals.harmless.transform: raw is not calibrated" in refused(smoke)


def test_calibration_is_measured_on_responses_of_the_main_condition_and_counts_their_disk(smoke, tmp_path):
    smoke["calibration"] = {"rollouts": [1], "n_measured": 50}
    smoke["tasks"]["helpful"]["samples"]["temperatures"] = [0.5, 1.0]
    config = parse_config(smoke)
    sampling = calibration_sampling(config.tasks["helpful"], config.calibration)
    assert (sampling.n_rollouts, sampling.temperature) == (50, 0.5)
    without = parse_config({key: value for key, value in smoke.items() if key != "calibration"})
    more = needed_disk(config, [], tmp_path) - needed_disk(without, [], tmp_path)
    assert more == 2 * (8 + 8) * 50 * RESPONSE


def test_the_ablations_share_all_that_the_default_makes():
    default, run = (
        parse_config(yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text()))
        for name in ("default", "ablations")
    )
    assert [task_folder(default, name) for name in default.tasks] == [task_folder(run, name) for name in run.tasks]
    assert default.goals == run.goals
    folders = [{policy_folder(config, policy) for policy in policies(config)} for config in (default, run)]
    assert folders[0] < folders[1]


def test_goals_of_tasks_without_policies_are_told_apart(smoke):
    smoke["policies"] = [grid | {"tasks": ["harmless"]} for grid in smoke["policies"]]
    config = parse_config(smoke)
    assert list(config.goals) == ["helpful", "harmless"]
    assert config.trained_goals == {"harmless": config.goals["harmless"]}


def test_the_core_reads_a_recorded_run_without_its_studies(smoke, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(parse_config(smoke).model_dump_json())
    config = read_config(path)
    assert config.tasks == parse_config(smoke).tasks and not hasattr(config, "estimation")
    assert read_study_block(path, "estimation", Estimation).sizes == [5, 20]
    with pytest.raises(InputError, match="no block exponents; add it to the configuration"):
        read_study_block(path, "exponents", Exponents)
    with pytest.raises(InputError, match=r"absent.json: no such file; give the config.json of a run"):
        read_config(tmp_path / "absent.json")
