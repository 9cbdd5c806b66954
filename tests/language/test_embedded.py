"""What holds of every embedded corpus: dialogues, summaries and problems."""

import numpy as np
import polars as pl
import pytest

from infalign.errors import InputError
from infalign.language.embedded import GRADED, PROBLEMS, embedded_corpus, gold_reward
from infalign.language.models import encode_prompts, encode_responses, train_tokenizer
from infalign.records.corpus import EmbeddedCorpus

SIZES = {"n_demonstrations": 1500, "n_train_prompts": 60, "n_evaluation_prompts": 40}
SIZES |= {"n_pairs": 600, "n_test_pairs": 200}


def write(task, seed=0, **changes):
    return embedded_corpus(EmbeddedCorpus(source="embedded", name=task, **SIZES | changes), seed)


@pytest.fixture(scope="module", params=[*GRADED, *PROBLEMS])
def task(request):
    return request.param


@pytest.fixture(scope="module")
def written(task):
    return write(task)


def test_same_seed_same_corpus_other_seed_another(task, written):
    again, other = write(task), write(task, 1)
    for name in ("demonstrations", "pairs", "prompts"):
        assert getattr(written, name).equals(getattr(again, name))
        assert not getattr(written, name).equals(getattr(other, name))


def test_a_larger_part_leaves_the_other_parts_as_they_are(task, written):
    larger = write(task, n_demonstrations=1600, n_pairs=700)
    assert larger.prompts.equals(written.prompts)
    held_out = pl.col("split").is_in(["reward_test", "judge_test"])
    assert larger.pairs.filter(held_out).equals(written.pairs.filter(held_out))
    assert larger.demonstrations["prompt"].to_list() != written.demonstrations["prompt"].to_list()


def test_sizes_and_columns(task, written):
    assert written.demonstrations.columns == ["prompt", "response"]
    assert written.pairs.columns == ["prompt", "chosen", "rejected", "rejected_prompt", "split"]
    community = ["community"] if task == "summaries" else []
    assert written.prompts.columns == ["prompt_id", "prompt", "split", *community]
    sizes = {"train": 60, "evaluation": 40} | ({"evaluation_out": 40} if community else {})
    assert dict(written.prompts["split"].value_counts().iter_rows()) == sizes
    counts = dict(written.pairs["split"].value_counts().iter_rows())
    assert counts == {"reward_train": 600, "reward_test": 200, "judge_train": 600, "judge_test": 200}
    assert written.prompts["prompt_id"].is_unique().all()
    assert set(written.prompts["prompt_id"].str.len_chars()) == {12}
    assert written.prompts["prompt"].is_unique().all()
    assert written.pairs.select(pl.all().is_null().any()).row(0) == (False,) * 5


def test_prompts_of_all_uses_are_disjoint(task, written):
    prompts = {split: set(frame["prompt"]) for (split,), frame in written.prompts.group_by("split")}
    groups = [prompts[split] for split in prompts if split != "train"]
    groups.append(prompts["train"] | set(written.demonstrations["prompt"]))
    for _, pairs in written.pairs.group_by("split"):
        groups.append(set(pairs["prompt"]) | set(pairs["rejected_prompt"]))
    assert len(groups) == (7 if task == "summaries" else 6)
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_texts_are_short_and_plain(task, written):
    texts = (written.demonstrations["prompt"] + written.demonstrations["response"]).to_list()
    tokenizer = train_tokenizer(texts, 512)
    prompts = encode_prompts(tokenizer, written.demonstrations["prompt"].to_list())
    responses = encode_responses(tokenizer, written.demonstrations["response"].to_list())
    assert all(text.isascii() for text in texts)
    assert max(map(len, prompts)) <= (26 if task in ("helpful", "harmless") else 40)
    assert max(map(len, responses)) <= 40
    if task in GRADED:
        assert sum(map(len, responses)) < 28 * len(responses)
        assert written.demonstrations["response"].n_unique() > 0.99 * len(texts)
    assert len(set(texts)) > 0.98 * len(texts)


def test_too_many_prompts_are_refused_by_name(task):
    with pytest.raises(InputError, match=r"corpus\.n_evaluation_prompts must be at most \d+, got 100000000; lower it"):
        write(task, n_evaluation_prompts=100_000_000)


def test_an_unknown_task_has_no_gold_reward():
    with pytest.raises(InputError, match="unknown embedded task 'chess'; the embedded tasks are helpful, harm"):
        gold_reward("chess", "Hello, how do I brew tea?\n", "")


@pytest.mark.parametrize("name", GRADED)
def test_only_prompts_of_a_graded_grammar_have_a_gold_reward(name):
    with pytest.raises(InputError, match=f"'Tea' is not .* the embedded task {name}; it has no gold reward"):
        gold_reward(name, "Tea", "Good luck!")


@pytest.fixture(scope="module", params=GRADED)
def graded(request):
    return request.param, write(request.param, n_pairs=1500)


def margins(task, pairs):
    """Gold reward of the chosen response less that of the rejected one."""
    rows = pairs.select("prompt", "chosen", "rejected_prompt", "rejected").iter_rows()
    return np.array([gold_reward(task, *row[:2]) - gold_reward(task, *row[2:]) for row in rows])


def test_quality_is_standardised_over_the_grammar(graded):
    task, written = graded
    values = [GRADED[task].quality(*row) for row in written.demonstrations.iter_rows()]
    assert np.mean(values) == pytest.approx(0.0, abs=0.1)
    assert np.std(values) == pytest.approx(1.0, abs=0.05)


def test_preferences_are_bradley_terry_draws_of_the_gold_reward(graded):
    task, written = graded
    margin = margins(task, written.pairs)
    probability = 1 / (1 + np.exp(-np.abs(margin)))
    standard_error = np.sqrt((probability * (1 - probability)).mean() / len(margin))
    assert abs((margin > 0).mean() - probability.mean()) < 4 * standard_error
    assert probability.mean() > 0.76
    assert 0.25 < (written.pairs["prompt"] != written.pairs["rejected_prompt"]).mean() < 0.35


def test_null_labels_and_gold_do_not_depend_on_the_response(graded):
    task, _ = graded
    pairs = write(task, variant="null", n_pairs=1500).pairs
    agree = (margins(task, pairs) > 0).mean()
    assert abs(agree - 0.5) < 4 * 0.5 / np.sqrt(len(pairs))
    prompt, response = pairs["prompt"][0], pairs["chosen"][0]
    assert gold_reward(task, prompt, response, null=True) == gold_reward(task, prompt, "", null=True)
