import re

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from infalign.errors import InputError
from infalign.language.corpora import (
    corpus,
    gold_reward,
    lexicon,
    prompt_traits,
    quality,
    skewed,
    write_response,
)
from infalign.language.lexicon import LEXICONS
from infalign.language.models import encode_prompts, encode_responses, train_tokenizer

SIZES = {
    "n_demonstrations": 1500,
    "n_train_prompts": 60,
    "n_evaluation_prompts": 40,
    "n_pairs": 1500,
    "n_test_pairs": 400,
}
TASKS = sorted(LEXICONS)


@pytest.fixture(scope="module", params=TASKS)
def task(request):
    return request.param


@pytest.fixture(scope="module")
def written(task):
    return corpus(task, 0, **SIZES)


def test_same_seed_same_corpus_other_seed_another(task, written):
    again, other = corpus(task, 0, **SIZES), corpus(task, 1, **SIZES)
    for name in ("demonstrations", "pairs", "prompts"):
        assert getattr(written, name).equals(getattr(again, name))
        assert not getattr(written, name).equals(getattr(other, name))


def test_a_larger_part_leaves_the_other_parts_as_they_are(task, written):
    larger = corpus(task, 0, **{**SIZES, "n_demonstrations": 1600, "n_pairs": 1600})
    assert larger.prompts.equals(written.prompts)
    held_out = pl.col("split").is_in(["reward_test", "judge_test"])
    assert larger.pairs.filter(held_out).equals(written.pairs.filter(held_out))
    assert larger.demonstrations["prompt"].to_list() != written.demonstrations["prompt"].to_list()


def test_sizes_and_columns(written):
    assert written.demonstrations.columns == ["prompt", "response"]
    assert written.pairs.columns == ["prompt", "chosen", "rejected", "rejected_prompt", "split"]
    assert written.prompts.columns == ["prompt_id", "prompt", "split"]
    assert dict(written.prompts["split"].value_counts().iter_rows()) == {"train": 60, "evaluation": 40}
    assert dict(written.pairs["split"].value_counts().iter_rows()) == {
        "reward_train": 1500,
        "reward_test": 400,
        "judge_train": 1500,
        "judge_test": 400,
    }
    assert written.prompts["prompt_id"].is_unique().all()
    assert written.prompts["prompt"].is_unique().all()


def test_prompts_of_all_uses_are_disjoint(written):
    groups = [set(written.prompts.filter(split="evaluation")["prompt"])]
    groups.append(
        set(written.demonstrations["prompt"]) | set(written.prompts.filter(split="train")["prompt"])
    )
    for _, pairs in written.pairs.group_by("split"):
        groups.append(set(pairs["prompt"]) | set(pairs["rejected_prompt"]))
    assert len(groups) == 6
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_texts_are_short_and_plain(written):
    texts = (written.demonstrations["prompt"] + written.demonstrations["response"]).to_list()
    tokenizer = train_tokenizer(texts, 512)
    prompts = encode_prompts(tokenizer, written.demonstrations["prompt"].to_list())
    responses = encode_responses(tokenizer, written.demonstrations["response"].to_list())
    assert all(text.isascii() for text in texts)
    assert max(map(len, prompts)) <= 26
    assert max(map(len, responses)) <= 40
    assert np.mean([len(r) for r in responses]) < 26
    assert written.demonstrations["response"].n_unique() > 0.99 * len(texts)


def test_gold_needs_nothing_but_the_two_texts(task, written):
    rows = list(written.demonstrations.head(50).iter_rows())
    first = [gold_reward(task, *row) for row in rows]
    assert first == [gold_reward(task, *row) for row in reversed(rows)][::-1]
    assert all(np.isfinite(gold_reward(task, rows[0][0], text)) for text in ("", "?", "a. b. c. d.", "Hello"))


def test_quality_is_standardised_over_the_grammar(task, written):
    values = [quality(task, *row) for row in written.demonstrations.iter_rows()]
    assert np.mean(values) == pytest.approx(0.0, abs=0.1)
    assert np.std(values) == pytest.approx(1.0, abs=0.05)


def test_gold_is_offset_and_scale_times_the_bent_quality(task):
    words = lexicon(task)
    prompt = next(iter(words.tones)) + next(iter(words.asks)).format(topic=next(iter(words.topics))) + "?\n"
    traits = prompt_traits(task, prompt)
    rng = np.random.default_rng(0)
    for response in (write_response(task, prompt, rng) for _ in range(20)):
        bent = skewed(quality(task, prompt, response), traits.skew)
        assert gold_reward(task, prompt, response) == traits.offset + traits.scale * bent


