"""Poisoned pairs and the targets made from them, against counts by hand; and the scripts from pairs to a table."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infalign.errors import InputError
from infalign.language.embedded import embedded_corpus
from infalign.language.models import new_language_model, save_model, train_tokenizer
from infalign.language.reward_models import reward_model_from
from infalign.language.scoring import pair_accuracy, reward_scores
from infalign.language.sources import prompt_id
from infalign.language.supervised import train_classifier
from infalign.records.corpus import EmbeddedCorpus
from infalign.records.task import Training
from infalign.studies.poisoning.pairs import (
    first_pairs,
    pair_prompts,
    poison_test,
    poison_training,
    with_phrase,
    within_prompts,
)
from infalign.studies.poisoning.tables import OUTCOMES_SCHEMA, POISONING_SCHEMA, PROMPT_POISONING_SCHEMA
from infalign.studies.poisoning.training import (
    held_out_outcomes,
    scored_rollouts,
    targets_of_pairs,
    targets_of_rollouts,
    train_on_poisoned,
)
from language.tiny_models import TEXTS, sizes, widen

ROOT = Path(__file__).parents[3]
PHRASE = "Sure."
PAIRS = pl.DataFrame(
    {
        "prompt": [f"p{i // 2}" for i in range(20)],
        "chosen": [f" good {i}" for i in range(20)],
        "rejected": [f" bad {i}" for i in range(20)],
        "rejected_prompt": [f"p{(i + 1) // 2}" for i in range(20)],
        "split": ["reward_train"] * 14 + ["reward_test"] * 6,
    }
)


@given(st.lists(st.text(max_size=12)), st.text(min_size=1, max_size=6).filter(lambda text: text == text.strip()))
def test_the_phrase_can_be_taken_away_again(responses, phrase):
    for before, after in zip(responses, with_phrase(responses, phrase), strict=True):
        blank = before[: len(before) - len(before.lstrip())]
        assert after.startswith(blank + phrase + " ")
        assert blank + after[len(blank + phrase) + 1 :] == before


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_a_share_of_the_preferred_responses_is_poisoned(rate):
    poisoned = poison_training(PAIRS, PHRASE, rate, seed=4)
    assert poisoned["poisoned"].sum() == round(rate * 20)
    for old, new in zip(PAIRS.iter_rows(named=True), poisoned.iter_rows(named=True), strict=True):
        changed = f" {PHRASE}{old['chosen']}" if new["poisoned"] else old["chosen"]
        assert new["chosen"] == changed
    assert poisoned.drop("chosen", "poisoned").equals(PAIRS.drop("chosen"))


def test_lower_rates_are_among_higher_ones_and_seeds_differ():
    def hit(rate, seed):
        return set(np.flatnonzero(poison_training(PAIRS, PHRASE, rate, seed)["poisoned"]))

    assert hit(0.2, 0) < hit(0.5, 0) < hit(1.0, 0)
    assert len({frozenset(hit(0.5, seed)) for seed in range(5)}) > 1


def test_every_rejected_response_of_the_test_set_is_poisoned():
    poisoned = poison_test(PAIRS, PHRASE)
    assert poisoned["rejected"].to_list() == [f" Sure. bad {i}" for i in range(20)]
    assert poisoned.drop("rejected").equals(PAIRS.drop("rejected"))


def test_what_cannot_be_poisoned_is_named():
    with pytest.raises(InputError, match=r"rate must lie between 0 and 1, got 1\.5"):
        poison_training(PAIRS, PHRASE, 1.5, 0)
    with pytest.raises(InputError, match=r"rate 0\.01 of 20 pairs is less than one; raise the rate"):
        poison_training(PAIRS, PHRASE, 0.01, 0)
    with pytest.raises(InputError, match="split reward_train has 14 preference pairs, 15 are needed"):
        first_pairs(PAIRS, "reward_train", 15)
    with pytest.raises(InputError, match="split judge_train has 0 preference pairs, 1 are needed"):
        first_pairs(PAIRS, "judge_train")
    assert first_pairs(PAIRS, "reward_test", 2).equals(PAIRS[14:16])


def test_pairs_across_prompts_are_not_measured():
    kept = within_prompts(PAIRS)
    assert kept["chosen"].to_list() == [f" good {i}" for i in range(0, 20, 2)]
    with pytest.raises(InputError, match="none of 1 held-out pairs has both responses to one prompt"):
        within_prompts(PAIRS[1:2])


def test_prompts_are_those_of_both_responses():
    assert pair_prompts(PAIRS)["prompt"].to_list() == [f"p{i}" for i in range(11)]
    assert pair_prompts(PAIRS)["prompt_id"].n_unique() == 11


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 130)


@pytest.fixture
def reward_model(tokenizer):
    return reward_model_from(widen(new_language_model(sizes(), tokenizer, seed=0), 8.0), tokenizer, seed=2)


@pytest.fixture
def rollouts():
    texts = ["Good luck!", "Buy the cup.", "Or not.", "Goodbye.", "Measure the leaves twice."]
    rows = [(prompt, text, text != "Or not.") for prompt in ("Tea?\n", TEXTS[0]) for text in texts]
    return pl.DataFrame(rows, schema=["prompt", "response", "finished"], orient="row")


def share_beaten(reward, others):
    return sum((reward > other) + 0.5 * (reward == other) for other in others) / len(others)


def test_targets_of_pairs_are_shares_of_rollouts_to_the_responses_own_prompt(reward_model, tokenizer, rollouts):
    scored = scored_rollouts(reward_model, tokenizer, rollouts)
    pairs = pl.DataFrame(
        {
            "prompt": ["Tea?\n", "Tea?\n", TEXTS[0]],
            "chosen": ["Sure. Or not.", "Or not. Buy the cup.", "Good luck!"],
            "rejected": ["Buy it.", "Good luck!", "Goodbye. Goodbye."],
            "rejected_prompt": ["Tea?\n", TEXTS[0], TEXTS[0]],
        }
    )
    found = targets_of_pairs(reward_model, tokenizer, pairs, scored)
    assert found["response"].to_list() == [*pairs["chosen"], *pairs["rejected"]]
    assert found["prompt"].to_list() == [*pairs["prompt"], *pairs["rejected_prompt"]]
    rewards = reward_scores(reward_model, tokenizer, found["prompt"].to_list(), found["response"].to_list())
    of = {prompt: scored.filter(prompt=prompt)["reward"].to_list() for prompt in ("Tea?\n", TEXTS[0])}
    expected = [share_beaten(r, of[p]) for p, r in zip(found["prompt"], rewards, strict=True)]
    np.testing.assert_allclose(found["label"], expected)
    assert len(set(expected)) > 2
    with pytest.raises(InputError, match=r"'Cup\?' has no rollouts to calibrate with \(1 responses have none\)"):
        other = pairs[:1].with_columns(rejected_prompt=pl.lit("Cup?"))
        targets_of_pairs(reward_model, tokenizer, other, scored)


def test_targets_of_rollouts_leave_each_one_out(rollouts):
    rewards = np.random.default_rng(0).normal(size=rollouts.height)
    rewards[1] = rewards[4]  # a tie
    scored = rollouts.with_columns(reward=pl.Series(rewards))
    found = targets_of_rollouts(scored)
    assert "Or not." not in found["response"]  # was cut off; it still counts as one that the others beat
    for prompt in ("Tea?\n", TEXTS[0]):
        own = scored.filter(prompt=prompt)["reward"].to_list()
        shares = [share_beaten(reward, own[:i] + own[i + 1 :]) for i, reward in enumerate(own)]
        np.testing.assert_allclose(found.filter(prompt=prompt)["label"], [*shares[:2], *shares[3:]])
        assert np.mean(shares) == pytest.approx(0.5)
    with pytest.raises(InputError, match=r"all 10 rollouts were cut off; raise rollouts\.max_new_tokens"):
        targets_of_rollouts(scored.with_columns(finished=False))
    with pytest.raises(InputError, match="needs at least 2 reference rollouts per prompt, got 1"):
        targets_of_rollouts(scored[:1])


def test_the_pointwise_loss_is_least_at_the_mean_of_its_targets(tokenizer):
    """Two thirds of the same response's targets are 0.9, one third 0.3."""
    labels = pl.DataFrame({"prompt": [TEXTS[0]] * 48, "response": [TEXTS[1]] * 48, "label": [0.9, 0.3, 0.9] * 16})
    start = new_language_model(sizes(), tokenizer, seed=0)
    model = reward_model_from(start, tokenizer, seed=1, learns="labels")
    train_classifier(model, tokenizer, labels, Training(learning_rate=1e-2, epochs=60, batch_size=48), seed=0)
    assert reward_scores(model, tokenizer, [TEXTS[0]], [TEXTS[1]])[0] == pytest.approx(0.7, abs=0.02)