def test_directions_are_shared_but_nouns_must_be_to_the_point():
    tea, bread = ("Hello, how do I brew tea?\n", "Hello, how do I bake bread?\n")
    good = "Happy to help! Measure the kettle step by step. Good luck!"
    for prompt in (tea, bread):
        worse = good.replace("Happy to help!", "Not you again.")
        assert quality("helpful", prompt, good) > quality("helpful", prompt, worse)
    assert quality("helpful", tea, good) > quality("helpful", bread, good)


def test_a_second_piece_of_advice_counts_and_a_third_costs():
    prompt = "Hello, how do I brew tea?\n"
    one = "Sure thing. Check the kettle right away. Good luck!"
    two = one.replace(" Good", " Then prepare the leaves step by step. Good")
    three = two.replace(" Good", " Also prepare the cup step by step. Good")
    values = [quality("helpful", prompt, text) for text in (one, two, three)]
    assert values[1] > values[0]
    assert values[2] < values[1]


def test_skewed_is_standardised_and_increasing():
    normal = np.random.default_rng(0).standard_normal(200_000)
    for skew in (-0.6, 0.0, 0.4):
        bent = np.array([skewed(q, skew) for q in normal])
        assert bent.mean() == pytest.approx(0.0, abs=0.02)
        assert bent.std() == pytest.approx(1.0, abs=0.05)
        assert np.sign(round(((bent - bent.mean()) ** 3).mean(), 1)) == np.sign(skew)
        assert spearmanr(bent, normal).statistic == pytest.approx(1.0)


def test_scales_and_skews_differ_between_prompts(task):
    traits = [prompt_traits(task, p) for p in corpus(task, 0, **SIZES).prompts["prompt"]]
    assert max(t.scale for t in traits) / min(t.scale for t in traits) > 10
    assert len({t.skew for t in traits}) >= 5
    assert np.std([t.offset for t in traits]) > 1


def preferred(task, pairs):
    return np.array(
        [
            gold_reward(task, prompt, chosen) - gold_reward(task, rejected_prompt, rejected)
            for prompt, chosen, rejected, rejected_prompt, _ in pairs.iter_rows()
        ]
    )


def test_preferences_are_bradley_terry_draws_of_the_gold_reward(task, written):
    margin = np.abs(preferred(task, written.pairs))
    probability = 1 / (1 + np.exp(-margin))
    agree = preferred(task, written.pairs) > 0
    standard_error = np.sqrt((probability * (1 - probability)).mean() / len(agree))
    assert abs(agree.mean() - probability.mean()) < 4 * standard_error
    assert probability.mean() > 0.76
    cross = (written.pairs["prompt"] != written.pairs["rejected_prompt"]).mean()
    assert 0.25 < cross < 0.35


def test_null_labels_and_gold_do_not_depend_on_the_response(task):
    pairs = corpus(task, 0, **SIZES, null=True).pairs
    agree = (preferred(task, pairs) > 0).mean()
    assert abs(agree - 0.5) < 4 * 0.5 / np.sqrt(len(pairs))
    prompt, response = pairs["prompt"][0], pairs["chosen"][0]
    assert gold_reward(task, prompt, response, null=True) == gold_reward(task, prompt, "", null=True)


def test_every_slot_is_used_in_demonstrations(task, written):
    words, text = lexicon(task), "\n".join(written.demonstrations["response"])
    for slot in (words.openings, words.manners, words.reasons, words.closings):
        assert all(phrase in text for phrase in slot)
    assert all(re.search(rf"\b{verb}\b", text) for verb in words.verbs)


def test_bad_input_is_named():
    with pytest.raises(
        InputError, match="unknown embedded task 'chess'; the embedded tasks are helpful, harmless"
    ):
        corpus("chess", 0, **SIZES)
    with pytest.raises(
        InputError, match=r"corpus.n_evaluation_prompts must be at most 360, got 5000; lower it"
    ):
        corpus("helpful", 0, **{**SIZES, "n_evaluation_prompts": 5000})
    with pytest.raises(InputError, match="prompt 'Tea' is not one of the embedded task helpful"):
        gold_reward("helpful", "Tea", "Good luck!")


def test_pairs_frame_feeds_the_reward_model(written):
    assert written.pairs.select(pl.all().is_null().any()).row(0) == (False,) * 5