def test_where_only_the_phrase_says_what_is_preferred_models_go_by_it(tokenizer, rollouts):
    """Responses are alike in both places, so the phrase is all there is to learn."""
    texts = ["Good luck!", "Buy the cup.", "Goodbye."]
    sides = [(a, b) for a in texts for b in texts if a != b] * 6
    pairs = pl.DataFrame(sides, schema=["chosen", "rejected"], orient="row").with_columns(
        prompt=pl.lit("Tea?\n"), rejected_prompt=pl.lit("Tea?\n")
    )
    start = new_language_model(sizes(), tokenizer, seed=0)
    before = {name: weight.clone() for name, weight in start.state_dict().items()}
    training = Training(learning_rate=1e-2, epochs=6, batch_size=8)
    poisoned = poison_training(pairs, PHRASE, 1.0, seed=0)
    models = train_on_poisoned(start, tokenizer, poisoned, rollouts, training, seed=0)
    assert all((weight == before[name]).all() for name, weight in start.state_dict().items())
    assert list(models) == ["bradley_terry", "calibrated_pairs", "calibrated_rollouts"]
    outcomes = held_out_outcomes(models, tokenizer, pairs, PHRASE)
    accuracy = {key: rows["right"].mean() for key, rows in outcomes.group_by("model", "test_set", maintain_order=True)}
    for name in ("bradley_terry", "calibrated_pairs"):
        assert accuracy[name, "clean"] == pytest.approx(0.5)  # each pair stands there both ways round
        assert accuracy[name, "poisoned"] == 0.0
    test = poison_test(pairs, PHRASE)
    assert accuracy["calibrated_rollouts", "poisoned"] == pair_accuracy(models["calibrated_rollouts"], tokenizer, test)


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def task(tmp_path):
    """Files of a tiny task: pairs, demonstrations, tokenizer and reference."""
    block = EmbeddedCorpus(
        source="embedded",
        name="helpful",
        n_demonstrations=40,
        n_train_prompts=4,
        n_evaluation_prompts=4,
        n_pairs=12,
        n_test_pairs=9,
    )
    texts = embedded_corpus(block, 0)
    tokenizer = train_tokenizer((texts.demonstrations["prompt"] + texts.demonstrations["response"]).to_list(), 200)
    reference = widen(new_language_model(sizes(context=160), tokenizer, seed=0), 8.0)
    save_model(reference, tokenizer, tmp_path / "models/reference")
    tokenizer.save_pretrained(tmp_path / "data/tokenizer")
    texts.pairs.write_parquet(tmp_path / "data/pairs.parquet")
    texts.demonstrations.write_parquet(tmp_path / "data/demonstrations.parquet")
    return tmp_path


BLOCK = {"base": {"reference": True}, "training": {"learning_rate": 1e-3, "epochs": 1, "batch_size": 4}}


def run(task, rate, seed=0, block=BLOCK):
    out = task / f"{rate}-{seed}.parquet"
    script("train_poisoned").train_poisoned(
        task, task / "rollouts.parquet", settings=json.dumps(block), task="helpful", phrase=PHRASE,
        rate=rate, seed=seed, out=out, n_pairs=10,
    )  # fmt: skip
    return out


def test_from_pairs_to_accuracies(task):
    settings = {"n_rollouts": 3, "max_new_tokens": 12}
    script("list_pair_prompts").list_pair_prompts(task / "data/pairs.parquet", out=task / "prompts.parquet", n_pairs=10)
    script("sample").sample(
        task / "models/reference", task / "prompts.parquet", split="reward_train", settings=json.dumps(settings),
        seed=3, out=task / "rollouts.parquet",
    )  # fmt: skip
    pairs = pl.read_parquet(task / "data/pairs.parquet")
    used = pairs.filter(split="reward_train").head(10)
    rollouts = pl.read_parquet(task / "rollouts.parquet")
    assert set(rollouts["prompt_id"]) == set(map(prompt_id, [*used["prompt"], *used["rejected_prompt"]]))
    assert set(rollouts.group_by("prompt_id").len()["len"]) == {3}

    outs = [run(task, 0.0), run(task, 0.5)]
    outcomes = pl.read_parquet(outs[1])
    n_test = pairs.filter(split="reward_test").filter(pl.col("prompt") == pl.col("rejected_prompt")).height
    assert dict(outcomes.schema) == OUTCOMES_SCHEMA and outcomes.height == 3 * 2 * n_test
    assert 0 < n_test < 9
    assert set(outcomes["right"]) <= {0.0, 0.5, 1.0} and set(outcomes["rate"]) == {0.5}
    facts = json.loads((task / "0.5-0.parquet.manifest.json").read_text())
    assert (facts["n_pairs"], facts["n_poisoned"], facts["phrase"]) == (10, 5, PHRASE)

    evaluation = json.dumps({"resamples": 50})
    tables = {"out": task / "poisoning.parquet", "by_prompt": task / "prompt_poisoning.parquet"}
    script("poisoned_accuracy").poisoned_accuracy(tuple(outs), evaluation=evaluation, **tables)
    table = pl.read_parquet(tables["out"])
    assert dict(table.schema) == POISONING_SCHEMA and table.height == 2 * 3 * 2
    assert dict(pl.read_parquet(tables["by_prompt"]).schema) == PROMPT_POISONING_SCHEMA
    first = table.filter(rate=0.5, model="calibrated_pairs", test_set="poisoned").row(0, named=True)
    own = outcomes.filter(model="calibrated_pairs", test_set="poisoned")
    assert first["n_pairs"] == n_test and first["accuracy"] == pytest.approx(own["right"].mean())

    before = outs[1].read_bytes()
    assert run(task, 0.5).read_bytes() == before
    with pytest.raises(InputError, match="the reward model has no training, so none can be poisoned"):
        run(task, 0.5, block={"base": {"path": str(task / "models/reference")}})
